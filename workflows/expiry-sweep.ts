/**
 * A sweep of expiry: finds what is due and lets it expire, round after round (sweep-rounds.ts). Started by the sweep that
 * archives, and independent of it: an archive that is full stops the one, and is helped by the other.
 */
import {
  ParentClosePolicy,
  WorkflowIdReusePolicy,
  continueAsNew,
  executeChild,
  proxyActivities,
  startChild,
} from '@temporalio/workflow'
import type { ExpiryActivities } from '../activities/expiry.js'
import { maxChildren } from '../src/retention/contract.js'
import {
  expireWorkflowId,
  expirySweepWorkflowId,
  type ExpireInput,
  type ExpirySweepInput,
} from '../src/retention/expiry-contract.js'
import { expire } from './expire.js'
import {
  finding,
  segmentOptions,
  showDone,
  sweepRounds,
  unlessBroken,
  type SweepResult,
} from './sweep-rounds.js'

const { findExpired, findExpiredOf } = proxyActivities<ExpiryActivities>({
  ...finding,
  summary: 'Find what has expired',
})

export async function expirySweep(input: ExpirySweepInput = {}): Promise<SweepResult> {
  const { organizationId } = input
  const asOfMs = input.asOfMs ?? Date.now()
  const done = await sweepRounds<ExpireInput>(
    {
      name: 'Expiry',
      async find(after) {
        const { segments, next } = await (organizationId === undefined
          ? findExpired(asOfMs, after ?? null, maxChildren)
          : findExpiredOf(asOfMs, organizationId))
        return { found: segments, next }
      },
      run: expired,
      goOn: (place) =>
        continueAsNew<typeof expirySweep>({
          ...(organizationId === undefined ? {} : { organizationId }),
          asOfMs,
          ...place,
        }),
    },
    input,
  )
  showDone('Expiry', done)
  return done
}

async function expired(segment: ExpireInput): Promise<boolean> {
  const summary = `Expiry of leaves ${String(segment.from)} to ${String(segment.to)} of ${segment.organizationId}`
  const options = segmentOptions(segment, expireWorkflowId(segment), summary, 'rewriting')
  const result = await unlessBroken(executeChild(expire, { ...options, args: [segment] }))
  return result?.state === 'done' || result?.state === 'kept' || result?.state === 'locked'
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
  await unlessBroken(startChild(expirySweep, sweepOptions(organizationId)))
}

/** The same, and waits for its end; where one runs already, it does not. */
export async function sweepExpiry(organizationId: string | undefined): Promise<void> {
  await unlessBroken(executeChild(expirySweep, sweepOptions(organizationId)))
}
