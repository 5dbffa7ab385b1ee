/**
 * The activities by which an erasure's workflow reads and changes its request. Each may run any number of times: the
 * recorder's changes happen once. The steps that erase are `ErasingActivities` (src/erasure/contract.ts), registered
 * beside these. What goes to Temporal on failure is a code alone, since a database's error quotes values.
 */
import { ApplicationFailure } from '@temporalio/activity'
import { AnnalsError, type ErrorCode } from '../src/errors.js'
import type { ErasureReference, OperatorReason } from '../src/erasure/contract.js'
import type { ErasureSnapshot } from '../src/erasure/policy.js'
import type { Advance } from '../src/erasure/changes.js'
import type { ActionResult, ErasureRecorder } from '../src/erasure/recorder.js'

/** What the workflow found, and when. */
export interface AdvanceStep {
  readonly event: Advance['event']
  /** The request's version that this follows from; where it has moved on, nothing happens. */
  readonly version: number
  readonly atMs: number
  readonly reason?: OperatorReason
  readonly targets?: readonly string[]
}

export interface ErasureActivities {
  /** @returns null where the request is not stored, or not yet */
  loadErasure(request: ErasureReference): Promise<ErasureSnapshot | null>
  /** Applies a stored action, once. @throws ApplicationFailure `not_found` where none is stored */
  applyErasureAction(request: ErasureReference, actionId: string): Promise<ActionResult>
  advanceErasure(request: ErasureReference, step: AdvanceStep): Promise<ErasureSnapshot>
  /** Writes `annals.erasure.reminded`. */
  remindErasure(
    request: ErasureReference,
    reminder: { momentMs: number; atMs: number },
  ): Promise<ErasureSnapshot>
  /** Writes `annals.erasure.overdue`. */
  escalateErasure(request: ErasureReference, atMs: number): Promise<ErasureSnapshot>
  /** Notes when what remains is looked at again. */
  awaitErasureExpiry(
    request: ErasureReference,
    wait: { version: number; untilMs: number },
  ): Promise<ErasureSnapshot>
  /** Notes when recipients are called again. */
  awaitErasureRecipients(
    request: ErasureReference,
    wait: { version: number; untilMs: number },
  ): Promise<ErasureSnapshot>
}

/**
 * Trying again cannot mend it: the action, or the whole request, is not there. Everything else is tried until it can be
 * done: a workflow that failed would leave a request half erased with nobody at it.
 */
const permanentCode: ErrorCode = 'not_found'

export function createErasureActivities(deps: { readonly recorder: ErasureRecorder }): ErasureActivities {
  const { recorder } = deps
  return {
    loadErasure: (request) =>
      reporting(async () => {
        try {
          return await recorder.snapshot(request)
        } catch (error) {
          if (error instanceof AnnalsError && error.code === 'not_found') return null
          throw error
        }
      }),
    applyErasureAction: (request, actionId) => reporting(() => recorder.applyAction(request, actionId)),
    advanceErasure: (request, { atMs, ...step }) =>
      reporting(() => recorder.advance(request, { ...step, at: new Date(atMs) })),
    remindErasure: (request, { momentMs, atMs }) =>
      reporting(() => recorder.remind(request, new Date(momentMs), new Date(atMs))),
    escalateErasure: (request, atMs) => reporting(() => recorder.escalate(request, new Date(atMs))),
    awaitErasureExpiry: (request, { version, untilMs }) =>
      reporting(() => recorder.awaitExpiry(request, version, new Date(untilMs))),
    awaitErasureRecipients: (request, { version, untilMs }) =>
      reporting(() => recorder.awaitRecipients(request, version, new Date(untilMs))),
  }
}

/** Runs an activity's body; a failure leaves as its code, without message or cause. */
async function reporting<T>(body: () => Promise<T>): Promise<T> {
  try {
    return await body()
  } catch (error) {
    const code = error instanceof AnnalsError ? error.code : 'internal'
    throw ApplicationFailure.create({
      message: code,
      type: code,
      nonRetryable: code === permanentCode,
    })
  }
}
