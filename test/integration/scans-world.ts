/** A world with scans: the API, a scan service whose waiting times a test may shorten, and workers. */
import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import { createLogger } from '../../src/logging.js'
import { scanWorkflowId } from '../../src/scans/contract.js'
import { type ScanRecorder } from '../../src/scans/recorder.js'
import { createScanService, type ScanService, type StartScan } from '../../src/scans/service.js'
import { type ScanStore } from '../../src/scans/store.js'
import { connectTemporal, temporalOptions, type TemporalConnection } from '../../src/temporal/client.js'
import { buildWorkflowBundle } from '../../workers/bundle.js'
import { startWorkers, type RunningWorkers } from '../../workers/main.js'
import { openWorld, type World } from '../support/world.js'

const eventSchema = z.object({
  id: z.string(),
  action: z.string(),
  category: z.string(),
  outcome: z.string(),
  occurredAt: z.string(),
  actor: z.record(z.string(), z.unknown()),
  targets: z.array(z.record(z.string(), z.unknown())),
  metadata: z.record(z.string(), z.unknown()),
})
export type ScanEvent = z.infer<typeof eventSchema>

export const organizationId = 'org_scans'
export const principal = 'prn_01jd2zq8w9e5cs0v1m6k3n7p4r'

export interface ScanWorld extends World {
  readonly temporal: TemporalConnection
  readonly store: ScanStore
  readonly recorder: ScanRecorder
  readonly scans: ScanService
  /** What the workers and the services of this world logged. */
  workerLogs(): string
  /** Starts workers in this process; `stop` ends them gracefully. */
  work(): Promise<RunningWorkers>
  /** A service of its own, with other waiting times. */
  serviceWith(times: { graceMs?: number; lateWindowMs?: number }): ScanService
  /** The events about one scan, in the order in which they happened. */
  events(scanId: string): Promise<ScanEvent[]>
  /** The actions of these events, without `annals.scan.`. */
  actions(scanId: string): Promise<string[]>
  workflow(scanId: string): ReturnType<TemporalConnection['client']['workflow']['getHandle']>
}

export const request = { organizationId, principal }
export const body = (changes: Partial<StartScan> = {}): StartScan => ({
  engine: 'test-engine',
  expectedWithinMs: 3_600_000,
  progressTimeoutMs: null,
  metadata: {},
  ...changes,
})

/** One for a test file: a namespace of its own, since the task queue's name is published and cannot be another. */
export async function openScanWorld(environment: Record<string, string> = {}): Promise<ScanWorld> {
  await buildWorkflowBundle()
  const namespace = `scans-${randomBytes(6).toString('hex')}`
  const world = await openWorld({
    temporal: true,
    environment: { ANNALS_TEMPORAL_NAMESPACE: namespace, ...environment },
  })
  const provisioned = await world.request('PUT', `/v1/organizations/${organizationId}`, { body: {} })
  if (provisioned.status >= 300) throw new Error(`no organization was made: ${provisioned.text}`)

  const { core } = world.api
  const lines: string[] = []
  const logger = createLogger('debug', { write: (line) => void lines.push(line) })
  const temporal = await connectTemporal(temporalOptions(world.config))
  const { store, recorder } = core.scans
  const keyset = async (id: string) => (await core.eventOrganizations.require(id)).keyset
  const serviceWith = (times: { graceMs?: number; lateWindowMs?: number }): ScanService =>
    createScanService({
      store,
      recorder,
      temporal,
      logger,
      deriveId: () => Promise.reject(new Error('tests of idempotency go over HTTP')),
      fingerprint: async (id, value) => (await keyset(id)).fingerprint(value),
      ...times,
    })
  const workers: RunningWorkers[] = []

  async function events(scanId: string): Promise<ScanEvent[]> {
    const query = `targetType=scan&targetId=${scanId}&limit=100`
    const answer = await world.request('GET', `/v1/organizations/${organizationId}/events?${query}`)
    const { data } = z.object({ data: z.array(eventSchema) }).parse(answer.body)
    return data.reverse()
  }

  const scanWorld: ScanWorld = {
    ...world,
    temporal,
    store,
    recorder,
    scans: serviceWith({}),
    workerLogs: () => lines.join(''),
    async work() {
      const running = await startWorkers({
        config: world.config,
        logger,
        deps: { scanRecorder: recorder, sealing: { ...core.sealing, logger } },
        queues: ['scans'],
      })
      workers.push(running)
      return running
    },
    serviceWith,
    events,
    actions: async (scanId) => (await events(scanId)).map(({ action }) => action.replace('annals.scan.', '')),
    workflow: (scanId) => temporal.client.workflow.getHandle(scanWorkflowId(organizationId, scanId)),
    async close() {
      await Promise.all(workers.map((running) => running.stop()))
      await temporal.close()
      await world.close()
    },
  }
  return scanWorld
}

/** Asks again until it holds. */
export async function eventually<T>(look: () => Promise<T>, holds: (seen: T) => boolean): Promise<T> {
  const deadline = Date.now() + 60_000
  for (;;) {
    const seen = await look()
    if (holds(seen)) return seen
    if (Date.now() > deadline) throw new Error(`it did not come true: ${JSON.stringify(seen)}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}
