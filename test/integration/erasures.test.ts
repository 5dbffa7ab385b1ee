import { afterAll, beforeAll, expect, test } from 'vitest'
import { newId } from '../../src/ids.js'
import {
  eventually,
  failure,
  openedHistory,
  openErasureWorld,
  organizationId,
  principals,
  somebody,
  submission,
  type ErasureWorld,
} from './erasures-world.js'

let world: ErasureWorld

beforeAll(async () => {
  world = await openErasureWorld()
  await world.work()
})
afterAll(() => world.close())

const code = (answer: { body: unknown }) => (answer.body as { code?: string }).code
const stateOf = async (id: string) => (await world.show(id)).state
const reaches = (id: string, state: string) =>
  eventually(
    () => stateOf(id),
    (seen) => seen === state,
  )
const asSecond = () => ({ key: world.keys.second })

test('a request goes from its receipt to its end, with evidence of every step and its events in the log', async () => {
  const received = await world.post('', submission())
  expect(received).toMatchObject({ status: 202, body: { state: 'received', submitter: principals.first } })
  const { id } = received.body as { id: string }
  await reaches(id, 'identity_pending')
  const verified = await world.post(`/${id}/verify-identity`, { method: 'passport', result: 'verified' })
  expect(verified.status).toBe(200)
  await reaches(id, 'review')
  expect((await world.show(id))['scope']).toMatchObject({ targets: [{ target: 'hot_events', items: 3 }] })
  const exempt = [{ class: 'billing.*', ground: '17(3)(b)' }]
  const approved = await world.post(`/${id}/approve`, { note: 'fine', exempt, confirm: [0] }, asSecond())
  expect(approved).toMatchObject({ status: 200, body: { approver: principals.second, exempt } })
  await reaches(id, 'completed')
  expect(world.stepsOf(id)).toEqual(['scope', 'fence', 'prepare', 'erase', 'verify', 'notify', 'complete'])
  const { evidence } = await world.show(id)
  expect(evidence.map(({ event }) => event)).toEqual([
    'submitted',
    'begin',
    'identity_verified',
    'scoped',
    'approve',
    'cool_off',
    'cooling_off_over',
    'prepared',
    'erased',
    'verified_clean',
    'notified',
    'nothing_remains',
  ])
  expect(evidence[2]).toMatchObject({ by: principals.first })
  expect(evidence[4]).toMatchObject({ by: principals.second, exempt })
  expect(await world.events(id)).toEqual(['submitted', 'approved', 'completed'])
  expect(await world.workflow(id).result()).toEqual({ state: 'completed' })
})

test('whoever submitted a request does not decide on it, with no key of theirs', async () => {
  const id = await world.toReview()
  const otherKey = await world.key({
    role: 'privacy_officer',
    principal: principals.first,
    organizations: [organizationId],
  })
  for (const key of [world.keys.first, otherKey]) {
    const approved = await world.post(`/${id}/approve`, {}, { key })
    expect([approved.status, code(approved)]).toEqual([403, 'four_eyes'])
    const denied = await world.post(`/${id}/deny`, { ground: '17(3)(b)', note: 'no' }, { key })
    expect([denied.status, code(denied)]).toEqual([403, 'four_eyes'])
  }
  expect(await stateOf(id)).toBe('review')
  expect((await world.post(`/${id}/deny`, { ground: '17(3)(b)', note: 'tax law' }, asSecond())).status).toBe(
    200,
  )
  expect(await world.show(id)).toMatchObject({ state: 'denied', denialGround: '17(3)(b)' })
  expect(await world.events(id)).toEqual(['submitted', 'denied'])
  expect(world.stepsOf(id)).toEqual(['scope'])
})

test('after a withdrawal nothing is approved, and nothing is fenced', async () => {
  const id = await world.toReview()
  expect((await world.post(`/${id}/withdraw`)).status).toBe(200)
  for (const [action, body] of [
    ['approve', {}],
    ['withdraw', { note: 'once more' }],
    ['extend', { reason: 'late' }],
    ['attest', { target: 'log_files', statement: 'nothing there' }],
    ['deny', { ground: '17(3)(e)', note: 'no' }],
    ['verify-identity', { method: 'call', result: 'verified' }],
  ] as const) {
    const answer = await world.post(`/${id}/${action}`, body, asSecond())
    expect([action, answer.status, code(answer)]).toEqual([action, 409, 'wrong_state'])
  }
  expect(await world.workflow(id).result()).toEqual({ state: 'withdrawn' })
  expect(world.stepsOf(id)).toEqual(['scope'])
})

