/**
 * A sweep of expiry: finds what is due and lets it expire, one segment of each organization in a round, at most 200 at once;
 * round after round until nothing is due. Started by the sweep that archives, and independent of it: an archive that is
 * full stops the one, and is helped by the other.
 */
import {
  ParentClosePolicy,
  WorkflowIdReusePolicy,
  continueAsNew,
  executeChild,
  isCancellation,
  proxyActivities,
  setCurrentDetails,
  startChild,
  workflowInfo,
} from '@temporalio/workflow'
import type { ExpiryActivities } from '../activities/expiry.js'
import { maxChildren } from '../src/retention/contract.js'
import {
  expireWorkflowId,
  expirySweepWorkflowId,
  type ExpireInput,
  type ExpiryPage,
  type ExpirySweepInput,
} from '../src/retention/expiry-contract.js'
import { ChildWindow } from './child-window.js'
import { expire } from './expire.js'

const { findExpired, findExpiredOf } = proxyActivities<ExpiryActivities>({
  startToCloseTimeout: '10m',
  heartbeatTimeout: '1m',
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '1m', maximumAttempts: 20 },
  summary: 'Find what has expired',
})

/** More organizations that stand still are not told apart: the sweep ends, and the next one looks again. */
const maxFailed = 900
/** A history that has grown long waits so long for what is under way; what takes longer goes on without it. */
const handoverMs = 120_000

export interface ExpirySweepResult {
  /** Organizations that stand still until the next sweep. */
  readonly failed: number
}

export async function expirySweep(input: ExpirySweepInput = {}): Promise<ExpirySweepResult> {
  const { organizationId } = input
  const asOfMs = input.asOfMs ?? Date.now()
  const failed = new Set(input.failed)
  const window = new ChildWindow(maxChildren)
  let { after, moved = false } = input
  const start = (segment: ExpireInput) =>
    window.start(segment.organizationId, async () => {
      if (await expired(segment)) moved = true
      else failed.add(segment.organizationId)
    })
  for (;;) {
    await window.room()
    const page: ExpiryPage =
      organizationId === undefined
        ? await findExpired(asOfMs, after ?? null, maxChildren)
        : await findExpiredOf(asOfMs, organizationId)
    for (const segment of page.segments) {
      await window.room()
      if (!failed.has(segment.organizationId) && !window.has(segment.organizationId)) start(segment)
    }
    setCurrentDetails(
      `**Expiry**: ${String(window.size)} segments under way, ${String(failed.size)} organizations stand still`,
    )
    after = page.next ?? undefined
    if (after === undefined) {
      // Another round is worth its while only once something has moved.
      await window.idle(() => moved)
      if (!moved || failed.size > maxFailed) break
      moved = false
    }
    if (workflowInfo().continueAsNewSuggested) {
      await window.idle(undefined, handoverMs)
      await continueAsNew<typeof expirySweep>({
        ...(organizationId === undefined ? {} : { organizationId }),
        ...(after === undefined ? {} : { after }),
        moved,
        asOfMs,
        failed: [...failed],
      })
    }
  }
  await window.idle()
  setCurrentDetails(`**Expiry**: done; ${String(failed.size)} organizations stand still`)
  // An object, and not nothing: the payload codec takes no payload without data from a workflow.
  return { failed: failed.size }
}

/** @returns whether there may be more of this organization in the next round */
async function expired(segment: ExpireInput): Promise<boolean> {
  const { organizationId, from, to } = segment
  try {
    const { state } = await executeChild(expire, {
      workflowId: expireWorkflowId(segment),
      workflowIdReusePolicy: WorkflowIdReusePolicy.ALLOW_DUPLICATE,
      parentClosePolicy: ParentClosePolicy.ABANDON,
      args: [segment],
      staticSummary: `Expiry of leaves ${String(from)} to ${String(to)} of ${organizationId}`,
      priority: { fairnessKey: organizationId },
      typedSearchAttributes: [
        { key: { name: 'AnnalsOrganization', type: 'KEYWORD' }, value: organizationId },
        { key: { name: 'AnnalsKind', type: 'KEYWORD' }, value: 'retention' },
        { key: { name: 'AnnalsPhase', type: 'KEYWORD' }, value: 'rewriting' },
      ],
    })
    return state === 'done' || state === 'kept'
  } catch (error) {
    if (isCancellation(error)) throw error
    // Under way by another sweep, ended by an operator, or broken: nothing more of it now.
    return false
  }
}

const sweepOptions = (organizationId: string | undefined) => ({
  workflowId: expirySweepWorkflowId(organizationId),
  workflowIdReusePolicy: WorkflowIdReusePolicy.ALLOW_DUPLICATE,
  parentClosePolicy: ParentClosePolicy.ABANDON,
  args: [organizationId === undefined ? {} : { organizationId }] as [ExpirySweepInput],
  staticSummary: `Expiry${organizationId === undefined ? '' : ` of ${organizationId}`}: let what is due expire`,
  typedSearchAttributes: [
    { key: { name: 'AnnalsKind', type: 'KEYWORD' as const }, value: 'retention' },
    { key: { name: 'AnnalsPhase', type: 'KEYWORD' as const }, value: 'running' },
  ],
})

/** Starts a sweep of expiry, and goes on without it. One that runs already is as good. */
export async function beginExpiry(organizationId: string | undefined): Promise<void> {
  try {
    await startChild(expirySweep, sweepOptions(organizationId))
  } catch (error) {
    if (isCancellation(error)) throw error
  }
}

/** The same, and waits for its end; where one runs already, it does not. */
export async function sweepExpiry(organizationId: string | undefined): Promise<void> {
  try {
    await executeChild(expirySweep, sweepOptions(organizationId))
  } catch (error) {
    if (isCancellation(error)) throw error
  }
}
