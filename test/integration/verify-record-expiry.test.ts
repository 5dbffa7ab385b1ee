/**
 * `annals verify` and records that expired: `expired` only where a sealed event covers them, a policy allowed it, and their
 * content went before. A record that somebody takes away, and every way to dress that up, is found, in the server, with
 * values and without, and in its archive.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { RecordedLeaf } from '../../src/archive/leaves-rewrite.js'
import { recordsPath } from '../../src/archive/segment-paths.js'
import type { JsonObject } from '../../src/events/contract.js'
import type { StoredEvent } from '../../src/events/store.js'
import { neverExpires } from '../../src/retention/policy.js'
import { logCollections } from '../../src/transparency-log/store.js'
import {
  archivedLongAgo,
  clockAt,
  dueToExpire,
  expirerOf,
  expireSegment,
  longAgo,
  onDay,
} from '../support/expiring.js'
import { archiveRange, archiverOf, dueRange } from '../support/retaining.js'
import { accept, drainUntilSealed } from '../support/sealing.js'
import { firstSegment, reportsOf, sayExpired, takeContent, takeRecords } from '../support/taken-away.js'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(async () => {
  await world.close()
})

const author = { principal: 'prn_aaaaaaaaaaaaaaaaaaaaaaaaaa', requestId: 'req_1' }
const yearAgo = new Date(Date.now() - 400 * 86_400_000)
/** The database says when a policy began, and the default counts for seven days more. */
const later = new Date(Date.now() + 8 * 86_400_000)

async function policyOf(
  organizationId: string,
  recordDays: number | null,
  { archiveDays = 2_555, day = longAgo } = {},
) {
  await onDay(day, async () => {
    const { core } = world.api
    await core.eventOrganizations.ensure(organizationId, 'system')
    const days = { hotDays: 1, archiveDays, recordDays }
    await core.retention.policies.put(organizationId, days, author)
  })
}

async function expireNext(organizationId: string, now = later) {
  const input = await dueToExpire(world, organizationId, now)
  if (input === undefined) throw new Error('nothing is due')
  await expireSegment(world, expirerOf(world, { clock: clockAt(now) }), input)
  await drainUntilSealed(world.api.core, organizationId)
  return input.kind
}

/** What verifying says: how many have expired, and which leaves are missing. */
async function verified(organizationId: string) {
  const whole = await reportsOf(world, organizationId, true)
  const records = await reportsOf(world, organizationId, false)
  const said = (report: typeof whole.server | typeof whole.archive) => ({
    expired: report.expired,
    records: report.expiredRecords,
    missing: report.findings.map(({ code }) => code),
  })
  return {
    server: said(whole.server),
    serverRecords: said(records.server),
    archive: said(whole.archive),
    archiveRecords: said(records.archive),
  }
}

const honest = (expired: number, records: number) => ({
  server: { expired, records, missing: [] },
  serverRecords: { expired: 0, records, missing: [] },
  archive: { expired, records, missing: [] },
  archiveRecords: { expired: 0, records, missing: [] },
})

test('records that expired are said to have, by the server and by the archive alone, and the tree holds', async () => {
  const organizationId = 'org_honest'
  await policyOf(organizationId, 2_555)
  await archivedLongAgo(world, organizationId, 300)
  expect(await verified(organizationId)).toEqual(honest(0, 0))
  expect(await expireNext(organizationId)).toBe('content')
  expect(await verified(organizationId)).toEqual(honest(300, 0))
  const input = await dueToExpire(world, organizationId, later)
  if (input === undefined) throw new Error('nothing is due')
  await expirerOf(world, { clock: clockAt(later) }).rewrite(input)
  // It is not sealed yet, and nothing has gone: the archive alone has all of it.
  expect((await verified(organizationId)).archive).toEqual(honest(300, 0).archive)
  expect(await expireNext(organizationId)).toBe('records')
  expect(await verified(organizationId)).toEqual(honest(300, 300))
})

test('records of two segments in one tile go one after the other, and what a hold kept goes after its release', async () => {
  const organizationId = 'org_segments'
  const { core } = world.api
  await policyOf(organizationId, 2_555)
  const [, held = ''] = await onDay(longAgo, async () => {
    const accepted = await accept(core, organizationId, 6)
    await drainUntilSealed(core, organizationId)
    return accepted.map(({ id }) => id)
  })
  for (let range; (range = await dueRange(world, organizationId, new Date(), 4)) !== undefined;)
    await archiveRange(archiverOf(world), range)
  const { holds } = core.retention
  const { body } = await world.request('GET', `/v1/organizations/${organizationId}/events/${held}`)
  const { subject } = (body as { actor: { subject: string } }).actor
  const { hold } = await holds.place(organizationId, { scope: { subject }, reason: 'a case' }, author)
  // In a month: it was there before the content went, and covers no other record than its own.
  const month = new Date(later.getTime() + 30 * 86_400_000)
  const kinds = []
  for (let step = 0; step < 4; step += 1) kinds.push(await expireNext(organizationId, month))
  expect(kinds).toEqual(['content', 'content', 'records', 'records'])
  expect(await dueToExpire(world, organizationId, month)).toBeUndefined()
  expect(await verified(organizationId)).toEqual(honest(5, 5))
  await holds.release(organizationId, hold.id, author)
  expect([await expireNext(organizationId, month), await expireNext(organizationId, month)]).toEqual([
    'content',
    'records',
  ])
  expect(await dueToExpire(world, organizationId, month)).toBeUndefined()
  expect(await verified(organizationId)).toEqual(honest(6, 6))
})