test('the deadline is extended once, with a reason, within the first month', async () => {
  const id = await world.submit()
  const none = await world.post(`/${id}/extend`)
  expect([none.status, code(none)]).toEqual([422, 'invalid'])
  const before = Date.parse((await world.show(id)).dueAt)
  const extended = await world.post(`/${id}/extend`, { reason: 'a great many records' })
  expect(extended).toMatchObject({ status: 200, body: { extended: true } })
  expect(Date.parse((await world.show(id)).dueAt)).toBeGreaterThan(before + 58 * 86_400_000)
  const again = await world.post(`/${id}/extend`, { reason: 'more' }, asSecond())
  expect([again.status, code(again)]).toEqual([409, 'wrong_state'])
  expect(await world.events(id)).toEqual(['submitted', 'extended'])

  const monthsAgo = new Date(Date.now() - 40 * 86_400_000).toISOString()
  const late = await world.submit({ receivedAt: monthsAgo })
  const tooLate = await world.post(`/${late}/extend`, { reason: 'we forgot' })
  expect([tooLate.status, code(tooLate)]).toEqual([409, 'wrong_state'])
  // It was overdue when it was submitted, and that is said.
  await eventually(
    () => world.events(late),
    (events) => events.includes('overdue'),
  )
  expect((await world.show(late)).overdue).toBe(true)
})

test('the same request twice at once is one request and its duplicate, and the first stays verifiable', async () => {
  const identifiers = [
    { kind: 'email', value: 'Jane@Acme.example' },
    { kind: 'id', type: 'User', value: 'u_same' },
  ]
  const respelled = [
    { kind: 'id', type: 'user', value: 'u_same' },
    { kind: 'email', value: ' jane@acme.EXAMPLE' },
  ]
  const both = await Promise.all([
    world.post('', submission({ identifiers })),
    world.post('', submission({ identifiers: respelled }), asSecond()),
  ])
  expect(both.map(({ status }) => status).sort()).toEqual([200, 202])
  const [duplicate, first] = [...both]
    .sort((a, b) => a.status - b.status)
    .map(({ body }) => body as { id: string })
  if (first === undefined || duplicate === undefined) throw new Error('two answers are two bodies')
  expect(duplicate).toMatchObject({ state: 'duplicate', duplicateOf: first.id })
  expect(await world.show(first.id)).toMatchObject({ duplicates: [duplicate.id] })
  const verified = await world.post(`/${first.id}/verify-identity`, { method: 'call', result: 'verified' })
  expect(verified.status).toBe(200)
  await reaches(first.id, 'review')
  // Once the first has ended, a new request about the person is a new one.
  await world.post(`/${first.id}/withdraw`)
  expect((await world.post('', submission({ identifiers }))).status).toBe(202)
})

test('two requests that lead to the same persons by other identifiers are one and its duplicate', async () => {
  world.answers.subjects = ['sub_01jd2zq8w9e5cs0v1m6k3n7p4r', 'sub_01jd2zq8w9e5cs0v1m6k3n7p4s']
  try {
    const first = await world.toReview()
    const second = await world.submit()
    await world.post(`/${second}/verify-identity`, { method: 'call', result: 'verified' })
    await reaches(second, 'duplicate')
    expect(await world.show(second)).toMatchObject({ duplicateOf: first })
    expect(await world.show(first)).toMatchObject({ state: 'review', duplicates: [second] })
  } finally {
    world.answers.subjects = []
  }
})

test('a person whom nobody knows is no match, which is an end of its own', async () => {
  world.answers.scope = () => ({ result: 'no_match' })
  try {
    const id = await world.submit()
    await world.post(`/${id}/verify-identity`, { method: 'call', result: 'verified' })
    await reaches(id, 'no_match')
    expect(await world.events(id)).toEqual(['submitted', 'closed'])
    expect(world.stepsOf(id)).toEqual(['scope'])
  } finally {
    world.answers.scope = () => ({ result: 'matched' })
  }
})

