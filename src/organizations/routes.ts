/** `PUT`, `GET /v1/organizations/:org` and `GET /v1/organizations`. */
import { Router } from 'express'
import { z } from 'zod'
import { authorize } from '../http/authentication.js'
import type { CursorCodec } from '../http/cursor.js'
import { bodyOf, jsonBody } from '../http/json-body.js'
import { pageOf, pageQuery, pageSchema } from '../http/list.js'
import { type ApiPaths, jsonContent, problemResponses } from '../http/openapi.js'
import { requestIdOf } from '../http/request-context.js'
import { parseInput } from '../http/validate.js'
import type { OrganizationService } from './service.js'
import { organizationChangeSchema, organizationIdSchema } from './settings.js'

const maxBodyBytes = 16_384
const listQuery = z.strictObject(pageQuery)

export interface OrganizationRoutesDependencies {
  readonly organizations: OrganizationService
  readonly cursors: CursorCodec
}

export function organizationRoutes({ organizations, cursors }: OrganizationRoutesDependencies): Router {
  const router = Router({ caseSensitive: true })
  const filters = { list: 'organizations' }

  router.get('/v1/organizations', async (request, response) => {
    const caller = authorize(response, 'administer')
    const { limit, cursor } = parseInput(listQuery, request.query)
    const after = cursor === undefined ? undefined : cursors.open(cursor, filters, z.string())
    const found = await organizations.list(caller, limit + 1, after)
    response.json(pageOf(found, limit, ({ id }) => cursors.seal(id, filters)))
  })

  router.get('/v1/organizations/:org', async (request, response) => {
    authorize(response, 'administer', request.params.org)
    response.json(await organizations.describe(request.params.org))
  })

  router.put(
    '/v1/organizations/:org',
    jsonBody(maxBodyBytes, { optional: true }),
    async (request, response) => {
      authorize(response, 'administer')
      const { org } = parseInput(orgParameter, request.params)
      const caller = authorize(response, 'administer', org)
      const change = parseInput(organizationChangeSchema, bodyOf(request) ?? {})
      const { organization, created } = await organizations.put(org, change, caller, requestIdOf(response))
      response.status(created ? 201 : 200).json(organization)
    },
  )

  return router
}

const orgParameter = z.object({ org: organizationIdSchema })

const organizationSchema = z
  .object({
    id: organizationIdSchema,
    name: z.string().nullable(),
    region: z.string(),
    personTypes: z.array(z.string()),
    detection: z.enum(['flag', 'redact', 'reject']),
    detectionPatterns: z.array(z.object({ name: z.string(), pattern: z.string() })),
    coolingOffHours: z.int(),
    version: z.int().meta({ description: 'Grows by one with each change of the settings' }),
    createdAt: z.iso.datetime(),
  })
  .meta({ id: 'Organization' })

export const organizationPaths: ApiPaths = {
  '/v1/organizations': {
    get: {
      tags: ['organizations'],
      summary: 'List organizations, by id',
      requestParams: { query: listQuery },
      responses: {
        '200': { description: 'A page', content: jsonContent(pageSchema(organizationSchema)) },
        ...problemResponses('forbidden', 'invalid', 'cursor_invalid'),
      },
    },
  },
  '/v1/organizations/{org}': {
    get: {
      tags: ['organizations'],
      summary: 'Read an organization',
      requestParams: { path: orgParameter },
      responses: {
        '200': { description: 'The organization', content: jsonContent(organizationSchema) },
        ...problemResponses('forbidden', 'not_found', 'wrong_region'),
      },
    },
    put: {
      tags: ['organizations'],
      summary: 'Create an organization, or change its settings',
      description:
        'What the body leaves out stays as it is. With another `region` than this one, the organization is registered as foreign: from then on every request for it is answered 421.',
      requestParams: { path: orgParameter },
      requestBody: { content: jsonContent(organizationChangeSchema) },
      responses: {
        '201': { description: 'Created', content: jsonContent(organizationSchema) },
        '200': { description: 'Changed, or as it was', content: jsonContent(organizationSchema) },
        ...problemResponses(
          'malformed',
          'forbidden',
          'not_found',
          'too_large',
          'unsupported_media_type',
          'invalid',
          'wrong_region',
        ),
      },
    },
  },
}
