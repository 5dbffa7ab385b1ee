/** The scans part of `/openapi.json`, in zod-openapi's form. */
import { z } from 'zod'
import { problemResponses, type ApiPaths } from '../http/openapi.js'
import {
  finishSchema,
  listScansSchema,
  progressSchema,
  reasonSchema,
  scanDetailSchema,
  scanListSchema,
  scanPathSchema,
  scanViewSchema,
  startScanSchema,
} from './schema.js'

const json = <Schema extends z.ZodType>(schema: Schema) => ({ 'application/json': { schema } })
const idempotencyKey = z.object({
  'Idempotency-Key': z
    .string()
    .max(256)
    .optional()
    .meta({ description: 'A repeat under the same key changes nothing.' }),
})
const organizationPath = scanPathSchema.pick({ org: true })

const ending = (summary: string, schema: z.ZodType) => ({
  post: {
    tags: ['scans'],
    summary,
    description: 'The first end of a scan stands. The same body or Idempotency-Key again is answered again.',
    requestParams: { path: scanPathSchema, header: idempotencyKey },
    requestBody: { required: true, content: json(schema) },
    responses: {
      '202': { description: 'Stored; `annals.scan.finished` follows.', content: json(scanViewSchema) },
      ...problemResponses('invalid', 'not_found', 'already_finished'),
    },
  },
})

export const scanPaths: ApiPaths = {
  '/v1/organizations/{org}/scans': {
    post: {
      tags: ['scans'],
      summary: 'Start a scan',
      description: 'Writes `annals.scan.started` and starts the workflow that waits for its end.',
      requestParams: { path: organizationPath, header: idempotencyKey },
      requestBody: { required: true, content: json(startScanSchema) },
      responses: {
        '201': { description: 'Started.', content: json(scanViewSchema) },
        '200': { description: 'A repeat under the same key.', content: json(scanViewSchema) },
        ...problemResponses('invalid', 'not_found', 'idempotency_conflict', 'temporal_unavailable'),
      },
    },
    get: {
      tags: ['scans'],
      summary: 'List scans, newest first',
      requestParams: { path: organizationPath, query: listScansSchema },
      responses: {
        '200': { description: 'One page.', content: json(scanListSchema) },
        ...problemResponses('invalid', 'not_found', 'cursor_invalid'),
      },
    },
  },
  '/v1/organizations/{org}/scans/{id}': {
    get: {
      tags: ['scans'],
      summary: 'One scan, with its findings',
      requestParams: { path: scanPathSchema },
      responses: {
        '200': { description: 'The scan.', content: json(scanDetailSchema) },
        ...problemResponses('not_found'),
      },
    },
  },
  '/v1/organizations/{org}/scans/{id}/progress': {
    post: {
      tags: ['scans'],
      summary: 'Report progress',
      requestParams: { path: scanPathSchema },
      requestBody: { required: true, content: json(progressSchema) },
      responses: {
        '202': { description: 'Stored.', content: json(scanViewSchema) },
        ...problemResponses('invalid', 'not_found', 'already_finished'),
      },
    },
  },
  '/v1/organizations/{org}/scans/{id}/finish': ending('Finish a scan', finishSchema),
  '/v1/organizations/{org}/scans/{id}/fail': ending('Report that a scan failed', reasonSchema),
  '/v1/organizations/{org}/scans/{id}/cancel': ending('Cancel a scan', reasonSchema),
}
