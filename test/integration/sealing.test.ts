import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { AnnalsError } from '../../src/errors.js'
import { protectEvent } from '../../src/events/protect.js'
import { eventDocumentId } from '../../src/events/store.js'
import { rotateSigningKey } from '../../src/operations/rotate-signing-key.js'
import { parseNote } from '../../src/transparency-log/note.js'
import { logCollections, tileDocumentId } from '../../src/transparency-log/store.js'
import { sealingOf } from '../support/anchoring.js'
import { createLogOracle, type Acknowledged, type LogOracle } from '../support/log-oracle.js'
import { accept, drainAll, openSealingWorld, personEvent } from '../support/sealing.js'
import type { World } from '../support/world.js'

let world: World
let oracle: LogOracle
let acknowledged: Acknowledged[]
let organizationId: string
let numbered = 0

beforeAll(async () => {
  world = await openSealingWorld({ unsearchable: 'rows are edited by hand' })
})
afterAll(() => world.close())
beforeEach(() => {
  acknowledged = []
  numbered += 1
  organizationId = `org_seal_${String(numbered)}`
  oracle = createLogOracle(world.api.core, [organizationId])
})

const core = () => world.api.core
const acceptEvents = async (count: number, organization = organizationId) => {
  const events = await accept(core(), organization, count)
  acknowledged.push(...events)
  return events
}
const alarms = () => Object.fromEntries(core().sealing.alarms.counts())

test('accepted events are sealed once, in the order of receipt, with a checkpoint that verifies', async () => {
  await acceptEvents(3)
  await drainAll(core())
  const first = await core().sealing.store.head(organizationId)
  // The organization's own creation is its first event.
  expect(first).toMatchObject({ generation: 1, size: 4 })
  await acceptEvents(300)
  await drainAll(core())
  expect(await core().sealing.store.head(organizationId)).toMatchObject({ size: 304, logId: first?.logId })
  expect(await oracle.findings(acknowledged)).toEqual([])
  const leaves = await core().sealing.store.leaves(organizationId, 1, 0)
  expect(leaves?.slice(1, 4).map(({ eventId }) => eventId)).toEqual(
    acknowledged.slice(0, 3).map(({ id }) => id),
  )
})

test('a drain of nothing changes nothing', async () => {
  await acceptEvents(1)
  await drainAll(core())
  const head = await core().sealing.store.head(organizationId)
  expect(await core().sealing.sealer.drainOrganization(organizationId)).toMatchObject({
    sealed: 0,
    drained: true,
  })
  expect(await core().sealing.store.head(organizationId)).toEqual(head)
})

test('more than several batches are sealed, across tiles of the second level', async () => {
  const { sealer, store } = core().sealing
  await acceptEvents(3_000)
  expect(await sealer.drainOrganization(organizationId, { maxBatches: 2 })).toMatchObject({
    sealed: 2_048,
    drained: false,
  })
  expect(await oracle.findings([])).toEqual(['953 events are still pending'])
  await drainAll(core())
  expect(await store.head(organizationId)).toMatchObject({ size: 3_001 })
  expect(await oracle.findings(acknowledged)).toEqual([])
})

test('where an event is, is known for ever: also when event and record are gone', async () => {
  const [event] = await acceptEvents(1)
  if (event === undefined) throw new Error('no event')
  await drainAll(core())
  await core().events.deleteOne({ _id: eventDocumentId(organizationId, event.id) })
  await logCollections(core().db).entries.deleteMany({ organizationId })
  const { store } = core().sealing
  const location = await store.locate(organizationId, event.id)
  expect(location).toMatchObject({ generation: 1, index: 1 })
  expect(Buffer.from(location?.leafHash ?? []).equals(event.leafHash)).toBe(true)
  expect(await store.locate('org_other', event.id)).toBeUndefined()
  await logCollections(core().db).heads.deleteMany({ organizationId })
  await logCollections(core().db).tiles.deleteMany({ organizationId })
})

