/**
 * Walks the events that fulfil several criteria, in the order of their time, within a budget.
 *
 * One index holds the terms of all filters, and a database can follow one of several required terms only. So the
 * walk goes by *windows*: for each criterion an index-only probe says how far back its next thousand events reach;
 * the one that reaches furthest is the rarest from here on, and leads. Its events in the window are fetched, and
 * the others' criteria compared. No plan is left to the database's guess, none sorts, and no more documents than
 * the window holds are touched.
 *
 * A walk that has used up its budget stops at the edge of a window and says where: what lies before that place is
 * complete, what lies behind it is untouched. Events that arrive or go meanwhile change neither.
 */
import type { Filter, FindOptions } from 'mongodb'
import { eventIndexes, eventDocumentId, eventIdOf, type EventCollection, type StoredEvent } from './store.js'

/** A place in the order of time: events run by `occurredAt`, then id. */
export interface EventPosition {
  readonly occurredAtMs: number
  readonly id: string
}

export type EventOrder = 'asc' | 'desc'

/** What an event must fulfil, all of it. */
export interface SearchCriteria {
  readonly organizationId: string
  /** One list of alternatives per filter: an event must have one term of each. */
  readonly terms: readonly (readonly bigint[])[]
  /** What no term says. */
  readonly conditions: readonly Filter<StoredEvent>[]
  /** What the terms say already: turns away the odd event that shares a term by chance. */
  readonly implied: readonly Filter<StoredEvent>[]
  /** Decides on each event that the database found; absent = they are it. */
  readonly matches?: (event: StoredEvent) => boolean
  /** Inclusive. */
  readonly from?: Date | undefined
  /** Exclusive. */
  readonly to?: Date | undefined
}

export interface ScanBudget {
  /** Events fetched and compared. */
  readonly maxEvents: number
  /** Milliseconds after which no further window is begun. */
  readonly maxMs: number
  /** Events of the windows: small at first, for most pages are full soon. */
  readonly windows: readonly [first: number, next: number]
}

export interface ScanOptions {
  readonly order: EventOrder
  /** Exclusive. */
  readonly after?: EventPosition | undefined
  readonly limit: number
  readonly budget: ScanBudget
  /** Read the search terms too. */
  readonly withTerms?: boolean
}

export interface ScanResult {
  readonly events: readonly StoredEvent[]
  /** Where to go on; undefined = there is nothing more. */
  readonly next: EventPosition | undefined
  /** The budget was used up: there may be more, and the page may be short or empty. */
  readonly partial: boolean
}

/** A page of a search: some 30 ms of work, so that nobody's search holds up the others'. */
export const searchBudget: ScanBudget = { maxEvents: 20_000, maxMs: 30, windows: [500, 1_000] }

/** More alternatives than this cannot be merged in order; then another criterion leads, or time. */
const maxMerged = 20
/** A read that takes longer is given up: the database does not get round to it. */
const maxReadMs = 10_000
const hidden = { mac: 0, fingerprint: 0 }
/** What readers have no use for stays in the database. */
export const viewProjection = { ...hidden, 'fields.terms': 0 }

/** A stretch of time to walk, given by two places or times. */
export interface Stretch {
  readonly order: EventOrder
  readonly after: EventPosition | undefined
  /** Inclusive; undefined = to the end. */
  readonly until: EventPosition | undefined
}

/** What leads a walk: the alternatives of one criterion, or undefined for time alone. */
export type Leader = readonly bigint[] | undefined

/** A page of the events that fulfil the criteria. */
export async function scan(
  events: EventCollection,
  criteria: SearchCriteria,
  { order, after, limit, budget, withTerms = false }: ScanOptions,
): Promise<ScanResult> {
  const leaders = leadersOf(criteria)
  const found: StoredEvent[] = []
  const collect = async (leader: Leader, stretch: Stretch): Promise<void> => {
    const { matches } = criteria
    const wanted = limit + 1 - found.length
    const options: FindOptions = {
      ...readOptions(leader, order),
      ...(withTerms ? { projection: hidden, useBigInt64: true } : { projection: viewProjection }),
    }
    const query = scanQuery(criteria, leader, stretch)
    if (matches === undefined) {
      found.push(
        ...(await events.find(query, { ...options, limit: wanted, batchSize: wanted + 1 }).toArray()),
      )
      return
    }
    for await (const event of events.find(query, { ...options, batchSize: wanted + 1 })) {
      if (matches(event) && found.push(event) > limit) return
    }
  }
  const full = (): ScanResult | undefined => {
    const last = found[limit - 1]
    if (found.length <= limit || last === undefined) return undefined
    return { events: found.slice(0, limit), next: positionOf(last), partial: false }
  }

  if (isExact(criteria)) {
    await collect(leaders[0], { order, after, until: undefined })
    return full() ?? { events: found, next: undefined, partial: false }
  }

  const stopAt = performance.now() + budget.maxMs
  let position = after
  for (let seen = 0, size = budget.windows[0]; ; size = budget.windows[1]) {
    const { leader, until } = await nextWindow(events, criteria, leaders, { order, after: position }, size)
    await collect(leader, { order, after: position, until })
    const page = full()
    if (page !== undefined) return page
    if (until === undefined) return { events: found, next: undefined, partial: false }
    seen += size
    position = until
    if (seen >= budget.maxEvents || performance.now() > stopAt)
      return { events: found, next: position, partial: true }
  }
}

