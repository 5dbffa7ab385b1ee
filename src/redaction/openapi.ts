/** The redactions part of `/openapi.json`, in zod-openapi's form. */
import { type ApiPaths, idempotencyKeyHeader, jsonContent, problemResponses } from '../http/openapi.js'
import {
  approveRedactionSchema,
  listRedactionsSchema,
  redactionBodySchema,
  redactionListSchema,
  redactionOrganizationSchema,
  redactionPathSchema,
  redactionViewSchema,
} from './schema.js'

const base = '/v1/organizations/{org}/redactions'

export const redactionPaths: ApiPaths = {
  [base]: {
    post: {
      tags: ['redactions'],
      summary: 'Ask for fields of events to be removed',
      description: 'Another privacy officer has to approve it. Every proof stays valid.',
      requestParams: { path: redactionOrganizationSchema, header: idempotencyKeyHeader },
      requestBody: { required: true, content: jsonContent(redactionBodySchema) },
      responses: {
        '202': { description: 'It waits for its approval.', content: jsonContent(redactionViewSchema) },
        ...problemResponses(
          'invalid',
          'forbidden',
          'not_found',
          'wrong_state',
          'on_hold',
          'idempotency_conflict',
        ),
      },
    },
    get: {
      tags: ['redactions'],
      summary: 'List redactions, newest first',
      requestParams: { path: redactionOrganizationSchema, query: listRedactionsSchema },
      responses: {
        '200': { description: 'One page.', content: jsonContent(redactionListSchema) },
        ...problemResponses('invalid', 'forbidden', 'not_found', 'cursor_invalid'),
      },
    },
  },
  [`${base}/{id}`]: {
    get: {
      tags: ['redactions'],
      summary: 'One redaction',
      requestParams: { path: redactionPathSchema },
      responses: {
        '200': { description: 'The redaction.', content: jsonContent(redactionViewSchema) },
        ...problemResponses('forbidden', 'not_found'),
      },
    },
  },
  [`${base}/{id}/approve`]: {
    post: {
      tags: ['redactions'],
      summary: 'Approve a redaction',
      description: 'Never by who asked for it. The values go within seconds, wherever the events are.',
      requestParams: { path: redactionPathSchema },
      requestBody: { required: false, content: jsonContent(approveRedactionSchema) },
      responses: {
        '200': {
          description: 'The redaction as it is afterwards.',
          content: jsonContent(redactionViewSchema),
        },
        ...problemResponses(
          'invalid',
          'forbidden',
          'four_eyes',
          'not_found',
          'wrong_state',
          'on_hold',
          'temporal_unavailable',
        ),
      },
    },
  },
}
