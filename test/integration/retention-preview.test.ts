import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { collectionNames } from '../../src/mongo/collections.js'
import { createLeafTimes } from '../../src/retention/leaf-times.js'
import {
  createLogStore,
  logCollections,
  tileDocumentId,
  type LogTileDocument,
  type Sealing,
} from '../../src/transparency-log/store.js'
import type { SegmentDocument } from '../../src/archive/contract.js'
import { accept, drainUntilSealed } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'

let world: World
const principal = 'prn_01h455vb4pex5vsknk084sn02q'
const day = 86_400_000
const tiles = () => world.api.core.db.collection<LogTileDocument>(collectionNames.logTiles)

beforeAll(async () => {
  world = await openWorld()
  for (const id of ['org_acme', 'org_empty']) await world.request('PUT', `/v1/organizations/${id}`)
})
afterAll(() => world.close())

test('how many leaves were sealed by a moment is found by halving, whatever the tiles hold', async () => {
  const start = Date.parse('2026-01-01T00:00:00Z')
  const organizationId = 'org_times'
  // 40 tiles, the last of 77 leaves; times stand still for whole tiles, and step within others.
  const moments: number[] = []
  for (let leaf = 0; leaf < 39 * 256 + 77; leaf += 1)
    moments.push(start + Math.floor(leaf / 700) * 1_000 + (leaf % 3_000 > 2_900 ? 500 : 0))
  moments.sort((a, b) => a - b)
  for (let index = 0; index * 256 < moments.length; index += 1) {
    const sealings: { at: Date; count: number }[] = []
    for (const ms of moments.slice(index * 256, index * 256 + 256)) {
      const last = sealings.at(-1)
      if (last?.at.getTime() === ms) last.count += 1
      else sealings.push({ at: new Date(ms), count: 1 })
    }
    await tiles().insertOne({
      _id: tileDocumentId(organizationId, 1, 0, index),
      organizationId,
      generation: 1,
      level: 0,
      index,
      width: Math.min(256, moments.length - index * 256),
      hashes: Buffer.alloc(0),
      eventIds: [`evt_${String(index)}`],
      sealings: sealings satisfies Sealing[],
    })
  }
  const times = createLeafTimes(world.api.core.db)
  const log = { organizationId, generation: 1, size: moments.length }
  const distinct = [...new Set(moments)].flatMap((ms) => [ms - 1, ms, ms + 1])
  for (const ms of [0, ...distinct, start + 365 * day])
    expect(await times.sealedBy(log, new Date(ms)), String(ms - start)).toBe(
      moments.filter((sealed) => sealed <= ms).length,
    )
  for (const leaf of [0, 255, 256, 699, 700, 5_000, moments.length - 1])
    expect((await times.sealedAt(log, leaf)).getTime()).toBe(moments[leaf])
  // A tile that grew after the head was read is not counted beyond it.
  expect(await times.sealedBy({ ...log, size: 300 }, new Date(start + 365 * day))).toBe(300)
  expect(await times.sealedBy({ ...log, size: 0 }, new Date())).toBe(0)
})

interface PreviewBody {
  readonly now: string
  readonly version: number | null
  readonly clock: string
  readonly hotBytesEach: number
  readonly partial: boolean
  readonly dates: {
    at: string
    expiry: { archiveDays: number | null }
    archive: { leaves: number; bytes: number }
    content: { leaves: number; bytes: number }
    records: { leaves: number; bytes: number }
  }[]
  readonly ranges: Record<
    'archive' | 'content' | 'records',
    { generation: number; from: number; to: number }[]
  >
  readonly next: Record<'archive' | 'content' | 'records', string | null>
  readonly held: { holdId: string; hotEvents: number | null; dueLeavesAtMost: number }[] | null
}
async function preview(organizationId: string, body?: object, key?: string): Promise<PreviewBody> {
  const answer = await world.request('POST', `/v1/organizations/${organizationId}/retention/preview`, {
    ...(body === undefined ? {} : { body }),
    ...(key === undefined ? {} : { key }),
  })
  expect(answer.status, answer.text).toBe(200)
  return answer.body as PreviewBody
}

test('of an organization without a log there is nothing to tell', async () => {
  const found = await preview('org_empty')
  expect(found.dates).toHaveLength(6)
  for (const { archive, content, records } of found.dates)
    expect([archive.leaves, content.leaves, records.leaves]).toEqual([0, 0, 0])
  expect(found.next).toEqual({ archive: null, content: null, records: null })
  expect(found).toMatchObject({ version: 0, clock: 'steady', held: [], partial: false })
})

