/** What a reader asks of a list of events: the query string of a GET, or the body of a search. One schema. */
import { z } from 'zod'
import { defaultLimit, maxLimit, pageQuery } from '../http/list.js'
import { parseInput } from '../http/validate.js'
import { invalid, invalidField, type FieldError } from '../errors.js'
import { patternNamePattern } from './detectors/patterns.js'
import { idPattern } from '../ids.js'
import { outcomes } from './contract.js'
import { checkJson } from './json-check.js'
import { limits } from './limits.js'
import { typePattern } from './schema.js'
import type { EventOrder } from './scan.js'
import type { EventFilter } from './search.js'
import { eventSources, type EventSource } from './sources.js'
import { maxWords, wordsOf } from './text-search.js'
import { parseTime } from './time.js'

const actionFilter = /^[A-Za-z0-9_.:-]{1,128}(\.\*)?$/

const value = (max: number) => z.string().min(1).max(max).optional()
const time = z.string().max(64).meta({ format: 'date-time' }).optional()

const maxQueryLength = 256
const orders = ['asc', 'desc'] as const satisfies readonly EventOrder[]

/** The filters of lists, searches and counts, to spread into a schema. */
export const filterShape = {
  action: z
    .string()
    .regex(actionFilter)
    .optional()
    .meta({ description: 'Exact, or a prefix such as `team.*`.' }),
  category: z.enum(['account', 'product', 'automation', 'system']).optional(),
  outcome: z.enum(outcomes).optional(),
  actorType: z.string().regex(typePattern).optional(),
  actorId: value(limits.maxPartyIdLength).meta({
    description: 'Matches persons only with the personal grant, and is then logged; things always.',
  }),
  actorEmail: value(limits.maxEmailLength).meta({ description: 'Needs the personal grant; logged.' }),
  targetType: z.string().regex(typePattern).optional(),
  targetId: value(limits.maxPartyIdLength).meta({ description: 'As actorId.' }),
  subject: z
    .string()
    .regex(idPattern('sub'))
    .optional()
    .meta({ description: 'A subject reference, as actor or target.' }),
  ip: value(limits.maxContextLength).meta({ description: 'Needs the personal grant; logged.' }),
  sessionId: value(limits.maxContextLength).meta({ description: 'Needs the personal grant; logged.' }),
  requestId: value(limits.maxContextLength),
  detected: z.string().regex(patternNamePattern).optional().meta({
    description:
      'A kind of personal data found in free text: email, phone, card, iban, ip, or a pattern of the organization.',
  }),
  q: z
    .string()
    .max(maxQueryLength)
    .refine((text) => wordsOf(text).length > 0, { params: { code: 'too_short' }, error: 'has no word' })
    .refine((text) => wordsOf(text).length <= maxWords, {
      params: { code: 'too_many' },
      error: `has more than ${String(maxWords)} words`,
    })
    .optional()
    .meta({
      description:
        'Words that must all occur, without case, at word starts, in what every reader sees: action, description, metadata, things, context.',
    }),
  from: time.meta({ description: 'By occurredAt, inclusive.' }),
  to: time.meta({ description: 'By occurredAt, exclusive.' }),
}

const orderOption = z
  .enum(orders)
  .optional()
  .meta({ default: 'desc', description: 'By occurredAt, then id: `desc` newest first, `asc` to replay.' })

const sourceOption = z.enum(eventSources).optional().meta({
  default: 'hot',
  description:
    'Where to look: the hot store, what was restored, the archive (by descending leaf), or `all`: hot, then archive.',
})

/** The query string of `GET …/events`; metadata filters are `metadata.<key>=<value>`. */
export const listQuerySchema = z.strictObject({
  ...filterShape,
  ...pageQuery,
  order: orderOption,
  source: sourceOption,
  personal: z.enum(['true', 'false']).optional().meta({
    description: 'With the personal grant, `false` reads masked, and nothing is logged.',
  }),
})

/** Metadata filters in a body, with their values as text. */
export const metadataShape = z
  .record(
    z.string().min(1).max(limits.maxKeyLength),
    z.union([z.string().max(limits.maxStringLength), z.number(), z.boolean()]).transform(String),
  )
  .optional()
  .meta({
    description: 'Top-level metadata keys and the values they must have.',
    override: {
      type: 'object',
      additionalProperties: { anyOf: [{ type: 'string' }, { type: 'number' }, { type: 'boolean' }] },
    },
  })

