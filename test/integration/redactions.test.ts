/** Single fields removed on the word of two officers: over HTTP, carried out by real workers. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { RedactionView } from '../../src/redaction/schema.js'
import { buildWorkflowBundle } from '../../workers/bundle.js'
import type { RunningWorkers } from '../../workers/main.js'
import { silent, startErasureWorkers } from '../support/erasure-workers.js'
import {
  firstOfficer,
  jane,
  redactionDesk,
  secondOfficer,
  secret,
  type RedactionDesk,
} from '../support/redacting.js'
import { openWorld, type World } from '../support/world.js'

let world: World
let workers: RunningWorkers
let desk: RedactionDesk

beforeAll(async () => {
  await buildWorkflowBundle()
  const namespace = `redactions-${randomBytes(6).toString('hex')}`
  world = await openWorld({ temporal: true, environment: { ANNALS_TEMPORAL_NAMESPACE: namespace } })
  const { core } = world.api
  desk = await redactionDesk(world, ['org_redacted', 'org_input'])
  const redacting = { redactor: core.redactions.redactor, logger: silent }
  workers = await startErasureWorkers(world, { deps: { redacting } })
})
afterAll(async () => {
  await workers.stop()
  await world.close()
})
test('a secret in a description goes on the word of two officers, and every proof still holds', async () => {
  const organization = 'org_redacted'
  const { core } = world.api
  const value = secret()
  const id = await desk.post(
    organization,
    {
      actor: jane,
      targets: [jane],
      description: `password ${value}`,
      metadata: { plan: 'pro', token: value, 'a.b': 'stays' },
      context: { requestId: 'req_1' },
    },
    { 'idempotency-key': 'first' },
  )
  const stays = await desk.post(organization, { description: 'nothing to see', actor: jane })
  expect(await desk.rawHits(value)).toEqual(['events'])
  const requested = await desk.asked(organization, {
    fields: [
      { eventId: id, path: 'description' },
      { eventId: id, path: 'metadata.token' },
      { eventId: id, slot: 'target/0' },
    ],
    reason: 'a password was pasted',
  })
  expect(requested).toMatchObject({
    state: 'requested',
    submitter: firstOfficer,
    approver: null,
    eventId: null,
  })
  expect(requested.fields.map(({ slot }) => slot)).toEqual(['description', 'metadata/2', 'target/0'])

  const answer = await desk.approve(organization, requested.id)
  expect(answer.status, answer.text).toBe(200)
  await expect
    .poll(async () => (await desk.show(organization, requested.id)).state, { timeout: 30_000 })
    .toBe('redacted')
  const done = await desk.show(organization, requested.id)
  expect(await desk.rawHits(value)).toEqual([])
  const event = await world.request('GET', `/v1/organizations/${organization}/events/${id}`)
  expect(event.body).toMatchObject({
    actor: jane,
    targets: [{ type: 'user', redacted: true }],
    metadata: { plan: 'pro', 'a.b': 'stays' },
    context: { requestId: 'req_1' },
  })
  expect(event.text).not.toContain('description')
  const found = await world.request(
    'GET',
    `/v1/organizations/${organization}/events?metadata.token=${encodeURIComponent(value)}`,
  )
  expect(found.body).toMatchObject({ data: [] })
  const said = await world.request('GET', `/v1/organizations/${organization}/events/${done.eventId ?? ''}`)
  expect(said.body).toMatchObject({
    action: 'annals.field.redacted',
    metadata: { submitter: firstOfficer, approver: secondOfficer, manifest: done.manifest, fields: 3 },
  })
  const report = await desk.verify(organization)
  expect(report.findings).toEqual([])
  expect(report.fields).toMatchObject({ erased: 3, missing: 0 })
  const other = await world.request('GET', `/v1/organizations/${organization}/events/${stays}`)
  expect(other.body).toMatchObject({ description: 'nothing to see', actor: jane })
  expect(world.logs()).not.toContain(value)
  // The approver's own repeat changes nothing.
  expect((await desk.approve(organization, requested.id)).body).toEqual(
    await desk.show(organization, requested.id),
  )
  const list = await world.request('GET', `/v1/organizations/${organization}/redactions?limit=1`, {
    key: desk.officers[1],
  })
  expect(list.body).toMatchObject({ data: [{ id: requested.id, state: 'redacted' }], nextCursor: null })
  const stored = await core.events.findOne({ _id: `${organization}/${id}` })
  expect(stored).not.toHaveProperty('fingerprint')
  // What is gone cannot be asked for again.
  const again = await desk.ask(organization, {
    fields: [{ eventId: id, slot: 'description' }],
    reason: 'again',
  })
  expect([again.status, (again.body as { code: string }).code]).toEqual([409, 'wrong_state'])
})

test('bad input, wrong roles, one pair of eyes and unknown ids change nothing', async () => {
  const organization = 'org_input'
  const eventId = await desk.post(organization, { description: secret(), metadata: { a: 1 } })
  const foreign = await desk.post('org_redacted', { description: secret() })
  const good = { fields: [{ eventId, slot: 'description' }], reason: 'a test' }
  const code = (answer: { body: unknown }) => (answer.body as { code: string }).code
  const places = async (body: unknown) => {
    const answer = await desk.ask(organization, body)
    expect(answer.status, answer.text).toBe(422)
    return (answer.body as { errors: { path: string; code: string }[] }).errors.map(
      (one) => `${one.path} ${one.code}`,
    )
  }
  expect(await places({})).toEqual(['fields missing', 'reason missing'])
  expect(await places({ ...good, fields: [] })).toEqual(['fields too_few'])
  expect(await places({ ...good, fields: Array.from({ length: 101 }, () => good.fields[0]) })).toEqual([
    'fields too_many',
  ])
  expect(await places({ ...good, extra: 1 })).toEqual(['extra unknown_field'])
  expect(await places({ ...good, reason: '' })).toEqual(['reason too_short'])
  expect(await places({ ...good, fields: [{ eventId: 'evt_no', slot: 'description' }] })).toEqual([
    'fields[0].eventId malformed_id',
  ])
  for (const slot of ['actor/subject', 'metadata/x', 'target/01', '__proto__'])
    expect(await places({ ...good, fields: [{ eventId, slot }] }), slot).toEqual([
      'fields[0].slot malformed_value',
    ])
  for (const one of [{ eventId, slot: 'description', path: 'description' }, { eventId }])
    expect(await places({ ...good, fields: [one] })).toEqual(['fields[0] conflict'])
  for (const one of [{ slot: 'target/7' }, { slot: 'metadata/1' }])
    expect(await places({ ...good, fields: [{ eventId, ...one }] })).toEqual(['fields[0].slot not_allowed'])
  for (const path of ['actor.name', 'metadata.b', 'targets[0]', 'metadata', 'actor/subject'])
    expect(await places({ ...good, fields: [{ eventId, path }] }), path).toEqual([
      'fields[0].path not_allowed',
    ])
  const own = await world.api.core.events.findOne({ organizationId: organization, category: 'system' })
  const ownId = (own?._id ?? '').slice(organization.length + 1)
  expect(await places({ ...good, fields: [{ eventId: ownId, slot: 'actor' }] })).toEqual([
    'fields[0].eventId reserved_category',
  ])
  expect((await desk.ask(organization, '{')).status).toBe(400)

  const nowhere = await desk.ask('org_none', good)
  for (const answer of [
    await desk.ask(organization, { ...good, fields: [{ eventId: foreign, slot: 'description' }] }),
    await desk.ask(organization, {
      ...good,
      fields: [{ eventId: 'evt_01h455vb4pex5vsknk084sn02q', slot: 'actor' }],
    }),
    await desk.approve(organization, 'redaction_01h455vb4pex5vsknk084sn02q'),
    await desk.approve(organization, 'redaction_1'),
    await desk.approve('org_none', 'redaction_01h455vb4pex5vsknk084sn02q'),
  ]) {
    expect(answer.status).toBe(404)
    const { requestId: _a, ...body } = answer.body as Record<string, unknown>
    const { requestId: _b, ...expected } = nowhere.body as Record<string, unknown>
    expect(body).toEqual(expected)
  }

  for (const role of ['owner', 'ingest', 'auditor', 'operator'] as const) {
    const key = await world.key({ role, principal: 'prn_01jd2zq8w9e5cs0v1m6k3n7p4t' })
    expect(code(await desk.ask(organization, good, key)), role).toBe('forbidden')
    expect(code(await desk.approve(organization, 'redaction_01h455vb4pex5vsknk084sn02q', key)), role).toBe(
      'forbidden',
    )
    const reads = await world.request('GET', `/v1/organizations/${organization}/redactions`, { key })
    expect(reads.status, role).toBe(role === 'owner' ? 200 : 403)
  }

  const headers = { 'idempotency-key': 'one' }
  const [one, same] = await Promise.all([
    desk.ask(organization, good, desk.officers[0], headers),
    desk.ask(organization, good, desk.officers[0], headers),
  ])
  expect([one.status, same.status]).toEqual([202, 202])
  const { id } = one.body as RedactionView
  expect(same.body).toEqual(one.body)
  expect(code(await desk.ask(organization, { ...good, reason: 'another' }, desk.officers[0], headers))).toBe(
    'idempotency_conflict',
  )
  expect(code(await desk.approve(organization, id, desk.officers[0]))).toBe('four_eyes')
  // Another key of the same person is no other person.
  const sameEyes = await world.key({ role: 'privacy_officer', principal: firstOfficer })
  expect(code(await desk.approve(organization, id, sameEyes))).toBe('four_eyes')
  const third = await world.key({ role: 'privacy_officer', principal: 'prn_01jd2zq8w9e5cs0v1m6k3n7p4v' })
  const approvals = await Promise.all([desk.approve(organization, id), desk.approve(organization, id, third)])
  expect(approvals.map(({ status }) => status).sort()).toEqual([200, 409])
  await expect
    .poll(async () => (await desk.show(organization, id)).state, { timeout: 30_000 })
    .toBe('redacted')
  expect(
    await world.api.core.events.countDocuments({
      organizationId: organization,
      action: 'annals.field.redacted',
    }),
  ).toBe(1)
})