/** Does an index alone lead from one event that fulfils the criteria to the next? */
export const isExact = ({ terms, conditions, matches }: SearchCriteria): boolean =>
  terms.length <= 1 &&
  conditions.length === 0 &&
  matches === undefined &&
  terms.every((alternatives) => alternatives.length <= maxMerged)

/** The criteria that can lead; time alone where none can. */
export function leadersOf({ terms }: SearchCriteria): readonly [Leader, ...Leader[]] {
  const [first, ...others] = terms.filter((alternatives) => alternatives.length <= maxMerged)
  return first === undefined ? [undefined] : [first, ...others]
}

/** Who leads from here, and where its next `size` events end; undefined = it has no more than that. */
export async function nextWindow(
  events: EventCollection,
  criteria: SearchCriteria,
  leaders: readonly [Leader, ...Leader[]],
  from: Omit<Stretch, 'until'>,
  size: number,
): Promise<{ leader: Leader; until: EventPosition | undefined }> {
  const windows = await Promise.all(
    leaders.map(async (leader) => {
      const [end] = await events
        .find<Pick<StoredEvent, '_id' | 'occurredAt'>>(
          leaderQuery(criteria, leader, { ...from, until: undefined }),
          {
            ...readOptions(leader, from.order),
            projection: { _id: 1, occurredAt: 1 },
            skip: size - 1,
            limit: 1,
          },
        )
        .toArray()
      return { leader, until: end === undefined ? undefined : positionOf(end) }
    }),
  )
  return windows.reduce((best, window) =>
    reachesFurther(window.until, best.until, from.order) ? window : best,
  )
}

function reachesFurther(
  one: EventPosition | undefined,
  other: EventPosition | undefined,
  order: EventOrder,
): boolean {
  if (other === undefined) return false
  if (one === undefined) return true
  const later =
    one.occurredAtMs === other.occurredAtMs ? one.id > other.id : one.occurredAtMs > other.occurredAtMs
  return later === (order === 'asc')
}

export const positionOf = (event: Pick<StoredEvent, '_id' | 'occurredAt'>): EventPosition => ({
  occurredAtMs: event.occurredAt.getTime(),
  id: eventIdOf(event._id),
})

/** Sort, index and time limit of a read that `leader` leads. */
export function readOptions(leader: Leader, order: EventOrder) {
  const direction = order === 'asc' ? 1 : -1
  return {
    sort: { occurredAt: direction, _id: direction },
    hint: leader === undefined ? eventIndexes.time : eventIndexes.terms,
    maxTimeMS: maxReadMs,
  } as const
}

/** All criteria over a stretch, led by one of them. */
export function scanQuery(criteria: SearchCriteria, leader: Leader, stretch: Stretch): Filter<StoredEvent> {
  const others = criteria.terms
    .filter((alternatives) => alternatives !== leader)
    .map((alternatives): Filter<StoredEvent> => ({ 'fields.terms': { $nin: [...alternatives] } }))
  const conditions = [...criteria.conditions, ...criteria.implied]
  return {
    ...leaderQuery(criteria, leader, stretch),
    // "None of them lacks it": the database uses no index for a denial, so nothing but the leader can lead.
    ...(others.length === 0 ? {} : { $nor: others }),
    ...(conditions.length === 0 ? {} : { $and: conditions }),
  }
}

/** The events of the leader over a stretch: each alternative is one run of the index, merged in order. */
export function leaderQuery(
  { organizationId, from, to }: SearchCriteria,
  leader: Leader,
  stretch: Stretch,
): Filter<StoredEvent> {
  const runs = runsOf(organizationId, stretch, from, to)
  const branches = (leader ?? [undefined]).flatMap((term) =>
    runs.map((run) => ({
      organizationId,
      ...(term === undefined ? {} : { 'fields.terms': term }),
      ...run,
    })),
  )
  return { $or: branches }
}

interface Run {
  readonly occurredAt?: Date | { $gt?: Date; $gte?: Date; $lt?: Date }
  readonly _id?: { $gt?: string; $gte?: string; $lt?: string; $lte?: string }
}

/** The stretch as at most three runs of an index that ends in `occurredAt, _id`. */
function runsOf(
  organizationId: string,
  { order, after, until }: Stretch,
  from: Date | undefined,
  to: Date | undefined,
): Run[] {
  const documentId = ({ id }: EventPosition) => eventDocumentId(organizationId, id)
  const afterIs = order === 'asc' ? 'lower' : 'upper'
  const lower = afterIs === 'lower' ? after : until
  const upper = afterIs === 'lower' ? until : after
  const above = (position: EventPosition) =>
    position === after ? { $gt: documentId(position) } : { $gte: documentId(position) }
  const below = (position: EventPosition) =>
    position === after ? { $lt: documentId(position) } : { $lte: documentId(position) }
  if (lower !== undefined && lower.occurredAtMs === upper?.occurredAtMs)
    return [{ occurredAt: new Date(lower.occurredAtMs), _id: { ...above(lower), ...below(upper) } }]
  const between = {
    ...(lower === undefined
      ? from === undefined
        ? {}
        : { $gte: from }
      : { $gt: new Date(lower.occurredAtMs) }),
    ...(upper === undefined ? (to === undefined ? {} : { $lt: to }) : { $lt: new Date(upper.occurredAtMs) }),
  }
  const runs: Run[] = [Object.keys(between).length === 0 ? {} : { occurredAt: between }]
  if (lower !== undefined) runs.push({ occurredAt: new Date(lower.occurredAtMs), _id: above(lower) })
  if (upper !== undefined) runs.push({ occurredAt: new Date(upper.occurredAtMs), _id: below(upper) })
  return runs
}
