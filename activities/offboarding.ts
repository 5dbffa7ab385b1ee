/** The activities of an offboarding's workflow. Each may run any number of times; what failed leaves as a code alone. */
import { ApplicationFailure, Context } from '@temporalio/activity'
import { ArchiveStoreError } from '../src/archive/stores/contract.js'
import { AnnalsError } from '../src/errors.js'
import type { Logger } from '../src/logging.js'
import { isMongoUnavailable } from '../src/mongo/unavailable.js'
import type {
  OffboardingReason,
  OffboardingReference,
  OffboardingSnapshot,
  OffboardingStep,
} from '../src/offboarding/contract.js'
import { OffboardingResidueError, type BeginOutcome, type Offboarder } from '../src/offboarding/offboarder.js'
import { isTemporalUnavailable } from '../src/temporal/client.js'
import { LogError } from '../src/transparency-log/errors.js'

export interface OffboardingActivities {
  /** @returns null where its approval is not written, or not yet */
  loadOffboarding(offboarding: OffboardingReference): Promise<OffboardingSnapshot | null>
  beginOffboarding(offboarding: OffboardingReference): Promise<BeginOutcome>
  takeOffboardingStep(offboarding: OffboardingReference, step: OffboardingStep): Promise<void>
  stopOffboarding(
    offboarding: OffboardingReference,
    stopped: { readonly step: OffboardingStep; readonly reason: OffboardingReason },
  ): Promise<void>
  /** @returns whether nothing remains */
  lookAtOffboarding(offboarding: OffboardingReference): Promise<boolean>
}

export interface OffboardingActivityDependencies {
  readonly offboarder: Offboarder
  readonly logger: Logger
}

const beatEveryMs = 5_000

export function createOffboardingActivities({
  offboarder,
  logger,
}: OffboardingActivityDependencies): OffboardingActivities {
  /** Runs an activity's body, and beats by a timer of its own: one deletion may take longer than a beat may stay out. */
  async function reporting<T>(body: (beat: () => void) => Promise<T>): Promise<T> {
    const context = Context.current()
    const timer = setInterval(() => context.heartbeat(), beatEveryMs)
    try {
      return await body(() => context.heartbeat())
    } catch (error) {
      const code = codeOf(error)
      logger.warn('offboardings.interrupted', { code, error })
      throw ApplicationFailure.create({ message: code, type: code })
    } finally {
      clearInterval(timer)
    }
  }

  return {
    loadOffboarding: (offboarding) => reporting(async () => (await offboarder.snapshot(offboarding)) ?? null),
    beginOffboarding: (offboarding) => reporting(() => offboarder.begin(offboarding)),
    takeOffboardingStep: (offboarding, step) => reporting((beat) => offboarder.step(offboarding, step, beat)),
    stopOffboarding: (offboarding, { step, reason }) =>
      reporting(() => offboarder.stopped(offboarding, step, reason)),
    lookAtOffboarding: (offboarding) => reporting((beat) => offboarder.look(offboarding, beat)),
  }
}

function codeOf(error: unknown): OffboardingReason | 'not_found' {
  if (error instanceof OffboardingResidueError) return 'residue_found'
  if (error instanceof ArchiveStoreError) return 'archive_unavailable'
  if (error instanceof LogError) return 'log_unreadable'
  if (isTemporalUnavailable(error)) return 'temporal_unavailable'
  if (isMongoUnavailable(error)) return 'database_unavailable'
  return error instanceof AnnalsError && error.code === 'not_found' ? 'not_found' : 'internal'
}
