/**
 * Moves one range of leaves to the archive: export → read back and verify → record → delete exactly what was read back.
 * It ends with `needs_operator` where a step does not succeed in its retries; the next sweep, or one that is asked for,
 * takes the same range up again from what is there.
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
import type { RetentionActivities } from '../activities/retention.js'
import {
  archiveWorkflowId,
  lifecycleMoved,
  runReasons,
  type ArchiveInput,
  type ArchiveResult,
  type RunReason,
  type RunStep,
} from '../src/retention/contract.js'

const phaseAttribute = { name: 'AnnalsPhase', type: 'KEYWORD' } as const

/** What time does not heal stops at once. */
const retry = {
  initialInterval: '1s',
  backoffCoefficient: 3,
  maximumInterval: '1m',
  maximumAttempts: 6,
  nonRetryableErrorTypes: [lifecycleMoved, 'archive_conflict', 'archive_altered', 'verification_failed'],
} satisfies RetryPolicy

const long = (summary: string) =>
  proxyActivities<RetentionActivities>({
    startToCloseTimeout: '6h',
    heartbeatTimeout: '1m',
    retry,
    summary,
  })

const short = (summary: string) =>
  proxyActivities<RetentionActivities>({ startToCloseTimeout: '1m', retry, summary })

/** A row says what happened: worth waiting for the database. */
const noting = proxyActivities<RetentionActivities>({
  startToCloseTimeout: '30s',
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '1m', maximumAttempts: 30 },
  summary: 'Note where the run is',
})

/** So often may something else move while a range is exported. */
const maxExports = 20

const steps = [
  'exporting',
  'verifying',
  'recording',
  'deleting',
  'done',
] as const satisfies readonly RunStep[]
type Step = (typeof steps)[number]

const words: Readonly<Record<Step, string>> = {
  exporting: 'export leaves and events to the archive',
  verifying: 'read every byte back and verify it',
  recording: 'record the segment',
  deleting: 'delete what was read back from the hot store, and log it',
  done: 'done',
}

export async function archive(range: ArchiveInput): Promise<ArchiveResult> {
  const { workflowId, runId: execution } = workflowInfo()
  if (archiveWorkflowId(range) !== workflowId)
    throw ApplicationFailure.nonRetryable('not the input of this run', 'invalid')
  const run = await noting.beginArchive(range, execution)
  let step: Step = 'exporting'
  const at = async (next: Step) => {
    step = next
    show(range, step)
    if (step !== 'done') await noting.noteStep(range, run, step)
  }
  try {
    const state = await exportAndRecord(range, at)
    if (state === 'taken') {
      await noting.finishArchive(range, run, { counts: {}, bytes: {} })
      return { state }
    }
    await at('deleting')
    const done = await long('Delete what was read back, and log it').deleteHot(range)
    await noting.finishArchive(range, run, done)
    await at('done')
    return { state: 'done' }
  } catch (error) {
    if (isCancellation(error)) throw error
    const reason = reasonOf(error)
    await noting.stopArchive(range, run, step, reason)
    show(range, step, reason)
    return { state: 'needs_operator', reason }
  }
}

/** Ends when the range is a segment. Where something moved in between, what was exported may be old: once more. */
async function exportAndRecord(
  range: ArchiveInput,
  at: (step: Step) => Promise<void>,
): Promise<'recorded' | 'taken'> {
  for (let attempt = 1; ; attempt += 1) {
    await at('exporting')
    const state = await long('Export leaves and events').exportSegment(range)
    if (state !== 'written') return state
    await at('verifying')
    await long('Read back and verify').verifySegment(range)
    await at('recording')
    try {
      await short('Record the segment').recordSegment(range)
      return 'recorded'
    } catch (error) {
      if (typeOf(error) !== lifecycleMoved || attempt === maxExports) throw error
    }
  }
}

function show({ generation, from, to }: ArchiveInput, step: Step, reason?: RunReason): void {
  const reached = steps.indexOf(step)
  const lines = steps.slice(0, -1).map((one, index) => `- [${index < reached ? 'x' : ' '}] ${words[one]}`)
  const head = `**Archive** leaves ${String(from)} to ${String(to)} of generation ${String(generation)}`
  const stopped = reason === undefined ? [] : [`- stopped: **${reason}**; the next sweep goes on from here`]
  setCurrentDetails([head, ...lines, ...stopped].join('\n'))
  upsertSearchAttributes([{ key: phaseAttribute, value: reason === undefined ? step : 'needs_operator' }])
}

function typeOf(error: unknown): string | undefined {
  const cause = error instanceof ActivityFailure ? error.cause : undefined
  return cause instanceof ApplicationFailure ? (cause.type ?? undefined) : undefined
}

const reasonOf = (error: unknown): RunReason => {
  const type = typeOf(error)
  return runReasons.find((reason) => reason === type) ?? 'internal'
}
