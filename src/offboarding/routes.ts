/**
 * `POST`, `GET …/offboarding`, `GET …/offboarding/:id`, `POST …/offboarding/:id/{approve,withdraw,retry}`. Reading works after the
 * organization is gone: for owners and operators whose keys are for all organizations, or for it among others.
 */
import { Router, type Request, type Response } from 'express'
import type { Permission } from '../access/contract.js'
import { ArchiveStoreError } from '../archive/stores/contract.js'
import type { StoredCertificate } from '../certificates/store.js'
import { AnnalsError, notFound } from '../errors.js'
import { checkedBody } from '../events/list-input.js'
import { authorize } from '../http/authentication.js'
import { bodyOf, jsonBody } from '../http/json-body.js'
import { idempotencyKeyOf } from '../http/list.js'
import { requestIdOf } from '../http/request-context.js'
import { parseInput } from '../http/validate.js'
import type { OffboardingCertificates } from './certificates.js'
import { offboardingIdPattern } from './contract.js'
import { emptySchema, offboardingBodySchema } from './schema.js'
import type { OffboardingCall, OffboardingService } from './service.js'
import type { OffboardingDocument } from './store.js'
import { offboardingView } from './view.js'

export interface OffboardingRoutesDependencies {
  readonly offboardings: OffboardingService
  readonly certificates: Pick<OffboardingCertificates, 'find'>
}

const retryAfterSeconds = 5
const maxBodyBytes = 8 * 1_024
const base = '/v1/organizations/:org/offboarding'

/** Expects `requestContext` and `authentication` before it, and the problem handler behind it. */
export function offboardingRoutes({ offboardings, certificates }: OffboardingRoutesDependencies): Router {
  const router = Router({ caseSensitive: true })

  router.post(base, jsonBody(maxBodyBytes), async (request, response) => {
    const call = asked(request, response, 'administer')
    const body = checkedBody(offboardingBodySchema, bodyOf(request))
    const { offboarding, replayed } = await offboardings.request(call, body)
    if (replayed) response.setHeader('idempotency-replayed', 'true')
    response.status(202).json(offboardingView(offboarding))
  })

  const acting = (
    action: 'approve' | 'withdraw' | 'retry',
    permission: Permission,
    status: number,
    act: (call: OffboardingCall, id: string) => Promise<OffboardingDocument>,
  ) => {
    const path = `${base}/:id/${action}`
    router.post(path, jsonBody(maxBodyBytes, { optional: true }), async (request, response) => {
      const call = asked(request, response, permission)
      const id = idOf(request)
      checkedBody(emptySchema, request.body === undefined ? {} : bodyOf(request))
      response.status(status).json(offboardingView(await act(call, id)))
    })
  }
  acting('approve', 'administer', 200, (call, id) => offboardings.approve(call, id))
  acting('withdraw', 'administer', 200, (call, id) => offboardings.withdraw(call, id))
  acting('retry', 'operate', 202, (call, id) => offboardings.retry(call, id))

  router.get(base, async (request, response) => {
    const { organizationId } = asked(request, response, 'offboarding.read')
    parseInput(emptySchema, request.query)
    const found = await offboardings.list(organizationId)
    if (found.length === 0) throw notFound()
    response.json({ data: found.map(offboardingView), nextCursor: null })
  })

  router.get(`${base}/:id`, async (request, response) => {
    const { organizationId } = asked(request, response, 'offboarding.read')
    response.json(offboardingView(await offboardings.get({ organizationId, offboardingId: idOf(request) })))
  })

  router.get(`${base}/:id/certificate`, async (request, response) => {
    const { organizationId } = asked(request, response, 'offboarding.read')
    const offboarding = await offboardings.get({ organizationId, offboardingId: idOf(request) })
    const { bytes } = await certificateOf(offboarding)
    response.setHeader('cache-control', 'no-store')
    response.setHeader('content-type', 'application/json; charset=utf-8')
    response.setHeader('content-disposition', `inline; filename="${offboarding.offboardingId}.json"`)
    response.end(bytes)
  })

  async function certificateOf(offboarding: OffboardingDocument): Promise<StoredCertificate> {
    try {
      const stored = await certificates.find(offboarding)
      if (stored !== undefined) return stored
    } catch (error) {
      if (!(error instanceof ArchiveStoreError)) throw error
      throw new AnnalsError('unavailable', 'The ledger, where certificates lie, is away.', {
        retryAfterSeconds,
        cause: error,
      })
    }
    throw new AnnalsError('not_complete', 'The offboarding has come to no certificate yet.')
  }

  return router
}

function asked(request: Request, response: Response, permission: Permission): OffboardingCall {
  const organizationId = String(request.params['org'])
  const { principal } = authorize(response, permission, organizationId)
  const idempotencyKey = idempotencyKeyOf(request.headers)
  return { organizationId, principal, requestId: requestIdOf(response), idempotencyKey }
}

/** An id of another form belongs to no offboarding. */
function idOf(request: Request): string {
  const id = String(request.params['id'])
  if (!offboardingIdPattern.test(id)) throw notFound()
  return id
}
