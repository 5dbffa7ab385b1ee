/** `PUT`, `GET /v1/action-schemas/:action`. */
import { Router } from 'express'
import { z } from 'zod'
import { checkJson } from '../events/json-check.js'
import type { JsonObject } from '../events/contract.js'
import { actionPattern } from '../events/schema.js'
import { limits as eventLimits } from '../events/limits.js'
import { authorize } from '../http/authentication.js'
import { bodyOf, jsonBody } from '../http/json-body.js'
import { type ApiPaths, jsonContent, problemResponses } from '../http/openapi.js'
import { requestIdOf } from '../http/request-context.js'
import { invalid } from '../errors.js'
import { parseInput } from '../http/validate.js'
import { actionSchemaLimits } from './contract.js'
import type { ActionSchemaService } from './service.js'

const actionParameter = z.object({
  action: z
    .string()
    .regex(actionPattern)
    .refine((action) => !action.startsWith('annals.'), {
      message: "actions under annals. are Annals' own",
      params: { code: 'reserved_action' },
    })
    .meta({ example: 'team.member.invited' }),
})

const schemaObject = z
  .custom<JsonObject>((value) => typeof value === 'object' && value !== null && !Array.isArray(value), {
    message: 'must be an object',
    params: { code: 'wrong_type' },
  })
  .meta({
    type: 'object',
    additionalProperties: true,
    description:
      'JSON Schema 2020-12 of the object {targets, context, metadata}. `x-annals-personal: true` at `properties.metadata.properties.<key>` marks a metadata key as personal.',
  })

const bodySchema = z
  .strictObject({
    version: z.int().min(1).max(1_000_000),
    schema: schemaObject,
    personal: z
      .array(z.string().min(1).max(eventLimits.maxKeyLength))
      .max(eventLimits.maxMetadataKeys)
      .optional()
      .meta({
        description: 'Top-level metadata keys that are personal, beside those that the schema marks.',
      }),
  })
  .meta({ id: 'ActionSchemaVersion' })

export interface ActionSchemaRoutesDependencies {
  readonly actionSchemas: ActionSchemaService
}

export function actionSchemaRoutes({ actionSchemas }: ActionSchemaRoutesDependencies): Router {
  const router = Router({ caseSensitive: true })

  router.put(
    '/v1/action-schemas/:action',
    jsonBody(actionSchemaLimits.maxBytes),
    async (request, response) => {
      const caller = authorize(response, 'administer')
      const { action } = parseInput(actionParameter, request.params)
      const { errors } = checkJson(bodyOf(request))
      if (errors.length > 0) throw invalid(errors)
      const wanted = parseInput(bodySchema, bodyOf(request))
      response.json(await actionSchemas.put({ action, ...wanted }, caller, requestIdOf(response)))
    },
  )

  router.get('/v1/action-schemas/:action', async (request, response) => {
    authorize(response, 'administer')
    const { action } = request.params
    response.json({ action, versions: await actionSchemas.get(action) })
  })

  return router
}

const versionView = z
  .object({
    action: z.string(),
    version: z.int(),
    schema: z.record(z.string(), z.unknown()),
    personal: z.array(z.string()),
    createdAt: z.iso.datetime(),
    createdBy: z.string(),
  })
  .meta({ id: 'ActionSchema' })

export const actionSchemaPaths: ApiPaths = {
  '/v1/action-schemas/{action}': {
    put: {
      tags: ['action schemas'],
      summary: "Add a version of an action's schema",
      description:
        'For all organizations of the deployment, within 5 s. From then on, events of the action need a version that has a schema, and must fit it. A version never changes: the same schema again answers 200, another one 409.',
      requestParams: { path: actionParameter },
      requestBody: { required: true, content: jsonContent(bodySchema) },
      responses: {
        '200': { description: 'Added, or as it was', content: jsonContent(versionView) },
        ...problemResponses(
          'malformed',
          'forbidden',
          'version_exists',
          'too_large',
          'unsupported_media_type',
          'invalid',
        ),
      },
    },
    get: {
      tags: ['action schemas'],
      summary: "All versions of an action's schema",
      requestParams: { path: z.object({ action: z.string() }) },
      responses: {
        '200': {
          description: 'The versions, the oldest first',
          content: jsonContent(z.object({ action: z.string(), versions: z.array(versionView) })),
        },
        ...problemResponses('forbidden', 'not_found'),
      },
    },
  },
}