test('a repeat of an event that left the hot store is answered from the log, and stores nothing', async () => {
  const organization = await core().eventOrganizations.ensure(organizationId, 'system')
  const submission = { event: personEvent(organizationId, 1), idempotencyKey: 'k1', size: 1_024 }
  const first = await core().intake.submit(submission, organization)
  acknowledged.push(first)
  await drainAll(core())
  expect(await core().intake.submit(submission, organization)).toEqual({ ...first, replayed: true })
  const changed = { ...submission, event: personEvent(organizationId, 2) }
  await expect(core().intake.submit(changed, organization)).rejects.toMatchObject({
    code: 'idempotency_conflict',
  })
  await core().events.deleteOne({ _id: eventDocumentId(organizationId, first.id) })
  const many = await Promise.all([submission, changed].map((one) => core().intake.submit(one, organization)))
  for (const answer of many) expect(answer).toEqual({ ...first, replayed: true })
  expect(await core().events.countDocuments({ _id: eventDocumentId(organizationId, first.id) })).toBe(0)
  expect(await oracle.findings(acknowledged)).toEqual([])
})

test('two sealers at once seal every event once', async () => {
  await acceptEvents(2_000)
  const { sealer } = core().sealing
  const results = await Promise.all([1, 2, 3].map(() => sealer.drainOrganization(organizationId)))
  await drainAll(core())
  expect(results.reduce((sum, { sealed }) => sum + sealed, 0)).toBeLessThanOrEqual(2_001)
  expect(await oracle.findings(acknowledged)).toEqual([])
})

test('an event that was edited while pending is sealed by its acknowledged leaf, and the log says so', async () => {
  const [edited, removed, garbled, whole] = await acceptEvents(4)
  if (edited === undefined || removed === undefined || garbled === undefined) throw new Error('no events')
  const { events } = core()
  const before = alarms()['event_damaged'] ?? 0
  await events.updateOne(
    { _id: eventDocumentId(organizationId, edited.id), 'fields.slot': 'actor' },
    { $set: { action: 'something.else' } },
  )
  await events.updateOne({ _id: eventDocumentId(organizationId, removed.id) }, { $pop: { fields: 1 } })
  await events.updateOne({ _id: eventDocumentId(organizationId, garbled.id) }, { $unset: { occurredAt: '' } })
  await drainAll(core())
  const damaged = new Set([edited.id, removed.id, garbled.id])
  expect(await oracle.findings(acknowledged, damaged)).toEqual([])
  expect(alarms()['event_damaged']).toBe(before + 3)
  const noted = await events.find({ organizationId, action: 'annals.log.event_damaged' }).toArray()
  const targets = noted.map(
    ({ fields }) => fields.flatMap((field) => ('value' in field ? [field.value] : []))[1],
  )
  expect(targets.sort()).toEqual([...damaged].map((id) => JSON.stringify({ id })).sort())
  expect(
    (await core().sealing.store.records(organizationId, 1, 0))?.filter((record) => record === ''),
  ).toHaveLength(3)
  expect(whole).toBeDefined()
})

test('a row without a MAC of intake is never sealed, waits no more, and raises an alarm', async () => {
  const [genuine] = await acceptEvents(2)
  const { events } = core()
  const row = await events.findOne(
    { _id: eventDocumentId(organizationId, genuine?.id ?? '') },
    { useBigInt64: true },
  )
  if (row === null) throw new Error('no row')
  const forged = 'evt_01h455vb4pex5vsknk084sn02q'
  const { mac: _mac, ...withoutMac } = row
  await events.insertMany([
    { ...row, _id: eventDocumentId(organizationId, forged) },
    { ...withoutMac, _id: eventDocumentId(organizationId, 'evt_01h455vb4pex5vsknk084sn02r') } as typeof row,
    { ...row, _id: `org_elsewhere/${genuine?.id ?? ''}` },
    { ...row, _id: eventDocumentId('org_nobody', forged), organizationId: 'org_nobody' },
  ])
  const before = alarms()
  await drainAll(core())
  expect(await oracle.findings(acknowledged)).toEqual([])
  expect(alarms()['invalid_mac']).toBe((before['invalid_mac'] ?? 0) + 3)
  expect(alarms()['unknown_organization']).toBe((before['unknown_organization'] ?? 0) + 1)
  expect(await events.countDocuments({ setAside: { $exists: true }, pending: { $exists: false } })).toBe(4)
  expect(world.logs()).toContain('log.alarm')
  await events.deleteMany({ setAside: { $exists: true } })
})

