/** The archive part of `/openapi.json`, in zod-openapi's form. */
import { type ApiPaths, idempotencyKeyHeader, jsonContent, problemResponses } from '../http/openapi.js'
import {
  archivePathSchema,
  listRestoresSchema,
  restoreBodySchema,
  restoreListSchema,
  restorePathSchema,
  restoreViewSchema,
} from './restores/schema.js'
import { listSegmentsSchema, segmentListSchema } from './segment-schema.js'

export const archivePaths: ApiPaths = {
  '/v1/organizations/{org}/archive/segments': {
    get: {
      tags: ['archive'],
      summary: 'List what is archived, newest leaves first',
      requestParams: { path: archivePathSchema, query: listSegmentsSchema },
      responses: {
        '200': { description: 'One page.', content: jsonContent(segmentListSchema) },
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
      requestParams: { path: archivePathSchema, header: idempotencyKeyHeader },
      requestBody: { required: true, content: jsonContent(restoreBodySchema) },
      responses: {
        '202': { description: 'It is being copied.', content: jsonContent(restoreViewSchema) },
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
        '200': { description: 'One page.', content: jsonContent(restoreListSchema) },
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
        '200': { description: 'The restore.', content: jsonContent(restoreViewSchema) },
        ...problemResponses('forbidden', 'not_found'),
      },
    },
  },
}
