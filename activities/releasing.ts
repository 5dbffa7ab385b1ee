/** The activities that erase what holds had kept. Each may run any number of times; failures leave as a code alone. */
import type { HistoryDays } from '../src/erasure/completing.js'
import type { ErasureReference, ReleaseKeptInput, ReleasingActivities } from '../src/erasure/contract.js'
import { ReleasedLeftError, type Releasing } from '../src/erasure/releasing.js'
import type { Logger } from '../src/logging.js'
import { failureOf } from './erasing.js'
import { createReporting } from './reporting.js'

export interface ReleasingActivityDependencies {
  readonly releasing: Releasing
  readonly historyDays: HistoryDays
  readonly logger: Logger
  /** The worker is stopping: another one goes on from where this one is. */
  readonly stopping: AbortSignal
}

export function createReleasingActivities(deps: ReleasingActivityDependencies): ReleasingActivities {
  const { releasing, historyDays, logger, stopping } = deps
  const reporting = createReporting({
    stopping,
    codeOf: (error) => (error instanceof ReleasedLeftError ? 'residue_found' : failureOf(error).reason),
    onFailure(code, error) {
      logger.warn('erasures.release_interrupted', { code, error })
    },
  })
  return {
    listKept: ({ organizationId }: ReleaseKeptInput, after: ErasureReference | null) =>
      reporting(() =>
        releasing.keeping(
          organizationId ?? undefined,
          after === null ? '' : `${after.organizationId}/${after.requestId}`,
        ),
      ),
    releaseKeptOf: (request) =>
      reporting(({ signal }) => releasing.release(request, historyDays, () => signal.throwIfAborted())),
  }
}
