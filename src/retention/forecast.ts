/** What would move and go when: pure, over what is known of leaves and segments. `preview.ts` reads them. */
import type { RetentionDays } from './contract.js'
import {
  archiveCutoff,
  contentCutoff,
  contentExpiry,
  expiryDays,
  policyGraceMs,
  recordsCutoff,
  recordsExpiry,
  type PolicyVersion,
} from './policy.js'

/** A segment as far as a forecast looks at it. */
export interface ForecastSegment {
  readonly generation: number
  readonly from: number
  readonly to: number
  readonly leaves: number
  readonly sealedTo: Date
  readonly occurredFrom: Date
  readonly occurredTo: Date
  /** Null = gone, or all that is left of it is held or never expires. */
  readonly content: { readonly bytes: number } | null
  readonly records: { readonly bytes: number } | null
}

/** The hot leaves of one generation, [from, size): how many of all leaves were sealed by a moment, and when one was. */
export interface HotLeaves {
  readonly generation: number
  readonly from: number
  readonly size: number
  readonly sealedBy: (moment: Date) => Promise<number>
  readonly sealedAt: (leaf: number) => Promise<Date>
}

export interface Amount {
  readonly leaves: number
  /** What it takes up now: of hot events estimated, of segments exact. */
  readonly bytes: number
}

/** What is due at a moment, of what is there now: all of it, what was due before included. */
export interface ForecastDate {
  readonly at: Date
  /** Days that deletion goes by at that moment. */
  readonly expiry: Pick<RetentionDays, 'archiveDays' | 'recordDays'>
  readonly archive: Amount
  /** Before holds and what never expires, where expiry has not looked yet. */
  readonly content: Amount
  readonly records: Amount
}

export interface ForecastRange {
  readonly generation: number
  readonly from: number
  readonly to: number
}

export interface Forecast {
  readonly dates: readonly ForecastDate[]
  /** What is due at the first date. */
  readonly ranges: Readonly<Record<'archive' | 'content' | 'records', readonly ForecastRange[]>>
  /** When the next thing becomes due after the first date; null = nothing that is there now ever will be. */
  readonly next: Readonly<Record<'archive' | 'content' | 'records', Date | null>>
}

export interface ForecastInput {
  /** All that count for expiry at the first date; the newest is what moving goes by. */
  readonly versions: readonly PolicyVersion[]
  /** Ascending, at least one. */
  readonly dates: readonly [Date, ...Date[]]
  readonly segments: readonly ForecastSegment[]
  readonly hot: readonly HotLeaves[]
  /** What one hot event takes up. */
  readonly hotBytesEach: number
}

export async function forecast(input: ForecastInput): Promise<Forecast> {
  const [first] = input.dates
  const now = await dueAt(input, first)
  const dates: ForecastDate[] = []
  for (const at of input.dates) dates.push((at === first ? now : await dueAt(input, at)).date)
  return { dates, ranges: now.ranges, next: await nextDates(input, first) }
}

async function dueAt(input: ForecastInput, at: Date) {
  const { versions, segments, hot, hotBytesEach } = input
  const days = expiryDays(versions, at)
  const cutoffs = { content: contentCutoff(at, days), records: recordsCutoff(at, days) }
  const dueSegments = {
    content: segments.filter((one) => hasContent(one) && isBy(one.sealedTo, cutoffs.content)),
    records: segments.filter((one) => one.records !== null && isBy(one.sealedTo, cutoffs.records)),
  }
  const hotDue = async (cutoff: Date | null): Promise<ForecastRange[]> => {
    const ranges: ForecastRange[] = []
    if (cutoff === null) return ranges
    for (const { generation, from, sealedBy } of hot) {
      const to = await sealedBy(cutoff)
      if (to > from) ranges.push({ generation, from, to })
    }
    return ranges
  }
  const archive = await hotDue(archiveCutoff(at, days))
  const content = await hotDue(cutoffs.content)
  const records = await hotDue(cutoffs.records)
  const hotAmount = (ranges: readonly ForecastRange[]): Amount => {
    const leaves = sum(ranges, ({ from, to }) => to - from)
    return { leaves, bytes: Math.round(leaves * hotBytesEach) }
  }
  const withSegments = (
    ranges: readonly ForecastRange[],
    due: readonly ForecastSegment[],
    bytesOf: (segment: ForecastSegment) => number,
  ): Amount => {
    const { leaves, bytes } = hotAmount(ranges)
    return { leaves: leaves + sum(due, (one) => one.leaves), bytes: bytes + sum(due, bytesOf) }
  }
  const date: ForecastDate = {
    at,
    expiry: { archiveDays: days.archiveDays, recordDays: days.recordDays },
    archive: hotAmount(archive),
    content: withSegments(content, dueSegments.content, (one) => one.content?.bytes ?? 0),
    records: withSegments(records, dueSegments.records, (one) => one.records?.bytes ?? 0),
  }
  const ranges = {
    archive: joined(archive),
    content: joined([...dueSegments.content, ...content]),
    records: joined([...dueSegments.records, ...records]),
  }
  return { date, ranges }
}

