/** The Temporal core runtime of this process: its logs by the allow-list, its metrics on a local port. */
import { createServer } from 'node:net'
import { Runtime } from '@temporalio/worker'
import { foreignLogger, type Logger } from '../src/logging.js'

export interface TemporalRuntime {
  /** Where the core answers with its Prometheus metrics; in this process alone. */
  readonly metricsUrl: string
}

/** The core's lines that say something an operator acts on, by names of ours; others keep their fields only. */
const messages: ReadonlyMap<string, `${string}.${string}`> = new Map([
  ['Worker state changed', 'worker.state_changed'],
  ['Workflow failed', 'workflow.failed'],
  ['Activity failed', 'activity.failed'],
  ['Workflow completed', 'workflow.completed'],
  ['Workflow started', 'workflow.started'],
  ['Workflow cancelled', 'workflow.cancelled'],
  ['Workflow continued as new', 'workflow.continued'],
  ['Activity started', 'activity.started'],
  ['Activity completed', 'activity.completed'],
  ['Failing workflow task', 'workflow.task_failed'],
  ['Failing workflow task: Unexpected WFT failure', 'workflow.task_failed'],
])

let installed: TemporalRuntime | undefined

/** Installs the runtime; the SDK allows one in a process, so a second call answers the first one's. */
export async function installRuntime(logger: Logger): Promise<TemporalRuntime> {
  if (installed !== undefined) return installed
  const port = await freePort()
  Runtime.install({
    logger: foreignLogger(logger, 'temporal', messages),
    // `work` stops the workers itself, in its own order.
    shutdownSignals: [],
    telemetryOptions: {
      logging: { filter: { core: 'WARN', other: 'ERROR' }, forward: {} },
      metrics: {
        metricPrefix: 'temporal_',
        prometheus: {
          bindAddress: `127.0.0.1:${port}`,
          countersTotalSuffix: true,
          unitSuffix: true,
          useSecondsForDurations: true,
        },
      },
    },
  })
  installed = { metricsUrl: `http://127.0.0.1:${port}/metrics` }
  return installed
}

/** The core takes a port, but does not say which one it got for 0. */
async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a TCP address')
  return address.port
}
