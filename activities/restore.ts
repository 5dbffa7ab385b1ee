/** The activities of a restore's workflow. Each may run any number of times; what failed leaves as a code alone. */
import { AnnalsError } from '../src/errors.js'
import type { RestoreFailure, RestoreReference } from '../src/archive/restores/contract.js'
import type { Restorer } from '../src/archive/restores/restorer.js'
import type { Logger } from '../src/logging.js'
import { isMongoUnavailable } from '../src/mongo/unavailable.js'
import { createReporting } from './reporting.js'

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

export function createRestoreActivities(deps: RestoreActivityDependencies): RestoreActivities {
  const { restorer, logger, stopping } = deps

  const reporting = createReporting({
    stopping,
    codeOf,
    onFailure(code, error) {
      logger.warn('restores.interrupted', { code, error })
    },
  })

  return {
    awaitRestore: (restore) =>
      reporting(async () => {
        if (!(await restorer.known(restore))) throw new AnnalsError('unavailable', 'It is not written yet.')
      }),
    copyRestore: (restore) =>
      reporting(async ({ onProgress, signal }) => {
        const done = await restorer.copy(restore, { beat: onProgress, signal })
        if (!done) throw new AnnalsError('unavailable', 'The worker is stopping.')
      }),
    activateRestore: (restore) => reporting(async () => (await restorer.activate(restore)).getTime()),
    expireRestore: (restore) => reporting(() => restorer.expire(restore)),
    failRestore: (restore, failure) => reporting(() => restorer.fail(restore, failure)),
  }
}

function codeOf(error: unknown): string {
  if (error instanceof AnnalsError) return error.code
  return isMongoUnavailable(error) ? 'unavailable' : 'internal'
}
