/**
 * The move to the archive. Sample events of one organization: exported, read back and verified, deleted, as events a
 * second, as the memory of the process that does it (for a small segment and for a large one), and as bytes in the
 * archive beside the same events' BSON. Then a sweep by real workflows over organizations of which few have something due.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { openCore, type Core } from '../src/composition.js'
import { loadConfig } from '../src/config.js'
import { prepareTemporal } from '../src/embedded/servers.js'
import { createLogger } from '../src/logging.js'
import { collectionNames } from '../src/mongo/collections.js'
import { setup } from '../src/operations/setup.js'
import { retentionTaskQueue, sweepWorkflowType } from '../src/retention/contract.js'
import { connectTemporal, temporalOptions } from '../src/temporal/client.js'
import { startWorkers } from '../workers/main.js'
import type { ArchivingFigures } from './archiving.js'
import { sampleEvents } from './data.js'
import type { BenchWorld } from './harness.js'
import { sealAll, takeIn } from './sealing.js'

const mebibyte = 1_048_576
const organizations = 2_000
const due = 50
/** More than a crumb, which would wait for a day. */
const eventsOfDue = 300
const giveUpMs = 300_000
const author = { principal: 'prn_aaaaaaaaaaaaaaaaaaaaaaaaaa', requestId: 'req_bench' }

export async function benchRetention(world: BenchWorld, { events }: { events: number }): Promise<void> {
  const { config, say } = world
  const core = await openCore(config, createLogger('silent'))
  try {
    await sealAll(core)
    say(`\nRetention, segments of ${String(Math.round(events / 4))} and ${String(events)} sample events:`)
    for (const count of [Math.round(events / 4), events]) await archiveOne(world, core, count)
    await sweepMany(world, core)
  } finally {
    await core.close()
  }
}

async function archiveOne(world: BenchWorld, core: Core, events: number): Promise<void> {
  const organizationId = `org_bench_${String(events)}`
  await takeIn(
    core,
    sampleEvents().map((sample) => ({ ...sample, organizationId })),
    events,
  )
  await sealAll(core)
  const head = await core.sealing.store.head(organizationId)
  if (head === undefined) throw new Error('nothing was sealed')
  const child = fork(fileURLToPath(new URL('./archiving.js', import.meta.url)), [], {
    env: world.environment,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  child.send({ organizationId, generation: head.generation, from: 0, to: head.size })
  const [figures] = (await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(() => Promise.reject(new Error('the archiving process ended'))),
  ])) as [ArchivingFigures]
  const { seconds, cpuSeconds, peakBytes, idleBytes, deleted, hotBytes, archivedBytes } = figures
  const all = seconds.write + seconds.verify + seconds.remove
  const share = (step: number) => `${((100 * step) / all).toFixed(0)} %`
  world.say(
    `${'export, verify, delete'.padEnd(34)}${(deleted / all).toFixed(0).padStart(9)}/s   (at least 5,000; export ${share(seconds.write)}, verify ${share(seconds.verify)}, delete ${share(seconds.remove)})`,
  )
  world.say(`  ${((1e6 * cpuSeconds) / deleted).toFixed(0)} µs of CPU an event, the database's apart`)
  world.say(
    `  memory ${(peakBytes / mebibyte).toFixed(0)} MiB at most, ${(idleBytes / mebibyte).toFixed(0)} before   (under 300)`,
  )
  world.say(
    `  ratio of archived bytes to BSON ${(archivedBytes / hotBytes).toFixed(2)}   (at most 0.50), of ${(hotBytes / deleted).toFixed(0)} bytes an event`,
  )
}

/** From the start of a sweep to the moment when the last organization that has something due is being archived. */
async function sweepMany(world: BenchWorld, core: Core): Promise<void> {
  const samples = sampleEvents()
  const named = (index: number) => `org_sweep_${String(index).padStart(4, '0')}`
  const dueNames = Array.from({ length: due }, (_, index) => named(index * (organizations / due)))
  const one = Array.from({ length: organizations }, (_, index) => ({
    ...samples[index % samples.length],
    organizationId: named(index),
  }))
  await takeIn(core, one, one.length)
  const several = Array.from({ length: due * eventsOfDue }, (_, index) => ({
    ...samples[index % samples.length],
    organizationId: dueNames[index % due],
  }))
  await takeIn(core, several, several.length)
  for (const name of dueNames)
    await core.retention.policies.put(name, { hotDays: 0, archiveDays: null, recordDays: null }, author)
  await sealAll(core)
  const outer = loadConfig()
  const start = await prepareTemporal({
    binary: outer.binaries.temporal,
    dataDirectory: world.config.dataDirectory,
    cacheDirectory: outer.cacheDirectory,
    preferredPort: 0,
    namespace: 'annals',
    progress: () => undefined,
  })
  const server = await start()
  try {
    const config = loadConfig({
      ...world.environment,
      ANNALS_TEMPORAL_ADDRESS: server.address,
      ANNALS_TEMPORAL_NAMESPACE: 'annals',
    })
    const logger = createLogger('silent')
    await setup(config, logger)
    const temporal = await connectTemporal(temporalOptions(config))
    const workers = await startWorkers({
      config,
      logger,
      deps: {
        scanRecorder: core.scans.recorder,
        sealing: { ...core.sealing, logger },
        retention: {
          restoring: { restorer: core.restores.restorer, logger },
          archiving: { ...core.archiving, runs: core.retention.runs, logger },
          expiring: { ...core.expiring, runs: core.retention.runs, logger },
        },
      },
      queues: ['retention'],
    })
    try {
      const runs = core.db.collection(collectionNames.retentionRuns)
      const count = (state: object) => runs.countDocuments({ organizationId: { $in: dueNames }, ...state })
      const startedAt = performance.now()
      await temporal.client.workflow.start(sweepWorkflowType, {
        workflowId: 'retention/bench',
        taskQueue: retentionTaskQueue,
        args: [{}],
      })
      const until = async (reached: () => Promise<boolean>) => {
        while (!(await reached()) && performance.now() - startedAt < giveUpMs) await sleep(50)
        return (performance.now() - startedAt) / 1_000
      }
      const started = await until(async () => (await count({})) >= due)
      const done = await until(async () => (await count({ state: 'done' })) >= due)
      world.say(
        `  a sweep over ${String(organizations)} organizations: all ${String(due)} that are due started in ${started.toFixed(1)} s   (at most 30), done in ${done.toFixed(1)} s`,
      )
    } finally {
      await workers.stop()
      await temporal.close()
    }
  } finally {
    await server.stop()
  }
}
