/**
 * Routes that are answered before Express sees them: those that a product calls for everything that happens in it.
 *
 * Express changes the prototype of each request and walks its routers, which costs a post more CPU than protecting
 * its event does (docs/decisions/intake-cost.md). Such a route passes the same stations as every other, by the same
 * functions, in the same order: request context, authentication, body, handler, problem document.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Authenticator, Caller } from '../access/contract.js'
import type { Logger } from '../logging.js'
import type { HttpMetrics } from '../metrics.js'
import { jsonReader } from './json-body.js'
import { answerFailure } from './problem.js'
import { beginRequest, setCaller } from './request-context.js'

/** A `POST` with a JSON body. */
export interface DirectRoute {
  /** As in the API document; a trailing slash or a query string changes nothing, as in Express. */
  readonly path: `/${string}`
  readonly maxBodyBytes: number
  /** Before the body is read: throws where its caller is refused whatever it says. */
  readonly admit: (caller: Caller) => void
  readonly handle: (request: DirectRequest, response: ServerResponse) => Promise<void>
}

export interface DirectRequest {
  readonly headers: IncomingMessage['headers']
  readonly caller: Caller
  /** The parsed JSON. */
  readonly body: unknown
}

export interface DirectRouteDependencies {
  readonly logger: Logger
  readonly metrics: HttpMetrics
  readonly authenticator: Authenticator
}

/** @param otherwise takes every other request */
export function withDirectRoutes(
  routes: readonly DirectRoute[],
  { logger, metrics, authenticator }: DirectRouteDependencies,
  otherwise: RequestListener,
): RequestListener {
  const direct = routes.map((route) => ({ ...route, read: jsonReader(route.maxBodyBytes) }))
  return (request, response) => {
    const route = direct.find(({ path }) => request.method === 'POST' && isAddressOf(request.url, path))
    if (route === undefined) {
      otherwise(request, response)
      return
    }
    const { path, read, admit, handle } = route
    beginRequest(request, response, () => path, logger, metrics)
    const fail = (error: unknown) => {
      // Part of the answer is out: closing the connection is the only honest end.
      if (!answerFailure(response, error, logger)) response.destroy()
    }
    authenticator
      .authenticate(request.headers.authorization)
      .then((caller) => {
        setCaller(response, caller)
        admit(caller)
        read(request, response, (error, body) => {
          if (error === undefined) handle({ headers: request.headers, caller, body }, response).catch(fail)
          else fail(error)
        })
      })
      .catch(fail)
  }
}

function isAddressOf(url: string | undefined, path: string): boolean {
  if (url === path) return true
  if (url?.startsWith(path) !== true) return false
  const rest = url.charAt(path.length) === '/' ? url.slice(path.length + 1) : url.slice(path.length)
  return rest === '' || rest.startsWith('?')
}
