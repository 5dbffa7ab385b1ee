/** The activities of a redaction's workflow. Each may run any number of times; what failed leaves as a code alone. */
import { ApplicationFailure, Context } from '@temporalio/activity'
import { ArchiveStoreError } from '../src/archive/stores/contract.js'
import { AnnalsError } from '../src/errors.js'
import type { Logger } from '../src/logging.js'
import { isMongoUnavailable } from '../src/mongo/unavailable.js'
import type { RedactionReference } from '../src/redaction/contract.js'
import { RedactionWaitsError, type Redactor } from '../src/redaction/redactor.js'

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
}

const beatEveryMs = 5_000

export function createRedactionActivities({
  redactor,
  logger,
}: RedactionActivityDependencies): RedactionActivities {
  /** Runs an activity's body, and beats by a timer of its own: a long wait must not look like a dead worker. */
  async function reporting<T>(body: (beat: () => void) => Promise<T>): Promise<T> {
    const context = Context.current()
    const timer = setInterval(() => context.heartbeat(), beatEveryMs)
    try {
      return await body(() => context.heartbeat())
    } catch (error) {
      const code = codeOf(error)
      logger.warn('redactions.interrupted', { code, error })
      throw ApplicationFailure.create({ message: code, type: code })
    } finally {
      clearInterval(timer)
    }
  }

  return {
    awaitRedaction: (redaction) =>
      reporting(async () => {
        if (!(await redactor.approved(redaction)))
          throw new AnnalsError('unavailable', 'The approval is not written yet.')
      }),
    prepareRedaction: (redaction) => reporting((beat) => redactor.prepare(redaction, beat)),
    decideRedaction: (redaction) => reporting((beat) => redactor.decide(redaction, beat)),
    removeRedacted: (redaction) => reporting((beat) => redactor.remove(redaction, beat)),
  }
}

function codeOf(error: unknown): string {
  if (error instanceof AnnalsError) return error.code
  if (error instanceof RedactionWaitsError) return 'waits'
  if (error instanceof ArchiveStoreError) return 'archive_unavailable'
  return isMongoUnavailable(error) ? 'unavailable' : 'internal'
}
