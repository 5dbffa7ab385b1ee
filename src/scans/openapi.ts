/** The scans part of `/openapi.json`, in zod-openapi's form. */
import type { z } from 'zod'
import { type ApiPaths, idempotencyKeyHeader, jsonContent, problemResponses } from '../http/openapi.js'
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

const organizationPath = scanPathSchema.pick({ org: true })

const ending = (summary: string, schema: z.ZodType) => ({
  post: {
    tags: ['scans'],
    summary,
    description: 'The first end of a scan stands. The same body or Idempotency-Key again is answered again.',
    requestParams: { path: scanPathSchema, header: idempotencyKeyHeader },
    requestBody: { required: true, content: jsonContent(schema) },
    responses: {
      '202': { description: 'Stored; `annals.scan.finished` follows.', content: jsonContent(scanViewSchema) },
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
      requestParams: { path: organizationPath, header: idempotencyKeyHeader },
      requestBody: { required: true, content: jsonContent(startScanSchema) },
      responses: {
        '201': { description: 'Started.', content: jsonContent(scanViewSchema) },
        '200': { description: 'A repeat under the same key.', content: jsonContent(scanViewSchema) },
        ...problemResponses('invalid', 'not_found', 'idempotency_conflict', 'temporal_unavailable'),
      },
    },
    get: {
      tags: ['scans'],
      summary: 'List scans, newest first',
      requestParams: { path: organizationPath, query: listScansSchema },
      responses: {
        '200': { description: 'One page.', content: jsonContent(scanListSchema) },
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
        '200': { description: 'The scan.', content: jsonContent(scanDetailSchema) },
        ...problemResponses('not_found'),
      },
    },
  },
  '/v1/organizations/{org}/scans/{id}/progress': {
    post: {
      tags: ['scans'],
      summary: 'Report progress',
      requestParams: { path: scanPathSchema },
      requestBody: { required: true, content: jsonContent(progressSchema) },
      responses: {
        '202': { description: 'Stored.', content: jsonContent(scanViewSchema) },
        ...problemResponses('invalid', 'not_found', 'already_finished'),
      },
    },
  },
  '/v1/organizations/{org}/scans/{id}/finish': ending('Finish a scan', finishSchema),
  '/v1/organizations/{org}/scans/{id}/fail': ending('Report that a scan failed', reasonSchema),
  '/v1/organizations/{org}/scans/{id}/cancel': ending('Cancel a scan', reasonSchema),
}
