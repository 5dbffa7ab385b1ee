/** The erasing steps of a worker that has none: each says so at once, and the request waits for an operator. */
import { ApplicationFailure } from '@temporalio/activity'
import type { ErasingActivities, OperatorReason } from '../src/erasure/contract.js'

const reason: OperatorReason = 'step_unavailable'

function refuse(): Promise<never> {
  return Promise.reject(ApplicationFailure.nonRetryable('this worker has no erasing steps', reason))
}

export const unavailableSteps: ErasingActivities = {
  scope: refuse,
  fence: refuse,
  prepare: refuse,
  erase: refuse,
  verify: refuse,
  notify: refuse,
  complete: refuse,
}
