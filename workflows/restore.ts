/**
 * One restore, from the request to the day it goes again: copies events out of the archive, makes them count, waits,
 * and removes them. An operator who cancels it ends it early, and nothing of it stays.
 */
import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  CancelledFailure,
  isCancellation,
  proxyActivities,
  setCurrentDetails,
  sleep,
  upsertSearchAttributes,
  workflowInfo,
  type RetryPolicy,
} from '@temporalio/workflow'
import type { RestoreActivities } from '../activities/restore.js'
import {
  parseRestoreReference,
  restoreFailures,
  restoreWorkflowId,
  type RestoreFailure,
  type RestoreReference,
  type RestoreState,
} from '../src/archive/restores/contract.js'

export interface RestoreResult {
  readonly state: RestoreState
}

const phaseAttribute = { name: 'AnnalsPhase', type: 'KEYWORD' } as const
const deadlineAttribute = { name: 'AnnalsDeadline', type: 'DATETIME' } as const

const retry = {
  initialInterval: '1s',
  backoffCoefficient: 2,
  maximumInterval: '5m',
  nonRetryableErrorTypes: ['archive_damaged', 'log_damaged', 'not_found', 'invalid'],
} satisfies RetryPolicy

/** The request is written right after the workflow began, or never. */
const awaiting = (summary: string) =>
  proxyActivities<RestoreActivities>({
    startToCloseTimeout: '15s',
    retry: { initialInterval: '500ms', backoffCoefficient: 1.5, maximumInterval: '10s', maximumAttempts: 20 },
    summary,
  })

/** Millions of events take an hour; an archive may be away for days. */
const copying = (summary: string) =>
  proxyActivities<RestoreActivities>({
    startToCloseTimeout: '1d',
    scheduleToCloseTimeout: '7d',
    heartbeatTimeout: '1m',
    retry,
    summary,
  })

/** What was restored has to go, however long the database is away. */
const removing = (summary: string) =>
  proxyActivities<RestoreActivities>({
    startToCloseTimeout: '1d',
    heartbeatTimeout: '1m',
    retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '5m' },
    summary,
  })

export async function restore(input: RestoreReference): Promise<RestoreResult> {
  const reference = checkInput(input)
  show('copying', 'Wait for the request')
  await awaiting('Wait for the request to be written').awaitRestore(reference)
  let expiresAtMs: number
  try {
    show('copying', 'Copy events out of the archive')
    await copying('Copy events out of the archive').copyRestore(reference)
    expiresAtMs = await copying('Make them count').activateRestore(reference)
  } catch (error) {
    const failure = failureOf(error)
    await CancellationScope.nonCancellable(() =>
      removing('Remove what was copied').failRestore(reference, failure),
    )
    show('failed', `Failed: ${failure}`)
    if (isCancellation(error)) throw error
    return { state: 'failed' }
  }
  upsertSearchAttributes([{ key: deadlineAttribute, value: new Date(expiresAtMs) }])
  show('restored', `Restored until ${new Date(expiresAtMs).toISOString()}`)
  let cancelled: Error | undefined
  try {
    await sleep(Math.max(1, expiresAtMs - Date.now()))
  } catch (error) {
    if (!(error instanceof CancelledFailure)) throw error
    cancelled = error
  }
  await CancellationScope.nonCancellable(() => removing('Remove what was restored').expireRestore(reference))
  show('expired', 'Expired: nothing of it is left')
  if (cancelled !== undefined) throw cancelled
  return { state: 'expired' }
}

function checkInput(input: unknown): RestoreReference {
  const reference = parseRestoreReference(input)
  if (reference === undefined || restoreWorkflowId(reference) !== workflowInfo().workflowId)
    throw ApplicationFailure.nonRetryable('not the input of this restore', 'invalid')
  return reference
}

function show(state: RestoreState, text: string): void {
  upsertSearchAttributes([{ key: phaseAttribute, value: state }])
  setCurrentDetails(text)
}

/** A failure leaves an activity as its code. */
function failureOf(error: unknown): RestoreFailure {
  if (isCancellation(error)) return 'cancelled'
  const cause = error instanceof ActivityFailure ? error.cause : undefined
  const type = cause instanceof ApplicationFailure ? cause.type : 'unavailable'
  return restoreFailures.find((failure) => failure === type) ?? 'internal'
}
