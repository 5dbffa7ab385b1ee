/**
 * Figures for Prometheus. Labels are route patterns, methods, status codes and words of the source; never an
 * organization, a key or anything a client sent, so that no label grows without bound or names anybody.
 */
import { collectDefaultMetrics, Counter, Histogram, Registry } from 'prom-client'

export interface HttpMetrics {
  requestDone(request: {
    readonly route: string
    readonly method: string
    readonly status: number
    readonly durationMs: number
  }): void
}

export interface Metrics {
  /** Where each domain registers its own figures, named `annals_<domain>_<what>_<unit>`. */
  readonly registry: Registry
  readonly http: HttpMetrics
  /** The text of `/metrics`. */
  render(): Promise<{ readonly contentType: string; readonly body: string }>
}

const knownMethods: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'OPTIONS',
  'PATCH',
])

/** @param processFigures also report the process's CPU, memory and event loop; off where several live in one process */
export function createMetrics({
  processFigures = true,
}: { readonly processFigures?: boolean } = {}): Metrics {
  const registry = new Registry()
  if (processFigures) collectDefaultMetrics({ register: registry })
  return {
    registry,
    http: createHttpMetrics(registry),
    render: async () => ({ contentType: registry.contentType, body: await registry.metrics() }),
  }
}

function createHttpMetrics(registry: Registry): HttpMetrics {
  const requests = new Counter({
    name: 'annals_http_requests_total',
    help: 'Requests answered, by route pattern, method and status.',
    labelNames: ['route', 'method', 'status'],
    registers: [registry],
  })
  const durations = new Histogram({
    name: 'annals_http_request_duration_seconds',
    help: 'Time from the request line to the end of the answer, by route pattern.',
    labelNames: ['route'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
    registers: [registry],
  })
  return {
    requestDone({ route, method, status, durationMs }) {
      requests.inc({ route, method: knownMethods.has(method) ? method : 'other', status })
      durations.observe({ route }, durationMs / 1_000)
    },
  }
}
