/**
 * How many events there were over time: buckets of an hour, day, week or month, in UTC, weeks from Monday.
 *
 * Counting walks as searching does (scan.ts), from the newest backwards. Where one criterion is all, index keys are
 * counted and no event is read. A count that uses up its budget is exact for what it covers, and says from where:
 * the next page goes on there, and what both say of the bucket between them adds up.
 */
import type { Document } from 'mongodb'
import {
  isExact,
  leaderQuery,
  leadersOf,
  nextWindow,
  readOptions,
  scanQuery,
  type EventPosition,
  type Leader,
  type ScanBudget,
  type SearchCriteria,
  type Stretch,
} from './scan.js'
import type { EventFilter } from './search.js'
import type { EventCollection } from './store.js'

export const intervals = ['hour', 'day', 'week', 'month'] as const
export type Interval = (typeof intervals)[number]

/** What a bucket can be divided by: members of the envelope. */
export const divisions = ['action', 'category', 'outcome', 'actorType'] as const
export type Division = (typeof divisions)[number]

/** Buckets of one answer. */
export const maxBuckets = 1_000
/** Values that buckets are divided into; the rest is one number. */
const maxValues = 50

export interface CountsRequest {
  /** With both ends of the time range. */
  readonly filter: EventFilter & { readonly from: Date; readonly to: Date }
  readonly interval: Interval
  readonly by?: Division | undefined
  readonly after?: EventPosition | undefined
}

export interface CountBucket {
  /** The bucket's first moment; the time range may begin later. */
  readonly start: string
  readonly count: number
  /** The most frequent values; what is left of `count` is of others. */
  readonly by?: Readonly<Record<string, number>>
}

export interface CountsPage {
  /** Oldest first, empty ones too. */
  readonly buckets: readonly CountBucket[]
  readonly next: EventPosition | undefined
  readonly partial: boolean
}

/** Some half a second: a chart is asked for less often than a page. */
const keyBudget: ScanBudget = { maxEvents: 2_000_000, maxMs: 500, windows: [10_000, 50_000] }
const eventBudget: ScanBudget = { maxEvents: 100_000, maxMs: 500, windows: [1_000, 2_500] }

const order = 'desc'

/** Counts the events that fulfil the criteria; undefined criteria are those that none can. */
export async function countOverTime(
  events: EventCollection,
  criteria: SearchCriteria | undefined,
  { filter, interval, by, after }: CountsRequest,
): Promise<CountsPage> {
  const tally = new Tally(interval, by)
  const page = (next: EventPosition | undefined): CountsPage => ({
    buckets: tally.buckets(
      next === undefined ? filter.from : new Date(next.occurredAtMs),
      after === undefined ? filter.to : new Date(after.occurredAtMs + 1),
    ),
    next,
    partial: next !== undefined,
  })
  if (criteria === undefined) return page(undefined)
  const budget = isExact(criteria) && by === undefined ? keyBudget : eventBudget
  const leaders = leadersOf(criteria)
  const stopAt = performance.now() + budget.maxMs
  let position = after
  for (let seen = 0, size = budget.windows[0]; ; size = budget.windows[1]) {
    const { leader, until } = await nextWindow(events, criteria, leaders, { order, after: position }, size)
    await countWindow(events, criteria, leader, { order, after: position, until }, tally)
    if (until === undefined) return page(undefined)
    seen += size
    position = until
    if (seen >= budget.maxEvents || performance.now() > stopAt) return page(position)
  }
}

async function countWindow(
  events: EventCollection,
  criteria: SearchCriteria,
  leader: Leader,
  stretch: Stretch,
  tally: Tally,
): Promise<void> {
  const { by, interval } = tally
  const { hint, maxTimeMS } = readOptions(leader, order)
  const { matches } = criteria
  if (matches !== undefined) {
    const found = events.find(scanQuery(criteria, leader, stretch), { hint, maxTimeMS, batchSize: 100 })
    for await (const event of found) {
      if (matches(event)) tally.add(event.occurredAt, by === undefined ? undefined : event[by], 1)
    }
    return
  }
  const groups = events.aggregate<{ _id: { start: Date; by?: string }; count: number }>(
    countPipeline(criteria, leader, stretch, interval, by),
    {
      hint,
      maxTimeMS,
    },
  )
  for await (const { _id, count } of groups) tally.add(_id.start, _id.by, count)
}

