/** `POST`, `GET …/redactions`, `GET …/redactions/:id`, `POST …/redactions/:id/approve`. */
import { Router, type Request, type Response } from 'express'
import type { Permission } from '../access/contract.js'
import { notFound } from '../errors.js'
import { checkedBody } from '../events/list-input.js'
import { authorize } from '../http/authentication.js'
import type { CursorCodec } from '../http/cursor.js'
import { bodyOf, jsonBody } from '../http/json-body.js'
import { idempotencyKeyOf, pageOf } from '../http/list.js'
import { requestIdOf } from '../http/request-context.js'
import { parseInput } from '../http/validate.js'
import { redactionIdPattern } from './contract.js'
import {
  approveRedactionSchema,
  listRedactionsSchema,
  redactionBodySchema,
  redactionPositionSchema,
} from './schema.js'
import type { RedactionCall, RedactionService } from './service.js'
import { redactionView } from './view.js'

export interface RedactionRoutesDependencies {
  readonly redactions: RedactionService
  readonly cursors: CursorCodec
  /** @throws AnnalsError `not_found` | `wrong_region` */
  readonly organizations: { require(id: string): Promise<unknown> }
}

const maxBodyBytes = 64 * 1_024
const base = '/v1/organizations/:org/redactions'

/** Expects `requestContext` and `authentication` before it, and the problem handler behind it. */
export function redactionRoutes({ redactions, cursors, organizations }: RedactionRoutesDependencies): Router {
  const router = Router({ caseSensitive: true })

  async function asked(request: Request, response: Response, permission: Permission): Promise<RedactionCall> {
    const organizationId = String(request.params['org'])
    const { principal } = authorize(response, permission, organizationId)
    await organizations.require(organizationId)
    const idempotencyKey = idempotencyKeyOf(request.headers)
    return { organizationId, principal, requestId: requestIdOf(response), idempotencyKey }
  }

  router.post(base, jsonBody(maxBodyBytes), async (request, response) => {
    const call = await asked(request, response, 'erasure.decide')
    const body = checkedBody(redactionBodySchema, bodyOf(request))
    const { redaction, replayed } = await redactions.request(call, body)
    if (replayed) response.setHeader('idempotency-replayed', 'true')
    response.status(202).json(redactionView(redaction))
  })

  router.post(
    `${base}/:id/approve`,
    jsonBody(maxBodyBytes, { optional: true }),
    async (request, response) => {
      const call = await asked(request, response, 'erasure.decide')
      const redactionId = idOf(request)
      checkedBody(approveRedactionSchema, request.body === undefined ? {} : bodyOf(request))
      response.json(redactionView(await redactions.approve(call, redactionId)))
    },
  )

  router.get(base, async (request, response) => {
    const { organizationId } = await asked(request, response, 'erasure.submit')
    const { limit, cursor, state } = parseInput(listRedactionsSchema, request.query)
    const filters = { list: 'redactions', organizationId, state }
    const place = cursor === undefined ? undefined : cursors.open(cursor, filters, redactionPositionSchema)
    const after = place && { requestedAt: new Date(place.requestedAt), redactionId: place.redactionId }
    const found = await redactions.list({ organizationId, state, after, limit: limit + 1 })
    response.json(
      pageOf(found.map(redactionView), limit, ({ requestedAt, id }) =>
        cursors.seal({ requestedAt, redactionId: id }, filters),
      ),
    )
  })

  router.get(`${base}/:id`, async (request, response) => {
    const { organizationId } = await asked(request, response, 'erasure.submit')
    response.json(redactionView(await redactions.get({ organizationId, redactionId: idOf(request) })))
  })

  return router
}

/** An id of another form belongs to no redaction. */
function idOf(request: Request): string {
  const id = String(request.params['id'])
  if (!redactionIdPattern.test(id)) throw notFound()
  return id
}
