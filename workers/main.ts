/** Runs the workers: one for each task queue asked for, all in this process, stopped together. */
import { hostname } from 'node:os'
import { NativeConnection, Worker, type WorkerOptions } from '@temporalio/worker'
import type { Registry } from 'prom-client'
import type { Config, QueueName } from '../src/config.js'
import type { Logger } from '../src/logging.js'
import { connectTemporal, temporalOptions, type TemporalConnection } from '../src/temporal/client.js'
import { workflowBuildId } from './bundle.js'
import { serveWorkerHttp, type WorkerHttp } from './http.js'
import { bundlePaths } from './paths.js'
import { installRuntime } from './runtime.js'
import { taskQueues, type TaskQueue, type WorkerDependencies } from './task-queues.js'
import { deploymentVersion, makeVersionCurrent } from './versioning.js'

export interface WorkersOptions {
  readonly config: Pick<Config, 'temporal' | 'keys' | 'http' | 'workerHttpPort' | 'metricsToken' | 'region'>
  readonly logger: Logger
  readonly deps: WorkerDependencies
  /** Queues without workflows so far are passed over. */
  readonly queues: readonly QueueName[]
  /**
   * Which version gets new tasks: `always` makes this one current, `if_none` only where none is, `unversioned`
   * takes no part (for the time-skipping test server, which knows no versions).
   */
  readonly versioning?: 'always' | 'if_none' | 'unversioned'
  /** Adds the figures of the domains to the worker's own. */
  readonly registerMetrics?: (registry: Registry) => void
}

export interface RunningWorkers {
  /** Of the health and metrics server. */
  readonly httpPort: number
  /** Resolves when all workers have stopped; rejects where one failed. */
  readonly done: Promise<void>
  /** Takes no more tasks, gives running ones `shutdownGraceTime`, then stops. Safe to repeat. */
  stop(): Promise<void>
}

const shutdownGraceTime = '10s'
const shutdownForceTime = '20s'

/**
 * Starts the workers and returns once they poll and their version takes tasks.
 * @throws Error where Temporal cannot be reached or no bundle was built
 */
export async function startWorkers(options: WorkersOptions): Promise<RunningWorkers> {
  const { config, logger } = options
  const { metricsUrl } = await installRuntime(logger)
  const temporal = await connectTemporal(temporalOptions(config))
  const connection = await NativeConnection.connect({ address: temporalOptions(config).address })
  const closeConnections = async (): Promise<void> => {
    await connection.close()
    await temporal.close()
  }
  const workers: Worker[] = []
  const stopping = new AbortController()
  let http: WorkerHttp | undefined
  try {
    const buildId = await workflowBuildId()
    // Before the workers: one that was made and never ran cannot be taken back when the port is busy.
    http = await serveWorkerHttp({
      host: config.http.host,
      port: config.workerHttpPort,
      metricsToken: config.metricsToken,
      states: () => new Map(workers.map((worker) => [worker.options.taskQueue, worker.getState()])),
      coreMetricsUrl: metricsUrl,
      registerMetrics: options.registerMetrics,
    })
    workers.push(...(await createWorkers(options, temporal, connection, buildId, stopping.signal)))
    return await run(options, workers, http, temporal, buildId, stopping, closeConnections)
  } catch (error) {
    await http?.close()
    // What failed first is what the operator must read.
    await closeConnections().catch(() => undefined)
    throw error
  }
}

async function createWorkers(
  options: WorkersOptions,
  temporal: TemporalConnection,
  connection: NativeConnection,
  buildId: string,
  stopping: AbortSignal,
): Promise<Worker[]> {
  const queues = queuesOf(options)
  if (queues.length === 0) throw new Error('none of the queues asked for has workflows')
  const common: Omit<WorkerOptions, 'taskQueue'> = {
    connection,
    namespace: temporal.namespace,
    dataConverter: temporal.dataConverter,
    workflowBundle: { codePath: bundlePaths.bundle },
    identity: `annals@${hostname()}:${process.pid}`,
    shutdownGraceTime,
    shutdownForceTime,
    ...(options.versioning === 'unversioned'
      ? {}
      : {
          workerDeploymentOptions: {
            version: deploymentVersion(buildId),
            useWorkerVersioning: true,
            // Scans last for days: they go on under the next build, with patches where the code differs.
            defaultVersioningBehavior: 'AUTO_UPGRADE',
          },
        }),
  }
  const create = (queue: TaskQueue): Promise<Worker> =>
    Worker.create({
      ...common,
      taskQueue: queue.taskQueue,
      ...(queue.activitiesAtOnce === undefined
        ? {}
        : { maxConcurrentActivityTaskExecutions: queue.activitiesAtOnce }),
      activities: queue.activities(options.deps, stopping),
    })
  return Promise.all(queues.map(create))
}

function queuesOf({ queues }: WorkersOptions): TaskQueue[] {
  return queues.flatMap((name) => taskQueues[name] ?? [])
}

async function run(
  options: WorkersOptions,
  workers: readonly Worker[],
  http: WorkerHttp,
  temporal: TemporalConnection,
  buildId: string,
  stopping: AbortController,
  closeConnections: () => Promise<void>,
): Promise<RunningWorkers> {
  const { logger, versioning = 'if_none' } = options
  const requestStop = (): void => {
    stopping.abort()
    for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown()
  }
  // One that fails stops the others: a process that serves half its queues looks healthy and is not.
  const runs = workers.map((worker) => worker.run().finally(requestStop))
  const done = Promise.allSettled(runs).then(async (results) => {
    await http.close()
    await closeConnections()
    const failed = results.find((result) => result.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  })
  const stop = async (): Promise<void> => {
    requestStop()
    await done
  }
  // Whoever waits for `done` or `stop` gets a failure; without this, one before that would end the process.
  done.catch(() => undefined)
  logger.info('workers.started', { count: workers.length, port: http.port })
  try {
    for (const queue of queuesOf(options)) await queue.startDuties?.(temporal, options.config)
    if (versioning !== 'unversioned') {
      const current = await makeVersionCurrent({
        connection: temporal.connection,
        namespace: temporal.namespace,
        version: deploymentVersion(buildId),
        when: versioning,
        signal: stopping.signal,
      })
      logger.info('workers.version', { ready: current })
    }
  } catch (error) {
    await stop()
    throw error
  }
  return { httpPort: http.port, done, stop }
}
