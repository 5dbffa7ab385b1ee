/** What a reader asks of a list of events: the query string of a GET, or the body of a search. One schema. */
import { z } from 'zod'
import { defaultLimit, maxLimit, pageQuery } from '../http/list.js'
import { invalid, parseInput } from '../http/validate.js'
import type { FieldError } from '../errors.js'
import { patternNamePattern } from './detectors/patterns.js'
import { idPattern } from '../ids.js'
import { outcomes } from './contract.js'
import { checkJson } from './json-check.js'
import { limits } from './limits.js'
import { typePattern } from './schema.js'
import type { EventFilter, EventPosition } from './search.js'
import { parseTime } from './time.js'

const actionFilter = /^[A-Za-z0-9_.:-]{1,128}(\.\*)?$/

const value = (max: number) => z.string().min(1).max(max).optional()
const time = z.string().max(64).meta({ format: 'date-time' }).optional()

const filterShape = {
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
  from: time.meta({ description: 'By occurredAt, inclusive.' }),
  to: time.meta({ description: 'By occurredAt, exclusive.' }),
}

/** The query string of `GET …/events`; metadata filters are `metadata.<key>=<value>`. */
export const listQuerySchema = z.strictObject({
  ...filterShape,
  ...pageQuery,
  source: z.enum(['hot', 'all']).optional().meta({ default: 'hot' }),
  personal: z.enum(['true', 'false']).optional().meta({
    description: 'With the personal grant, `false` reads masked, and nothing is logged.',
  }),
})

/** The body of `POST …/events/search`. */
export const searchBodySchema = z.strictObject({
  ...filterShape,
  limit: z.int().min(1).max(maxLimit).optional().meta({ default: defaultLimit }),
  cursor: pageQuery.cursor,
  source: z.enum(['hot', 'all']).optional().meta({ default: 'hot' }),
  personal: z.boolean().optional(),
  metadata: z
    .record(
      z.string().min(1).max(limits.maxKeyLength),
      z.union([z.string().max(limits.maxStringLength), z.number(), z.boolean()]),
    )
    .optional()
    .meta({ description: 'Top-level metadata keys and the values they must have.' }),
})

export const positionSchema: z.ZodType<EventPosition> = z.strictObject({
  occurredAtMs: z.int(),
  id: z.string(),
})

export interface EventListInput {
  readonly filter: EventFilter
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
  const metadata: Record<string, string> = {}
  const rest: Record<string, unknown> = {}
  for (const [name, given] of Object.entries(query)) {
    if (name.startsWith(metadataPrefix) && typeof given === 'string')
      metadata[name.slice(metadataPrefix.length)] = given
    else rest[name] = given
  }
  const { personal, ...input } = parseInput(listQuerySchema, rest)
  return listInput({ ...input, metadata, personal: personal !== 'false' })
}

/** @throws AnnalsError `invalid` */
export function parseSearchBody(body: unknown): EventListInput {
  const { errors } = checkJson(body)
  if (errors.length > 0) throw invalid(errors)
  const { metadata = {}, personal = true, ...input } = parseInput(searchBodySchema, body)
  const texts = Object.fromEntries(Object.entries(metadata).map(([key, given]) => [key, String(given)]))
  return listInput({ ...input, metadata: texts, personal })
}

interface ParsedInput extends Omit<EventFilter, 'from' | 'to'> {
  readonly from?: string | undefined
  readonly to?: string | undefined
  readonly cursor?: string | undefined
  readonly limit?: number | undefined
  readonly source?: string | undefined
  readonly personal: boolean
}

function listInput({
  cursor,
  limit = defaultLimit,
  source = 'hot',
  personal,
  from,
  to,
  ...filter
}: ParsedInput): EventListInput {
  const errors: FieldError[] = []
  const moment = (path: 'from' | 'to', text: string | undefined): Date | undefined => {
    const parsed = text === undefined ? undefined : parseTime(text)
    if (typeof parsed !== 'string') return parsed
    errors.push({ path, code: parsed, message: 'must be an RFC 3339 time with a zone' })
    return undefined
  }
  const range = { from: moment('from', from), to: moment('to', to) }
  if (errors.length > 0) throw invalid(errors)
  const { metadata, ...plain } = filter
  return {
    filter: { ...plain, ...range, ...(Object.keys(metadata ?? {}).length > 0 ? { metadata } : {}) },
    limit,
    cursor,
    personal,
    bound: {
      ...plain,
      source,
      metadata: JSON.stringify(Object.entries(metadata ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))),
      from: range.from?.toISOString(),
      to: range.to?.toISOString(),
    },
  }
}
