/** Retiring a target over HTTP: who may, when, and in which words; with a worker whose steps stop where the test says. */
import { afterAll, expect, test } from 'vitest'
import { retirementOutcomes } from '../../src/erasure/contract.js'
import { eventually, failure, openErasureWorld, organizationId, principals } from './erasures-world.js'

const world = await openErasureWorld()
afterAll(() => world.close())
await world.work()

const person = { kind: 'email', value: 'petra.retired@acme.example' }
const reason = 'the bucket was deleted on 3 November, ticket OPS-118'

const reaches = (id: string, state: string) =>
  eventually(
    () => world.show(id),
    (seen) => seen.state === state,
  )

/** A request that has stopped before its fence, for a target that was removed. */
async function stopped(value: string): Promise<string> {
  world.answers.fence = () => {
    throw failure('target_removed', ['crm_mirror'])
  }
  const id = await world.toReview({ identifiers: [{ ...person, value }] })
  expect((await world.post(`/${id}/approve`, {}, { key: world.keys.second })).status).toBe(200)
  const { needsOperator } = await reaches(id, 'needs_operator')
  expect(needsOperator).toMatchObject({
    reason: 'target_removed',
    targets: ['crm_mirror'],
    resumesAt: 'fenced',
  })
  return id
}

const retire = (id: string, changes: object = {}, key = world.keys.second) =>
  world.post(
    `/${id}/attest`,
    { target: 'crm_mirror', statement: reason, outcome: 'destroyed', ...changes },
    { key },
  )

test('another officer retires a target that a request has stopped for, and the request goes on', async () => {
  const id = await stopped(person.value)
  const before = await world.show(id)

  const bySubmitter = await retire(id, {}, world.keys.first)
  expect([bySubmitter.status, bySubmitter.body]).toMatchObject([403, { code: 'four_eyes' }])
  const another = await retire(id, { target: 'hot_events' })
  expect([another.status, another.body]).toMatchObject([409, { code: 'wrong_state' }])
  const unknown = await retire(id, { outcome: 'lost' })
  expect([unknown.status, unknown.body]).toMatchObject([422, { errors: [{ path: 'outcome' }] }])
  for (const statement of [
    `it held ${person.value.toUpperCase()}`,
    'ask mary@other.example',
    'call +49 30 5550188',
  ])
    expect((await retire(id, { statement })).body).toMatchObject({
      code: 'invalid',
      errors: [{ path: 'statement', code: 'personal_data' }],
    })
  expect(await world.show(id), 'a refusal changed something').toEqual(before)

  expect((await retire(id)).status).toBe(200)
  expect(await world.show(id)).toMatchObject({
    state: 'needs_operator',
    attestations: [{ target: 'crm_mirror', principal: principals.second, outcome: 'destroyed', reason }],
  })
  world.answers.fence = () => ({ result: 'fenced' })
  expect((await world.post(`/${id}/retry`, {}, { key: world.keys.operator })).status).toBe(202)
  await reaches(id, 'completed')
  // What was said outlives the request's other words; the event names target and outcome alone.
  expect(await world.show(id)).toMatchObject({ attestations: [{ outcome: 'destroyed', reason }] })
  expect(await world.events(id)).toContain('target_retired')
  const query = `targetType=erasure&targetId=${id}&action=annals.erasure.target_retired`
  const { text } = await world.request('GET', `/v1/organizations/${organizationId}/events?${query}`)
  expect(text).toContain('"target":"crm_mirror"')
  expect(text).not.toContain('OPS-118')
})

test('nothing is retired of a request that has not stopped for it, and a repeat of a retirement counts once', async () => {
  const id = await world.toReview()
  for (const target of ['crm_mirror', 'hot_events', 'log_files'])
    expect((await retire(id, { target })).body).toMatchObject({ code: 'wrong_state' })
  // What is said of it without an outcome retires nothing.
  expect((await world.post(`/${id}/attest`, { target: 'crm_mirror', statement: 'seen to' })).status).toBe(200)
  expect((await world.show(id))['attestations']).toMatchObject([{ target: 'crm_mirror' }])
  expect(JSON.stringify((await world.show(id))['attestations'])).not.toContain('outcome')

  const other = await stopped('piet.retired@acme.example')
  const headers = { 'idempotency-key': 'retire-once' }
  const body = { target: 'crm_mirror', statement: reason, outcome: 'expired' }
  const options = { key: world.keys.second, headers }
  const [one, two] = await Promise.all([
    world.post(`/${other}/attest`, body, options),
    world.post(`/${other}/attest`, body, options),
  ])
  expect([one.status, two.status]).toEqual([200, 200])
  expect((await world.show(other))['attestations']).toHaveLength(1)
  world.answers.fence = () => ({ result: 'fenced' })
})

test('a request that has stopped for what is left in a target retires nothing', async () => {
  world.answers.verify = () => ({ result: 'residue', targets: ['archive_content'] })
  const id = await world.toReview()
  await world.post(`/${id}/approve`, {}, { key: world.keys.second })
  await reaches(id, 'needs_operator')
  for (const outcome of retirementOutcomes)
    expect((await retire(id, { target: 'archive_content', outcome })).body).toMatchObject({
      code: 'wrong_state',
    })
  world.answers.verify = () => ({ result: 'clean' })
})
