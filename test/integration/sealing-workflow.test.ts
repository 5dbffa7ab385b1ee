import { once } from 'node:events'
import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { resolve } from 'node:path'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { childEnvironment } from '../../src/config.js'
import { createLogger } from '../../src/logging.js'
import { connectTemporal, temporalOptions, type TemporalConnection } from '../../src/temporal/client.js'
import { sealPartitions, sealWorkflowId } from '../../src/transparency-log/contract.js'
import { registerPendingMetrics, registerSealingMetrics } from '../../src/transparency-log/log-metrics.js'
import { partitionOf, runSealingLoop } from '../../src/transparency-log/sealing-loop.js'
import { buildWorkflowBundle } from '../../workers/bundle.js'
import { startWorkers, type RunningWorkers } from '../../workers/main.js'
import { createLogOracle, type Acknowledged } from '../support/log-oracle.js'
import { accept, personEvent } from '../support/sealing.js'
import { openWorld, worldEnvironment, type World } from '../support/world.js'

let world: World
let temporal: TemporalConnection
const running: RunningWorkers[] = []

beforeAll(async () => {
  await buildWorkflowBundle()
  const namespace = `seal-${randomBytes(6).toString('hex')}`
  world = await openWorld({ temporal: true, environment: { ANNALS_TEMPORAL_NAMESPACE: namespace } })
  temporal = await connectTemporal(temporalOptions(world.config))
})
afterAll(async () => {
  await Promise.all(running.map((workers) => workers.stop()))
  for (let partition = 0; partition < sealPartitions; partition += 1) {
    await temporal.client.workflow
      .getHandle(sealWorkflowId('local', partition))
      .terminate()
      .catch(() => undefined)
  }
  await temporal.close()
  await world.close()
})

async function work(turnMs?: number): Promise<RunningWorkers> {
  const { core } = world.api
  const logger = createLogger('silent')
  const workers = await startWorkers({
    config: world.config,
    logger,
    deps: {
      scanRecorder: core.scans.recorder,
      sealing: { ...core.sealing, logger, ...(turnMs === undefined ? {} : { turnMs }) },
    },
    queues: ['seal'],
    registerMetrics(registry) {
      registerPendingMetrics(registry, core.sealing.pending)
      registerSealingMetrics(registry, { alarms: core.sealing.alarms, sealed: () => 0 })
    },
  })
  running.push(workers)
  return workers
}

async function sealed(count: number): Promise<void> {
  const deadline = Date.now() + 60_000
  while ((await world.api.core.events.countDocuments({ pending: true })) > count) {
    if (Date.now() > deadline) throw new Error('events are pending and not sealed')
    await new Promise((done) => setTimeout(done, 50))
  }
}

test('one event each of 1,000 organizations is sealed, by loops over all partitions', async () => {
  const { core } = world.api
  const { eventOrganizations, intake } = core
  const oracle = createLogOracle(core)
  const acknowledged: Acknowledged[] = []
  const names = Array.from({ length: 1_000 }, (_, index) => `org_many_${String(index)}`)
  for (let from = 0; from < names.length; from += 50) {
    await Promise.all(
      names.slice(from, from + 50).map(async (name) => {
        const organization = await eventOrganizations.ensure(name, 'system')
        acknowledged.push(await intake.submit({ event: personEvent(name, 1) }, organization))
      }),
    )
  }
  const stop = new AbortController()
  const begun = performance.now()
  const loops = Array.from({ length: sealPartitions }, (_, partition) =>
    runSealingLoop(
      { ...core.sealing, logger: createLogger('silent') },
      { partition, partitions: sealPartitions, signal: stop.signal },
    ),
  )
  await sealed(0)
  process.stderr.write(
    `1,000 organizations sealed in ${((performance.now() - begun) / 1_000).toFixed(1)} s\n`,
  )
  stop.abort()
  const results = await Promise.all(loops)
  expect(results.every((result) => result.sealed > 0)).toBe(true)
  expect(await oracle.findings(acknowledged)).toEqual([])
})

test('organizations spread over the partitions, the same way in every process', () => {
  const counts = new Map<number, number>()
  for (let index = 0; index < 1_000; index += 1) {
    const partition = partitionOf(`org_${String(index)}`, sealPartitions)
    counts.set(partition, (counts.get(partition) ?? 0) + 1)
  }
  expect([...counts.keys()].sort()).toEqual([0, 1, 2, 3])
  expect(Math.min(...counts.values())).toBeGreaterThan(150)
  expect(partitionOf('org_acme', 4)).toBe(2)
})

test('a worker seals what comes, turn after turn, and shows its figures', async () => {
  const { core } = world.api
  const oracle = createLogOracle(core, ['org_flow'])
  const workers = await work(500)
  onTestFinished(() => workers.stop())
  const acknowledged = await accept(core, 'org_flow', 20)
  await sealed(0)
  acknowledged.push(...(await accept(core, 'org_flow', 5)))
  await sealed(0)
  expect(await oracle.findings(acknowledged)).toEqual([])

  const look = async () => (await fetch(`http://127.0.0.1:${String(workers.httpPort)}/metrics`)).text()
  // Each figure is asked for by itself, and one may be of a moment ago.
  await expect.poll(look).toMatch(/^annals_seal_lag_seconds 0$/m)
  const figures = await look()
  expect(figures).toMatch(/^annals_pending_events 0$/m)
  expect(figures).toMatch(/^annals_seal_alarms_total\{kind="invalid_mac"\} 0$/m)
  const handle = temporal.client.workflow.getHandle(
    sealWorkflowId('local', partitionOf('org_flow', sealPartitions)),
  )
  expect((await handle.describe()).status.name).toBe('RUNNING')
})

test('workers that are killed while they seal leave every event sealed once', async () => {
  const { core } = world.api
  const oracle = createLogOracle(core, ['org_killed'])
  const acknowledged: Acknowledged[] = []
  for (let round = 0; round < 3; round += 1) {
    const child = await spawnWorker()
    acknowledged.push(...(await accept(core, 'org_killed', 1_500)))
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
    expect((await oracle.findings([])).filter((finding) => !finding.includes('pending'))).toEqual([])
  }
  const child = await spawnWorker()
  await sealed(0)
  expect(await oracle.findings(acknowledged)).toEqual([])
  const gone: Promise<unknown[]> = once(child, 'exit')
  child.kill('SIGTERM')
  expect(await gone).toEqual([0, null])
})

/** `annals work` as an operator runs it, in a process of its own. */
async function spawnWorker(): Promise<ChildProcess> {
  const { dataDirectory, mongodb, temporal: server } = world.config
  const child = spawn(process.execPath, [resolve('dist/src/cli/main.js'), 'work', '--queues', 'seal'], {
    env: childEnvironment({
      ...worldEnvironment(dataDirectory, mongodb.database),
      ANNALS_TEMPORAL_NAMESPACE: server.namespace,
      ANNALS_LOG_LEVEL: 'warn',
    }),
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const messages: unknown[] = await once(child, 'message')
  expect(messages[0]).toMatchObject({ type: 'ready' })
  return child
}
