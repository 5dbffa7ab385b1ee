import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { collectionNames } from '../../src/mongo/collections.js'
import { holdLimits } from '../../src/retention/holds.js'
import { subjectDocumentId, subjectStore } from '../../src/subjects/store.js'
import { openWorld, type Answer, type World } from '../support/world.js'

let world: World
const principal = 'prn_01h455vb4pex5vsknk084sn02q'
const unknownSubject = 'sub_01h455vb4pex5vsknk084sn02q'
const unknownHold = 'hold_01h455vb4pex5vsknk084sn02q'

beforeAll(async () => {
  world = await openWorld()
  for (const id of ['org_acme', 'org_other', 'org_full', 'org_list'])
    await world.request('PUT', `/v1/organizations/${id}`)
  for (const [id, type, email] of [
    ['u_17', 'user', 'jane@acme.example'],
    ['a_17', 'admin', 'jane@acme.example'],
    ['u_18', 'user', 'joe@acme.example'],
    ['u_19', 'user', 'gone@acme.example'],
    ['u_20', 'user', 'going@acme.example'],
  ])
    await seen('org_acme', { type, id, email })
  await seen('org_other', { type: 'user', id: 'u_other', email: 'other@acme.example' })
})
afterAll(() => world.close())

/** An event that makes a person known. */
async function seen(organizationId: string, actor: object): Promise<void> {
  const event = { organizationId, action: 'seen', occurredAt: '2026-11-25T00:00:00Z', actor, targets: [] }
  expect((await world.request('POST', '/v1/events', { body: event })).status).toBe(201)
}
async function referencesOf(email: string): Promise<string[]> {
  const { db, eventOrganizations } = world.api.core
  const { keyset } = await eventOrganizations.require('org_acme')
  const lookup = keyset.index(`email\0${email}`)
  const found = await subjectStore(db).directory.distinct('subject', {
    organizationId: 'org_acme',
    lookup,
  })
  return found.sort()
}
const address = (organizationId: string) => `/v1/organizations/${organizationId}/holds`
const place = (body: unknown, more: { key?: string; once?: string; organizationId?: string } = {}) =>
  world.request('POST', address(more.organizationId ?? 'org_acme'), {
    body,
    ...(more.key === undefined ? {} : { key: more.key }),
    ...(more.once === undefined ? {} : { headers: { 'idempotency-key': more.once } }),
  })
const release = (id: string, key?: string) =>
  world.request('POST', `${address('org_acme')}/${id}/release`, key === undefined ? {} : { key })
const email = (value: string) => ({ scope: { identifier: { kind: 'email', value } }, reason: 'litigation' })
const holdOf = (answer: Answer) =>
  answer.body as { id: string; scope: { subjects?: string[] }; releasedAt: string | null }
const codeOf = (answer: Answer) => (answer.body as { code: string }).code
const errorsOf = (answer: Answer) =>
  (answer.body as { errors: { path: string; code: string }[] }).errors.map(
    ({ path, code }) => `${path} ${code}`,
  )
const counter = () => world.api.core.retention.lifecycle.current('org_acme')
const stored = () => world.api.core.db.collection(collectionNames.holds)
interface SystemEventView {
  readonly actor: object
  readonly targets: object[]
  readonly metadata: Record<string, unknown>
}
async function events(action: string, organizationId = 'org_acme'): Promise<SystemEventView[]> {
  const page = await world.request(
    'GET',
    `/v1/organizations/${organizationId}/events?action=${action}&limit=500`,
  )
  return (page.body as { data: SystemEventView[] }).data
}

