/** `POST`, `GET /v1/keys`, `DELETE /v1/keys/:id`, `POST /v1/keys/:id/rotate`. */
import { Router } from 'express'
import { z } from 'zod'
import { notFound } from '../errors.js'
import { authorize } from '../http/authentication.js'
import type { CursorCodec } from '../http/cursor.js'
import { bodyOf, jsonBody } from '../http/json-body.js'
import { idempotencyKeyOf, pageOf, pageQuery, pageSchema } from '../http/list.js'
import { type ApiPaths, jsonContent, problemResponses } from '../http/openapi.js'
import { requestIdOf } from '../http/request-context.js'
import { parseInput } from '../http/validate.js'
import { idPattern } from '../ids.js'
import { organizationIdSchema } from '../organizations/settings.js'
import { roles } from './contract.js'
import { newAccessKeySchema, principalSchema, rotationSchema } from './schema.js'
import type { AccessKeyService, KeyWithSecret } from './service.js'

const maxBodyBytes = 131_072
const listQuery = z.strictObject(pageQuery)
const keyId = z.string().regex(idPattern('key'))

export interface AccessKeyRoutesDependencies {
  readonly keys: AccessKeyService
  readonly cursors: CursorCodec
}

export function accessKeyRoutes({ keys, cursors }: AccessKeyRoutesDependencies): Router {
  const router = Router({ caseSensitive: true })
  const filters = { list: 'keys' }

  router.post('/v1/keys', jsonBody(maxBodyBytes), async (request, response) => {
    const caller = authorize(response, 'administer')
    const wanted = parseInput(newAccessKeySchema, bodyOf(request))
    const options = { requestId: requestIdOf(response), idempotencyKey: idempotencyKeyOf(request.headers) }
    const made = await keys.create(wanted, caller, options)
    response.setHeader('cache-control', 'no-store')
    response.status(201).json(withSecret(made))
  })

  router.get('/v1/keys', async (request, response) => {
    const caller = authorize(response, 'administer')
    const { limit, cursor } = parseInput(listQuery, request.query)
    const after = cursor === undefined ? undefined : cursors.open(cursor, filters, z.string())
    const found = await keys.list(caller, limit + 1, after)
    response.json(pageOf(found, limit, ({ id }) => cursors.seal(id, filters)))
  })

  router.delete('/v1/keys/:id', async (request, response) => {
    const caller = authorize(response, 'administer')
    await keys.revoke(parseKeyId(request.params.id), caller, { requestId: requestIdOf(response) })
    response.status(204).end()
  })

  router.post(
    '/v1/keys/:id/rotate',
    jsonBody(maxBodyBytes, { optional: true }),
    async (request, response) => {
      const caller = authorize(response, 'administer')
      const id = parseKeyId(request.params['id'])
      const { graceSeconds } = parseInput(rotationSchema, bodyOf(request) ?? {})
      const rotated = await keys.rotate(id, graceSeconds, caller, { requestId: requestIdOf(response) })
      response.setHeader('cache-control', 'no-store')
      response.json(withSecret(rotated))
    },
  )

  return router
}

/** What is no id of a key is no key. */
function parseKeyId(text: unknown): string {
  const parsed = keyId.safeParse(text)
  if (!parsed.success) throw notFound()
  return parsed.data
}

const withSecret = ({ key, secret }: KeyWithSecret) => ({ ...key, secret })

const time = z.iso.datetime()
const keySchema = z
  .object({
    id: keyId,
    role: z.enum(roles),
    principal: principalSchema,
    name: z.string(),
    organizations: z.union([z.literal('all'), z.array(organizationIdSchema)]),
    personal: z.boolean(),
    eventsPerMinute: z.int().nullable(),
    expiresAt: time.nullable(),
    createdAt: time,
    createdBy: z.string().meta({ description: 'The principal who made it, or `setup`' }),
    rotatedAt: time.nullable(),
    revokedAt: time.nullable(),
    lastUsedAt: time.nullable().meta({ description: 'To the minute' }),
  })
  .meta({ id: 'AccessKey' })
const keyWithSecretSchema = keySchema
  .extend({ secret: z.string().meta({ description: 'Shown this once' }) })
  .meta({ id: 'AccessKeyWithSecret' })

const idParameter = z.object({ id: keyId })
const bodyProblems = ['malformed', 'too_large', 'unsupported_media_type', 'invalid'] as const

export const accessKeyPaths: ApiPaths = {
  '/v1/keys': {
    post: {
      tags: ['keys'],
      summary: 'Make an access key',
      description:
        'The answer holds its secret, which is never shown again: a repeat with the same `Idempotency-Key` is 409 `key_exists`. `principal` is needed for an auditor and a privacy officer.',
      requestParams: { header: z.object({ 'Idempotency-Key': z.string().optional() }) },
      requestBody: { content: jsonContent(newAccessKeySchema), required: true },
      responses: {
        '201': { description: 'The key and its secret', content: jsonContent(keyWithSecretSchema) },
        ...problemResponses('forbidden', 'key_exists', ...bodyProblems),
      },
    },
    get: {
      tags: ['keys'],
      summary: 'List access keys, newest first',
      description: 'Those bound to nothing beyond what the caller is bound to.',
      requestParams: { query: listQuery },
      responses: {
        '200': { description: 'A page', content: jsonContent(pageSchema(keySchema)) },
        ...problemResponses('forbidden', 'invalid', 'cursor_invalid'),
      },
    },
  },
  '/v1/keys/{id}': {
    delete: {
      tags: ['keys'],
      summary: 'Revoke an access key',
      description: 'It stops working at once in this process, and within 5 seconds in every other.',
      requestParams: { path: idParameter },
      responses: { '204': { description: 'Revoked' }, ...problemResponses('forbidden', 'not_found') },
    },
  },
  '/v1/keys/{id}/rotate': {
    post: {
      tags: ['keys'],
      summary: 'Give an access key a new secret',
      description:
        'The replaced secret works for `graceSeconds` more (default a day); one replaced earlier ends now.',
      requestParams: { path: idParameter },
      requestBody: { content: jsonContent(rotationSchema) },
      responses: {
        '200': { description: 'The key and its new secret', content: jsonContent(keyWithSecretSchema) },
        ...problemResponses('forbidden', 'not_found', 'wrong_state', ...bodyProblems),
      },
    },
  },
}
