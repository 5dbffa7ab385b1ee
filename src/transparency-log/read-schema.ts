/** What readers of a log may ask, as the routes parse it and `/openapi.json` says it. */
import { z } from 'zod'
import { pageQuery } from '../http/list.js'
import { invalidField } from '../errors.js'
import { parseInput } from '../http/validate.js'
import type { FeedRequest } from './feed.js'

/** Longest long-poll, in seconds: proxies give up on an idle answer soon after. */
export const maxWaitSeconds = 60

const size = z
  .string()
  .regex(/^(0|[1-9]\d{0,14})$/)
  .transform(Number)

export const consistencyQuerySchema = z.strictObject({
  from: size.meta({ override: { type: 'integer', minimum: 0 } }),
  to: size.meta({ override: { type: 'integer', minimum: 0 } }),
})

/** @throws AnnalsError `invalid` */
export function parseConsistency(query: unknown): { from: number; to: number } {
  const { from, to } = parseInput(consistencyQuerySchema, query)
  if (from > to) throw invalidField('from', 'too_large', 'must not be over "to"')
  return { from, to }
}

export const feedQuerySchema = z.strictObject({
  after: z
    .string()
    .regex(/^[1-9]\d{0,8}\.(0|[1-9]\d{0,14})$/)
    .optional()
    .meta({ description: '`next` of the page before: `<generation>.<index>` of a leaf, exclusive.' }),
  generation: z
    .string()
    .regex(/^[1-9]\d{0,8}$/)
    .transform(Number)
    .optional()
    .meta({
      description: 'Without `after`: begin at the first leaf of this generation.',
      override: { type: 'integer', minimum: 1 },
    }),
  limit: pageQuery.limit,
  wait: z
    .string()
    .regex(/^\d{1,2}$/)
    .transform(Number)
    .pipe(z.number().max(maxWaitSeconds))
    .default(0)
    .meta({
      description: 'Seconds to wait for a first event where there is none yet.',
      override: { type: 'integer', minimum: 0, maximum: maxWaitSeconds, default: 0 },
    }),
  view: z.enum(['plain', 'verifiable']).default('plain').meta({
    description: '`verifiable`: with salts and commitments (docs/formats.md).',
  }),
  personal: z.enum(['true', 'false']).optional(),
})

export interface FeedInput extends FeedRequest {
  readonly waitMs: number
  readonly personal: boolean
}

/** @throws AnnalsError `invalid` */
export function parseFeedQuery(query: unknown): FeedInput {
  const { after, generation: first = 1, limit, wait, view, personal } = parseInput(feedQuerySchema, query)
  const [generation, index] = (after ?? '').split('.').map(Number)
  const place = generation === undefined || index === undefined ? undefined : { generation, index }
  return { after: place, first, limit, view, waitMs: wait * 1_000, personal: personal !== 'false' }
}

export const proofQuerySchema = z.strictObject({
  view: z.enum(['plain', 'verifiable']).default('plain').meta({
    description: '`verifiable`: the JSON answer has the event with salts and commitments (docs/formats.md).',
  }),
  personal: z.enum(['true', 'false']).optional(),
})

/** @throws AnnalsError `invalid` */
export function parseProofQuery(query: unknown) {
  const { view, personal } = parseInput(proofQuerySchema, query)
  return { verifiable: view === 'verifiable', personal: personal !== 'false' }
}

/** Ids whose leaves are asked for at once. */
export const maxLeafIds = 500

export const leavesBodySchema = z.strictObject({
  ids: z.array(z.string().min(1).max(64)).min(1).max(maxLeafIds),
})
