/** The HTTP routes of the archive: its segments, and what is brought back from it. */
import { Router, type Request, type Response } from 'express'
import type { Permission } from '../access/contract.js'
import { notFound } from '../errors.js'
import { checkedBody } from '../events/list-input.js'
import { authorize } from '../http/authentication.js'
import type { CursorCodec } from '../http/cursor.js'
import { bodyOf, jsonBody } from '../http/json-body.js'
import { idempotencyKeyOf, pageOf } from '../http/list.js'
import { parseInput } from '../http/validate.js'
import { restoreIdPattern } from './restores/contract.js'
import { listRestoresSchema, restoreBodySchema, restorePositionSchema } from './restores/schema.js'
import type { RestoreService } from './restores/service.js'
import { restoreView } from './restores/view.js'
import type { SegmentLookup } from './segment-lookup.js'
import { listSegmentsSchema, segmentPositionSchema, segmentView } from './segment-schema.js'

export interface ArchiveRoutesDependencies {
  readonly segments: Pick<SegmentLookup, 'page'>
  readonly restores: RestoreService
  readonly cursors: CursorCodec
  readonly organizations: {
    /** @throws AnnalsError `not_found` | `wrong_region` */
    require(id: string): Promise<unknown>
  }
}

const maxRestoreBytes = 8 * 1_024
const restoresPath = '/v1/organizations/:org/archive/restores'

/** Expects `requestContext` and `authentication` before it, and the problem handler behind it. */
export function archiveRoutes(deps: ArchiveRoutesDependencies): Router {
  const { segments, restores, cursors, organizations } = deps
  const router = Router()

  async function opened(request: Request, response: Response, permission: Permission) {
    const organizationId = String(request.params['org'])
    const caller = authorize(response, permission, organizationId)
    await organizations.require(organizationId)
    return { organizationId, principal: caller.principal }
  }

  router.get('/v1/organizations/:org/archive/segments', async (request, response) => {
    const { organizationId } = await opened(request, response, 'events.read')
    const { limit, cursor } = parseInput(listSegmentsSchema, request.query)
    const bound = { organizationId, list: 'segments' }
    const before = cursor === undefined ? undefined : cursors.open(cursor, bound, segmentPositionSchema)
    const found = await segments.page(organizationId, before, limit + 1)
    const views = found.map(segmentView)
    response.json(
      pageOf(views, limit, ({ generation, from }) => cursors.seal({ generation, index: from }, bound)),
    )
  })

  router.post(restoresPath, jsonBody(maxRestoreBytes), async (request, response) => {
    const idempotencyKey = idempotencyKeyOf(request.headers)
    const { organizationId, principal } = await opened(request, response, 'exports')
    const body = checkedBody(restoreBodySchema, bodyOf(request))
    const { restore, replayed } = await restores.start({ organizationId, principal, idempotencyKey }, body)
    if (replayed) response.setHeader('idempotency-replayed', 'true')
    response.status(202).json(restoreView(restore))
  })

  router.get(restoresPath, async (request, response) => {
    const { organizationId } = await opened(request, response, 'exports')
    const { limit, cursor } = parseInput(listRestoresSchema, request.query)
    const bound = { organizationId, list: 'restores' }
    const place = cursor === undefined ? undefined : cursors.open(cursor, bound, restorePositionSchema)
    const after = place && { requestedAt: new Date(place.requestedAt), restoreId: place.restoreId }
    const found = await restores.list({ organizationId, after, limit: limit + 1 })
    response.json(
      pageOf(found.map(restoreView), limit, ({ requestedAt, id }) =>
        cursors.seal({ requestedAt, restoreId: id }, bound),
      ),
    )
  })

  router.get(`${restoresPath}/:id`, async (request, response) => {
    const { organizationId } = await opened(request, response, 'exports')
    const restoreId = request.params.id
    // An id of another form belongs to no restore.
    if (!restoreIdPattern.test(restoreId)) throw notFound()
    response.json(restoreView(await restores.get({ organizationId, restoreId })))
  })

  return router
}
