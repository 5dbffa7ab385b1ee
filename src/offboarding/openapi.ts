/** The offboarding part of `/openapi.json`, in zod-openapi's form. */
import type { ErrorCode } from '../errors.js'
import { type ApiPaths, idempotencyKeyHeader, jsonContent, problemResponses } from '../http/openapi.js'
import { offboardingCertificateFileSchema } from './certificate.js'
import {
  emptySchema,
  offboardingBodySchema,
  offboardingListSchema,
  offboardingOrganizationSchema,
  offboardingPathSchema,
  offboardingViewSchema,
} from './schema.js'

const base = '/v1/organizations/{org}/offboarding'
const tags = ['offboarding']

const acting = (
  summary: string,
  description: string,
  status: '200' | '202',
  ...problems: readonly ErrorCode[]
) => ({
  post: {
    tags,
    summary,
    description,
    requestParams: { path: offboardingPathSchema },
    requestBody: { required: false, content: jsonContent(emptySchema) },
    responses: {
      [status]: {
        description: 'The offboarding as it is afterwards.',
        content: jsonContent(offboardingViewSchema),
      },
      ...problemResponses('invalid', 'forbidden', 'not_found', 'wrong_state', ...problems),
    },
  },
})

export const offboardingPaths: ApiPaths = {
  [base]: {
    post: {
      tags,
      summary: 'Ask for an organization to be taken out of the deployment',
      description:
        'Another owner has to approve it. Then cooling off begins, and after it there is no way back.',
      requestParams: { path: offboardingOrganizationSchema, header: idempotencyKeyHeader },
      requestBody: { required: true, content: jsonContent(offboardingBodySchema) },
      responses: {
        '202': { description: 'It waits for its approval.', content: jsonContent(offboardingViewSchema) },
        ...problemResponses('invalid', 'forbidden', 'not_found', 'wrong_state', 'on_hold', 'offboarded'),
      },
    },
    get: {
      tags,
      summary: 'The offboardings of an organization, newest first',
      description: 'Also once it is gone; 404 where there is none.',
      requestParams: { path: offboardingOrganizationSchema },
      responses: {
        '200': { description: 'All of them.', content: jsonContent(offboardingListSchema) },
        ...problemResponses('invalid', 'forbidden', 'not_found'),
      },
    },
  },
  [`${base}/{id}`]: {
    get: {
      tags,
      summary: 'One offboarding, with its checklist',
      requestParams: { path: offboardingPathSchema },
      responses: {
        '200': { description: 'The offboarding.', content: jsonContent(offboardingViewSchema) },
        ...problemResponses('forbidden', 'not_found'),
      },
    },
  },
  [`${base}/{id}/certificate`]: {
    get: {
      tags,
      summary: 'The certificate of an offboarding',
      description:
        'Signed JSON, issued once all that can be deleted is gone, and once more when nothing remains. It carries the last checkpoint of the organization’s log.',
      requestParams: { path: offboardingPathSchema },
      responses: {
        '200': {
          description: 'The newest, byte for byte as it was issued.',
          content: jsonContent(offboardingCertificateFileSchema),
        },
        ...problemResponses('forbidden', 'not_found', 'not_complete', 'unavailable'),
      },
    },
  },
  [`${base}/{id}/approve`]: acting(
    'Approve an offboarding',
    'Never by who asked for it. Cooling off begins.',
    '200',
    'four_eyes',
    'on_hold',
    'temporal_unavailable',
  ),
  [`${base}/{id}/withdraw`]: acting('Withdraw an offboarding', 'Until cooling off is over.', '200'),
  [`${base}/{id}/retry`]: acting(
    'Go on after an operator has seen to what stopped it',
    'Where its state is `needs_operator`.',
    '202',
    'temporal_unavailable',
  ),
}
