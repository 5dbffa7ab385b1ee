/** What `/openapi.json` says about taking events in, from the schemas the routes parse with; and about reading them. */
import { z } from 'zod'
import { problemResponses, type ApiPaths } from '../http/openapi.js'
import { limits } from './limits.js'
import { eventReadPaths } from './read-openapi.js'
import { batchSchema, eventItemSchema, eventSchema } from './schema.js'
import { streamQuerySchema } from './stream-query.js'

const json = (schema: z.ZodType) => ({ 'application/json': { schema } })
const idempotencyKey = z.object({
  'Idempotency-Key': z.string().max(limits.maxIdempotencyKeyLength).optional().meta({
    description: 'The same key again answers the first event and stores nothing; with another body 409.',
  }),
})

const acceptedSchema = z
  .object({
    id: z.string(),
    organizationId: z.string(),
    receivedAt: z.string().meta({ format: 'date-time' }),
    leafHash: z.string().meta({ description: 'SHA-256 leaf of the record (RFC 6962), standard base64.' }),
  })
  .meta({ id: 'AcceptedEvent' })

const batchResultSchema = z
  .object({
    results: z.array(
      z.object({
        index: z.int(),
        status: z.int(),
        id: z.string().optional(),
        leafHash: z.string().optional(),
        replayed: z.boolean().optional(),
        problem: z.object({}).optional().meta({ description: 'A problem document, where the item failed.' }),
      }),
    ),
  })
  .meta({ id: 'BatchResults' })

const counts = { accepted: z.int(), replayed: z.int(), rejected: z.int() }
const problem = z.object({}).meta({ description: 'A problem document.' })
const retryAfterSeconds = z.number().optional()
const streamLineSchema = z
  .union([
    z.object({
      line: z.int(),
      status: z.int(),
      id: z.string(),
      leafHash: z.string(),
      replayed: z.boolean().optional(),
    }),
    z.object({ line: z.int(), status: z.int(), problem, retryAfterSeconds }),
    z.object({ through: z.int(), ...counts }),
    z.object({ done: z.literal(true), ...counts }),
    z.object({ done: z.literal(false), ...counts, line: z.int(), problem, retryAfterSeconds }),
  ])
  .meta({ id: 'StreamLine', description: 'A stored event, a failure, progress, or the last line.' })

export const eventPaths: ApiPaths = {
  '/v1/events': {
    post: {
      tags: ['events'],
      summary: 'Post an event',
      description: '201 means that a majority of the database has it on disk.',
      requestParams: { header: idempotencyKey },
      requestBody: { required: true, content: json(eventSchema) },
      responses: {
        '201': {
          description: 'Stored; a repeat carries `Idempotency-Replayed: true`.',
          content: json(acceptedSchema),
        },
        ...problemResponses(
          'malformed',
          'forbidden',
          'not_found',
          'idempotency_conflict',
          'too_large',
          'unsupported_media_type',
          'wrong_region',
          'invalid',
          'rate_limited',
          'overloaded',
        ),
      },
    },
  },
  '/v1/events/batch': {
    post: {
      tags: ['events'],
      summary: `Post up to ${String(limits.maxBatchEvents)} events`,
      description: 'Each item answers for itself: bad ones fail alone, the rest are stored.',
      requestBody: { required: true, content: json(batchSchema) },
      responses: {
        '200': { description: 'One result an item, in order.', content: json(batchResultSchema) },
        ...problemResponses(
          'malformed',
          'forbidden',
          'too_large',
          'unsupported_media_type',
          'invalid',
          'overloaded',
        ),
      },
    },
  },
  '/v1/events/stream': {
    post: {
      tags: ['events'],
      summary: 'Stream events as NDJSON',
      description:
        'One event a line, as many as wanted; the answer is NDJSON too, while the request goes on. The last line says how it went, and where to go on where the stream was stopped (1,000 failures stop it).',
      requestParams: { query: streamQuerySchema },
      requestBody: { required: true, content: { 'application/x-ndjson': { schema: eventItemSchema } } },
      responses: {
        '200': {
          description: 'Lines of the answer, in the order of the events.',
          content: { 'application/x-ndjson': { schema: streamLineSchema } },
        },
        ...problemResponses('forbidden', 'unsupported_media_type', 'invalid', 'overloaded'),
      },
    },
  },
  ...eventReadPaths,
}
