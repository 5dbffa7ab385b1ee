/**
 * Moves one range of leaves to the archive: export → read back and verify → record → delete exactly what was read back.
 * It ends with `needs_operator` where a step does not succeed in its retries; the next sweep, or one that is asked for,
 * takes the same range up again from what is there.
 */
import { proxyActivities, type RetryPolicy } from '@temporalio/workflow'
import type { RetentionActivities } from '../activities/retention.js'
import {
  archiveWorkflowId,
  lifecycleMoved,
  type ArchiveInput,
  type ArchiveResult,
} from '../src/retention/contract.js'
import { executionOf, failureType, leavesOf, longStep, notesOf, stepRetry, takeSteps } from './segment-run.js'

/** What time does not heal stops at once. */
const retry = {
  ...stepRetry,
  nonRetryableErrorTypes: [lifecycleMoved, 'archive_conflict', 'archive_altered', 'verification_failed'],
} satisfies RetryPolicy

const long = (summary: string) => proxyActivities<RetentionActivities>({ ...longStep, retry, summary })

const short = (summary: string) =>
  proxyActivities<RetentionActivities>({ startToCloseTimeout: '1m', retry, summary })

/** So often may something else move while a range is exported. */
const maxExports = 20

const steps = {
  exporting: 'export leaves and events to the archive',
  verifying: 'read every byte back and verify it',
  recording: 'record the segment',
  deleting: 'delete what was read back from the hot store, and log it',
} as const

export async function archive(range: ArchiveInput): Promise<ArchiveResult> {
  const execution = executionOf(archiveWorkflowId(range))
  const { beginArchive, noteStep, finishArchive, stopArchive } = notesOf<RetentionActivities>()
  return takeSteps(
    {
      title: `**Archive** ${leavesOf(range)}`,
      steps,
      first: 'exporting',
      begin: () => beginArchive(range, execution),
      note: (run, step) => noteStep(range, run, step),
      stop: (run, step, reason) => stopArchive(range, run, step, reason),
    },
    async ({ runId, at, done }): Promise<ArchiveResult> => {
      const state = await exportAndRecord(range, at)
      if (state !== 'recorded') {
        await finishArchive(range, runId, { counts: {}, bytes: {} })
        return { state }
      }
      await at('deleting')
      const removed = await long('Delete what was read back, and log it').deleteHot(range)
      done(await finishArchive(range, runId, removed))
      return { state: 'done' }
    },
  )
}

/** Ends when the range is a segment. Where something moved in between, what was exported may be old: once more. */
async function exportAndRecord(
  range: ArchiveInput,
  at: (step: keyof typeof steps) => Promise<void>,
): Promise<'recorded' | 'taken' | 'shortened'> {
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
      if (failureType(error) !== lifecycleMoved || attempt === maxExports) throw error
    }
  }
}
