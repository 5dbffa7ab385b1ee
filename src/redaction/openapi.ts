/** The redactions part of `/openapi.json`, in zod-openapi's form. */
import { z } from 'zod'
import { problemResponses, type ApiPaths } from '../http/openapi.js'
import {
  approveRedactionSchema,
  listRedactionsSchema,
  redactionBodySchema,
  redactionListSchema,
  redactionOrganizationSchema,
  redactionPathSchema,
  redactionViewSchema,
} from './schema.js'

const json = <Schema extends z.ZodType>(schema: Schema) => ({ 'application/json': { schema } })
const idempotencyKey = z.object({
  'Idempotency-Key': z
    .string()
    .max(256)
    .optional()
    .meta({ description: 'A repeat under the same key changes nothing.' }),
})
const base = '/v1/organizations/{org}/redactions'

export const redactionPaths: ApiPaths = {
  [base]: {
    post: {
      tags: ['redactions'],
      summary: 'Ask for fields of events to be removed',
      description: 'Another privacy officer has to approve it. Every proof stays valid.',
      requestParams: { path: redactionOrganizationSchema, header: idempotencyKey },
      requestBody: { required: true, content: json(redactionBodySchema) },
      responses: {
        '202': { description: 'It waits for its approval.', content: json(redactionViewSchema) },
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
        '200': { description: 'One page.', content: json(redactionListSchema) },
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
        '200': { description: 'The redaction.', content: json(redactionViewSchema) },
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
      requestBody: { required: false, content: json(approveRedactionSchema) },
      responses: {
        '200': { description: 'The redaction as it is afterwards.', content: json(redactionViewSchema) },
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
