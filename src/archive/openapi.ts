/** The archive part of `/openapi.json`, in zod-openapi's form. */
import { z } from 'zod'
import { problemResponses, type ApiPaths } from '../http/openapi.js'
import {
  archivePathSchema,
  listRestoresSchema,
  restoreBodySchema,
  restoreListSchema,
  restorePathSchema,
  restoreViewSchema,
} from './restores/schema.js'
import { listSegmentsSchema, segmentListSchema } from './segment-schema.js'

const json = <Schema extends z.ZodType>(schema: Schema) => ({ 'application/json': { schema } })
const idempotencyKey = z.object({
  'Idempotency-Key': z
    .string()
    .max(256)
    .optional()
    .meta({ description: 'A repeat under the same key changes nothing.' }),
})

export const archivePaths: ApiPaths = {
  '/v1/organizations/{org}/archive/segments': {
    get: {
      tags: ['archive'],
      summary: 'List what is archived, newest leaves first',
      requestParams: { path: archivePathSchema, query: listSegmentsSchema },
      responses: {
        '200': { description: 'One page.', content: json(segmentListSchema) },
        ...problemResponses('invalid', 'not_found', 'cursor_invalid'),
      },
    },
  },
  '/v1/organizations/{org}/archive/restores': {
    post: {
      tags: ['archive'],
      summary: 'Bring a stretch of time back from the archive for some days',
      description:
        'Once its state is `restored`, searches find the events under `source=restored`. What was erased stays erased.',
      requestParams: { path: archivePathSchema, header: idempotencyKey },
      requestBody: { required: true, content: json(restoreBodySchema) },
      responses: {
        '202': { description: 'It is being copied.', content: json(restoreViewSchema) },
        ...problemResponses(
          'invalid',
          'forbidden',
          'not_found',
          'idempotency_conflict',
          'temporal_unavailable',
        ),
      },
    },
    get: {
      tags: ['archive'],
      summary: 'List restores, newest first',
      requestParams: { path: archivePathSchema, query: listRestoresSchema },
      responses: {
        '200': { description: 'One page.', content: json(restoreListSchema) },
        ...problemResponses('invalid', 'forbidden', 'not_found', 'cursor_invalid'),
      },
    },
  },
  '/v1/organizations/{org}/archive/restores/{id}': {
    get: {
      tags: ['archive'],
      summary: 'One restore',
      requestParams: { path: restorePathSchema },
      responses: {
        '200': { description: 'The restore.', content: json(restoreViewSchema) },
        ...problemResponses('forbidden', 'not_found'),
      },
    },
  },
}