test('an organization that is provisioned while a drain asks for it loses none of its first events', async () => {
  const organizations = core().eventOrganizations
  let asked = 0
  const require = async (id: string) => {
    asked += 1
    if (asked > 1) return organizations.require(id)
    await acceptEvents(2)
    throw new AnnalsError('not_found', 'There is no such organization.')
  }
  const late = sealingOf(world, { core: { ...core(), eventOrganizations: { ...organizations, require } } })
  expect(await late.sealer.drainOrganization(organizationId)).toMatchObject({ setAside: 0, drained: false })
  expect(await late.sealer.drainOrganization(organizationId)).toMatchObject({ sealed: 3, drained: true })
  expect(await oracle.findings(acknowledged)).toEqual([])
})

test('an event that was made pending again is not sealed a second time, nor is another under its id', async () => {
  const [again, replaced] = await acceptEvents(2)
  if (again === undefined || replaced === undefined) throw new Error('no events')
  const { events } = core()
  await drainAll(core())
  const size = (await core().sealing.store.head(organizationId))?.size
  await events.updateOne({ _id: eventDocumentId(organizationId, again.id) }, { $set: { pending: true } })
  // An accepted event under an id that the log knows: what an archive that was just emptied would let in.
  await events.deleteOne({ _id: eventDocumentId(organizationId, replaced.id) })
  const organization = await core().eventOrganizations.require(organizationId)
  const event = { ...personEvent(organizationId, 7), actor: { type: 'service', id: 'billing' } }
  const search = organization.detection.detector.begin()
  const options = { id: replaced.id, receivedAt: new Date(), fingerprint: false, search }
  await events.insertOne(
    protectEvent(event, { actor: undefined, targets: [undefined] }, organization.keyset, options),
  )
  const later = await acceptEvents(1)
  await drainAll(core())
  expect((await core().sealing.store.head(organizationId))?.size).toBe((size ?? 0) + later.length)
  expect(await events.findOne({ _id: eventDocumentId(organizationId, replaced.id) })).toMatchObject({
    setAside: 'already_sealed',
  })
  await events.deleteOne({ _id: eventDocumentId(organizationId, replaced.id) })
  expect(await oracle.findings(acknowledged)).toEqual([])
})

test('events of a fenced subject wait, and are sealed by the drain of its erasure alone', async () => {
  const [fenced, other] = await acceptEvents(2)
  if (fenced === undefined || other === undefined) throw new Error('no events')
  const { db, events, sealing } = core()
  const row = await events.findOne({ _id: eventDocumentId(organizationId, fenced.id) })
  const subject = row?.fields.flatMap((field) => ('subject' in field ? [field.subject] : []))[0] ?? ''
  const subjects = db.collection<{ _id: string; state: string }>('subjects')
  await subjects.updateOne({ _id: `${organizationId}/${subject}` }, { $set: { state: 'fenced' } })
  expect(await sealing.sealer.drainOrganization(organizationId)).toMatchObject({ sealed: 2, skipped: 1 })
  expect(await sealing.sealer.drainOrganization(organizationId)).toMatchObject({ sealed: 0, skipped: 1 })
  const result = await sealing.sealer.drainOrganization(organizationId, { alsoSubjects: new Set([subject]) })
  expect(result).toMatchObject({ sealed: 1, skipped: 0 })
  expect(await oracle.findings(acknowledged)).toEqual([])
})

test('what nobody relies on is removed under an erased subject, and what was answered is not', async () => {
  const [abandoned, answered] = await acceptEvents(2)
  if (abandoned === undefined || answered === undefined) throw new Error('no events')
  const { db, events, sealing } = core()
  const old = new Date(Date.now() - 120_000)
  for (const { id } of [abandoned, answered]) {
    const _id = eventDocumentId(organizationId, id)
    const row = await events.findOne({ _id })
    const references = row?.fields.flatMap((field) => ('subject' in field ? [field.subject] : [])) ?? []
    const ids = references.map((reference) => `${organizationId}/${reference}`)
    await db
      .collection<{ _id: string; state: string }>('subjects')
      .updateMany({ _id: { $in: ids } }, { $set: { state: 'erased' } })
    await events.updateOne({ _id }, { $set: { receivedAt: old } })
  }
  await events.updateOne({ _id: eventDocumentId(organizationId, answered.id) }, { $set: { answered: true } })
  await sealing.sealer.drainOrganization(organizationId)
  const left = await events.find({ organizationId, pending: true }).toArray()
  expect(left.map(({ _id }) => _id)).toEqual([eventDocumentId(organizationId, answered.id)])
  await events.deleteMany({ organizationId, pending: true })
})

