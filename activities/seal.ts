/**
 * The one activity of sealing: seals a partition for a while, and returns so that the workflow's history shows where
 * it stands. It may run anywhere, any number of times, and twice at once; the sealer sees to it that each event is
 * sealed once. A failure leaves as a code, since a database's error quotes values.
 */
import { ApplicationFailure, Context } from '@temporalio/activity'
import { sealPartitions, type SealTurn } from '../src/transparency-log/contract.js'
import { runSealingLoop, type SealingLoopDependencies } from '../src/transparency-log/sealing-loop.js'

export interface SealActivities {
  /** Seals what is pending in a partition, and what comes, until the turn is over or the worker stops. */
  sealPartition(partition: number): Promise<SealTurn>
}

export interface SealActivityDependencies extends SealingLoopDependencies {
  /** The worker is stopping: end the turn, so that another worker takes it on at once. */
  readonly stopping: AbortSignal
  /** Counts for the figures of this process. */
  readonly onSealed?: (events: number) => void
  /** For tests. */
  readonly turnMs?: number
}

/** Long enough for few events of history, short enough that an operator sees it move. */
const defaultTurnMs = 5 * 60_000
const beatEveryMs = 1_000

export function createSealActivities(dependencies: SealActivityDependencies): SealActivities {
  const { stopping, onSealed = () => undefined, turnMs = defaultTurnMs } = dependencies
  return {
    async sealPartition(partition) {
      const context = Context.current()
      let sealed = 0
      // By a timer of its own: a long wait for the database must not look like a dead worker.
      const beat = setInterval(() => context.heartbeat(sealed), beatEveryMs)
      const signal = AbortSignal.any([stopping, context.cancellationSignal, AbortSignal.timeout(turnMs)])
      try {
        const result = await runSealingLoop(dependencies, {
          partition,
          partitions: sealPartitions,
          signal,
          beat(total) {
            onSealed(total - sealed)
            sealed = total
          },
        })
        // A cancelled activity must end as cancelled.
        context.cancellationSignal.throwIfAborted()
        return { sealed: result.sealed, alarms: result.setAside }
      } catch (error) {
        if (context.cancellationSignal.aborted) throw error
        dependencies.logger.warn('seal.interrupted', { error })
        throw ApplicationFailure.create({ message: 'unavailable', type: 'unavailable' })
      } finally {
        clearInterval(beat)
      }
    },
  }
}
