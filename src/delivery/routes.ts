/** `GET …/webhook-secrets`, `POST …/webhook-secrets/rotate`. */
import { Router, type Request, type Response } from 'express'
import { z } from 'zod'
import { authorize } from '../http/authentication.js'
import { bodyOf, jsonBody } from '../http/json-body.js'
import { type ApiPaths, jsonContent, problemResponses } from '../http/openapi.js'
import { requestIdOf } from '../http/request-context.js'
import { parseInput } from '../http/validate.js'
import { organizationIdSchema } from '../organizations/settings.js'
import type { WebhookSecretService } from './secret-service.js'
import type { WebhookSecret } from './secrets.js'

export interface WebhookSecretRoutesDependencies {
  readonly webhookSecrets: WebhookSecretService
  /** @throws AnnalsError `not_found` | `wrong_region` */
  readonly organizations: { require(id: string): Promise<unknown> }
}

const base = '/v1/organizations/:org/webhook-secrets'
const maxBodyBytes = 1_024
const defaultOverlapHours = 168
const maxOverlapHours = 720
const hourMs = 3_600_000

const rotationSchema = z
  .strictObject({
    overlapHours: z
      .number()
      .min(0)
      .max(maxOverlapHours)
      .default(defaultOverlapHours)
      .meta({ description: 'How long the secret before signs along; 0 where it has leaked.' }),
  })
  .meta({ id: 'WebhookSecretRotation' })

const secretListSchema = z
  .object({
    data: z.array(
      z.object({
        number: z.int(),
        secret: z.string().meta({ example: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw' }),
        createdAt: z.iso.datetime(),
        signsUntil: z.iso.datetime().nullable().meta({ description: 'null: the newest.' }),
      }),
    ),
  })
  .meta({ id: 'WebhookSecretList' })

/** Expects `requestContext` and `authentication` before it, and the problem handler behind it. */
export function webhookSecretRoutes(deps: WebhookSecretRoutesDependencies): Router {
  const { webhookSecrets, organizations } = deps
  const router = Router({ caseSensitive: true })

  async function asked(request: Request, response: Response) {
    const organizationId = String(request.params['org'])
    const { principal } = authorize(response, 'administer', organizationId)
    await organizations.require(organizationId)
    return { organizationId, author: { principal, requestId: requestIdOf(response) } }
  }

  function answer(response: Response, secrets: readonly WebhookSecret[]): void {
    response.setHeader('cache-control', 'no-store')
    response.json({ data: secrets })
  }

  router.get(base, async (request, response) => {
    const { organizationId } = await asked(request, response)
    answer(response, await webhookSecrets.list(organizationId))
  })

  router.post(`${base}/rotate`, jsonBody(maxBodyBytes, { optional: true }), async (request, response) => {
    const { organizationId, author } = await asked(request, response)
    const { overlapHours } = parseInput(rotationSchema, bodyOf(request) ?? {})
    answer(response, await webhookSecrets.rotate(organizationId, overlapHours * hourMs, author))
  })

  return router
}

const requestParams = { path: z.object({ org: organizationIdSchema }) }
const signing = { description: 'Those that sign, newest first.', content: jsonContent(secretListSchema) }

/** This part of `/openapi.json`, in zod-openapi's form. */
export const webhookSecretPaths: ApiPaths = {
  '/v1/organizations/{org}/webhook-secrets': {
    get: {
      tags: ['webhooks'],
      summary: 'The secrets that sign the organization’s webhooks',
      requestParams,
      responses: { '200': signing, ...problemResponses('forbidden', 'not_found', 'wrong_region') },
    },
  },
  '/v1/organizations/{org}/webhook-secrets/rotate': {
    post: {
      tags: ['webhooks'],
      summary: 'Make a new secret; the one before signs along for a while',
      requestParams,
      requestBody: { required: false, content: jsonContent(rotationSchema) },
      responses: {
        '200': signing,
        ...problemResponses('malformed', 'forbidden', 'not_found', 'invalid', 'wrong_state'),
      },
    },
  },
}