test('an identity that was not verified ends the request, before anything was looked for', async () => {
  const id = await world.submit()
  expect((await world.post(`/${id}/verify-identity`, { method: 'call', result: 'failed' })).status).toBe(200)
  expect(await stateOf(id)).toBe('identity_failed')
  expect(world.stepsOf(id)).toEqual([])
})

test('what is left behind is never completed: an operator is asked, and goes on with removing', async () => {
  let left = true
  world.answers.verify = () =>
    left ? { result: 'residue', targets: ['archive_content'] } : { result: 'clean' }
  const id = await world.toReview()
  await world.post(`/${id}/approve`, {}, asSecond())
  await reaches(id, 'needs_operator')
  expect((await world.show(id)).needsOperator).toEqual({
    reason: 'residue_found',
    targets: ['archive_content'],
    resumesAt: 'erasing',
  })
  const withdrawn = await world.post(`/${id}/withdraw`)
  expect([withdrawn.status, code(withdrawn)]).toEqual([409, 'wrong_state'])
  const byOfficer = await world.post(`/${id}/retry`)
  expect([byOfficer.status, code(byOfficer)]).toEqual([403, 'forbidden'])
  left = false
  expect((await world.post(`/${id}/retry`, {}, { key: world.keys.operator })).status).toBe(202)
  await reaches(id, 'completed')
  expect(world.stepsOf(id).filter((step) => step === 'erase')).toHaveLength(2)
})

test.each(['fence', 'prepare', 'erase'] as const)(
  'a failure in %s asks for an operator with its reason and targets, and is past withdrawing',
  async (step) => {
    const before = world.answers[step]
    world.answers[step] = () => {
      throw failure('archive_unavailable', ['archive_content'])
    }
    const id = await world.toReview()
    await world.post(`/${id}/approve`, {}, asSecond())
    await reaches(id, 'needs_operator')
    Object.assign(world.answers, { [step]: before })
    expect((await world.show(id)).needsOperator).toMatchObject({
      reason: 'archive_unavailable',
      targets: ['archive_content'],
    })
    expect((await world.post(`/${id}/withdraw`)).status).toBe(409)
    expect((await world.post(`/${id}/retry`, {}, { key: world.keys.operator })).status).toBe(202)
    await reaches(id, 'completed')
  },
)

test('a withdrawal does not wait for a scoping to end', async () => {
  let release = (): void => undefined
  const held = new Promise<void>((resolve) => (release = resolve))
  world.answers.before = (step) => (step === 'scope' ? held : Promise.resolve())
  try {
    const id = await world.submit()
    await world.post(`/${id}/verify-identity`, { method: 'call', result: 'verified' })
    await eventually(
      () => Promise.resolve(world.stepsOf(id)),
      (steps) => steps.includes('scope'),
    )
    expect((await world.post(`/${id}/withdraw`)).status).toBe(200)
    expect(await world.workflow(id).result()).toEqual({ state: 'withdrawn' })
    release()
    expect(await stateOf(id)).toBe('withdrawn')
  } finally {
    release()
    world.answers.before = () => Promise.resolve()
  }
})

test('an action counts once, however often and by whichever way it is asked for', async () => {
  const id = await world.toReview()
  const headers = { 'idempotency-key': 'approve-1' }
  const answers = await Promise.all(
    [1, 2, 3].map(() => world.post(`/${id}/approve`, {}, { ...asSecond(), headers })),
  )
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200])
  await reaches(id, 'completed')
  expect((await world.post(`/${id}/approve`, {}, { ...asSecond(), headers })).status).toBe(200)
  const other = await world.post(`/${id}/approve`, { note: 'changed' }, { ...asSecond(), headers })
  expect([other.status, code(other)]).toEqual([409, 'idempotency_conflict'])
  expect((await world.events(id)).filter((action) => action === 'approved')).toHaveLength(1)
})

