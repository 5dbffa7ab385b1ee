/** The activities of a redaction's workflow. Each may run any number of times; what failed leaves as a code alone. */
import { ArchiveStoreError } from '../src/archive/stores/contract.js'
import { AnnalsError } from '../src/errors.js'
import type { Logger } from '../src/logging.js'
import { isMongoUnavailable } from '../src/mongo/unavailable.js'
import type { RedactionReference } from '../src/redaction/contract.js'
import { RedactionWaitsError, type Redactor } from '../src/redaction/redactor.js'
import { createReporting } from './reporting.js'

export interface RedactionActivities {
  /** Ends once the approval is written. */
  awaitRedaction(redaction: RedactionReference): Promise<void>
  prepareRedaction(redaction: RedactionReference): Promise<'prepared' | 'failed'>
  decideRedaction(redaction: RedactionReference): Promise<'decided' | 'held'>
  removeRedacted(redaction: RedactionReference): Promise<void>
}

export interface RedactionActivityDependencies {
  readonly redactor: Redactor
  readonly logger: Logger
  /** The worker is stopping: another one goes on from where this one is. */
  readonly stopping: AbortSignal
}

export function createRedactionActivities(deps: RedactionActivityDependencies): RedactionActivities {
  const { redactor, logger, stopping } = deps

  const reporting = createReporting({
    stopping,
    codeOf,
    onFailure(code, error) {
      logger.warn('redactions.interrupted', { code, error })
    },
  })

  return {
    awaitRedaction: (redaction) =>
      reporting(async () => {
        if (!(await redactor.approved(redaction)))
          throw new AnnalsError('unavailable', 'The approval is not written yet.')
      }),
    prepareRedaction: (redaction) =>
      reporting(({ signal }) => redactor.prepare(redaction, () => signal.throwIfAborted())),
    decideRedaction: (redaction) => reporting(() => redactor.decide(redaction)),
    removeRedacted: (redaction) =>
      reporting(({ signal }) => redactor.remove(redaction, () => signal.throwIfAborted())),
  }
}

function codeOf(error: unknown): string {
  if (error instanceof AnnalsError) return error.code
  if (error instanceof RedactionWaitsError) return 'waits'
  if (error instanceof ArchiveStoreError) return 'archive_unavailable'
  return isMongoUnavailable(error) ? 'unavailable' : 'internal'
}
