/**
 * Lets the content of one segment expire: decide and write what stays → wait until that is sealed, and prove it beside the
 * segment → delete. It ends with `needs_operator` where a step does not succeed in its retries; the next sweep, or one
 * that is asked for, takes the same segment up again from what is there.
 */
import {
  ActivityFailure,
  ApplicationFailure,
  isCancellation,
  proxyActivities,
  setCurrentDetails,
  upsertSearchAttributes,
  workflowInfo,
  type RetryPolicy,
} from '@temporalio/workflow'
import type { ExpiryActivities } from '../activities/expiry.js'
import { runReasons, type RunReason, type RunStep } from '../src/retention/contract.js'
import {
  expireWorkflowId,
  notSealedYet,
  type ExpireInput,
  type ExpireResult,
} from '../src/retention/expiry-contract.js'

const phaseAttribute = { name: 'AnnalsPhase', type: 'KEYWORD' } as const

/** What time does not heal stops at once. */
const retry = {
  initialInterval: '1s',
  backoffCoefficient: 3,
  maximumInterval: '1m',
  maximumAttempts: 6,
  nonRetryableErrorTypes: [
    'archive_conflict',
    'archive_altered',
    'archive_refused',
    'verification_failed',
    'log_unreadable',
  ],
} satisfies RetryPolicy

const long = (summary: string) =>
  proxyActivities<ExpiryActivities>({ startToCloseTimeout: '6h', heartbeatTimeout: '1m', retry, summary })

/** Sealing takes a second or two; a log that stands still is somebody's to look at. */
const sealed = proxyActivities<ExpiryActivities>({
  startToCloseTimeout: '1m',
  heartbeatTimeout: '30s',
  retry: { ...retry, backoffCoefficient: 1.5, maximumInterval: '10s', maximumAttempts: 60 },
  summary: 'Wait until it is sealed, and prove it in the archive',
})

/** A row says what happened: worth waiting for the database. */
const noting = proxyActivities<ExpiryActivities>({
  startToCloseTimeout: '30s',
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '1m', maximumAttempts: 30 },
  summary: 'Note where the run is',
})

const steps = ['rewriting', 'logging', 'deleting', 'done'] as const satisfies readonly RunStep[]
type Step = (typeof steps)[number]

const words: Readonly<Record<Step, string>> = {
  rewriting: 'check policy and holds, write what stays, and record it with the event that says so',
  logging: 'wait until the event is sealed, and prove it beside the segment',
  deleting: 'delete every version of what was before, and restored copies',
  done: 'done',
}

export async function expire(input: ExpireInput): Promise<ExpireResult> {
  const { workflowId, runId: execution } = workflowInfo()
  if (expireWorkflowId(input) !== workflowId)
    throw ApplicationFailure.nonRetryable('not the input of this run', 'invalid')
  const run = await noting.beginExpiry(input, execution)
  let step: Step = 'rewriting'
  const at = async (next: Step) => {
    step = next
    show(input, step)
    if (step !== 'done') await noting.noteExpiryStep(input, run, step)
  }
  try {
    await at('rewriting')
    const found = await long('Decide, and write what stays').rewriteExpired(input)
    if (found !== 'recorded') {
      await noting.finishExpiry(input, run, { counts: {}, bytes: {} })
      await at('done')
      return { state: found }
    }
    await at('logging')
    await sealed.proveExpired(input)
    await at('deleting')
    const done = await long('Delete what has expired').deleteExpired(input)
    await noting.finishExpiry(input, run, done)
    await at('done')
    return { state: 'done' }
  } catch (error) {
    if (isCancellation(error)) throw error
    const reason = reasonOf(error)
    await noting.stopExpiry(input, run, step, reason)
    show(input, step, reason)
    return { state: 'needs_operator', reason }
  }
}

function show({ kind, generation, from, to }: ExpireInput, step: Step, reason?: RunReason): void {
  const reached = steps.indexOf(step)
  const lines = steps.slice(0, -1).map((one, index) => `- [${index < reached ? 'x' : ' '}] ${words[one]}`)
  const head = `**Expiry** of ${kind}, leaves ${String(from)} to ${String(to)} of generation ${String(generation)}`
  const stopped = reason === undefined ? [] : [`- stopped: **${reason}**; the next sweep goes on from here`]
  setCurrentDetails([head, ...lines, ...stopped].join('\n'))
  upsertSearchAttributes([{ key: phaseAttribute, value: reason === undefined ? step : 'needs_operator' }])
}

function reasonOf(error: unknown): RunReason {
  const cause = error instanceof ActivityFailure ? error.cause : undefined
  const type = cause instanceof ApplicationFailure ? cause.type : undefined
  // A log that seals nothing for ten minutes stands still.
  if (type === notSealedYet) return 'log_unreadable'
  return runReasons.find((reason) => reason === type) ?? 'internal'
}
