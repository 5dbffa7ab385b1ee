/** `POST`, `GET …/holds`, `GET …/holds/:id`, `POST …/holds/:id/release`. */
import { Router, type Request, type Response } from 'express'
import { notFound } from '../errors.js'
import { checkedBody } from '../events/list-input.js'
import { authorize } from '../http/authentication.js'
import type { CursorCodec } from '../http/cursor.js'
import { bodyOf, jsonBody } from '../http/json-body.js'
import { idempotencyKeyOf, pageOf } from '../http/list.js'
import { requestIdOf } from '../http/request-context.js'
import { parseInput } from '../http/validate.js'
import { idPattern } from '../ids.js'
import type { HoldAuthor, HoldService } from './holds.js'
import { holdBodySchema, holdPositionSchema, listHoldsSchema, maxRetentionBodyBytes } from './schema.js'
import { holdView } from './view.js'

export interface HoldRoutesDependencies {
  readonly holds: HoldService
  readonly cursors: CursorCodec
  /** @throws AnnalsError `not_found` | `wrong_region` */
  readonly organizations: { require(id: string): Promise<unknown> }
  /** Tells what waits that a hold is gone; never fails, and is not waited for. */
  readonly onReleased: (organizationId: string) => Promise<void>
}

const base = '/v1/organizations/:org/holds'
const holdIdPattern = idPattern('hold')

/** Expects `requestContext` and `authentication` before it, and the problem handler behind it. */
export function holdRoutes({ holds, cursors, organizations, onReleased }: HoldRoutesDependencies): Router {
  const router = Router({ caseSensitive: true })

  /** Who asks, for which organization: one that is there. */
  async function asked(
    request: Request,
    response: Response,
  ): Promise<{ organizationId: string; author: HoldAuthor }> {
    const organizationId = String(request.params['org'])
    const { principal } = authorize(response, 'holds', organizationId)
    await organizations.require(organizationId)
    const idempotencyKey = idempotencyKeyOf(request.headers)
    return { organizationId, author: { principal, requestId: requestIdOf(response), idempotencyKey } }
  }

  router.post(base, jsonBody(maxRetentionBodyBytes), async (request, response) => {
    const { organizationId, author } = await asked(request, response)
    const wanted = checkedBody(holdBodySchema, bodyOf(request))
    const { hold, replayed } = await holds.place(organizationId, wanted, author)
    if (replayed) response.setHeader('idempotency-replayed', 'true')
    response.status(replayed ? 200 : 201).json(holdView(hold))
  })

  router.get(base, async (request, response) => {
    const { organizationId } = await asked(request, response)
    const { limit, cursor, state } = parseInput(listHoldsSchema, request.query)
    const filters = { list: 'holds', organizationId, state }
    const from = cursor === undefined ? undefined : cursors.open(cursor, filters, holdPositionSchema)
    const found = await holds.list({
      organizationId,
      active: state === undefined ? undefined : state === 'active',
      after: from === undefined ? undefined : { placedAt: new Date(from.placedAt), id: from.id },
      limit: limit + 1,
    })
    response.json(
      pageOf(found.map(holdView), limit, ({ placedAt, id }) => cursors.seal({ placedAt, id }, filters)),
    )
  })

  router.get(`${base}/:id`, async (request, response) => {
    const { organizationId } = await asked(request, response)
    response.json(holdView(await holds.get(organizationId, holdIdOf(request))))
  })

  router.post(`${base}/:id/release`, async (request, response) => {
    const { organizationId, author } = await asked(request, response)
    const released = await holds.release(organizationId, holdIdOf(request), author)
    void onReleased(organizationId)
    response.json(holdView(released))
  })

  return router
}

/** An id of another form belongs to no hold. */
function holdIdOf(request: Request): string {
  const id = String(request.params['id'])
  if (!holdIdPattern.test(id)) throw notFound()
  return id
}
