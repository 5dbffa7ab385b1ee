/** The HTTP routes of erasure requests, under `/v1/organizations/:org/erasures`. */
import { Router, type Request, type RequestHandler, type Response } from 'express'
import type { z } from 'zod'
import type { Permission } from '../access/contract.js'
import type { AddressRules } from '../delivery/address.js'
import { AnnalsError, notFound, invalid } from '../errors.js'
import { checkJson } from '../events/json-check.js'
import { authorize, callerOf } from '../http/authentication.js'
import type { CursorCodec } from '../http/cursor.js'
import { bodyOf, jsonBody } from '../http/json-body.js'
import { idempotencyKeyOf, pageOf } from '../http/list.js'
import { requestIdOf } from '../http/request-context.js'
import { parseInput } from '../http/validate.js'
import { erasureIdPattern, type ErasureState } from './contract.js'
import {
  approveSchema,
  attestSchema,
  denySchema,
  erasureLimits,
  erasurePositionSchema,
  extendSchema,
  listErasuresSchema,
  recipientErrors,
  retrySchema,
  showErasureSchema,
  submitErasureSchema,
  verifyIdentitySchema,
  withdrawSchema,
} from './schema.js'
import type { Words } from './sealed.js'
import type { Act } from './deciding.js'
import type { ErasureCall } from './calls.js'
import type { ErasureService } from './service.js'
import type { ErasureView } from './view.js'

export interface ErasureRoutesDependencies {
  readonly erasures: ErasureService
  readonly cursors: CursorCodec
  /** Which recipients may be named. */
  readonly webhooks: AddressRules
  /** @throws AnnalsError `not_found` | `wrong_region` */
  readonly requireOrganization: (organizationId: string) => Promise<unknown>
}

const base = '/v1/organizations/:org/erasures'

