/** `PUT`, `GET …/retention`, its versions and runs; `POST …/retention/run`, `…/retention/runs/:id/retry`. */
import { Router, type Request, type Response } from 'express'
import { z } from 'zod'
import { roleMay, type Permission } from '../access/contract.js'
import { checkedBody } from '../events/list-input.js'
import { notFound } from '../errors.js'
import { authorize } from '../http/authentication.js'
import type { CursorCodec } from '../http/cursor.js'
import { bodyOf, jsonBody } from '../http/json-body.js'
import { pageOf } from '../http/list.js'
import { requestIdOf } from '../http/request-context.js'
import { parseInput } from '../http/validate.js'
import type { RunRetrier, SweepStarter } from './contract.js'
import { refuseDisorder } from './policies.js'
import type { Retention } from './retention.js'
import {
  listRunsSchema,
  maxRetentionBodyBytes,
  previewBodySchema,
  retentionBodySchema,
  runPositionSchema,
  versionsQuerySchema,
} from './schema.js'
import { retentionView, runView, versionView } from './view.js'

export interface RetentionRoutesDependencies {
  readonly retention: Pick<Retention, 'policies' | 'runs' | 'clock' | 'preview'>
  /** Starts a sweep now; without it there is no such route. */
  readonly sweeps?: SweepStarter | undefined
  /** Takes up what stands still; without it there is no such route. */
  readonly retries?: RunRetrier | undefined
  readonly cursors: CursorCodec
  /** @throws AnnalsError `not_found` | `wrong_region` */
  readonly organizations: { require(id: string): Promise<unknown> }
}

const base = '/v1/organizations/:org/retention'

/** Expects `requestContext` and `authentication` before it, and the problem handler behind it. */
export function retentionRoutes({
  retention: { policies, runs, clock, preview },
  sweeps,
  retries,
  cursors,
  organizations,
}: RetentionRoutesDependencies): Router {
  const router = Router({ caseSensitive: true })

  /** The organization of a request: one that is there, and that the caller may ask about. */
  async function asked(request: Request, response: Response, permission: Permission) {
    const organizationId = String(request.params['org'])
    const caller = authorize(response, permission, organizationId)
    await organizations.require(organizationId)
    return {
      organizationId,
      caller,
      author: { principal: caller.principal, requestId: requestIdOf(response) },
    }
  }

  async function answer(organizationId: string, response: Response): Promise<void> {
    const { now } = await clock.peek()
    response.json(retentionView(await policies.counting(organizationId, now), now))
  }

  router.put(base, jsonBody(maxRetentionBodyBytes), async (request, response) => {
    const { organizationId, author } = await asked(request, response, 'administer')
    await policies.put(organizationId, checkedBody(retentionBodySchema, bodyOf(request)), author)
    await answer(organizationId, response)
  })

  router.get(base, async (request, response) => {
    const { organizationId } = await asked(request, response, 'events.read')
    await answer(organizationId, response)
  })

  router.get(`${base}/versions`, async (request, response) => {
    const { organizationId } = await asked(request, response, 'events.read')
    const { limit, cursor } = parseInput(versionsQuerySchema, request.query)
    const filters = { list: 'retentionVersions', organizationId }
    const before = cursor === undefined ? undefined : cursors.open(cursor, filters, z.int())
    const found = await policies.versions(organizationId, limit + 1, before)
    response.json(pageOf(found.map(versionView), limit, ({ version }) => cursors.seal(version, filters)))
  })

  router.post(
    `${base}/preview`,
    jsonBody(maxRetentionBodyBytes, { optional: true }),
    async (request, response) => {
      const { organizationId, caller } = await asked(request, response, 'events.read')
      const body = bodyOf(request)
      const candidate = body === undefined ? undefined : checkedBody(previewBodySchema, body)
      if (candidate !== undefined) refuseDisorder(candidate)
      const { held, ...found } = await preview(organizationId, candidate)
      response.json({ ...found, held: roleMay(caller, 'holds') ? held : null })
    },
  )

  router.get(`${base}/runs`, async (request, response) => {
    const { organizationId } = await asked(request, response, 'events.read')
    const { limit, cursor, kind, state } = parseInput(listRunsSchema, request.query)
    const filters = { list: 'retentionRuns', organizationId, kind, state }
    const from = cursor === undefined ? undefined : cursors.open(cursor, filters, runPositionSchema)
    const after = from === undefined ? undefined : { startedAt: new Date(from.startedAt), runId: from.runId }
    const found = await runs.list({ organizationId, kind, state, after, limit: limit + 1 })
    const cursorOf = ({ startedAt, id }: ReturnType<typeof runView>) =>
      cursors.seal({ startedAt, runId: id }, filters)
    response.json(pageOf(found.map(runView), limit, cursorOf))
  })

  router.get(`${base}/runs/:id`, async (request, response) => {
    const { organizationId } = await asked(request, response, 'events.read')
    const found = await runs.find(organizationId, request.params.id)
    if (found === undefined) throw notFound()
    response.json(runView(found))
  })

  if (retries !== undefined) {
    router.post(`${base}/runs/:id/retry`, async (request, response) => {
      const { organizationId } = await asked(request, response, 'operate')
      response.status(202).json(await retries.retry(organizationId, request.params.id))
    })
  }

  if (sweeps !== undefined) {
    router.post(`${base}/run`, async (request, response) => {
      const { organizationId } = await asked(request, response, 'retention.run')
      response.status(202).json(await sweeps.startSweep(organizationId))
    })
  }

  return router
}
