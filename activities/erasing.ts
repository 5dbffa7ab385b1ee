/**
 * The erasing steps as Temporal runs them: each gets a reference and nothing else. What a step fails with leaves as an
 * operator's reason and names of targets, never as a message: a database's error quotes values.
 */
import { ApplicationFailure, Context } from '@temporalio/activity'
import { ArchiveStoreError } from '../src/archive/stores/contract.js'
import { AnnalsError } from '../src/errors.js'
import type { ErasureNotices } from '../src/delivery/erasure-notices.js'
import type { ErasingActivities, OperatorReason } from '../src/erasure/contract.js'
import { NotApprovedError } from '../src/erasure/begun.js'
import { NotAttestedError, type Erasing } from '../src/erasure/erasing.js'
import type { Completing, HistoryDays } from '../src/erasure/completing.js'
import { NotKeptError } from '../src/erasure/keeping.js'
import { LedgerError } from '../src/erasure/ledger.js'
import { ReaderUnfitError } from '../src/erasure/reader-access.js'
import { scope, type ScopingDependencies } from '../src/erasure/scoping.js'
import type { WorkflowRuns } from '../src/erasure/second-reader-workflows.js'
import { TargetError } from '../src/erasure/targets/contract.js'
import { KeyError } from '../src/keys/wrapping.js'
import { isMongoUnavailable } from '../src/mongo/unavailable.js'
import { isTemporalUnavailable } from '../src/temporal/client.js'
import { SubjectStateError } from '../src/subjects/fence.js'

export interface ErasingActivityDependencies {
  readonly erasing: Erasing
  readonly completing: Completing
  readonly historyDays: HistoryDays
  readonly workflows: WorkflowRuns
  readonly scoping: ScopingDependencies
  readonly notices: ErasureNotices
}

export function createErasingActivities(deps: ErasingActivityDependencies): ErasingActivities {
  const { erasing, completing, historyDays, workflows, scoping, notices } = deps
  return {
    scope: (request) => reporting(() => scope(scoping, request, heartbeat)),
    fence: (request) => reporting(() => erasing.fence(request, heartbeat)),
    prepare: (request) => reporting(() => erasing.prepare(request, heartbeat)),
    erase: (request) => reporting(() => erasing.erase(request, heartbeat)),
    verify: (request) => reporting(() => erasing.verify(request, heartbeat, workflows)),
    notify: (request) => reporting(() => notices.notify(request, heartbeat)),
    complete: (request) => reporting(() => completing.complete(request, historyDays)),
  }
}

const heartbeat = () => Context.current().heartbeat()
const heartbeatEveryMs = 10_000

interface Failure {
  readonly reason: OperatorReason
  /** Trying again may help by itself. */
  readonly passing: boolean
  readonly targets?: readonly string[]
}

/** Runs a step; one command of the database may take longer than a heartbeat may stay out. */
async function reporting<T>(body: () => Promise<T>): Promise<T> {
  const beating = setInterval(heartbeat, heartbeatEveryMs)
  try {
    return await body()
  } catch (error) {
    const { reason, passing, targets } = failureOf(error)
    throw ApplicationFailure.create({
      message: reason,
      type: reason,
      nonRetryable: !passing,
      ...(targets === undefined ? {} : { details: [{ targets: [...targets] }] }),
    })
  } finally {
    clearInterval(beating)
  }
}

export function failureOf(error: unknown): Failure {
  if (error instanceof KeyError) return { reason: 'keys_unavailable', passing: false }
  if (error instanceof SubjectStateError) return { reason: 'key_missing', passing: false }
  if (error instanceof NotKeptError) return { reason: 'counts_differ', passing: false }
  if (error instanceof NotAttestedError)
    return { reason: 'attestation_missing', passing: false, targets: error.targets }
  if (error instanceof ReaderUnfitError) return { reason: 'reader_unfit', passing: false }
  if (error instanceof LedgerError) return { reason: 'manifest_refused', passing: false }
  if (error instanceof TargetError) {
    // An archive, or Temporal, is away for a moment more often than it is damaged.
    const passing =
      (error.reason === 'archive_unavailable' && error.cause instanceof ArchiveStoreError) ||
      isTemporalUnavailable(error.cause)
    return { reason: error.reason, passing, targets: [error.target] }
  }
  if (error instanceof ArchiveStoreError) {
    const passing = error.code === 'unavailable' || error.code === 'full' || error.code === 'read_only'
    return { reason: 'ledger_unavailable', passing }
  }
  if (isMongoUnavailable(error)) return { reason: 'database_unavailable', passing: true }
  if (error instanceof NotApprovedError) return { reason: 'internal', passing: false }
  const final = error instanceof AnnalsError && (error.code === 'not_found' || error.code === 'wrong_state')
  return { reason: 'internal', passing: !final }
}
