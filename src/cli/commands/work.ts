/** `annals work`: the Temporal workers, against servers given by address. */
import { InvalidArgumentError } from 'commander'
import type { Core } from '../../composition.js'
import { queueNames, type Config, type QueueName } from '../../config.js'
import type { BackupGuard } from '../../erasure/backup-guard.js'
import type { Logger } from '../../logging.js'
import { withExample, type RegisterCommand } from '../context.js'
import { listenForShutdown, tellParent } from '../shutdown.js'

export interface WorkOptions {
  /** Absent: those of the configuration. Queues that have no workflows yet are passed over. */
  readonly queues?: readonly QueueName[] | undefined
  /** Give this build the tasks from now on; without it, only where no build has them yet. */
  readonly makeCurrent?: boolean | undefined
}

/**
 * Works until it is told to stop, then lets running tasks end. Sends `{type: 'ready', url}` (of the health and
 * metrics server) to a parent that listens.
 * @throws Error where MongoDB or Temporal cannot be reached, or a worker fails
 */
export async function work(config: Config, logger: Logger, options: WorkOptions = {}): Promise<void> {
  const shutdown = listenForShutdown()
  try {
    // Loaded here alone: the native worker is large, and no other command needs it.
    const { startWorkers } = await import('../../../workers/main.js')
    const { openCore } = await import('../../composition.js')
    const { registerPendingMetrics, registerSealingMetrics } =
      await import('../../transparency-log/log-metrics.js')
    const { registerRetentionMetrics, registerRunMetrics } =
      await import('../../retention/retention-metrics.js')
    const { registerErasureMetrics } = await import('../../erasure/erasure-metrics.js')
    const { registerAnchorMetrics } = await import('../../transparency-log/anchor/anchor-metrics.js')
    const { registerRotationMetrics } = await import('../../key-rotation/rotation-metrics.js')
    const { createExecutions } = await import('../../offboarding/executions.js')
    const { createOffboarder } = await import('../../offboarding/offboarder.js')
    const { connectTemporal, temporalOptions } = await import('../../temporal/client.js')
    const { historyDays } = await import('../../temporal/retention.js')
    const { createWorkflowRuns } = await import('../../erasure/second-reader-workflows.js')
    const temporal = await connectTemporal(temporalOptions(config))
    const core = await openCore(config, logger)
    const backups = core.backups.guard
    await backups.look()
    const watching = backups.watch()
    try {
      if (!(await served(backups, shutdown.requested))) return
      if ((options.queues ?? config.queues).includes('seal')) await surveyLogs(core, logger)
      const { sealer, pending, alarms, anchoring, guard } = core.sealing
      let sealed = 0
      let rewrapped = 0
      const workers = await startWorkers({
        config,
        logger,
        deps: {
          scanRecorder: core.scans.recorder,
          retention: {
            restoring: { restorer: core.restores.restorer, logger },
            archiving: { ...core.archiving, runs: core.retention.runs, logger },
            expiring: { ...core.expiring, runs: core.retention.runs, logger },
          },
          rotating: { rotator: core.rotator, logger, onRewrapped: (keys) => (rewrapped += keys) },
          erasure: {
            recorder: core.erasures.recorder,
            steps: {
              erasing: core.erasing.steps,
              completing: core.erasing.completing,
              historyDays: () => historyDays(temporal),
              workflows: createWorkflowRuns(temporal),
              scoping: core.erasing.deps,
              notices: core.delivery.notices,
            },
          },
          releasing: {
            releasing: core.erasing.releasing,
            historyDays: () => historyDays(temporal),
            logger,
          },
          redacting: { redactor: core.redactions.redactor, logger },
          offboarding: {
            offboarder: createOffboarder({ ...core.offboarding, executions: createExecutions(temporal) }),
            logger,
          },
          sealing: { sealer, pending, alarms, anchoring, logger, onSealed: (events) => (sealed += events) },
        },
        registerMetrics(registry) {
          registerPendingMetrics(registry, pending)
          registerRotationMetrics(registry, { state: () => core.rotator.state(), rewrapped: () => rewrapped })
          registerSealingMetrics(registry, { alarms, sealed: () => sealed })
          registerAnchorMetrics(registry, { guard, store: anchoring.store })
          registerRetentionMetrics(registry, core.retention)
          registerErasureMetrics(registry, core.db)
          registerRunMetrics(registry, () => core.retention.runs.totals())
        },
        queues: options.queues ?? config.queues,
        versioning: options.makeCurrent === true ? 'always' : 'if_none',
      })
      logger.info('work.ready', { port: workers.httpPort })
      tellParent({ type: 'ready', url: `http://${config.http.host}:${String(workers.httpPort)}` })
      const reason = await Promise.race([shutdown.requested, workers.done, backups.until(true)])
      if (reason !== undefined) logger.info('work.draining', { state: reason })
      await workers.stop()
      const refusal = backups.refusal()
      // Whoever runs this starts it again, and it waits as it does at a start.
      if (reason === undefined && refusal !== undefined) throw refusal
    } finally {
      await watching.stop()
      await core.close()
      await temporal.close()
    }
    logger.info('work.stopped')
  } finally {
    shutdown.dispose()
    // An open channel to a parent would keep the process alive.
    if (process.connected) process.disconnect()
  }
}

/**
 * Waits until the database is no older than what was erased: nothing is sealed, archived or sent from one that is.
 * @returns false where it was told to stop first
 */
async function served(guard: BackupGuard, stop: Promise<unknown>): Promise<boolean> {
  if (guard.refusal() === undefined) return true
  // It does what it can: who started it must not take it for one that hangs.
  tellParent({ type: 'ready' })
  return Promise.race([guard.until(false).then(() => true), stop.then(() => false)])
}

/**
 * Compares every log with its copy, so that a database that was restored is heard of at once. Sealing does not rest on
 * it: each log is compared again before it is sealed.
 */
async function surveyLogs({ sealing: { guard } }: Core, logger: Logger): Promise<void> {
  try {
    const count = await guard.survey()
    logger.info('log.surveyed', { count, pending: guard.refused().size })
  } catch (error) {
    logger.error('log.survey_failed', { error })
  }
}

export const registerWork: RegisterCommand = (program, context) => {
  const command = program
    .command('work')
    .description('Run the workers, with MongoDB and Temporal at the addresses of the environment')
    .option(
      '--queues <names>',
      `some of ${queueNames.join(', ')}, separated by commas (default: all)`,
      queuesOf,
    )
    .option('--make-current', 'send new tasks to this build, also where another one is current')
    .action(async (options: WorkOptions) => {
      const config = context.loadConfig()
      await work(config, context.createLogger(config), options)
    })
  withExample(command, 'annals work --queues scans,erasure')
}

function queuesOf(text: string): QueueName[] {
  const asked = new Set(text.split(',').map((name) => name.trim()))
  const known = queueNames.filter((name) => asked.has(name))
  if (known.length !== asked.size)
    throw new InvalidArgumentError(`Expected some of ${queueNames.join(', ')}.`)
  return known
}
