/** The activities of an offboarding's workflow. Each may run any number of times; what failed leaves as a code alone. */
import { ArchiveStoreError } from '../src/archive/stores/contract.js'
import { AnnalsError } from '../src/errors.js'
import type { Logger } from '../src/logging.js'
import { isMongoUnavailable } from '../src/mongo/unavailable.js'
import {
  offboardingInterruption,
  type OffboardingReason,
  type OffboardingReference,
  type OffboardingSnapshot,
  type OffboardingStep,
} from '../src/offboarding/contract.js'
import type { BeginOutcome, Offboarder } from '../src/offboarding/offboarder.js'
import { OffboardingResidueError } from '../src/offboarding/places.js'
import { isTemporalUnavailable } from '../src/temporal/client.js'
import { LogError } from '../src/transparency-log/errors.js'
import { createReporting } from './reporting.js'

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
  /** The worker is stopping: another one goes on from where this one is. */
  readonly stopping: AbortSignal
}

export function createOffboardingActivities(deps: OffboardingActivityDependencies): OffboardingActivities {
  const { offboarder, logger, stopping } = deps

  const reporting = createReporting({
    stopping,
    interruption: offboardingInterruption,
    codeOf,
    onFailure(code, error) {
      logger.warn('offboardings.interrupted', { code, error })
    },
  })

  return {
    loadOffboarding: (offboarding) => reporting(async () => (await offboarder.snapshot(offboarding)) ?? null),
    beginOffboarding: (offboarding) => reporting(() => offboarder.begin(offboarding)),
    takeOffboardingStep: (offboarding, step) =>
      reporting(({ signal }) => offboarder.step(offboarding, step, () => signal.throwIfAborted())),
    stopOffboarding: (offboarding, { step, reason }) =>
      reporting(() => offboarder.stopped(offboarding, step, reason)),
    lookAtOffboarding: (offboarding) =>
      reporting(({ signal }) => offboarder.look(offboarding, () => signal.throwIfAborted())),
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