describe('placing', () => {
  test('moves the lifecycle counter, and writes who held what, in no words of the officer’s', async () => {
    const before = await counter()
    const key = await world.key({ role: 'privacy_officer', principal })
    const scope = { action: 'team.*', from: '2026-01-01T00:00:00+01:00', to: '2027-01-01T00:00:00Z' }
    const answer = await place({ scope, reason: 'Doe v. Acme, 2026-114' }, { key })
    expect(answer.status, answer.text).toBe(201)
    expect(answer.body).toMatchObject({
      organizationId: 'org_acme',
      scope: { action: 'team.*', from: '2025-12-31T23:00:00.000Z', to: '2027-01-01T00:00:00.000Z' },
      reason: 'Doe v. Acme, 2026-114',
      author: principal,
      releasedAt: null,
      releasedBy: null,
    })
    expect(await counter()).toBe(before + 1)
    const { id } = holdOf(answer)
    const [written] = await events('annals.hold.placed')
    expect(written).toMatchObject({
      actor: { type: 'principal', id: principal },
      targets: [{ type: 'hold', id }],
      metadata: {
        action: 'team.*',
        from: '2025-12-31T23:00:00.000Z',
        to: '2027-01-01T00:00:00.000Z',
      },
    })
    expect(JSON.stringify(written)).not.toContain('Doe')
    expect((await world.request('GET', `${address('org_acme')}/${id}`)).body).toEqual(answer.body)
  })

  test('by e-mail holds every reference that goes by it, and keeps no identifier anywhere', async () => {
    const answer = await place(email(' JANE@acme.example'))
    const references = await referencesOf('jane@acme.example')
    expect(references).toHaveLength(2)
    expect([answer.status, holdOf(answer).scope.subjects]).toEqual([201, references])
    const kept = JSON.stringify([await stored().find().toArray(), await events('annals.hold.placed')])
    expect(kept.toLowerCase()).not.toContain('jane')
    expect((await events('annals.hold.placed'))[0]?.metadata).toEqual({ persons: 2 })
    expect(world.logs().toLowerCase()).not.toContain('jane@acme.example')
    // Nor does a later person of the same e-mail change what is held.
    await seen('org_acme', { type: 'contact', id: 'c_17', email: 'jane@acme.example' })
    expect((await world.request('GET', `${address('org_acme')}/${holdOf(answer).id}`)).body).toEqual(
      answer.body,
    )
  })

  test('by id holds the person of that type and id', async () => {
    const identifier = { kind: 'id', type: 'User', value: 'u_18' }
    const answer = await place({ scope: { identifier }, reason: 'r' })
    expect(holdOf(answer).scope.subjects).toEqual(await referencesOf('joe@acme.example'))
  })

  test('by a reference, and for the whole organization', async () => {
    const [subject] = await referencesOf('joe@acme.example')
    expect(holdOf(await place({ scope: { subject }, reason: 'r' })).scope).toEqual({ subjects: [subject] })
    expect(holdOf(await place({ scope: {}, reason: 'r' })).scope).toEqual({})
  })
})

describe('a person that cannot be held', () => {
  const unchanged = async (attempt: () => Promise<Answer>): Promise<Answer> => {
    const before = [await counter(), await stored().countDocuments(), (await events('annals.hold.*')).length]
    const answer = await attempt()
    expect([
      await counter(),
      await stored().countDocuments(),
      (await events('annals.hold.*')).length,
    ]).toEqual(before)
    return answer
  }

  test('is unknown: 422, and the look-up is noted', async () => {
    const before = (await events('annals.personal.read')).length
    const answer = await unchanged(() => place(email('nobody@acme.example')))
    expect([answer.status, ...errorsOf(answer)]).toEqual([422, 'scope.identifier unknown_person'])
    const notes = await events('annals.personal.read')
    expect(notes).toHaveLength(before + 1)
    expect(notes[0]?.metadata).toMatchObject({ by: 'hold', kind: 'email' })
    expect(JSON.stringify(notes)).not.toContain('nobody')
  })

  test('is of another organization: as unknown as nobody', async () => {
    expect(errorsOf(await unchanged(() => place(email('other@acme.example'))))).toEqual([
      'scope.identifier unknown_person',
    ])
    const subject = (
      await subjectStore(world.api.core.db).subjects.findOne({ organizationId: 'org_other' })
    )?._id.split('/')[1]
    for (const reference of [subject, unknownSubject])
      expect(errorsOf(await unchanged(() => place({ scope: { subject: reference }, reason: 'r' })))).toEqual([
        'scope.subject unknown_person',
      ])
  })

  test.each([
    ['erased', 'gone@acme.example'],
    ['fenced', 'going@acme.example'],
  ] as const)('is %s: 409', async (state, address) => {
    const [reference = ''] = await referencesOf(address)
    const _id = subjectDocumentId('org_acme', reference)
    await subjectStore(world.api.core.db).subjects.updateOne(
      { _id },
      { $set: { state }, $unset: { key: '' } },
    )
    for (const scope of [{ subject: reference }, { identifier: { kind: 'email', value: address } }]) {
      const answer = await unchanged(() => place({ scope, reason: 'r' }))
      expect([answer.status, codeOf(answer)]).toEqual([409, 'subject_erased'])
    }
  })
})