test('an Update that names no stored action changes nothing: Temporal is no way around the API', async () => {
  const id = await world.toReview()
  const handle = world.workflow(id)
  await eventually(
    () => handle.query<{ state: string }>('state'),
    ({ state }) => state === 'review',
  )
  const unknown = await handle.executeUpdate('approve', { args: [{ actionId: newId('eact') }] })
  expect(unknown).toMatchObject({ applied: false, code: 'not_found' })
  await expect(handle.executeUpdate('approve', { args: ['rubbish'] })).rejects.toThrow()
  await expect(handle.executeUpdate('retry', { args: [{ actionId: newId('eact') }] })).rejects.toThrow()
  expect(await handle.query('state')).toMatchObject({ state: 'review' })
  expect(await stateOf(id)).toBe('review')
})

test('a submission under the same idempotency key is answered again, another body under it is refused', async () => {
  const body = submission()
  const headers = { 'idempotency-key': 'submit-1' }
  const [one, two] = await Promise.all([world.post('', body, { headers }), world.post('', body, { headers })])
  expect([one.status, two.status]).toEqual([202, 202])
  expect((one.body as { id: string }).id).toBe((two.body as { id: string }).id)
  const other = await world.post('', { ...body, requester: 'another' }, { headers })
  expect([other.status, code(other)]).toEqual([409, 'idempotency_conflict'])
})

test('what a request holds of the person is shown to who may see it, is logged, and goes with its end', async () => {
  const identifiers = [somebody()]
  const id = await world.submit({ identifiers, requester: 'Jane Doe' })
  await world.post(`/${id}/extend`, { reason: 'Jane has many records' })
  const base = `/v1/organizations/${organizationId}/erasures`
  const plain = await world.request('GET', `${base}/${id}`, { key: world.keys.first })
  expect(plain.text).not.toContain('Jane')
  expect(plain.body).toMatchObject({ personal: null })
  const shown = await world.request('GET', `${base}/${id}?personal=true`, { key: world.keys.first })
  expect(shown.body).toMatchObject({
    personal: {
      identifiers,
      requester: 'Jane Doe',
      words: [{ action: 'extend', by: principals.first, words: { reason: 'Jane has many records' } }],
    },
  })
  const blind = await world.key({
    role: 'privacy_officer',
    principal: principals.first,
    organizations: [organizationId],
  })
  expect((await world.request('GET', `${base}/${id}?personal=true`, { key: blind })).status).toBe(403)
  await world.post(`/${id}/withdraw`, { note: 'Jane changed her mind' })
  const after = await world.request('GET', `${base}/${id}?personal=true`, { key: world.keys.first })
  expect(after.body).toMatchObject({ state: 'withdrawn', personal: null })
  const raw = JSON.stringify([
    await world.api.core.db.collection('erasureRequests').find({ requestId: id }).toArray(),
    await world.api.core.db.collection('erasureActions').find({ requestId: id }).toArray(),
  ])
  expect(raw).not.toContain('Jane')
  expect(raw).toContain('"sealed":null')
})

test('nothing personal is in histories, visibility or logs', async () => {
  const value = `canary-${String(Date.now())}`
  const id = await world.toReview({
    identifiers: [{ kind: 'other', value }],
    requester: value,
    recipients: [{ name: value, url: `https://example.com/${value}` }],
  })
  await world.post(`/${id}/approve`, { note: value }, asSecond())
  await reaches(id, 'completed')
  const handle = world.workflow(id)
  await handle.result()
  const opened = (await openedHistory(world, id)).join('\n')
  // It is really open: the request's id is all over it.
  expect(opened).toContain(id)
  const visible = JSON.stringify([await handle.describe(), await handle.query('state')])
  for (const text of [opened, visible, world.logs(), world.workerLogs()]) {
    expect(text).not.toContain(value)
  }
  // Of the request, what goes into a history is its two ids and where it stands.
  expect(opened).not.toContain('sealed')
  expect(opened).not.toContain(principals.first)
  const raw = JSON.stringify(
    await Promise.all(
      (await world.api.core.db.collections()).map((collection) => collection.find().toArray()),
    ),
  )
  expect(raw).not.toContain(value)
})
