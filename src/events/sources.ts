/**
 * Pages of events out of each place where they can be: the hot store, what was restored, the archive, or hot and then
 * the archive.
 *
 * In `all` an event may move while somebody turns the pages. It moves one way only, from what is read first to what is
 * read last, and stands in the archive before it goes from the hot store: so it may be seen twice, on two pages, and
 * is never missed. Where both have it at the moment, the hot one counts, and the archive passes it over.
 */
import { z } from 'zod'
import { archiveStart, type ArchivedEvents, type ArchivePosition } from './archived.js'
import { criteriaMatcher } from './matching.js'
import {
  scan,
  searchBudget,
  type EventOrder,
  type EventPosition,
  type ScanResult,
  type SearchCriteria,
} from './scan.js'
import type { EventFilter } from './search.js'
import type { EventCollection, StoredEvent } from './store.js'

export const eventSources = ['hot', 'restored', 'archive', 'all'] as const
export type EventSource = (typeof eventSources)[number]

/** Where a page goes on: in time, or in the archive. */
export type SourcePosition = EventPosition | ArchivePosition

export const sourcePositionSchema: z.ZodType<SourcePosition> = z.union([
  z.strictObject({ occurredAtMs: z.int(), id: z.string() }),
  z.strictObject({ generation: z.int().min(1), index: z.int().min(0) }),
])

export interface SourceRequest {
  readonly source: EventSource
  readonly order: EventOrder
  readonly limit: number
  readonly after: SourcePosition | undefined
}

export interface SourcePage {
  readonly events: readonly StoredEvent[]
  readonly next: SourcePosition | undefined
  /** The budget was used up: the page may be short, and going on finds the rest. */
  readonly partial: boolean
}

export interface EventSources {
  readonly hot: EventCollection
  readonly restored: EventCollection
  readonly archived: Pick<ArchivedEvents, 'walk'>
}

/** What one page may read of the archive: some tens of tiles, about a second of work where none is in memory. */
export const archiveBudget = { maxEvents: 20_000, maxMs: 500 }

/** A page of the events that fulfil the filter. Errors as `ArchivedEvents`. */
export async function readSource(
  { hot, restored, archived }: EventSources,
  filter: EventFilter,
  criteria: SearchCriteria,
  { source, order, limit, after }: SourceRequest,
): Promise<SourcePage> {
  const inArchive = after !== undefined && 'index' in after ? after : undefined
  const inTime = after !== undefined && 'occurredAtMs' in after ? after : undefined
  const timed = (events: EventCollection): Promise<ScanResult> =>
    scan(events, criteria, { order, after: inTime, limit, budget: searchBudget })
  const matches = criteriaMatcher(filter, criteria)
  const fromArchive = (place: ArchivePosition, wanted: number, shown: readonly StoredEvent[] = []) =>
    scanArchive({ hot, archived }, criteria, matches, place, wanted, shown)
  if (source === 'hot') return timed(hot)
  if (source === 'restored') return timed(restored)
  if (source === 'archive') return fromArchive(inArchive ?? archiveStart, limit)
  if (inArchive !== undefined) return fromArchive(inArchive, limit)
  const page = await timed(hot)
  if (page.next !== undefined) return page
  // Only now: what left the hot store while it was read is in the archive by now.
  const rest = await fromArchive(archiveStart, limit - page.events.length, page.events)
  return { ...rest, events: [...page.events, ...rest.events] }
}

/** Walks the archive for `limit` events and a place to go on, within the budget. */
async function scanArchive(
  { hot, archived }: Pick<EventSources, 'hot' | 'archived'>,
  criteria: SearchCriteria,
  matches: (event: StoredEvent) => boolean,
  after: ArchivePosition,
  limit: number,
  shown: readonly StoredEvent[],
): Promise<SourcePage> {
  const { organizationId, from, to } = criteria
  const onThisPage = new Set(shown.map(({ _id }) => _id))
  const stopAt = performance.now() + archiveBudget.maxMs
  const found: StoredEvent[] = []
  /** The last place whose events are all in `found`, or do not fulfil the filter. */
  let last = after
  let seen = 0
  for await (const stretch of archived.walk(organizationId, { after, from, to })) {
    const fitting = stretch.events.filter(({ event }) => matches(event))
    const hotToo = stretch.alsoHot
      ? await stillHot(
          hot,
          fitting.map(({ event }) => event._id),
        )
      : undefined
    for (const { position, event } of fitting) {
      if (hotToo?.has(event._id) === true || onThisPage.has(event._id)) continue
      if (found.length === limit) return { events: found, next: last, partial: false }
      found.push(event)
      last = position
    }
    last = stretch.end
    seen += stretch.leaves
    if (seen >= archiveBudget.maxEvents || performance.now() > stopAt)
      return { events: found, next: last, partial: true }
  }
  return { events: found, next: undefined, partial: false }
}

async function stillHot(hot: EventCollection, ids: readonly string[]): Promise<ReadonlySet<string>> {
  if (ids.length === 0) return new Set()
  const options = { projection: { _id: 1 }, batchSize: ids.length + 1 }
  const rows = await hot.find({ _id: { $in: [...ids] } }, options).toArray()
  return new Set(rows.map(({ _id }) => _id))
}