/** When the first thing that is not due yet becomes due, if no policy changes any more. */
async function nextDates({ versions, segments, hot }: ForecastInput, now: Date) {
  const days = expiryDays(versions, now)
  const leavesNext = async (cutoff: Date | null): Promise<Date[]> => {
    const found: Date[] = []
    if (cutoff === null) return found
    for (const { from, size, sealedBy, sealedAt } of hot) {
      const next = Math.max(from, await sealedBy(cutoff))
      if (next < size) found.push(await sealedAt(next))
    }
    return found
  }
  const cutoffs = { content: contentCutoff(now, days), records: recordsCutoff(now, days) }
  const segmentsNext = (cutoff: Date | null, has: (segment: ForecastSegment) => boolean) =>
    segments.filter((one) => has(one) && !isBy(one.sealedTo, cutoff)).map(({ sealedTo }) => sealedTo)
  const archive = await leavesNext(archiveCutoff(now, days))
  const content = [...segmentsNext(cutoffs.content, hasContent), ...(await leavesNext(cutoffs.content))]
  const records = [
    ...segmentsNext(cutoffs.records, (one) => one.records !== null),
    ...(await leavesNext(cutoffs.records)),
  ]
  // A shorter policy that waits for the end of a grace makes things due then, rather than by the days of now.
  const graceEnds = versions
    .map(({ since }) => new Date(since.getTime() + policyGraceMs))
    .filter((end) => end > now)
    .map((end) => ({ end, days: expiryDays(versions, end) }))
  const after = (moments: readonly Date[], expiry: (sealedAt: Date, by: RetentionDays) => Date | null) => {
    const sealedAt = earliest(moments)
    if (sealedAt === null) return null
    const afterGrace = graceEnds.map(({ end, days: then }) => {
      const expires = expiry(sealedAt, then)
      return expires === null || expires > end ? expires : end
    })
    return earliest([expiry(sealedAt, days), ...afterGrace])
  }
  return {
    archive: after(archive, (sealedAt, { hotDays }) => contentExpiry(sealedAt, { archiveDays: hotDays })),
    content: after(content, contentExpiry),
    records: after(records, recordsExpiry),
  }
}

const earliest = (moments: readonly (Date | null)[]): Date | null =>
  moments.reduce((a, b) => (a === null || (b !== null && b < a) ? b : a), null)

const hasContent = ({ content }: ForecastSegment): boolean => content !== null

const isBy = (sealedTo: Date, cutoff: Date | null): boolean => cutoff !== null && sealedTo <= cutoff

const sum = <Item>(items: readonly Item[], of: (item: Item) => number): number =>
  items.reduce((total, item) => total + of(item), 0)

/** Ranges in order, those that touch made one. */
function joined(ranges: readonly ForecastRange[]): ForecastRange[] {
  const ordered = [...ranges].sort((a, b) => a.generation - b.generation || a.from - b.from)
  const result: ForecastRange[] = []
  for (const { generation, from, to } of ordered) {
    const last = result.at(-1)
    if (last?.generation === generation && last.to === from) result[result.length - 1] = { ...last, to }
    else result.push({ generation, from, to })
  }
  return result
}