test('who waits is answered by a skip scan, and accepted events that nobody seals show in the figures', async () => {
  await acceptEvents(1_000)
  const { pending } = core().sealing
  expect(await pending.count()).toBe(1_001)
  await new Promise((resolve) => setTimeout(resolve, 150))
  expect(await pending.lagSeconds()).toBeGreaterThan(0.1)
  const answer = await world.request('GET', '/metrics')
  expect(answer.text).toMatch(/^annals_pending_events 1001$/m)
  expect(answer.text).toMatch(/^annals_seal_lag_seconds (0\.\d+|[1-9])/m)
  await core().db.command({ profile: 2 })
  await new Promise((resolve) => setTimeout(resolve, 150))
  expect((await pending.organizations()).map((waiting) => waiting.organizationId)).toEqual([organizationId])
  const looked = await core().db.collection('system.profile').findOne({ 'command.aggregate': 'events' })
  await core().db.command({ profile: 0 })
  expect(looked?.['docsExamined']).toBe(0)
  expect(looked?.['planSummary']).toContain('DISTINCT_SCAN')
  await drainAll(core())
  expect(await pending.count()).toBe(0)
})

test('a tile that was edited is never signed over, and stops no other organization', async () => {
  await acceptEvents(5)
  await drainAll(core())
  const { tiles } = logCollections(core().db)
  const _id = tileDocumentId(organizationId, 1, 0, 0)
  const tile = await tiles.findOne({ _id })
  const forged = Buffer.from(tile?.hashes ?? [])
  forged.writeUInt8(forged.readUInt8(40) ^ 1, 40)
  await tiles.updateOne({ _id }, { $set: { hashes: forged } })
  await acceptEvents(1)
  await expect(core().sealing.sealer.drainOrganization(organizationId)).rejects.toMatchObject({
    code: 'tile_mismatch',
  })
  await tiles.updateOne({ _id }, { $set: { hashes: tile?.hashes ?? forged } })
  await drainAll(core())
  expect(await oracle.findings(acknowledged)).toEqual([])
})

test('a head that was set back refuses to seal, whatever tiles are still there', async () => {
  await acceptEvents(2)
  await drainAll(core())
  const { heads } = logCollections(core().db)
  const old = await heads.findOne({ _id: organizationId })
  await acceptEvents(1)
  await drainAll(core())
  const head = await heads.findOne({ _id: organizationId })
  if (old === null || head === null) throw new Error('no head')
  await heads.replaceOne({ _id: organizationId }, old)
  await acceptEvents(1)
  await expect(core().sealing.sealer.drainOrganization(organizationId)).rejects.toMatchObject({
    code: 'rolled_back',
  })
  await heads.replaceOne({ _id: organizationId }, head)
  await drainAll(core())
  expect(await oracle.findings(acknowledged)).toEqual([])
})

test('after a rotation checkpoints carry both signatures for a while, and both keys verify', async () => {
  await acceptEvents(1)
  await drainAll(core())
  const number = await rotateSigningKey(core(), { purpose: 'checkpoint', overlapMs: 3_600_000 })
  await acceptEvents(1)
  await drainAll(core())
  const head = await core().sealing.store.head(organizationId)
  expect(parseNote(head?.checkpoint ?? '').signatures).toHaveLength(2)
  expect(await oracle.findings(acknowledged)).toEqual([])
  await rotateSigningKey(core(), { purpose: 'checkpoint', overlapMs: 0 })
  await acceptEvents(1)
  await drainAll(core())
  const { keys, store } = core().sealing
  const origin = keys.origin(organizationId, 1)
  const newest = (await keys.verifierKeys(origin)).map(({ keyId }) => keyId)
  expect(newest).toHaveLength(number + 1)
  const signed = parseNote((await store.head(organizationId))?.checkpoint ?? '').signatures.map(
    ({ keyId }) => keyId,
  )
  // The first key still signs along: its hour is not over. The second had none.
  expect(signed).toEqual([newest[0], newest[2]])
  expect(await core().events.countDocuments({ action: 'annals.log.key_rotated' })).toBe(2)
})