describe('of a log whose left half is in the archive', () => {
  const organizationId = 'org_acme'
  let size = 0
  const hotFrom = 200

  beforeAll(async () => {
    await accept(world.api.core, organizationId, 600)
    await drainUntilSealed(world.api.core, organizationId)
    size = (await createLogStore(logCollections(world.api.core.db)).head(organizationId))?.size ?? 0
    expect(size).toBeGreaterThanOrEqual(600)
    // Leaves are one hour apart, the last one now; the segment ends at leaf 200.
    const now = Date.now()
    for await (const tile of tiles().find({ organizationId, level: 0 }).sort({ index: 1 })) {
      const sealings = Array.from({ length: tile.width }, (_, position) => ({
        at: new Date(now - (size - 1 - tile.index * 256 - position) * 3_600_000),
        count: 1,
      }))
      await tiles().updateOne({ _id: tile._id }, { $set: { sealings } })
    }
    const file = (bytes: number) => ({
      file: { path: 'p', bytes, sha256: '', members: [] },
      manifestPath: 'm',
      manifestSha256: '',
    })
    const moment = new Date(now - (size - hotFrom) * 3_600_000)
    const segment: SegmentDocument = {
      _id: `${organizationId}/1/000000000000`,
      ...{ organizationId, generation: 1, from: 0, to: hotFrom, leaves: hotFrom, damaged: 0, hotBytes: 1 },
      ...{ sealedFrom: moment, sealedTo: moment, occurredFrom: moment, occurredTo: moment },
      records: file(1_000),
      content: { state: 'kept', revision: 1, ...file(5_000) },
      archivedAt: moment,
      hotDeletedAt: moment,
    }
    await world.api.core.db.collection<SegmentDocument>(collectionNames.archiveSegments).insertOne(segment)
  })

  test('the policy in force moves nothing yet, and says when it will', async () => {
    const found = await preview(organizationId)
    expect(found.version).toBe(0)
    expect(found.dates.map(({ archive }) => archive.leaves).slice(0, 4)).toEqual([0, 0, 0, 0])
    expect(found.dates.at(-1)?.archive.leaves).toBe(size - hotFrom)
    const oldestHot = Date.parse(found.now) - (size - 1 - hotFrom) * 3_600_000
    expect(Math.abs(Date.parse(found.next.archive ?? '') - oldestHot - 183 * day)).toBeLessThan(60_000)
    expect(found.next.records).toBeNull()
  })

  test('a candidate tells what it would move now, what it would delete only after its grace', async () => {
    const found = await preview(organizationId, { hotDays: 10, archiveDays: 15, recordDays: null })
    expect(found.version).toBeNull()
    const [now, tomorrow, week] = found.dates
    // 240 hours and older: of the leaves 0 to size - 1, those up to size - 1 - 240.
    const dueNow = size - 240 - hotFrom
    expect(found.ranges.archive).toEqual([{ generation: 1, from: hotFrom, to: size - 240 }])
    expect(now?.archive).toEqual({ leaves: dueNow, bytes: dueNow * found.hotBytesEach })
    expect(found.hotBytesEach).toBeGreaterThan(500)
    expect(tomorrow?.archive.leaves).toBe(dueNow + 24)
    expect([now?.content.leaves, tomorrow?.content.leaves]).toEqual([0, 0])
    expect([now?.expiry.archiveDays, week?.expiry.archiveDays]).toEqual([2_555, 15])
    // In seven days, what is 15 days old then: the whole segment (5,000 bytes), and hot leaves up to size - 1 - 8 days.
    const hotThen = size - 8 * 24 - hotFrom
    expect(week?.content).toEqual({
      leaves: hotFrom + hotThen,
      bytes: 5_000 + hotThen * found.hotBytesEach,
    })
    expect(Date.parse(found.next.content ?? '') - Date.parse(found.now)).toBe(7 * day)
    expect((await preview(organizationId)).version).toBe(0)
  })

  test('holds are counted by person, action and time', async () => {
    const held = async (scope: object) => {
      const placed = await world.request('POST', `/v1/organizations/${organizationId}/holds`, {
        body: { scope, reason: 'litigation' },
      })
      expect(placed.status, placed.text).toBe(201)
      return (placed.body as { id: string }).id
    }
    // `accept` takes the same fifty people round and round.
    const person = await held({ identifier: { kind: 'id', type: 'user', value: 'u_7' } })
    const prefix = await held({ action: 'team.*' })
    const nothing = await held({ action: 'team.*', from: '2001-01-01T00:00:00Z', to: '2001-02-01T00:00:00Z' })
    const found = await preview(organizationId, { hotDays: 0, archiveDays: 0, recordDays: 0 })
    expect(new Map(found.held?.map(({ holdId, hotEvents }) => [holdId, hotEvents]))).toEqual(
      new Map([
        [person, 12],
        [prefix, 600],
        [nothing, 0],
      ]),
    )
    const auditor = await world.key({ role: 'auditor', principal })
    expect((await preview(organizationId, undefined, auditor)).held).toBeNull()
  })

  test('a candidate out of order is refused, and others’ organizations are not there', async () => {
    const path = `/v1/organizations/${organizationId}/retention/preview`
    const wrong = { hotDays: 3, archiveDays: 2, recordDays: null }
    expect((await world.request('POST', path, { body: wrong })).status).toBe(422)
    expect((await world.request('POST', path, { body: { ...wrong, x: 1 } })).status).toBe(422)
    const other = await world.key({ role: 'owner', organizations: ['org_empty'] })
    expect((await world.request('POST', path, { key: other })).status).toBe(404)
    const operator = await world.key({ role: 'operator', principal })
    expect((await world.request('POST', path, { key: operator })).status).toBe(403)
  })
})
