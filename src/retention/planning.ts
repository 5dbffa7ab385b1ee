/**
 * Which range of leaves moves to the archive next. `next` is pure; `createPlanner` reads what it decides on: for each log
 * the first hot leaf (survey.ts, some hundred logs at a time) and the times in tiles. No event is read, and nothing that
 * is pending has a leaf, so that nothing pending is ever planned.
 */
import type { Collection, Db } from 'mongodb'
import type { SegmentDocument, SegmentRange } from '../archive/contract.js'
import { segmentId } from '../archive/segment-paths.js'
import type { SegmentClaim } from '../archive/segments-store.js'
import { collectionNames } from '../mongo/collections.js'
import { tileWidth } from '../transparency-log/tile.js'
import type { RetentionClock } from './clock-store.js'
import type { DuePage } from './contract.js'
import { createLeafTimes } from './leaf-times.js'
import { archiveCutoff } from './policy.js'
import { hotLogs, type HotLog } from './survey.js'

export interface PlanLimits {
  /** Leaves of a segment. */
  readonly maxLeaves: number
  /** Fewer leaves wait, in a sweep over all, until the first has been due for `patienceMs`: segments are not for crumbs. */
  readonly crumbs: number
  readonly patienceMs: number
  /** Bytes of a segment's events in the hot store. Default `maxSegmentHotBytes`. */
  readonly maxHotBytes?: number
}

/**
 * What a segment may take off the hot store, whatever its events are like: 65,536 of 256 KiB would be 16 GiB, more than
 * one write of a store and the spool may take. The export is what holds it, leaf by leaf (archiver.ts); the planner
 * guesses by the segment before, so that little is exported in vain.
 */
export const maxSegmentHotBytes = 512 * 1_024 ** 2

/** 65,536: some hundred megabytes of events, and a minute of work that a crash may cost. */
export const planLimits: PlanLimits = {
  maxLeaves: 256 * tileWidth,
  crumbs: tileWidth,
  patienceMs: 86_400_000,
}

/**
 * The range that begins at `from`, of leaves that are due; undefined where none is. It ends where a tile ends if it has
 * to end before the last leaf that is due, so that the next segment begins with a whole member.
 * @param due leaves of the log that were sealed by the cut-off: they are [0, due)
 */
export function nextRange(
  from: number,
  due: number,
  { maxLeaves }: Pick<PlanLimits, 'maxLeaves'> = planLimits,
): { readonly from: number; readonly to: number } | undefined {
  if (due <= from) return undefined
  if (due - from <= maxLeaves) return { from, to: due }
  const aligned = Math.floor((from + maxLeaves) / tileWidth) * tileWidth
  return { from, to: aligned > from ? aligned : from + maxLeaves }
}

/** Leaves that are likely to stay within the bytes, where they are like those of the segment before. */
export function leavesWithin(
  before: Pick<SegmentDocument, 'hotBytes' | 'leaves'> | undefined,
  { maxLeaves, maxHotBytes = maxSegmentHotBytes }: Pick<PlanLimits, 'maxLeaves' | 'maxHotBytes'>,
): number {
  if (before === undefined || before.hotBytes === 0) return maxLeaves
  const fitting = (0.75 * maxHotBytes * before.leaves) / before.hotBytes
  return Math.max(tileWidth, Math.min(maxLeaves, Math.floor(fitting / tileWidth) * tileWidth))
}

export interface Planner {
  /**
   * Some organizations that have something to move, by id, and one range of each: what was recorded and not deleted yet,
   * then closed generations, then the log as it is now. Nothing is due while the clocks are not believed.
   * @param asOf the moment the sweep began: what was sealed or fell due since is the next one's, so that each ends
   * @param after organizations after this one only @param limit ranges of one page
   */
  due(asOf: Date, after: string | undefined, limit: number): Promise<DuePage>
  /** The same of one organization, crumbs too. */
  dueOf(asOf: Date, organizationId: string): Promise<SegmentRange | undefined>
}

export interface PlannerDependencies {
  readonly db: Db
  readonly clock: Pick<RetentionClock, 'look'>
  readonly limits?: PlanLimits
}