/** Counts the events of a stretch in the database, by bucket. */
export function countPipeline(
  criteria: SearchCriteria,
  leader: Leader,
  stretch: Stretch,
  interval: Interval,
  by?: Division,
): Document[] {
  // What the terms say already is not compared again, for that would need the events: that two values of an
  // organization share a term is less likely than one in 37 million (terms.ts).
  const query = isExact(criteria)
    ? leaderQuery(criteria, leader, stretch)
    : scanQuery({ ...criteria, implied: [] }, leader, stretch)
  return [
    { $match: query },
    {
      $group: {
        _id: {
          start: {
            $dateTrunc: { date: '$occurredAt', unit: interval, timezone: 'UTC', startOfWeek: 'monday' },
          },
          ...(by === undefined ? {} : { by: `$${by}` }),
        },
        count: { $sum: 1 },
      },
    },
  ]
}

/** Counts by bucket and value. */
class Tally {
  readonly #counts = new Map<number, { count: number; by: Map<string, number> }>()

  constructor(
    readonly interval: Interval,
    readonly by: Division | undefined,
  ) {}

  add(moment: Date, value: string | undefined, count: number): void {
    const start = bucketStart(moment, this.interval).getTime()
    const bucket = this.#counts.get(start) ?? { count: 0, by: new Map<string, number>() }
    bucket.count += count
    if (value !== undefined) bucket.by.set(value, (bucket.by.get(value) ?? 0) + count)
    this.#counts.set(start, bucket)
  }

  /** The buckets that touch [from, to), in order, with the values that are the most frequent in all of them. */
  buckets(from: Date, to: Date): CountBucket[] {
    const frequent = this.#frequentValues()
    const buckets: CountBucket[] = []
    for (let start = bucketStart(from, this.interval); start < to; start = nextStart(start, this.interval)) {
      const counted = this.#counts.get(start.getTime())
      const bucket = { start: start.toISOString(), count: counted?.count ?? 0 }
      if (this.by === undefined) buckets.push(bucket)
      else {
        const shown = [...(counted?.by ?? [])].filter(([value]) => frequent.has(value))
        buckets.push({ ...bucket, by: Object.fromEntries(shown) })
      }
    }
    return buckets
  }

  #frequentValues(): ReadonlySet<string> {
    const totals = new Map<string, number>()
    for (const { by } of this.#counts.values()) {
      for (const [value, count] of by) totals.set(value, (totals.get(value) ?? 0) + count)
    }
    const sorted = [...totals].sort(([a, one], [b, other]) => other - one || (a < b ? -1 : 1))
    return new Set(sorted.slice(0, maxValues).map(([value]) => value))
  }
}

const hourMs = 3_600_000
const dayMs = 24 * hourMs

/** The first moment of the bucket that a moment lies in. */
export function bucketStart(moment: Date, interval: Interval): Date {
  const time = moment.getTime()
  if (interval === 'hour') return new Date(Math.floor(time / hourMs) * hourMs)
  const day = Math.floor(time / dayMs)
  if (interval === 'day') return new Date(day * dayMs)
  // 1970 began on a Thursday: day −3 was a Monday.
  if (interval === 'week') return new Date((Math.floor((day + 3) / 7) * 7 - 3) * dayMs)
  const start = new Date(day * dayMs)
  start.setUTCDate(1)
  return start
}

/** The first moment of the bucket after the one that starts there. */
export function nextStart(start: Date, interval: Interval): Date {
  if (interval !== 'month') {
    const length = { hour: hourMs, day: dayMs, week: 7 * dayMs }[interval]
    return new Date(start.getTime() + length)
  }
  const next = new Date(start)
  next.setUTCMonth(next.getUTCMonth() + 1)
  return next
}

/** How many buckets a time range touches, counted no further than one over the limit. */
export function bucketsIn(from: Date, to: Date, interval: Interval): number {
  let count = 0
  for (let start = bucketStart(from, interval); start < to && count <= maxBuckets; count += 1)
    start = nextStart(start, interval)
  return count
}