describe('an idempotency key', () => {
  const body = { ...email('joe@acme.example'), reason: 'once' }

  test('places once, however often and at once it comes', async () => {
    const before = await counter()
    const answers = await Promise.all(Array.from({ length: 5 }, () => place(body, { once: 'k1' })))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 200, 200, 201])
    expect(new Set(answers.map((answer) => holdOf(answer).id)).size).toBe(1)
    expect(await counter()).toBe(before + 1)
    const again = await place(body, { once: 'k1' })
    expect([again.status, again.headers.get('idempotency-replayed')]).toEqual([200, 'true'])
  })

  test('of a released hold answers it as it was placed', async () => {
    const first = await place(body, { once: 'k2' })
    await release(holdOf(first).id)
    expect((await place(body, { once: 'k2' })).body).toEqual(first.body)
  })

  test.each([
    ['another reason', { ...body, reason: 'twice' }],
    ['another person', { ...body, ...email('jane@acme.example') }],
    ['nobody in particular', { ...body, scope: {} }],
    ['less', { ...body, scope: { ...body.scope, action: 'team.*' } }],
    ['another time', { ...body, scope: { ...body.scope, from: '2026-01-01T00:00:00Z' } }],
  ])('with %s is refused', async (_, other) => {
    await place(body, { once: 'k3' })
    const answer = await place(
      { ...other, reason: other.reason === 'twice' ? 'twice' : 'once' },
      { once: 'k3' },
    )
    expect([answer.status, codeOf(answer)]).toEqual([409, 'idempotency_conflict'])
  })
})

describe('releasing', () => {
  test('moves the counter once, says who and when, and stays so', async () => {
    const { id } = holdOf(await place({ scope: {}, reason: 'r' }))
    const before = await counter()
    const key = await world.key({ role: 'privacy_officer', principal })
    const answers = await Promise.all([release(id, key), release(id, key), release(id, key)])
    const [first] = answers
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200])
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
    expect(first.body).toMatchObject({ id, releasedBy: principal })
    expect(holdOf(first).releasedAt).toMatch(/Z$/)
    expect(await counter()).toBe(before + 1)
    expect((await release(id)).body).toEqual(first.body)
    const written = (await events('annals.hold.released')).filter(({ targets }) =>
      JSON.stringify(targets).includes(id),
    )
    expect(written).toHaveLength(1)
  })

  test('what is not there, or is no hold’s id, is 404', async () => {
    for (const id of [unknownHold, 'hold_x', 'x'])
      expect([
        (await release(id)).status,
        (await world.request('GET', `${address('org_acme')}/${id}`)).status,
      ]).toEqual([404, 404])
  })
})

test('lists page through all of them, newest first, active or released', async () => {
  const organizationId = 'org_list'
  const ids: string[] = []
  for (let n = 0; n < 5; n += 1)
    ids.unshift(holdOf(await place({ scope: {}, reason: 'r' }, { organizationId })).id)
  await world.request('POST', `${address(organizationId)}/${ids[1] ?? ''}/release`)
  const list = async (query: string) => {
    const found: string[] = []
    for (let cursor: string | null = ''; cursor !== null;) {
      const page = await world.request(
        'GET',
        `${address(organizationId)}?limit=2${query}${cursor === '' ? '' : `&cursor=${cursor}`}`,
      )
      const body = page.body as { data: { id: string }[]; nextCursor: string | null }
      found.push(...body.data.map(({ id }) => id))
      cursor = body.nextCursor
    }
    return found
  }
  expect(await list('')).toEqual(ids)
  expect(await list('&state=released')).toEqual([ids[1]])
  expect(await list('&state=active')).toEqual(ids.filter((id) => id !== ids[1]))
  const page = await world.request('GET', `${address(organizationId)}?limit=1`)
  const { nextCursor } = page.body as { nextCursor: string }
  for (const query of [`state=active&cursor=${nextCursor}`, 'cursor=x'])
    expect(codeOf(await world.request('GET', `${address(organizationId)}?${query}`))).toBe('cursor_invalid')
  expect(codeOf(await world.request('GET', `${address('org_acme')}?cursor=${nextCursor}`))).toBe(
    'cursor_invalid',
  )
})