/** Says that records expired, and by the policies that there are. */
async function dressUp(organizationId: string, metadata: JsonObject, sealed: boolean) {
  const policies = await world.api.core.retention.policies.counting(organizationId, later)
  const policyEventIds = policies.flatMap(({ eventId }) => eventId ?? [])
  await sayExpired(world, organizationId, 'records', metadata, { sealed, policyEventIds })
}

const ordinary = ({ record }: RecordedLeaf) =>
  !neverExpires((JSON.parse(record) as { action: string }).action)

type Segment = Awaited<ReturnType<typeof firstSegment>>
const statement = (
  { to, sealedTo, records }: Segment,
  expired: number,
  more: JsonObject = {},
): JsonObject => ({
  ...{ kind: 'records', generation: 1, from: 0, to, expired, held: 0, kept: 0 },
  ...{ sealedTo: sealedTo.toISOString(), recordsManifest: records.manifestSha256 },
  ...{ policy: 1, recordDays: 2_555, ...more },
})

interface Attack {
  readonly day?: Date
  readonly recordDays?: number | null
  readonly archiveDays?: number
  /** Content that goes without a word. */
  readonly content?: (event: StoredEvent) => boolean
  /** Absent = content has expired as it should. */
  readonly contentStays?: true
  readonly goes?: (leaf: RecordedLeaf) => boolean
  readonly say?: (segment: Segment, expired: number) => JsonObject
  readonly sealed?: boolean
}

const attacks: Record<string, Attack> = {
  'a record that goes without a word': { goes: ({ index }) => index === 4 },
  'records that go without a word': {},
  'records that go behind a word that was never sealed': { say: statement, sealed: false },
  'records that go years before their time, behind a sealed event': {
    day: yearAgo,
    archiveDays: 100,
    say: statement,
  },
  'records that go years before their time, said to be older than they are': {
    day: yearAgo,
    archiveDays: 100,
    say: (segment, expired) => statement(segment, expired, { sealedTo: longAgo.toISOString() }),
  },
  'records that go behind an event that claims a shorter policy than there is': {
    recordDays: 3_650,
    say: (segment, expired) => statement(segment, expired, { recordDays: 1 }),
  },
  'records that a policy keeps for ever': { recordDays: null, say: statement },
  'records that go behind an event that names a policy that never was': {
    say: (segment, expired) => statement(segment, expired, { policy: 7, recordDays: 1 }),
  },
  'more records than were said to go': { say: (segment, expired) => statement(segment, expired - 1) },
  'records of another range than was said': {
    say: (segment, expired) => statement({ ...segment, to: segment.to - 3 }, expired),
  },
  'records of another segment than was said': {
    say: (segment, expired) => statement(segment, expired, { recordsManifest: '0'.repeat(64) }),
  },
  'records that go behind an event that speaks of content': {
    say: (segment, expired) =>
      statement(segment, expired, { kind: 'content', archiveDays: 2_555, damaged: 0 }),
  },
  'records whose content was not said to go': {
    contentStays: true,
    content: ({ action }) => !neverExpires(action),
    say: statement,
  },
  'what never expires, behind a sealed event': {
    content: () => true,
    goes: () => true,
    say: statement,
  },
}

test.each(Object.entries(attacks))('%s is found', async (name, attack) => {
  const { day = longAgo, recordDays = 2_555, goes = ordinary, say, sealed = true } = attack
  const organizationId = `org_${String(Object.keys(attacks).indexOf(name))}`
  await policyOf(organizationId, recordDays, { day, archiveDays: attack.archiveDays ?? 2_555 })
  await archivedLongAgo(world, organizationId, 5, day)
  if (attack.contentStays !== true) expect(await expireNext(organizationId)).toBe('content')
  if (attack.content !== undefined) await takeContent(world, organizationId, attack.content)
  const segment = await firstSegment(world, organizationId)
  const expired = await takeRecords(world, organizationId, goes)
  if (say !== undefined) await dressUp(organizationId, say(segment, expired), sealed)
  const { server, archive, serverRecords, archiveRecords } = await verified(organizationId)
  expect(server.missing.length, 'the server').toBeGreaterThan(0)
  expect(archive.missing.length, 'the archive').toBeGreaterThan(0)
  // Who reads no values cannot say whether content went first.
  if (attack.content !== undefined) return
  expect(serverRecords.missing, 'the records of the server').toContain('record_missing')
  expect(archiveRecords.missing, 'the records of the archive').toContain('record_missing')
})

test('the same words that are true are taken: a false alarm would be one too', async () => {
  const organizationId = 'org_true'
  await policyOf(organizationId, 2_555)
  await archivedLongAgo(world, organizationId, 5)
  await expireNext(organizationId)
  const segment = await firstSegment(world, organizationId)
  const expired = await takeRecords(world, organizationId, ordinary)
  await dressUp(organizationId, statement(segment, expired), true)
  expect(await verified(organizationId)).toEqual(honest(5, 5))
})

test('a records file that is deleted by hand is missing by its name', async () => {
  const organizationId = 'org_by_hand'
  await archivedLongAgo(world, organizationId, 5)
  const segment = await firstSegment(world, organizationId)
  // Nothing of it is hot any more.
  await logCollections(world.api.core.db).entries.updateMany(
    { organizationId },
    { $set: { 'records.2': '' } },
  )
  await world.api.core.archive.delete(recordsPath(segment))
  const { server, archive } = await verified(organizationId)
  expect(archive.missing).toContain('object_missing')
  expect(server.missing).toContain('record_missing')
})