export function createPlanner({ db, clock, limits = planLimits }: PlannerDependencies): Planner {
  const segments: Collection<SegmentDocument> = db.collection(collectionNames.archiveSegments)
  const claims: Collection<SegmentClaim> = db.collection(collectionNames.archiveClaims)

  /** Segments that were recorded, and whose events are not all gone from the hot store. */
  async function unfinished(organizationId?: string): Promise<Map<string, SegmentRange>> {
    const filter = { hotDeletedAt: null, ...(organizationId === undefined ? {} : { organizationId }) }
    const projection = { _id: 0, organizationId: 1, generation: 1, from: 1, to: 1 }
    const found = new Map<string, SegmentRange>()
    for await (const range of segments.find(filter, { projection }).sort({ _id: 1 }).limit(maxUnfinished))
      if (!found.has(range.organizationId)) found.set(range.organizationId, range)
    return found
  }

  const segmentBefore = async ({ organizationId, generation, from }: HotLog) =>
    (await segments.findOne(
      { organizationId, generation, from: { $lt: from } },
      { sort: { from: -1 }, projection: { hotBytes: 1, leaves: 1 } },
    )) ?? undefined

  async function rangeOf(log: HotLog, now: Date, patienceMs: number): Promise<SegmentRange | undefined> {
    const cutoff = archiveCutoff(now, log)
    if (log.sealedAt > cutoff) return undefined
    const { organizationId, generation, from } = log
    // What an earlier sweep began goes on with the end it had then.
    const claim = await claims.findOne({ _id: segmentId(log) }, { projection: { to: 1 } })
    if (claim !== null) return { organizationId, generation, from, to: claim.to }
    const before = await segmentBefore(log)
    const due = await createLeafTimes(db).sealedBy(log, cutoff)
    const range = nextRange(from, due, { maxLeaves: leavesWithin(before, limits) })
    if (range === undefined) return undefined
    const isCrumb = range.to - range.from < limits.crumbs
    if (isCrumb && cutoff.getTime() - log.sealedAt.getTime() < patienceMs) return undefined
    return { organizationId, generation, ...range }
  }

  async function plan(
    asOf: Date,
    patienceMs: number,
    wanted: (organizationId: string) => boolean,
    limit: number,
    first: ReadonlyMap<string, SegmentRange>,
  ): Promise<Map<string, SegmentRange>> {
    const { now: clockNow, verdict } = await clock.look()
    const now = asOf < clockNow ? asOf : clockNow
    const best = new Map<string, SegmentRange>(first)
    if (verdict !== 'steady') return best
    for await (const log of hotLogs(db)) {
      if (!wanted(log.organizationId) || first.has(log.organizationId)) continue
      const known = best.get(log.organizationId)
      // An organization's logs come one after the other: its older generations first or last.
      if (known === undefined && best.size > limit + first.size) break
      if (known !== undefined && known.generation < log.generation) continue
      const range = await rangeOf(log, now, patienceMs)
      if (range !== undefined) best.set(log.organizationId, range)
    }
    return best
  }

  return {
    async due(asOf, after, limit) {
      const wanted = (id: string) => after === undefined || id > after
      const started = [...(await unfinished())].filter(([id]) => wanted(id))
      const found = await plan(asOf, limits.patienceMs, wanted, limit, new Map(started))
      const ranges = [...found.values()].sort(byOrganization)
      const page = ranges.slice(0, limit)
      const last = page.at(-1)?.organizationId
      return { ranges: page, next: ranges.length > page.length && last !== undefined ? last : null }
    },
    async dueOf(asOf, organizationId) {
      const started = await unfinished(organizationId)
      return (await plan(asOf, 0, (id) => id === organizationId, 1, started)).get(organizationId)
    },
  }
}

/** More segments than that are not on their way at once. */
const maxUnfinished = 10_000

const byOrganization = (a: SegmentRange, b: SegmentRange): number =>
  a.organizationId < b.organizationId ? -1 : a.organizationId > b.organizationId ? 1 : 0