test('so many holds are in force at once, and no more', async () => {
  const organizationId = 'org_full'
  await stored().insertMany(
    Array.from({ length: holdLimits.maxActive }, (_, n) => ({
      organizationId,
      holdId: `hold_${String(n)}`,
      releasedAt: null,
      placedAt: new Date(),
    })),
  )
  const answer = await place({ scope: {}, reason: 'r' }, { organizationId })
  expect([answer.status, ...errorsOf(answer)]).toEqual([422, ' too_many'])
})

describe('bad input is refused with its place', () => {
  const identifier = { kind: 'email', value: 'joe@acme.example' }
  test.each<[string, unknown, string]>([
    ['no scope', { reason: 'r' }, 'scope missing'],
    ['no reason', { scope: {} }, 'reason missing'],
    ['an empty reason', { scope: {}, reason: '' }, 'reason too_short'],
    ['a long reason', { scope: {}, reason: 'x'.repeat(2_001) }, 'reason too_long'],
    ['a NUL', { scope: {}, reason: 'a\0b' }, 'reason nul_character'],
    [
      'two names',
      { scope: { subject: unknownSubject, identifier }, reason: 'r' },
      'scope.identifier conflict',
    ],
    ['no reference', { scope: { subject: 'u_17' }, reason: 'r' }, 'scope.subject malformed_value'],
    [
      'another kind',
      { scope: { identifier: { kind: 'phone', value: '1' } }, reason: 'r' },
      'scope.identifier.kind wrong_type',
    ],
    [
      'an id without its type',
      { scope: { identifier: { kind: 'id', value: '1' } }, reason: 'r' },
      'scope.identifier.type missing',
    ],
    ['a bare star', { scope: { action: '*' }, reason: 'r' }, 'scope.action malformed_value'],
    ['no time', { scope: { from: 'yesterday' }, reason: 'r' }, 'scope.from malformed_time'],
    ['no zone', { scope: { to: '2026-01-01T00:00:00' }, reason: 'r' }, 'scope.to no_time_zone'],
    [
      'an end before the beginning',
      { scope: { from: '2026-01-02T00:00:00Z', to: '2026-01-02T00:00:00Z' }, reason: 'r' },
      'scope.to conflict',
    ],
    ['another field', { scope: {}, reason: 'r', until: 'x' }, 'until unknown_field'],
    ['prototypes', '{"scope":{"__proto__":{}},"reason":"r"}', 'scope.__proto__ forbidden_key'],
  ])('%s', async (_, body, expected) => {
    const before = [await counter(), await stored().countDocuments()]
    const answer = await place(body)
    expect(answer.status, answer.text).toBe(422)
    expect(errorsOf(answer)).toContain(expected)
    expect([await counter(), await stored().countDocuments()]).toEqual(before)
  })
})

describe('who may', () => {
  test('owners and privacy officers', async () => {
    for (const role of ['ingest', 'auditor', 'operator'] as const) {
      const key = await world.key({ role, principal })
      expect((await place({ scope: {}, reason: 'r' }, { key })).status, role).toBe(403)
      expect((await world.request('GET', address('org_acme'), { key })).status, role).toBe(403)
      expect((await release(unknownHold, key)).status, role).toBe(403)
    }
  })

  test('of another organization and of none, the answer is the same', async () => {
    const { id } = holdOf(await place({ scope: {}, reason: 'r' }))
    const key = await world.key({ role: 'owner', organizations: ['org_other'] })
    const strip = ({ status, text }: Answer) => [status, text.replace(/"requestId":"[^"]*"/, '')]
    const asks: ((organizationId: string) => Promise<Answer>)[] = [
      (organizationId) => place({ scope: {}, reason: 'r' }, { organizationId, key }),
      (organizationId) => world.request('GET', address(organizationId), { key }),
      (organizationId) => world.request('GET', `${address(organizationId)}/${id}`, { key }),
      (organizationId) => world.request('POST', `${address(organizationId)}/${id}/release`, { key }),
    ]
    for (const ask of asks) {
      const [others, nobodys] = [await ask('org_acme'), await ask('org_nobody')]
      expect(others.status).toBe(404)
      expect(strip(others)).toEqual(strip(nobodys))
    }
    expect((await world.request('GET', `${address('org_other')}/${id}`)).status).toBe(404)
    expect((await world.request('GET', `${address('org_acme')}/${id}`)).body).toMatchObject({
      releasedAt: null,
    })
  })
})
