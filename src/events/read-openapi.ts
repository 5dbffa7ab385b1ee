/** What `/openapi.json` says about reading events, from the schemas the routes parse with. */
import { z } from 'zod'
import { problemResponses, type ApiPaths } from '../http/openapi.js'
import { organizationIdSchema } from '../organizations/settings.js'
import { intervals, maxBuckets } from './counts.js'
import { listQuerySchema, searchBodySchema } from './list-input.js'
import { countsBodySchema, countsQuerySchema, relatedQuerySchema } from './read-input.js'
import { relations } from './related.js'

const json = (schema: z.ZodType) => ({ 'application/json': { schema } })
const organizationPath = z.object({ org: organizationIdSchema })
const eventPath = z.object({ org: organizationIdSchema, id: z.string() })

const partyViewSchema = z
  .object({
    type: z.string(),
    subject: z.string().optional(),
    masked: z.literal(true).optional(),
    redacted: z.literal(true).optional(),
    erased: z.literal(true).optional(),
    id: z.string().optional(),
    name: z.string().optional(),
    email: z.string().optional(),
    metadata: z.record(z.string(), z.unknown()).optional(),
  })
  .meta({
    id: 'PartyView',
    description:
      'A person without the grant is `{type, subject, masked: true}`; one whose block was removed alone, `redacted: true`.',
  })

const eventViewShape = {
  id: z.string(),
  organizationId: z.string(),
  action: z.string(),
  category: z.string(),
  outcome: z.string(),
  version: z.int(),
  occurredAt: z.string().meta({ format: 'date-time' }),
  receivedAt: z.string().meta({ format: 'date-time' }),
  actor: partyViewSchema,
  targets: z.array(partyViewSchema),
  context: z.record(z.string(), z.string()),
  description: z.string().optional(),
  metadata: z.record(z.string(), z.unknown()),
  leafHash: z.string(),
}
const eventViewSchema = z.object(eventViewShape).meta({ id: 'EventView' })

const partial = z.literal(true).optional().meta({
  description:
    'The scan budget was used up: what is here is right, the next page goes on from where it stopped.',
})
const pageSchema = z
  .object({ data: z.array(eventViewSchema), nextCursor: z.string().nullable(), partial })
  .meta({ id: 'EventPage' })
const page = {
  '200': { description: 'A page, by occurredAt, then id.', content: json(pageSchema) },
}

const countsSchema = z
  .object({
    from: z.string().meta({ format: 'date-time' }),
    to: z.string().meta({ format: 'date-time' }),
    interval: z.enum(intervals),
    data: z.array(
      z.object({
        start: z.string().meta({ format: 'date-time' }),
        count: z.int(),
        by: z.record(z.string(), z.int()).optional(),
      }),
    ),
    nextCursor: z.string().nullable(),
    partial,
  })
  .meta({
    id: 'EventCounts',
    description:
      'Oldest bucket first. A next page is older; what both say of the bucket between them adds up.',
  })
const countsAnswers = {
  '200': { description: `Up to ${String(maxBuckets)} buckets.`, content: json(countsSchema) },
  ...problemResponses('cursor_invalid', 'forbidden', 'not_found', 'wrong_region', 'invalid'),
}

const relatedSchema = z
  .object({
    data: z.array(z.object({ ...eventViewShape, relatedBy: z.array(z.enum(relations)) })),
    more: z.object({ before: z.boolean(), after: z.boolean() }),
  })
  .meta({ id: 'RelatedEvents', description: 'Oldest first, without the event itself.' })

export const eventReadPaths: ApiPaths = {
  '/v1/organizations/{org}/events': {
    get: {
      tags: ['events'],
      summary: 'List events',
      description: 'All filters given must hold. Metadata filters are `metadata.<key>=<value>`.',
      requestParams: { path: organizationPath, query: listQuerySchema },
      responses: {
        ...page,
        ...problemResponses('cursor_invalid', 'forbidden', 'not_found', 'wrong_region', 'invalid'),
      },
    },
  },
  '/v1/organizations/{org}/events/search': {
    post: {
      tags: ['events'],
      summary: 'Search events',
      description: 'As the list, with the filters in the body: personal values stay out of addresses.',
      requestParams: { path: organizationPath },
      requestBody: { required: true, content: json(searchBodySchema) },
      responses: {
        ...page,
        ...problemResponses('cursor_invalid', 'forbidden', 'not_found', 'wrong_region', 'invalid'),
      },
    },
  },
  '/v1/organizations/{org}/events/{id}': {
    get: {
      tags: ['events'],
      summary: 'One event',
      requestParams: {
        path: eventPath,
        query: z.object({ personal: z.enum(['true', 'false']).optional() }),
      },
      responses: {
        '200': { description: 'The event.', content: json(eventViewSchema) },
        ...problemResponses('forbidden', 'not_found', 'expired', 'wrong_region'),
      },
    },
  },
  '/v1/organizations/{org}/events/{id}/related': {
    get: {
      tags: ['events'],
      summary: 'What happened around an event',
      description:
        'The nearest events with the same actor, target, session (personal grant; logged) or request.',
      requestParams: { path: eventPath, query: relatedQuerySchema },
      responses: {
        '200': { description: 'Events before and after.', content: json(relatedSchema) },
        ...problemResponses('forbidden', 'not_found', 'expired', 'wrong_region', 'invalid'),
      },
    },
  },
  '/v1/organizations/{org}/counts': {
    get: {
      tags: ['events'],
      summary: 'Count events over time',
      description: 'Takes the filters of the list; 30 buckets up to now where no time range is given.',
      requestParams: { path: organizationPath, query: countsQuerySchema },
      responses: countsAnswers,
    },
    post: {
      tags: ['events'],
      summary: 'Count events over time, filters in the body',
      requestParams: { path: organizationPath },
      requestBody: { required: true, content: json(countsBodySchema) },
      responses: countsAnswers,
    },
  },
}
