/** The erasures part of `/openapi.json`, in zod-openapi's form. */
import { z } from 'zod'
import { erasureCertificateFileSchema } from './certificate.js'
import { type ApiPaths, idempotencyKeyHeader, jsonContent, problemResponses } from '../http/openapi.js'
import {
  approveSchema,
  attestSchema,
  denySchema,
  erasureDetailSchema,
  erasureListSchema,
  erasurePathSchema,
  erasureViewSchema,
  extendSchema,
  listErasuresSchema,
  retrySchema,
  showErasureSchema,
  submitErasureSchema,
  verifyIdentitySchema,
  withdrawSchema,
} from './schema.js'

const organizationPath = erasurePathSchema.pick({ org: true })
const actionProblems = problemResponses(
  'invalid',
  'forbidden',
  'not_found',
  'wrong_state',
  'idempotency_conflict',
  'temporal_unavailable',
)

const deciding = (summary: string, schema: z.ZodType, description?: string, required = true) => ({
  post: {
    tags: ['erasures'],
    summary,
    ...(description === undefined ? {} : { description }),
    requestParams: { path: erasurePathSchema, header: idempotencyKeyHeader },
    requestBody: { required, content: jsonContent(schema) },
    responses: {
      '200': { description: 'The request as it is afterwards.', content: jsonContent(erasureViewSchema) },
      ...actionProblems,
    },
  },
})

/** As `deciding`; who submitted the request may not. */
const decidingByAnother = (summary: string, schema: z.ZodType, description: string) => {
  const item = deciding(summary, schema, description)
  return {
    post: {
      ...item.post,
      responses: { ...item.post.responses, ...problemResponses('forbidden', 'four_eyes') },
    },
  }
}

const base = '/v1/organizations/{org}/erasures'

export const erasurePaths: ApiPaths = {
  [base]: {
    post: {
      tags: ['erasures'],
      summary: 'Submit an erasure request',
      description:
        'Starts the workflow that sees it through. The deadline is one calendar month after receipt.',
      requestParams: { path: organizationPath, header: idempotencyKeyHeader },
      requestBody: { required: true, content: jsonContent(submitErasureSchema) },
      responses: {
        '202': { description: 'Received.', content: jsonContent(erasureViewSchema) },
        '200': {
          description: 'An open request is about the same identifiers: see `duplicateOf`.',
          content: jsonContent(erasureViewSchema),
        },
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
      tags: ['erasures'],
      summary: 'List erasure requests, newest first',
      requestParams: { path: organizationPath, query: listErasuresSchema },
      responses: {
        '200': { description: 'One page.', content: jsonContent(erasureListSchema) },
        ...problemResponses('invalid', 'forbidden', 'not_found', 'cursor_invalid'),
      },
    },
  },
  [`${base}/{id}`]: {
    get: {
      tags: ['erasures'],
      summary: 'One request, with its scope and evidence',
      requestParams: { path: erasurePathSchema, query: showErasureSchema },
      responses: {
        '200': { description: 'The request.', content: jsonContent(erasureDetailSchema) },
        ...problemResponses('invalid', 'forbidden', 'not_found'),
      },
    },
  },
  [`${base}/{id}/certificate`]: {
    get: {
      tags: ['erasures'],
      summary: 'The certificate of an erasure',
      description:
        'Signed (RFC 7515, General JWS JSON), the same bytes ever after; as `text/html`, a page to hand over.',
      requestParams: { path: erasurePathSchema },
      responses: {
        '200': {
          description: 'The certificate.',
          content: {
            ...jsonContent(erasureCertificateFileSchema),
            'text/html': { schema: z.string() },
          },
        },
        ...problemResponses('forbidden', 'not_found', 'not_complete', 'unavailable'),
      },
    },
  },
  [`${base}/{id}/verify-identity`]: deciding(
    'Say whether the requester is who they claim to be',
    verifyIdentitySchema,
  ),
  [`${base}/{id}/approve`]: decidingByAnother(
    'Approve',
    approveSchema,
    'Cooling off begins. Classes of records may be exempt (Art. 17(3)). Never by who submitted it.',
  ),
  [`${base}/{id}/deny`]: decidingByAnother(
    'Deny',
    denySchema,
    'With an exemption of Art. 17(3), before the fence. Never by who submitted it.',
  ),
  [`${base}/{id}/extend`]: deciding(
    'Extend the deadline by two months',
    extendSchema,
    'Once, within the first month, with a reason (Art. 12(3)).',
  ),
  [`${base}/{id}/withdraw`]: deciding('Withdraw', withdrawSchema, 'Before the fence.', false),
  [`${base}/{id}/attest`]: decidingByAnother(
    'State what Annals cannot look at itself',
    attestSchema,
    'Such as that logs kept elsewhere hold nothing of the person. With an outcome it retires a target that the request has stopped for: never by who submitted it, for a reason that names nobody.',
  ),
  [`${base}/{id}/retry`]: {
    post: {
      tags: ['erasures'],
      summary: 'Go on after an operator has seen to what stopped it',
      requestParams: { path: erasurePathSchema, header: idempotencyKeyHeader },
      requestBody: { required: false, content: jsonContent(retrySchema) },
      responses: {
        '202': { description: 'It goes on.', content: jsonContent(erasureViewSchema) },
        ...actionProblems,
      },
    },
  },
}