/** The body of `POST …/events/search`. */
export const searchBodySchema = z.strictObject({
  ...filterShape,
  limit: z.int().min(1).max(maxLimit).optional().meta({ default: defaultLimit }),
  cursor: pageQuery.cursor,
  order: orderOption,
  source: sourceOption,
  personal: z.boolean().optional(),
  metadata: metadataShape,
})

export interface EventListInput {
  readonly filter: EventFilter
  readonly order: EventOrder
  readonly source: EventSource
  readonly limit: number
  readonly cursor: string | undefined
  /** The reader with the grant wants personal values. */
  readonly personal: boolean
  /** What a cursor of this list is bound to. */
  readonly bound: Readonly<Record<string, string | undefined>>
}

const metadataPrefix = 'metadata.'

/** @throws AnnalsError `invalid` */
export function parseListQuery(query: Readonly<Record<string, unknown>>): EventListInput {
  const { metadata, rest } = metadataFilters(query)
  const { personal, ...input } = parseInput(listQuerySchema, rest)
  return listInput({ ...input, metadata, personal: personal !== 'false' })
}

/** Takes the filters `metadata.<key>` out of a query string. */
export function metadataFilters(query: Readonly<Record<string, unknown>>) {
  const metadata: Record<string, string> = {}
  const rest: Record<string, unknown> = {}
  for (const [name, given] of Object.entries(query)) {
    if (name.startsWith(metadataPrefix) && typeof given === 'string')
      metadata[name.slice(metadataPrefix.length)] = given
    else rest[name] = given
  }
  return { metadata, rest }
}

/** @throws AnnalsError `invalid` */
export function parseSearchBody(body: unknown): EventListInput {
  const { personal = true, ...input } = checkedBody(searchBodySchema, body)
  return listInput({ ...input, personal })
}

/** Parses a body that is held to the limits of JSON first. @throws AnnalsError `invalid` */
export function checkedBody<T>(schema: z.ZodType<T>, body: unknown): T {
  const { errors } = checkJson(body)
  if (errors.length > 0) throw invalid(errors)
  return parseInput(schema, body)
}

interface ParsedInput extends ParsedFilter {
  readonly cursor?: string | undefined
  readonly limit?: number | undefined
  readonly order?: EventOrder | undefined
  readonly source?: EventSource | undefined
  readonly personal: boolean
}

function listInput({
  cursor,
  limit = defaultLimit,
  order = 'desc',
  source = 'hot',
  personal,
  ...given
}: ParsedInput): EventListInput {
  const filter = filterOf(given)
  // An event that moves while the pages turn would be missed: the archive would be behind the reader by then.
  if (order === 'asc' && (source === 'archive' || source === 'all'))
    throw invalidField('order', 'not_allowed', 'the archive is read newest first')
  return { filter, order, source, limit, cursor, personal, bound: { ...boundFilter(filter), order, source } }
}

/** The filters as parsed, with times still as text. */
export interface ParsedFilter extends Omit<EventFilter, 'from' | 'to'> {
  readonly from?: string | undefined
  readonly to?: string | undefined
}

/** @throws AnnalsError `invalid` where a time is none */
export function filterOf({ from, to, metadata, ...plain }: ParsedFilter): EventFilter {
  const errors: FieldError[] = []
  const moment = (path: 'from' | 'to', text: string | undefined): Date | undefined => {
    const parsed = text === undefined ? undefined : parseTime(text)
    if (typeof parsed !== 'string') return parsed
    errors.push({ path, code: parsed, message: 'must be an RFC 3339 time with a zone' })
    return undefined
  }
  const range = { from: moment('from', from), to: moment('to', to) }
  if (errors.length > 0) throw invalid(errors)
  return { ...plain, ...range, ...(Object.keys(metadata ?? {}).length > 0 ? { metadata } : {}) }
}

/** The filters as a cursor is bound to them. */
export const boundFilter = ({ from, to, metadata, ...plain }: EventFilter) => ({
  ...plain,
  metadata: JSON.stringify(Object.entries(metadata ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))),
  from: from?.toISOString(),
  to: to?.toISOString(),
})
