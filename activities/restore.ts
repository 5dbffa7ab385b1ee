/** The activities of a restore's workflow. Each may run any number of times; what failed leaves as a code alone. */
import { ApplicationFailure, Context } from '@temporalio/activity'
import { AnnalsError } from '../src/errors.js'
import type { RestoreFailure, RestoreReference } from '../src/archive/restores/contract.js'
import type { Restorer } from '../src/archive/restores/restorer.js'
import type { Logger } from '../src/logging.js'
import { isMongoUnavailable } from '../src/mongo/unavailable.js'

export interface RestoreActivities {
  /** Ends once the request is written. */
  awaitRestore(restore: RestoreReference): Promise<void>
  copyRestore(restore: RestoreReference): Promise<void>
  /** @returns when it goes again, in milliseconds */
  activateRestore(restore: RestoreReference): Promise<number>
  expireRestore(restore: RestoreReference): Promise<void>
  failRestore(restore: RestoreReference, failure: RestoreFailure): Promise<void>
}

export interface RestoreActivityDependencies {
  readonly restorer: Restorer
  readonly logger: Logger
  /** The worker is stopping: another one goes on from where this one is. */
  readonly stopping: AbortSignal
}

const beatEveryMs = 5_000

export function createRestoreActivities(deps: RestoreActivityDependencies): RestoreActivities {
  const { restorer, logger, stopping } = deps

  /** Runs an activity's body, and beats by a timer of its own: a long wait must not look like a dead worker. */
  async function reporting<T>(body: (beat: (progress?: number) => void) => Promise<T>): Promise<T> {
    const context = Context.current()
    let progress = 0
    const timer = setInterval(() => context.heartbeat(progress), beatEveryMs)
    try {
      return await body((now) => (progress = now ?? progress))
    } catch (error) {
      if (context.cancellationSignal.aborted) throw error
      const code = codeOf(error)
      logger.warn('restores.interrupted', { code, error })
      throw ApplicationFailure.create({ message: code, type: code })
    } finally {
      clearInterval(timer)
    }
  }

  return {
    awaitRestore: (restore) =>
      reporting(async () => {
        if (!(await restorer.known(restore))) throw new AnnalsError('unavailable', 'It is not written yet.')
      }),
    copyRestore: (restore) =>
      reporting(async (beat) => {
        const { cancellationSignal } = Context.current()
        const signal = AbortSignal.any([stopping, cancellationSignal])
        const done = await restorer.copy(restore, { beat, signal })
        cancellationSignal.throwIfAborted()
        if (!done) throw new AnnalsError('unavailable', 'The worker is stopping.')
      }),
    activateRestore: (restore) =>
      reporting(async (beat) => (await restorer.activate(restore, () => beat())).getTime()),
    expireRestore: (restore) => reporting((beat) => restorer.expire(restore, () => beat())),
    failRestore: (restore, failure) => reporting((beat) => restorer.fail(restore, failure, () => beat())),
  }
}

function codeOf(error: unknown): string {
  if (error instanceof AnnalsError) return error.code
  return isMongoUnavailable(error) ? 'unavailable' : 'internal'
}
