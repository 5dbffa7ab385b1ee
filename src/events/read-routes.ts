/** The HTTP routes that read events: lists, searches, details, what is related, counts. */
import { Router, type Request, type Response } from 'express'
import type { Caller } from '../access/contract.js'
import { authorize } from '../http/authentication.js'
import type { CursorCodec } from '../http/cursor.js'
import { bodyOf, jsonBody } from '../http/json-body.js'
import { requestIdOf } from '../http/request-context.js'
import { limits } from './limits.js'
import { parseListQuery, parseSearchBody, type EventListInput } from './list-input.js'
import type { EventOrganizations } from './organizations.js'
import type { Reader } from './personal-reads.js'
import {
  countsPositionSchema,
  parseCountsBody,
  parseCountsQuery,
  parseRelatedQuery,
  type CountsInput,
} from './read-input.js'
import type { EventReader } from './reading.js'
import { sourcePositionSchema } from './sources.js'

export interface EventReadRoutesDependencies {
  readonly organizations: EventOrganizations
  readonly reader: EventReader
  readonly cursors: CursorCodec
}

export function eventReadRoutes({ organizations, reader, cursors }: EventReadRoutesDependencies): Router {
  const router = Router({ caseSensitive: true })

  /** The organization that is read, and who reads it. */
  async function opened(request: Request, response: Response, personal: boolean) {
    const organizationId = String(request.params['org'])
    const caller = authorize(response, 'events.read', organizationId)
    const organization = await organizations.require(organizationId)
    return { organizationId, organization, reads: readerOf(caller, personal, response) }
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
    const { filter, order, source, limit, cursor } = input
    const { organizationId, organization, reads } = await opened(request, response, input.personal)
    const bound = { organizationId, list: 'events', ...input.bound }
    const after = cursor === undefined ? undefined : cursors.open(cursor, bound, sourcePositionSchema)
    const page = await reader.list(organization, filter, { limit, after, order, source }, reads)
    response.json({
      data: page.data,
      nextCursor: page.next === undefined ? null : cursors.seal({ ...page.next }, bound),
      ...(page.partial ? { partial: true } : {}),
    })
  }

  router.get('/v1/organizations/:org/counts', async (request, response) => {
    await counts(request, response, parseCountsQuery(request.query, new Date()))
  })

  router.post('/v1/organizations/:org/counts', jsonBody(limits.maxSearchBytes), async (request, response) => {
    await counts(request, response, parseCountsBody(bodyOf(request), new Date()))
  })

  async function counts(request: Request, response: Response, input: CountsInput): Promise<void> {
    const { organizationId, organization, reads } = await opened(request, response, input.personal)
    const bound = { organizationId, list: 'counts', ...input.bound }
    const after =
      input.cursor === undefined ? undefined : cursors.open(input.cursor, bound, countsPositionSchema)
    const { from, to } = input.request.filter
    const page = await reader.counts(organization, { ...input.request, after }, reads, input.source)
    response.json({
      from: from.toISOString(),
      to: to.toISOString(),
      interval: input.request.interval,
      data: page.buckets,
      nextCursor: page.next === undefined ? null : cursors.seal({ ...page.next }, bound),
      ...(page.partial ? { partial: true } : {}),
    })
  }

  router.get('/v1/organizations/:org/events/:id', async (request, response) => {
    const { organization, reads } = await opened(request, response, request.query['personal'] !== 'false')
    response.json(await reader.get(organization, request.params.id, reads))
  })

  router.get('/v1/organizations/:org/events/:id/related', async (request, response) => {
    const { request: wanted, personal } = parseRelatedQuery(request.query)
    const { organization, reads } = await opened(request, response, personal)
    response.json(await reader.related(organization, request.params.id, wanted, reads))
  })

  return router
}

const readerOf = (caller: Caller, wanted: boolean, response: Response): Reader => ({
  principal: caller.principal,
  personal: caller.personal && wanted,
  requestId: requestIdOf(response),
})
