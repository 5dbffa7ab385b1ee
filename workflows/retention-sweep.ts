/**
 * A sweep: finds what is due and has it archived, one segment of each organization in a round, so that a huge one never
 * keeps others waiting; round after round until nothing is due. Two sweeps at once do no harm: the workflow of a range
 * runs once, and ranges are claimed.
 */
import {
  ParentClosePolicy,
  WorkflowIdReusePolicy,
  continueAsNew,
  executeChild,
  isCancellation,
  proxyActivities,
  setCurrentDetails,
  workflowInfo,
} from '@temporalio/workflow'
import type { RetentionActivities } from '../activities/retention.js'
import {
  archiveWorkflowId,
  maxChildren,
  type ArchiveInput,
  type DuePage,
  type SweepInput,
} from '../src/retention/contract.js'
import { archive } from './archive.js'

const { findDue, findDueOf } = proxyActivities<RetentionActivities>({
  startToCloseTimeout: '10m',
  heartbeatTimeout: '1m',
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '1m', maximumAttempts: 20 },
  summary: 'Find what is due',
})

/** More organizations that stand still are not told apart: the sweep ends, and the next one looks again. */
const maxFailed = 1_000

export interface SweepResult {
  /** Organizations that stand still until the next sweep. */
  readonly failed: number
}

export async function retentionSweep(input: SweepInput = {}): Promise<SweepResult> {
  const { organizationId } = input
  const asOfMs = input.asOfMs ?? Date.now()
  const failed = new Set(input.failed)
  let { after, moved = false } = input
  for (;;) {
    const page: DuePage =
      organizationId === undefined
        ? await findDue(asOfMs, after ?? null, maxChildren)
        : await findDueOf(asOfMs, organizationId)
    const ranges = page.ranges.filter((range) => !failed.has(range.organizationId))
    setCurrentDetails(
      `**Sweep**: ${String(ranges.length)} segments under way, ${String(failed.size)} stand still`,
    )
    await Promise.all(
      ranges.map(async (range) => {
        if (await archived(range)) moved = true
        else failed.add(range.organizationId)
      }),
    )
    after = page.next ?? undefined
    if (after === undefined) {
      if (!moved || failed.size > maxFailed) break
      moved = false
    }
    if (workflowInfo().continueAsNewSuggested)
      await continueAsNew<typeof retentionSweep>({
        ...(organizationId === undefined ? {} : { organizationId }),
        ...(after === undefined ? {} : { after }),
        moved,
        asOfMs,
        failed: [...failed],
      })
  }
  setCurrentDetails(`**Sweep**: done; ${String(failed.size)} organizations stand still`)
  // An object, and not nothing: the payload codec takes no payload without data from a workflow.
  return { failed: failed.size }
}

/** @returns whether there may be more of this organization in the next round */
async function archived(range: ArchiveInput): Promise<boolean> {
  const { organizationId } = range
  try {
    const { state } = await executeChild(archive, {
      workflowId: archiveWorkflowId(range),
      // One that needed an operator is taken up again; one that was done finds that it is done.
      workflowIdReusePolicy: WorkflowIdReusePolicy.ALLOW_DUPLICATE,
      parentClosePolicy: ParentClosePolicy.ABANDON,
      args: [range],
      staticSummary: `Archive leaves ${String(range.from)} to ${String(range.to)} of ${organizationId}`,
      priority: { fairnessKey: organizationId },
      typedSearchAttributes: [
        { key: { name: 'AnnalsOrganization', type: 'KEYWORD' }, value: organizationId },
        { key: { name: 'AnnalsKind', type: 'KEYWORD' }, value: 'retention' },
        { key: { name: 'AnnalsPhase', type: 'KEYWORD' }, value: 'exporting' },
      ],
    })
    return state === 'done'
  } catch (error) {
    if (isCancellation(error)) throw error
    // Under way by another sweep, ended by an operator, or broken: nothing more of it now.
    return false
  }
}
