/** The worker's own small HTTP server: is it alive, does it work, and its figures. */
import { createServer, type ServerResponse } from 'node:http'
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client'

export interface WorkerHttpOptions {
  readonly host: string
  /** 0 = any free port. */
  readonly port: number
  /** With it, `/metrics` wants `Authorization: Bearer <token>`. */
  readonly metricsToken: string | undefined
  /** The state of each queue's worker, as the SDK names it. */
  readonly states: () => ReadonlyMap<string, string>
  /** Where the Temporal core answers with its metrics. */
  readonly coreMetricsUrl: string
  readonly registerMetrics?: ((registry: Registry) => void) | undefined
}

export interface WorkerHttp {
  readonly port: number
  close(): Promise<void>
}

const coreTimeoutMs = 2_000

export async function serveWorkerHttp(options: WorkerHttpOptions): Promise<WorkerHttp> {
  const registry = createRegistry(options.states)
  options.registerMetrics?.(registry)
  const server = createServer((request, response) => {
    const path = request.url?.split('?')[0]
    if (request.method !== 'GET') answer(response, 405, 'text/plain', 'only GET\n')
    else if (path === '/healthz') answerJson(response, 200, { status: 'ok' })
    else if (path === '/readyz') answerReadiness(response, options.states())
    else if (path !== '/metrics') answer(response, 404, 'text/plain', 'not found\n')
    else if (!mayScrape(request.headers.authorization, options.metricsToken)) {
      answer(response, 401, 'text/plain', 'a token is needed\n')
    } else {
      void metricsText(registry, options.coreMetricsUrl).then((text) =>
        answer(response, 200, registry.contentType, text),
      )
    }
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port, options.host, resolve)
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a TCP address')
  return {
    port: address.port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function createRegistry(states: WorkerHttpOptions['states']): Registry {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  new Gauge({
    name: 'annals_worker_running',
    help: 'Whether the worker of a task queue takes tasks.',
    labelNames: ['task_queue'],
    registers: [registry],
    collect() {
      for (const [queue, state] of states()) this.set({ task_queue: queue }, state === 'RUNNING' ? 1 : 0)
    },
  })
  return registry
}

/** Our own figures and the core's; without the latter where it does not answer. */
async function metricsText(registry: Registry, coreMetricsUrl: string): Promise<string> {
  const own = await registry.metrics()
  try {
    const core = await fetch(coreMetricsUrl, { signal: AbortSignal.timeout(coreTimeoutMs) })
    return core.ok ? `${own}\n${await core.text()}` : own
  } catch {
    return own
  }
}

function answerReadiness(response: ServerResponse, states: ReadonlyMap<string, string>): void {
  const ready = states.size > 0 && [...states.values()].every((state) => state === 'RUNNING')
  answerJson(response, ready ? 200 : 503, { ready, queues: Object.fromEntries(states) })
}

function mayScrape(authorization: string | undefined, token: string | undefined): boolean {
  return token === undefined || authorization === `Bearer ${token}`
}

function answerJson(response: ServerResponse, status: number, body: object): void {
  answer(response, status, 'application/json', JSON.stringify(body))
}

function answer(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body)
}
