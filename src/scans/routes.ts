/** The HTTP routes of scans, under `/v1/organizations/:org/scans`. */
import { Router, type Request, type RequestHandler, type Response } from 'express'
import type { z } from 'zod'
import type { Caller } from '../access/contract.js'
import { AnnalsError, notFound, invalid } from '../errors.js'
import { checkJson } from '../events/json-check.js'
import { authorize, callerOf } from '../http/authentication.js'
import type { CursorCodec } from '../http/cursor.js'
import { bodyOf, jsonBody } from '../http/json-body.js'
import { idempotencyKeyOf, pageOf } from '../http/list.js'
import { parseInput } from '../http/validate.js'
import { scanIdPattern, type ScanStatus } from './contract.js'
import { scanTiming } from './policy.js'
import {
  finishSchema,
  listScansSchema,
  progressSchema,
  reasonSchema,
  scanBodyLimits,
  scanPositionSchema,
  startScanSchema,
} from './schema.js'
import type { ScanRequest, ScanService } from './service.js'
import type { ScanView } from './view.js'

export interface ScanRoutesDependencies {
  readonly scans: ScanService
  readonly cursors: CursorCodec
  readonly organizations: {
    /** For a write: makes the organization where that is allowed. @throws AnnalsError `not_found` | `wrong_region` | `forbidden` */
    ensure(id: string, author: Caller): Promise<unknown>
    /** For a read. @throws AnnalsError `not_found` | `wrong_region` */
    require(id: string): Promise<unknown>
  }
}

const base = '/v1/organizations/:org/scans'

/** Expects `requestContext` and `authentication` before it, and the problem handler behind it. */
export function scanRoutes(deps: ScanRoutesDependencies): Router {
  const { scans, organizations } = deps
  const router = Router()

  async function readableOrganization(request: Request, response: Response): Promise<string> {
    const organizationId = organizationOf(request)
    authorize(response, 'events.read', organizationId)
    await organizations.require(organizationId)
    return organizationId
  }

  router.post(base, jsonBody(scanBodyLimits.start), async (request, response) => {
    const scanRequest = writeRequest(request, response)
    const body = parseBody(startScanSchema, request)
    await organizations.ensure(scanRequest.organizationId, callerOf(response))
    const { scan, replayed } = await scans.start(scanRequest, {
      engine: body.engine,
      expectedWithinMs: body.expectedWithin ?? scanTiming.defaultExpectedWithinMs,
      progressTimeoutMs: body.progressTimeout ?? null,
      metadata: body.metadata ?? {},
    })
    if (replayed) response.setHeader('idempotency-replayed', 'true')
    response.status(replayed ? 200 : 201).json(scan)
  })

  router.post(`${base}/:id/progress`, jsonBody(scanBodyLimits.progress), async (request, response) => {
    const scanRequest = writeRequest(request, response)
    const report = parseBody(progressSchema, request)
    response.status(202).json(await scans.progress(scanRequest, scanIdOf(request), report))
  })

  router.post(
    `${base}/:id/finish`,
    jsonBody(scanBodyLimits.end),
    ending(finishSchema, (request, scanId, body) =>
      scans.end(request, scanId, { status: 'finished', ...body }),
    ),
  )
  router.post(
    `${base}/:id/fail`,
    jsonBody(scanBodyLimits.end),
    ending(reasonSchema, (request, scanId, body) =>
      scans.end(request, scanId, { status: 'failed', outcome: 'failure', ...body }),
    ),
  )
  router.post(
    `${base}/:id/cancel`,
    jsonBody(scanBodyLimits.end),
    ending(reasonSchema, (request, scanId, body) =>
      scans.end(request, scanId, { status: 'cancelled', outcome: 'failure', ...body }),
    ),
  )

  router.get(base, async (request, response) => {
    const organizationId = await readableOrganization(request, response)
    const { limit, cursor, engine, status } = parseInput(listScansSchema, request.query)
    const filters: { list: string; organizationId: string; engine?: string; status?: ScanStatus } = {
      list: 'scans',
      organizationId,
      ...(engine === undefined ? {} : { engine }),
      ...(status === undefined ? {} : { status }),
    }
    const from = cursor === undefined ? undefined : deps.cursors.open(cursor, filters, scanPositionSchema)
    const after =
      from === undefined ? undefined : { startedAt: new Date(from.startedAt), scanId: from.scanId }
    const found = await scans.list({ organizationId, engine, status, after, limit: limit + 1 })
    const cursorOf = ({ startedAt, id }: ScanView): string =>
      deps.cursors.seal({ startedAt, scanId: id }, filters)
    response.json(pageOf(found, limit, cursorOf))
  })

  router.get(`${base}/:id`, async (request, response) => {
    const organizationId = await readableOrganization(request, response)
    response.json(await scans.get(organizationId, scanIdOf(request)))
  })

  return router
}

function ending<Body>(
  schema: z.ZodType<Body>,
  end: (request: ScanRequest, scanId: string, body: Body) => Promise<ScanView>,
): RequestHandler {
  return async (request, response) => {
    const scanRequest = writeRequest(request, response)
    response.status(202).json(await end(scanRequest, scanIdOf(request), parseBody(schema, request)))
  }
}

function writeRequest(request: Request, response: Response): ScanRequest {
  const organizationId = organizationOf(request)
  const { principal } = authorize(response, 'events.write', organizationId)
  return { organizationId, principal, idempotencyKey: idempotencyKeyOf(request.headers) }
}

function organizationOf(request: Request): string {
  return String(request.params['org'])
}

/** An id of another form belongs to no scan. */
function scanIdOf(request: Request): string {
  const id = String(request.params['id'])
  if (!scanIdPattern.test(id)) throw notFound()
  return id
}

function parseBody<Body>(schema: z.ZodType<Body>, request: Request): Body {
  const body = bodyOf(request)
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
