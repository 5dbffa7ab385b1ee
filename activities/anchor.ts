/**
 * The activities of every minute: copying checkpoints, the anchor log, its witnesses. Each may run any number of times
 * and twice at once. A failure leaves as a code, since a database's error quotes values.
 */
import { ApplicationFailure, Context } from '@temporalio/activity'
import type { Logger } from '../src/logging.js'
import type { Anchoring } from '../src/transparency-log/anchor/anchoring.js'
import { RolledBackError } from '../src/transparency-log/checkpoint-copies/guard.js'
import type { AnchorTurn, CopyTurn, WitnessTurn } from '../src/transparency-log/contract.js'

export interface AnchorActivities {
  /** Copies the checkpoints that are newer than their copies, and says which logs are behind them. */
  copyCheckpoints(): Promise<CopyTurn>
  /** Makes an entry of the anchor log where one is due. */
  appendAnchor(): Promise<Omit<AnchorTurn, 'witnesses'>>
  /** Shows the anchor log's checkpoint to the witnesses that have not cosigned it. */
  showAnchor(): Promise<readonly WitnessTurn[]>
}

export interface AnchorActivityDependencies {
  readonly anchoring: Pick<Anchoring, 'store' | 'anchorOnce' | 'witnessOnce' | 'copyOnce'>
  readonly logger: Logger
  /** The worker is stopping. */
  readonly stopping: AbortSignal
}

const maxListed = 20
const beatEveryMs = 1_000

export function createAnchorActivities({
  anchoring,
  logger,
  stopping,
}: AnchorActivityDependencies): AnchorActivities {
  /** Beats while it works, and lets nothing out but a code. */
  async function duty<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const context = Context.current()
    const beat = setInterval(() => context.heartbeat(), beatEveryMs)
    try {
      return await work(AbortSignal.any([stopping, context.cancellationSignal]))
    } catch (error) {
      if (context.cancellationSignal.aborted) throw error
      logger.warn('anchor.interrupted', { error })
      throw ApplicationFailure.create({ message: 'unavailable', type: 'unavailable' })
    } finally {
      clearInterval(beat)
    }
  }

  return {
    copyCheckpoints: () =>
      duty(async () => {
        const { written, failed, refused } = await anchoring.copyOnce()
        const names = refused.map((name) => name.replace(/^org\//, ''))
        return { written, failed, refused: names.slice(0, maxListed), refusedCount: names.length }
      }),
    appendAnchor: () =>
      duty(async () => {
        const outcome = await anchoring.anchorOnce().catch((error: unknown) => {
          // The workflow goes on and says so: nothing but `annals log restart --anchor` helps.
          if (error instanceof RolledBackError) return 'refused'
          throw error
        })
        return { outcome, size: (await anchoring.store.head())?.size ?? 0 }
      }),
    showAnchor: () =>
      duty(async (signal) => {
        const reports = await anchoring.witnessOnce(signal)
        return reports.map(({ witness, state, cosigned }) => ({
          witness,
          state: state ?? 'not_asked',
          cosigned,
        }))
      }),
  }
}
