/**
 * A sweep: finds what is due and has it archived, at most 200 segments at once and one of each organization, going round
 * by organization, so that a huge one never keeps others waiting and a slow segment holds up nothing but its own
 * organization. It ends when a whole round finds nothing that it has not looked at. Two sweeps at once do no harm: the
 * workflow of a range runs once, and ranges are claimed.
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
import { ChildWindow } from './child-window.js'
import { beginExpiry, sweepExpiry } from './expiry-sweep.js'

const { findDue, findDueOf } = proxyActivities<RetentionActivities>({
  startToCloseTimeout: '10m',
  heartbeatTimeout: '1m',
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '1m', maximumAttempts: 20 },
  summary: 'Find what is due',
})

/** More organizations that stand still are not told apart: the sweep ends, and the next one looks again. */
const maxFailed = 900
/** A history that has grown long waits so long for what is under way; what takes longer goes on without it. */
const handoverMs = 120_000

export interface SweepResult {
  /** Organizations that stand still until the next sweep. */
  readonly failed: number
}

export async function retentionSweep(input: SweepInput = {}): Promise<SweepResult> {
  const { organizationId, segments, atOnce = maxChildren } = input
  const asOfMs = input.asOfMs ?? Date.now()
  const failed = new Set(input.failed)
  const window = new ChildWindow(Math.min(atOnce, maxChildren))
  let { after, moved = false } = input
  let started = 0
  // What is due already; what this sweep archives and is due at once follows at its end.
  if (input.asOfMs === undefined) await beginExpiry(organizationId)
  const start = (range: ArchiveInput) => {
    started += 1
    window.start(range.organizationId, async () => {
      if (await archived(range)) moved = true
      else failed.add(range.organizationId)
      show()
    })
  }
  const show = () =>
    setCurrentDetails(
      `**Sweep**: ${String(window.size)} segments under way, ${String(failed.size)} organizations stand still`,
    )
  for (;;) {
    await window.room()
    const page: DuePage =
      organizationId === undefined
        ? await findDue(asOfMs, after ?? null, maxChildren)
        : await findDueOf(asOfMs, organizationId)
    for (const range of page.ranges) {
      await window.room()
      if (!failed.has(range.organizationId) && !window.has(range.organizationId)) start(range)
    }
    show()
    after = page.next ?? undefined
    if (after === undefined) {
      // Another round is worth its while only once something has moved.
      await window.idle(() => moved)
      if (!moved || failed.size > maxFailed) break
      moved = false
    }
    const isLong = segments === undefined ? workflowInfo().continueAsNewSuggested : started >= segments
    if (isLong) {
      await window.idle(undefined, handoverMs)
      await continueAsNew<typeof retentionSweep>({
        ...(organizationId === undefined ? {} : { organizationId }),
        ...(after === undefined ? {} : { after }),
        ...(segments === undefined ? {} : { segments }),
        atOnce,
        moved,
        asOfMs,
        failed: [...failed],
      })
    }
  }
  await window.idle()
  await sweepExpiry(organizationId)
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
