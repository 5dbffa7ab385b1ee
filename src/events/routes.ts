/** The HTTP routes that take events in: one, or a batch. */
import { setImmediate } from 'node:timers/promises'
import { Router, type RequestHandler } from 'express'
import type { Caller } from '../access/contract.js'
import type { RateLimits } from '../access/rate-limits.js'
import { AnnalsError, invalidField } from '../errors.js'
import { authorize, requireRole } from '../http/authentication.js'
import type { DirectRoute } from '../http/direct-routes.js'
import { bodyOf, jsonBody } from '../http/json-body.js'
import { idempotencyKeyOf } from '../http/list.js'
import { annalsErrorOf, problemDocument } from '../http/problem.js'
import { requestIdOf } from '../http/request-context.js'
import { accepted, base64, createAccept } from './accept.js'
import type { RecordedEvent } from './contract.js'
import type { Intake } from './intake.js'
import { limits } from './limits.js'
import type { EventOrganizations } from './organizations.js'
import { eventItemSchema, eventSchema, parseBatch, parseEvent, type ParseResult } from './schema.js'

export interface EventRoutesDependencies {
  readonly organizations: EventOrganizations
  readonly intake: Intake
  readonly rateLimits: RateLimits
}

/** `POST /v1/events`. */
export function eventPostRoute({ organizations, intake, rateLimits }: EventRoutesDependencies): DirectRoute {
  const accept = createAccept({ organizations, intake })
  return {
    path: '/v1/events',
    maxBodyBytes: limits.maxEventBytes,
    admit(caller) {
      requireRole(caller, 'events.write')
      if (!intake.hasRoom(caller.keyId, 1, 0)) throw overloaded()
    },
    async handle({ headers, caller, body }, response) {
      const parsed = accepted(parseEvent(body, eventSchema, Date.now()))
      const key = idempotencyKeyOf(headers)
      if (key !== undefined && parsed.clientId !== undefined) {
        throw invalidField('id', 'conflict', 'give an id or the header Idempotency-Key, not both')
      }
      await rateLimits.take(caller, 1)
      const recorded = await accept(caller, parsed, key)
      response.statusCode = 201
      response.setHeader('content-type', 'application/json; charset=utf-8')
      if (recorded.replayed) response.setHeader('idempotency-replayed', 'true')
      response.end(answerJson(recorded))
    },
  }
}

/** How many events of a batch are taken in before the event loop gets a turn. */
const batchSlice = 100

/** `POST /v1/events/batch`. */
export function eventRoutes({ organizations, intake, rateLimits }: EventRoutesDependencies): Router {
  const router = Router({ caseSensitive: true })

  const accept = createAccept({ organizations, intake })

  // Under overload a refusal must cost next to nothing: megabytes are not parsed to be turned away.
  const admit: RequestHandler = (_request, response, next) => {
    if (!intake.hasRoom(authorize(response, 'events.write').keyId, 1, 0)) throw overloaded()
    next()
  }

  router.post('/v1/events/batch', admit, jsonBody(limits.maxBatchBytes), async (request, response) => {
    const caller = authorize(response, 'events.write')
    if (idempotencyKeyOf(request.headers) !== undefined) {
      throw invalidField('', 'conflict', 'a batch takes an idempotencyKey in each event, not the header')
    }
    const items = parseBatch(bodyOf(request))
    await rateLimits.take(caller, items.length)
    // Nothing is stored where not everything fits: a batch half refused for want of room would come again whole.
    if (!intake.hasRoom(caller.keyId, items.length, 0)) throw overloaded()
    const requestId = requestIdOf(response)
    const now = Date.now()
    const results: Promise<object>[] = []
    for (let start = 0; start < items.length; start += batchSlice) {
      if (start > 0) await setImmediate()
      for (const [offset, item] of items.slice(start, start + batchSlice).entries()) {
        results.push(itemResult(start + offset, parseEvent(item, eventItemSchema, now), caller, requestId))
      }
    }
    response.json({ results: await Promise.all(results) })
  })

  async function itemResult(
    index: number,
    result: ParseResult,
    caller: Caller,
    requestId: string,
  ): Promise<object> {
    try {
      const parsed = accepted(result)
      const { id, leafHash, replayed } = await accept(caller, parsed, parsed.idempotencyKey)
      const answer = { index, status: 201, id, leafHash: base64(leafHash) }
      return replayed ? { ...answer, replayed } : answer
    } catch (error) {
      const problem = problemDocument(annalsErrorOf(error), requestId)
      return { index, status: problem.status, problem }
    }
  }

  return router
}

/** Ids, an ISO time and base64 need no escaping. */
const answerJson = ({ id, organizationId, receivedAt, leafHash }: RecordedEvent) =>
  `{"id":"${id}","organizationId":"${organizationId}","receivedAt":"${receivedAt.toISOString()}","leafHash":"${base64(leafHash)}"}`

const overloaded = () =>
  new AnnalsError('overloaded', 'More events arrive than can be written; send again a little later.', {
    retryAfterSeconds: 1,
  })