/** Expects `requestContext` and `authentication` before it, and the problem handler behind it. */
export function erasureRoutes(deps: ErasureRoutesDependencies): Router {
  const { erasures, cursors, webhooks, requireOrganization } = deps
  const router = Router()
  const body = jsonBody(erasureLimits.maxBodyBytes)
  const optionalBody = jsonBody(erasureLimits.maxBodyBytes, { optional: true })

  router.post(base, body, async (request, response) => {
    const call = callFrom(request, response, 'erasure.submit')
    const {
      receivedAt,
      jointFreeText = 'review',
      recipients = [],
      ...rest
    } = parseBody(submitErasureSchema, request)
    const refused = recipientErrors(recipients, webhooks)
    if (refused.length > 0) throw invalid(refused)
    const { erasure, replayed } = await erasures.submit(call, {
      ...rest,
      received: receivedAt,
      jointFreeText,
      recipients,
    })
    if (replayed) response.setHeader('idempotency-replayed', 'true')
    response.status(erasure.duplicateOf === null ? 202 : 200).json(erasure)
  })

  router.get(base, async (request, response) => {
    const organizationId = organizationOf(request)
    authorize(response, 'erasure.submit', organizationId)
    await requireOrganization(organizationId)
    const { limit, cursor, state } = parseInput(listErasuresSchema, request.query)
    const filters: { list: string; organizationId: string; state?: ErasureState } = {
      list: 'erasures',
      organizationId,
      ...(state === undefined ? {} : { state }),
    }
    const from = cursor === undefined ? undefined : cursors.open(cursor, filters, erasurePositionSchema)
    const after =
      from === undefined ? undefined : { submittedAt: new Date(from.submittedAt), requestId: from.requestId }
    const found = await erasures.list({ organizationId, state, after, limit: limit + 1 })
    const cursorOf = ({ submittedAt, id }: ErasureView): string =>
      cursors.seal({ submittedAt, requestId: id }, filters)
    response.json(pageOf(found, limit, cursorOf))
  })

  router.get(`${base}/:id`, async (request, response) => {
    const organizationId = organizationOf(request)
    const caller = authorize(response, 'erasure.submit', organizationId)
    const { personal } = parseInput(showErasureSchema, request.query)
    if (personal === 'true' && !caller.personal) {
      throw new AnnalsError('forbidden', 'Seeing whom a request is about takes the personal grant.')
    }
    await requireOrganization(organizationId)
    const reader =
      personal === 'true'
        ? { principal: caller.principal, personal: true, requestId: requestIdOf(response) }
        : null
    response.json(await erasures.get({ organizationId, requestId: requestOf(request) }, reader))
  })

  const acting = <Body>(
    permission: Permission,
    status: number,
    schema: z.ZodType<Body>,
    actOf: (body: Body) => Act,
  ): RequestHandler => {
    return async (request, response) => {
      const call = callFrom(request, response, permission)
      const requestId = requestOf(request)
      const act = actOf(parseBody(schema, request))
      response.status(status).json(await erasures.act(call, requestId, act))
    }
  }
  const deciding = <Body>(schema: z.ZodType<Body>, actOf: (body: Body) => Act): RequestHandler =>
    acting('erasure.decide', 200, schema, actOf)

  router.post(
    `${base}/:id/verify-identity`,
    body,
    deciding(verifyIdentitySchema, ({ method, result, note }) => ({
      action: 'verifyIdentity',
      facts: { result },
      words: wordsOf({ method, note }),
    })),
  )
  router.post(
    `${base}/:id/approve`,
    optionalBody,
    deciding(approveSchema, ({ note, exempt = [], confirm = [] }) => ({
      action: 'approve',
      facts: { exempt, confirmed: [...new Set(confirm)].sort((a, b) => a - b) },
      words: wordsOf({ note }),
    })),
  )
  router.post(
    `${base}/:id/deny`,
    body,
    deciding(denySchema, ({ ground, note }) => ({
      action: 'deny',
      facts: { ground },
      words: wordsOf({ note }),
    })),
  )
  router.post(
    `${base}/:id/extend`,
    body,
    deciding(extendSchema, ({ reason }) => ({ action: 'extend', facts: {}, words: wordsOf({ reason }) })),
  )
  router.post(
    `${base}/:id/withdraw`,
    optionalBody,
    deciding(withdrawSchema, ({ note }) => ({ action: 'withdraw', facts: {}, words: wordsOf({ note }) })),
  )
  router.post(
    `${base}/:id/attest`,
    body,
    deciding(attestSchema, ({ target, statement, outcome }) => ({
      action: 'attest',
      facts: outcome === undefined ? { target } : { target, outcome, reason: statement },
      words: outcome === undefined ? wordsOf({ statement }) : {},
    })),
  )
  router.post(
    `${base}/:id/retry`,
    optionalBody,
    acting('operate', 202, retrySchema, () => ({ action: 'retry', facts: {}, words: {} })),
  )
  return router
}

function callFrom(request: Request, response: Response, permission: Permission): ErasureCall {
  const organizationId = organizationOf(request)
  authorize(response, permission, organizationId)
  const { principal } = callerOf(response)
  return { organizationId, principal, idempotencyKey: idempotencyKeyOf(request.headers) }
}

const organizationOf = (request: Request): string => String(request.params['org'])

/** An id of another form belongs to no request. */
function requestOf(request: Request): string {
  const id = String(request.params['id'])
  if (!erasureIdPattern.test(id)) throw notFound()
  return id
}

function wordsOf(given: Readonly<Record<string, string | undefined>>): Words {
  return Object.fromEntries(
    Object.entries(given).flatMap(([name, text]) => (text === undefined ? [] : [[name, text]])),
  )
}

/** No body at all is `{}`: some actions need to say nothing. */
function parseBody<Body>(schema: z.ZodType<Body>, request: Request): Body {
  // `null` is a body, and none that fits.
  const body = request.body === undefined ? {} : bodyOf(request)
  // Before Zod, which would drop `__proto__` without a word.
  const { errors } = checkJson(body)
  if (errors.length > 0) throw invalid(errors)
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new AnnalsError('invalid', 'The body must be a JSON object.', {
      errors: [{ path: '', code: 'wrong_type', message: 'must be an object' }],
    })
  }
  return parseInput(schema, body)
}
