/**
 * How far behind archiving is, over all organizations of a deployment: for figures, so nothing of one organization is
 * told apart. Some hundred logs at a time: the hot leaves begin right of a log's last segment, and a tile says when
 * the first of them was sealed. No event and no whole segment is read.
 */
import type { Collection, Db } from 'mongodb'
import type { SegmentDocument } from '../archive/contract.js'
import { collectionNames } from '../mongo/collections.js'
import { tileDocumentId, type LogHeadDocument, type LogTileDocument } from '../transparency-log/store.js'
import { tileWidth } from '../transparency-log/tile.js'
import { defaultRetention } from './contract.js'
import { archiveCutoff } from './policy.js'
import type { RetentionPolicyDocument } from './policy-store.js'

export interface ArchiveSurvey {
  /** `sealedAt` of the oldest hot leaf of all; null where nothing is hot. */
  readonly oldestHot: Date | null
  /** How long the leaf that is overdue most should have been in the archive by now; 0 where none is. */
  readonly lagMs: number
  /** Organizations with leaves that are due. */
  readonly due: number
}

type Head = Pick<LogHeadDocument, '_id' | 'organizationId' | 'generation' | 'size'>

/** Logs that are asked about in one query. */
export const logsAtOnce = 500

/** A log that has hot leaves: [from, size). */
export interface HotLog {
  readonly organizationId: string
  readonly generation: number
  readonly from: number
  readonly size: number
  /** Of leaf `from`. */
  readonly sealedAt: Date
  /** Of the organization's newest policy. */
  readonly hotDays: number
}

/**
 * Every log with hot leaves, closed generations too, by organization id: what a sweep goes through to find what is due
 * (`sealedAt` at `archiveCutoff(now, log)` or before).
 */
export async function* hotLogs(db: Db): AsyncIterable<HotLog> {
  const heads: Collection<LogHeadDocument> = db.collection(collectionNames.logHeads)
  const found = heads
    .find({}, { projection: { organizationId: 1, generation: 1, size: 1 }, batchSize: logsAtOnce })
    .sort({ _id: 1 })
  for await (const batch of batches<Head>(found, logsAtOnce)) {
    const hotDays = await hotDaysOf(db, batch)
    for (const log of await firstHotLeaves(db, batch))
      yield { ...log, hotDays: hotDays.get(log.organizationId) ?? defaultRetention.hotDays }
  }
}

/** @param now the time that retention goes by */
export async function surveyArchive(db: Db, now: Date): Promise<ArchiveSurvey> {
  let oldestHot: Date | null = null
  let lagMs = 0
  const due = new Set<string>()
  for await (const log of hotLogs(db)) {
    const { organizationId, sealedAt } = log
    if (oldestHot === null || sealedAt < oldestHot) oldestHot = sealedAt
    const cutoff = archiveCutoff(now, log)
    if (sealedAt > cutoff) continue
    due.add(organizationId)
    lagMs = Math.max(lagMs, cutoff.getTime() - sealedAt.getTime())
  }
  return { oldestHot, lagMs, due: due.size }
}

export async function* batches<Item>(items: AsyncIterable<Item>, size: number): AsyncIterable<Item[]> {
  let batch: Item[] = []
  for await (const item of items) {
    batch.push(item)
    if (batch.length < size) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}

async function hotDaysOf(db: Db, heads: readonly Head[]): Promise<ReadonlyMap<string, number>> {
  const newest = await db
    .collection<RetentionPolicyDocument>(collectionNames.retentionPolicies)
    .aggregate<{ _id: string; hotDays: number }>([
      { $match: { organizationId: { $in: heads.map(({ organizationId }) => organizationId) } } },
      { $sort: { organizationId: 1, version: -1 } },
      { $group: { _id: '$organizationId', hotDays: { $first: '$hotDays' } } },
    ])
    .toArray()
  return new Map(newest.map(({ _id, hotDays }) => [_id, hotDays]))
}

/** When the first hot leaf of each log was sealed; logs without hot leaves are absent. */
async function firstHotLeaves(db: Db, heads: readonly Head[]) {
  const archivedTo = await archivedToOf(db, heads)
  const logName = ({ organizationId, generation }: Pick<Head, 'organizationId' | 'generation'>) =>
    `${organizationId}/${String(generation)}`
  const hot = heads
    .map((head) => ({ ...head, from: archivedTo.get(logName(head)) ?? 0 }))
    .filter(({ from, size }) => from < size)
    .map((log) => ({
      ...log,
      tile: tileDocumentId(log.organizationId, log.generation, 0, Math.floor(log.from / tileWidth)),
    }))
  const tiles: Collection<LogTileDocument> = db.collection(collectionNames.logTiles)
  const read = await tiles
    .find({ _id: { $in: hot.map(({ tile }) => tile) } }, { projection: { sealings: 1 } })
    .toArray()
  const sealings = new Map(read.map((tile) => [tile._id, tile.sealings ?? []]))
  return hot.flatMap(({ organizationId, generation, from, size, tile }): Omit<HotLog, 'hotDays'>[] => {
    let position = from % tileWidth
    for (const { at, count } of sealings.get(tile) ?? []) {
      if (position < count) return [{ organizationId, generation, from, size, sealedAt: at }]
      position -= count
    }
    return []
  })
}

/**
 * The newest segment of each organization. With exactly this order and this group the server jumps from one organization
 * to the next in the index, and reads one segment of each.
 */
export const newestSegments = (organizationIds: readonly string[]) => [
  { $match: { organizationId: { $in: organizationIds } } },
  { $sort: { organizationId: 1, generation: -1, from: -1 } },
  { $group: { _id: '$organizationId', generation: { $first: '$generation' }, to: { $first: '$to' } } },
]

/** Where the last segment of each log ends, by `<org>/<generation>`; absent where there is none. */
async function archivedToOf(db: Db, heads: readonly Head[]): Promise<ReadonlyMap<string, number>> {
  const segments: Collection<SegmentDocument> = db.collection(collectionNames.archiveSegments)
  const ids = heads
    .filter((head) => head._id === head.organizationId)
    .map(({ organizationId }) => organizationId)
  const last = await segments
    .aggregate<{ _id: string; generation: number; to: number }>(newestSegments(ids))
    .toArray()
  const found = new Map(last.map(({ _id, generation, to }) => [`${_id}/${String(generation)}`, to]))
  // Generations that are closed are few: a log is restarted after a disaster.
  for (const { _id, organizationId, generation } of heads) {
    if (_id === organizationId) continue
    const [newest] = await segments
      .find({ organizationId, generation }, { projection: { to: 1 } })
      .sort({ generation: -1, from: -1 })
      .limit(1)
      .toArray()
    if (newest !== undefined) found.set(`${organizationId}/${String(generation)}`, newest.to)
  }
  return found
}
