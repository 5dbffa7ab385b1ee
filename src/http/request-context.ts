/** What the edge knows of a request beside its content: its id, its caller, and the line and figures it leaves. */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Request, RequestHandler } from 'express'
import type { Caller } from '../access/contract.js'
import type { Logger } from '../logging.js'
import type { HttpMetrics } from '../metrics.js'

interface RequestContext {
  readonly requestId: string
  caller?: Caller
}

const contexts = new WeakMap<ServerResponse, RequestContext>()
const requestIdPattern = /^[A-Za-z0-9_-]{1,64}$/

function contextOf(response: ServerResponse): RequestContext {
  const context = contexts.get(response)
  if (context === undefined) throw new Error('a handler ran before the request context was made')
  return context
}

/** The id that the answer, its problem document and the log carry. */
export const requestIdOf = (response: ServerResponse): string => contextOf(response).requestId

export const knownCaller = (response: ServerResponse): Caller | undefined => contextOf(response).caller

export function setCaller(response: ServerResponse, caller: Caller): void {
  contextOf(response).caller = caller
}

/** The pattern of the route that took the request, such as `/v1/organizations/:org`; never its address. */
function routePattern(request: Request): string {
  const route: unknown = request.route
  const path = typeof route === 'object' && route !== null && 'path' in route ? route.path : undefined
  return typeof path === 'string' ? path : 'unmatched'
}

/** The first middleware: `beginRequest` for what Express routes. */
export function requestContext(logger: Logger, metrics: HttpMetrics): RequestHandler {
  return (request, response, next) => {
    beginRequest(request, response, () => routePattern(request), logger, metrics)
    next()
  }
}

/**
 * Takes a sane `X-Request-Id`, else makes one, and echoes it; counts the request and, at level `info`, logs it when it
 * is over.
 * @param routeOf the pattern of the route that took it, asked at the end
 */
export function beginRequest(
  request: IncomingMessage,
  response: ServerResponse,
  routeOf: () => string,
  logger: Logger,
  metrics: HttpMetrics,
): void {
  const startedAt = performance.now()
  const given = request.headers['x-request-id']
  const requestId = typeof given === 'string' && requestIdPattern.test(given) ? given : randomUUID()
  contexts.set(response, { requestId })
  response.setHeader('x-request-id', requestId)
  response.setHeader('x-content-type-options', 'nosniff')
  response.once('close', () => {
    const durationMs = performance.now() - startedAt
    const route = routeOf()
    const method = request.method ?? ''
    metrics.requestDone({ route, method, status: response.statusCode, durationMs })
    if (!logger.isEnabled('info')) return
    const caller = contexts.get(response)?.caller
    logger.info('request.done', {
      requestId,
      method,
      route,
      status: response.statusCode,
      durationMs: Math.round(durationMs * 100) / 100,
      keyId: caller?.keyId,
      state: response.writableFinished ? undefined : 'aborted',
    })
  })
}
