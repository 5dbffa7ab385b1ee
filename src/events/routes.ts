/** The HTTP routes of events: single and batch intake, lists and details. */
import { setImmediate } from 'node:timers/promises'
import { Router, type Request, type Response } from 'express'
import type { Caller } from '../access/contract.js'
import type { RateLimits } from '../access/rate-limits.js'
import { AnnalsError } from '../errors.js'
import { authorize } from '../http/authentication.js'
import type { CursorCodec } from '../http/cursor.js'
import { bodyOf, jsonBody } from '../http/json-body.js'
import { idempotencyKeyOf } from '../http/list.js'
import { annalsErrorOf, problemDocument } from '../http/problem.js'
import { requestIdOf } from '../http/request-context.js'
import { invalidField } from '../http/validate.js'
import { accepted, base64, createAccept } from './accept.js'
import type { RecordedEvent } from './contract.js'
import type { Intake } from './intake.js'
import { limits } from './limits.js'
import { type EventListInput, parseListQuery, parseSearchBody, positionSchema } from './list-input.js'
import type { EventOrganizations } from './organizations.js'
import type { EventReader } from './reading.js'
import { eventItemSchema, eventSchema, parseBatch, parseEvent, type ParseResult } from './schema.js'

export interface EventRoutesDependencies {
  readonly organizations: EventOrganizations
  readonly intake: Intake
  readonly rateLimits: RateLimits
  readonly reader: EventReader
  readonly cursors: CursorCodec
}

/** How many events of a batch are taken in before the event loop gets a turn. */
const batchSlice = 100

export function eventRoutes(dependencies: EventRoutesDependencies): Router {
  const { organizations, intake, rateLimits, reader, cursors } = dependencies
  const router = Router({ caseSensitive: true })

  const accept = createAccept({ organizations, intake })

  router.post('/v1/events', jsonBody(limits.maxEventBytes), async (request, response) => {
    const caller = authorize(response, 'events.write')
    const parsed = accepted(parseEvent(bodyOf(request), eventSchema, Date.now()))
    const key = idempotencyKeyOf(request.headers)
    if (key !== undefined && parsed.clientId !== undefined) {
      throw invalidField('id', 'conflict', 'give an id or the header Idempotency-Key, not both')
    }
    await rateLimits.take(caller, 1)
    const recorded = await accept(caller, parsed, key)
    response.statusCode = 201
    response.setHeader('content-type', 'application/json; charset=utf-8')
    if (recorded.replayed) response.setHeader('idempotency-replayed', 'true')
    response.end(answerJson(recorded))
  })

  router.post('/v1/events/batch', jsonBody(limits.maxBatchBytes), async (request, response) => {
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

  router.get('/v1/organizations/:org/events', async (request, response) => {
    await list(request, response, parseListQuery(request.query))
  })

  router.post(
    '/v1/organizations/:org/events/search',
    jsonBody(limits.maxSearchBytes),
    async (request, response) => {
      await list(request, response, parseSearchBody(bodyOf(request)))
    },
  )

  async function list(request: Request, response: Response, input: EventListInput): Promise<void> {
    const organizationId = organizationOf(request)
    const caller = authorize(response, 'events.read', organizationId)
    const organization = await organizations.require(organizationId)
    const { filter, limit, cursor } = input
    const bound = { organizationId, list: 'events', ...input.bound }
    const after = cursor === undefined ? undefined : cursors.open(cursor, bound, positionSchema)
    const page = await reader.list(
      organization,
      filter,
      { limit, after },
      readerOf(caller, input.personal, response),
    )
    response.json({
      data: page.data,
      nextCursor: page.next === undefined ? null : cursors.seal({ ...page.next }, bound),
    })
  }

  router.get('/v1/organizations/:org/events/:id', async (request, response) => {
    const organizationId = organizationOf(request)
    const caller = authorize(response, 'events.read', organizationId)
    const organization = await organizations.require(organizationId)
    const personal = request.query['personal'] !== 'false'
    response.json(await reader.get(organization, request.params.id, readerOf(caller, personal, response)))
  })

  const readerOf = (caller: Caller, wanted: boolean, response: Response) => ({
    principal: caller.principal,
    personal: caller.personal && wanted,
    requestId: requestIdOf(response),
  })

  return router
}

const organizationOf = (request: Request) => String(request.params['org'])

/** Ids, an ISO time and base64 need no escaping. */
const answerJson = ({ id, organizationId, receivedAt, leafHash }: RecordedEvent) =>
  `{"id":"${id}","organizationId":"${organizationId}","receivedAt":"${receivedAt.toISOString()}","leafHash":"${base64(leafHash)}"}`

const overloaded = () =>
  new AnnalsError(
    'overloaded',
    'More events arrive than can be written; send the batch again a little later.',
    {
      retryAfterSeconds: 1,
    },
  )
