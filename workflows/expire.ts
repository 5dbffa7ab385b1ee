/**
 * Lets the content, or the records, of one segment expire: decide and write what stays → wait until that is sealed, and prove it beside the
 * segment → delete. It ends with `needs_operator` where a step does not succeed in its retries; the next sweep, or one
 * that is asked for, takes the same segment up again from what is there.
 */
import { proxyActivities, type RetryPolicy } from '@temporalio/workflow'
import type { ExpiryActivities } from '../activities/expiry.js'
import type { RunCounts } from '../src/retention/contract.js'
import {
  expireWorkflowId,
  notSealedYet,
  type ExpireInput,
  type ExpireResult,
} from '../src/retention/expiry-contract.js'
import {
  executionOf,
  failureType,
  leavesOf,
  longStep,
  notesOf,
  reasonOf,
  stepRetry,
  takeSteps,
} from './segment-run.js'

/** What time does not heal stops at once. */
const retry = {
  ...stepRetry,
  nonRetryableErrorTypes: [
    'archive_conflict',
    'archive_altered',
    'archive_refused',
    'verification_failed',
    'log_unreadable',
  ],
} satisfies RetryPolicy

const long = (summary: string) => proxyActivities<ExpiryActivities>({ ...longStep, retry, summary })

/** Sealing takes a second or two; a log that stands still is somebody's to look at. */
const sealed = proxyActivities<ExpiryActivities>({
  startToCloseTimeout: '1m',
  heartbeatTimeout: '30s',
  retry: { ...retry, backoffCoefficient: 1.5, maximumInterval: '10s', maximumAttempts: 60 },
  summary: 'Wait until it is sealed, and prove it in the archive',
})

const steps = {
  rewriting: 'check policy and holds, write what stays, and record it with the event that says so',
  logging: 'wait until the event is sealed, and prove it beside the segment',
  deleting: 'delete every version of what was before, and restored copies',
} as const

export async function expire(input: ExpireInput): Promise<ExpireResult> {
  const execution = executionOf(expireWorkflowId(input))
  const { beginExpiry, noteExpiryStep, finishExpiry, stopExpiry } = notesOf<ExpiryActivities>()
  return takeSteps(
    {
      title: `**Expiry** of ${input.kind}, ${leavesOf(input)}`,
      steps,
      first: 'rewriting',
      begin: () => beginExpiry(input, execution),
      note: (run, step) => noteExpiryStep(input, run, step),
      stop: (run, step, reason) => stopExpiry(input, run, step, reason),
      // A log that seals nothing for ten minutes stands still.
      reasonOf: (error) => (failureType(error) === notSealedYet ? 'log_unreadable' : reasonOf(error)),
    },
    async ({ runId, at, done }): Promise<ExpireResult> => {
      await at('rewriting')
      const found = await long('Decide, and write what stays').rewriteExpired(input)
      if (found !== 'recorded') {
        done(await finishExpiry(input, runId, { counts: lockedOf(found, input), bytes: {} }))
        return { state: found }
      }
      await at('logging')
      await sealed.proveExpired(input)
      await at('deleting')
      const removed = await long('Delete what has expired').deleteExpired(input)
      done(await finishExpiry(input, runId, removed))
      return { state: 'done' }
    },
  )
}

/** What is locked is no failure: the archive lets it go one day, and the sweep asks again then. */
const lockedOf = (found: ExpireResult['state'], { from, to }: ExpireInput): RunCounts =>
  found === 'locked' ? { locked: to - from } : {}
