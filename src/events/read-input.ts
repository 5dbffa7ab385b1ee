/** What a reader asks of counts and of related events. */
import { z } from 'zod'
import { pageQuery } from '../http/list.js'
import { invalidField } from '../errors.js'
import { parseInput } from '../http/validate.js'
import { formatDuration, parseDuration } from '../scans/duration.js'
import {
  bucketStart,
  bucketsIn,
  divisions,
  intervals,
  maxBuckets,
  nextStart,
  type CountsRequest,
  type Interval,
} from './counts.js'
import {
  checkedBody,
  filterOf,
  filterShape,
  metadataFilters,
  metadataShape,
  boundFilter,
} from './list-input.js'
import type { ParsedFilter } from './list-input.js'
import { relations, type Relation, type RelatedRequest } from './related.js'
import type { EventPosition } from './scan.js'
import type { EventSource } from './sources.js'

export type CountedSource = (typeof countedSources)[number]
const countedSources = ['hot', 'restored'] as const satisfies readonly EventSource[]

const countsShape = {
  ...filterShape,
  interval: z.enum(intervals).optional().meta({ default: 'day', description: 'In UTC; weeks from Monday.' }),
  by: z
    .enum(divisions)
    .optional()
    .meta({ description: 'Divide each bucket by the 50 most frequent values.' }),
  source: z.enum(countedSources).optional().meta({
    default: 'hot',
    description: 'What is counted. An archive has no index to count by: restore the range, and count that.',
  }),
  cursor: pageQuery.cursor,
}

/** Where a cursor of counts goes on. */
export const countsPositionSchema: z.ZodType<EventPosition> = z.strictObject({
  occurredAtMs: z.int(),
  id: z.string(),
})

/** The query string of `GET …/counts`; metadata filters are `metadata.<key>=<value>`. */
export const countsQuerySchema = z.strictObject({
  ...countsShape,
  personal: z.enum(['true', 'false']).optional(),
})

/** The body of `POST …/counts`. */
export const countsBodySchema = z.strictObject({
  ...countsShape,
  metadata: metadataShape,
  personal: z.boolean().optional(),
})

export interface CountsInput {
  readonly request: Omit<CountsRequest, 'after'>
  readonly source: CountedSource
  readonly cursor: string | undefined
  readonly personal: boolean
  /** What a cursor of these counts is bound to. */
  readonly bound: Readonly<Record<string, string | undefined>>
}

/** Buckets that are counted where no beginning is given. */
const defaultBuckets = 30

/** @throws AnnalsError `invalid` */
export function parseCountsQuery(query: Readonly<Record<string, unknown>>, now: Date): CountsInput {
  const { metadata, rest } = metadataFilters(query)
  const { personal, ...input } = parseInput(countsQuerySchema, rest)
  return countsInput({ ...input, metadata, personal: personal !== 'false' }, now)
}

/** @throws AnnalsError `invalid` */
export function parseCountsBody(body: unknown, now: Date): CountsInput {
  const { personal = true, ...input } = checkedBody(countsBodySchema, body)
  return countsInput({ ...input, personal }, now)
}

interface ParsedCounts extends ParsedFilter {
  readonly interval?: Interval | undefined
  readonly by?: CountsRequest['by']
  readonly source?: CountedSource | undefined
  readonly cursor?: string | undefined
  readonly personal: boolean
}

function countsInput(
  { interval = 'day', by, source = 'hot', cursor, personal, ...given }: ParsedCounts,
  now: Date,
): CountsInput {
  const filter = filterOf(given)
  // The end of the bucket that is under way: a chart without an end shows today, and pages of it have one end.
  const to =
    filter.to ?? bucketEnd(filter.from !== undefined && filter.from > now ? filter.from : now, interval)
  const from = filter.from ?? defaultFrom(to, interval)
  if (from >= to) throw invalidField('from', 'too_large', 'lies at or after the end of the time range')
  if (bucketsIn(from, to, interval) > maxBuckets) {
    throw invalidField(
      'interval',
      'too_many',
      `the time range has more than ${String(maxBuckets)} buckets: take a longer interval, or less time`,
    )
  }
  const ranged = { ...filter, from, to }
  return {
    request: { filter: ranged, interval, by },
    source,
    cursor,
    personal,
    bound: { ...boundFilter(ranged), interval, by, source },
  }
}

const bucketEnd = (moment: Date, interval: Interval) => nextStart(bucketStart(moment, interval), interval)

function defaultFrom(to: Date, interval: Interval): Date {
  let start = bucketStart(new Date(to.getTime() - 1), interval)
  for (let count = 1; count < defaultBuckets; count += 1)
    start = bucketStart(new Date(start.getTime() - 1), interval)
  return start
}

const defaultWithin = 'PT1H'
const maxWithinMs = 7 * 86_400_000
const defaultSide = 25
const maxSide = 100

/** The query string of `GET …/events/:id/related`. */
export const relatedQuerySchema = z.strictObject({
  within: z
    .string()
    .max(32)
    .refine((text) => (parseDuration(text) ?? maxWithinMs + 1) <= maxWithinMs, {
      error: `must be an ISO 8601 duration such as PT1H, at most ${formatDuration(maxWithinMs)}`,
    })
    .default(defaultWithin)
    .meta({ description: 'How far before and after the event.' }),
  by: z
    .string()
    .refine((text) => text.split(',').every(isRelation), {
      error: `must list some of ${relations.join(', ')}`,
    })
    .optional()
    .meta({ description: `What is shared: ${relations.join(', ')}; default: all that the key may.` }),
  limit: z
    .string()
    .regex(/^\d{1,3}$/)
    .transform(Number)
    .pipe(z.number().min(1).max(maxSide))
    .default(defaultSide)
    .meta({
      description: 'Events on each side, the nearest.',
      override: { type: 'integer', minimum: 1, maximum: maxSide, default: defaultSide },
    }),
  personal: z.enum(['true', 'false']).optional(),
})

/** @throws AnnalsError `invalid` */
export function parseRelatedQuery(query: unknown): { request: RelatedRequest; personal: boolean } {
  const { within, by, limit, personal } = parseInput(relatedQuerySchema, query)
  const withinMs = parseDuration(within)
  if (withinMs === undefined) throw new Error('a duration passed the schema and is none')
  const request = { by: by?.split(',').filter(isRelation), withinMs, limit }
  return { request, personal: personal !== 'false' }
}

const isRelation = (text: string): text is Relation => (relations as readonly string[]).includes(text)
