/**
 * The app: what every request passes.
 *
 *     direct routes ─ Express: request context ─ /v1: authentication ─ domains ─ codec, health, documents ─ 404 or 405
 */
import type { RequestListener } from 'node:http'
import express, { Router, type ErrorRequestHandler, type RequestHandler } from 'express'
import type { Authenticator } from '../access/contract.js'
import { AnnalsError, notFound } from '../errors.js'
import type { Logger } from '../logging.js'
import type { Metrics } from '../metrics.js'
import { authentication } from './authentication.js'
import { withDirectRoutes, type DirectRoute } from './direct-routes.js'
import { renderDocs, renderErrors } from './docs-page.js'
import { healthRouter, type Health } from './health.js'
import { metricsRouter } from './metrics-route.js'
import { buildApiDocument, type ApiDocument, type ApiPaths } from './openapi.js'
import { answerFailure } from './problem.js'
import { requestContext } from './request-context.js'

export interface AppDependencies {
  readonly logger: Logger
  readonly metrics: Metrics
  readonly health: Health
  readonly authenticator: Authenticator
  /** What is answered without Express: intake. */
  readonly directRoutes: readonly DirectRoute[]
  /**
   * The routers of the domains. Each names its paths in full (`/v1/organizations/:org/events`), so that a route's
   * pattern in logs and figures is the one of the documents.
   */
  readonly routers: {
    readonly events?: Router
    readonly eventReads?: Router
    readonly eventStream?: Router
    readonly logReads?: Router
    readonly organizations?: Router
    readonly actionSchemas?: Router
    readonly keys?: Router
    readonly scans?: Router
    readonly retention?: Router
    readonly holds?: Router
    readonly archive?: Router
    readonly erasures?: Router
    readonly webhookSecrets?: Router
    readonly redactions?: Router
    readonly offboarding?: Router
    /** Public: it is mounted before authentication. */
    readonly anchor?: Router
    /** Public, too: keys that check certificates. */
    readonly certificates?: Router
    /** Public, too: keys that check archives. */
    readonly archiveKeys?: Router
    /** Guards itself, by `requirePermission` or by a secret path; it lives outside `/v1`. */
    readonly codec?: Router
  }
  /** What each domain exports for `/openapi.json`. */
  readonly paths: readonly ApiPaths[]
  readonly version: string
  readonly publicUrl?: string | undefined
  /** With it, `/metrics` asks for it as a bearer token. */
  readonly metricsToken?: string | undefined
}

export function createApp(dependencies: AppDependencies): RequestListener {
  const { logger, metrics, routers } = dependencies
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.set('query parser', 'simple')
  app.set('trust proxy', false)
  app.set('case sensitive routing', true)

  app.use(requestContext(logger, metrics.http))
  if (routers.anchor !== undefined) app.use(routers.anchor)
  if (routers.certificates !== undefined) app.use(routers.certificates)
  if (routers.archiveKeys !== undefined) app.use(routers.archiveKeys)
  app.use('/v1', authentication(dependencies.authenticator))
  for (const router of [
    routers.events,
    routers.eventReads,
    routers.eventStream,
    routers.logReads,
    routers.organizations,
    routers.actionSchemas,
    routers.keys,
    routers.scans,
    routers.retention,
    routers.holds,
    routers.archive,
    routers.erasures,
    routers.webhookSecrets,
    routers.redactions,
    routers.offboarding,
    routers.codec,
  ]) {
    if (router !== undefined) app.use(router)
  }
  app.use(healthRouter(dependencies.health))
  app.use(metricsRouter(metrics, dependencies.metricsToken))
  const document = buildApiDocument(dependencies.paths, dependencies)
  app.use(documentRouter(document))
  app.use(nothingHere(document))
  app.use(failed(logger))
  return withDirectRoutes(dependencies.directRoutes, { ...dependencies, metrics: metrics.http }, app)
}

const pagePolicy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"

function documentRouter(document: ApiDocument): Router {
  const json = JSON.stringify(document)
  const pages = { '/docs': renderDocs(document), '/docs/errors': renderErrors() }
  const router = Router()
  router.get('/openapi.json', (_request, response) => {
    response.type('application/json').send(json)
  })
  for (const [path, html] of Object.entries(pages)) {
    router.get(path, (_request, response) => {
      response.setHeader('content-security-policy', pagePolicy)
      response.type('text/html').send(html)
    })
  }
  return router
}

/** The end of the line: 405 where the API document has the address with other methods, else 404. */
function nothingHere(document: ApiDocument): RequestHandler {
  const known = Object.entries(document.paths ?? {}).map(([path, item]) => ({
    pattern: new RegExp(`^${path.replace(/[.]/g, '\\.').replace(/\{[^}]+\}/g, '[^/]+')}/?$`),
    methods: Object.keys(item)
      .map((method) => method.toUpperCase())
      .flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])),
  }))
  return (request, response, next) => {
    const methods = known.find(({ pattern }) => pattern.test(request.path))?.methods
    if (methods === undefined || methods.includes(request.method)) {
      next(notFound())
      return
    }
    response.setHeader('allow', methods.join(', '))
    next(new AnnalsError('method_not_allowed', `This address takes ${methods.join(', ')}.`))
  }
}

/** What Express caught. */
function failed(logger: Logger): ErrorRequestHandler {
  return (error: unknown, _request, response, next) => {
    // Part of the answer is out: closing the connection is the only honest end, and Express does that.
    if (!answerFailure(response, error, logger)) next(error)
  }
}
