/** The retention part of `/openapi.json`, in zod-openapi's form. */
import { z } from 'zod'
import { type ApiPaths, jsonContent, problemResponses } from '../http/openapi.js'
import {
  holdBodySchema,
  holdListSchema,
  holdPathSchema,
  holdViewSchema,
  listHoldsSchema,
  listRunsSchema,
  organizationPathSchema,
  previewBodySchema,
  previewSchema,
  retentionBodySchema,
  retentionViewSchema,
  retryStartedSchema,
  runListSchema,
  runPathSchema,
  runViewSchema,
  sweepStartedSchema,
  versionListSchema,
  versionsQuerySchema,
} from './schema.js'

const path = organizationPathSchema
const page = (schema: z.ZodType) => ({
  '200': { description: 'One page.', content: jsonContent(schema) },
  ...problemResponses('forbidden', 'not_found', 'invalid', 'cursor_invalid'),
})
const idempotencyKey = z.object({
  'Idempotency-Key': z
    .string()
    .max(256)
    .optional()
    .meta({ description: 'A repeat under the same key places nothing and answers the same hold.' }),
})

const policyPaths: ApiPaths = {
  '/v1/organizations/{org}/retention': {
    get: {
      tags: ['retention'],
      summary: 'The retention policy, and what deletion goes by now',
      requestParams: { path },
      responses: {
        '200': { description: 'The policy.', content: jsonContent(retentionViewSchema) },
        ...problemResponses('forbidden', 'not_found', 'wrong_region'),
      },
    },
    put: {
      tags: ['retention'],
      summary: 'Set the retention policy',
      description:
        'A new version, unless nothing changes. Moving to the archive follows it at once; deletion goes by the longest policy of the last seven days.',
      requestParams: { path },
      requestBody: { required: true, content: jsonContent(retentionBodySchema) },
      responses: {
        '200': { description: 'In force.', content: jsonContent(retentionViewSchema) },
        ...problemResponses('malformed', 'forbidden', 'not_found', 'invalid', 'wrong_state', 'rate_limited'),
      },
    },
  },
  '/v1/organizations/{org}/retention/versions': {
    get: {
      tags: ['retention'],
      summary: 'Every version of the policy that was set, newest first',
      requestParams: { path, query: versionsQuerySchema },
      responses: page(versionListSchema),
    },
  },
  '/v1/organizations/{org}/retention/preview': {
    post: {
      tags: ['retention'],
      summary: 'What the policy, or a candidate for it, would move and delete',
      description:
        'Now, and within 1, 7, 30, 90 and 365 days. Nothing is changed. An empty body asks about the policy.',
      requestParams: { path },
      requestBody: { content: jsonContent(previewBodySchema) },
      responses: {
        '200': { description: 'The preview.', content: jsonContent(previewSchema) },
        ...problemResponses('malformed', 'forbidden', 'not_found', 'invalid'),
      },
    },
  },
  '/v1/organizations/{org}/retention/runs': {
    get: {
      tags: ['retention'],
      summary: 'What was archived, expired and restored, newest first',
      requestParams: { path, query: listRunsSchema },
      responses: page(runListSchema),
    },
  },
  '/v1/organizations/{org}/retention/runs/{id}': {
    get: {
      tags: ['retention'],
      summary: 'One run, and how far it is',
      requestParams: { path: runPathSchema },
      responses: {
        '200': { description: 'The run.', content: jsonContent(runViewSchema) },
        ...problemResponses('forbidden', 'not_found'),
      },
    },
  },
}

const runPaths: ApiPaths = {
  '/v1/organizations/{org}/retention/runs/{id}/retry': {
    post: {
      tags: ['retention'],
      summary: 'Take up a run that needs an operator',
      description:
        'At once, and not with the next sweep: after what its reason names was put right. 409 where it does not wait for anybody.',
      requestParams: { path: runPathSchema },
      responses: {
        '202': { description: 'Under way again.', content: jsonContent(retryStartedSchema) },
        ...problemResponses('forbidden', 'not_found', 'wrong_state', 'temporal_unavailable'),
      },
    },
  },
  '/v1/organizations/{org}/retention/run': {
    post: {
      tags: ['retention'],
      summary: 'Archive and expire now what is due',
      requestParams: { path },
      responses: {
        '202': { description: 'Started, or under way.', content: jsonContent(sweepStartedSchema) },
        ...problemResponses('forbidden', 'not_found', 'temporal_unavailable'),
      },
    },
  },
}

const holdPaths: ApiPaths = {
  '/v1/organizations/{org}/holds': {
    post: {
      tags: ['holds'],
      summary: 'Place a legal hold',
      description: 'It stops expiry and erasure of what it covers; it does not stop the move to the archive.',
      requestParams: { path, header: idempotencyKey },
      requestBody: { required: true, content: jsonContent(holdBodySchema) },
      responses: {
        '201': { description: 'In force.', content: jsonContent(holdViewSchema) },
        '200': {
          description: 'A repeat under the same key: the hold as placed.',
          content: jsonContent(holdViewSchema),
        },
        ...problemResponses(
          'malformed',
          'forbidden',
          'not_found',
          'invalid',
          'subject_erased',
          'idempotency_conflict',
        ),
      },
    },
    get: {
      tags: ['holds'],
      summary: 'List holds, newest first',
      requestParams: { path, query: listHoldsSchema },
      responses: page(holdListSchema),
    },
  },
  '/v1/organizations/{org}/holds/{id}': {
    get: {
      tags: ['holds'],
      summary: 'One hold',
      requestParams: { path: holdPathSchema },
      responses: {
        '200': { description: 'The hold.', content: jsonContent(holdViewSchema) },
        ...problemResponses('forbidden', 'not_found'),
      },
    },
  },
  '/v1/organizations/{org}/holds/{id}/release': {
    post: {
      tags: ['holds'],
      summary: 'Release a hold',
      description: 'What it kept from expiring goes with the next sweep. Releasing it again changes nothing.',
      requestParams: { path: holdPathSchema },
      responses: {
        '200': { description: 'Released.', content: jsonContent(holdViewSchema) },
        ...problemResponses('forbidden', 'not_found'),
      },
    },
  },
}

/** @param sweeps is there a `POST …/retention/run`? */
export const retentionPaths = (sweeps: boolean): ApiPaths => ({
  ...policyPaths,
  ...(sweeps ? runPaths : {}),
  ...holdPaths,
})
