/**
 * A sweep: finds what is due and has it archived, round after round (sweep-rounds.ts), and lets what is due expire.
 * Ranges are claimed, so that two sweeps at once do no harm.
 */
import { continueAsNew, executeChild, proxyActivities } from '@temporalio/workflow'
import type { RetentionActivities } from '../activities/retention.js'
import {
  archiveWorkflowId,
  maxChildren,
  type ArchiveInput,
  type SweepInput,
} from '../src/retention/contract.js'
import { archive } from './archive.js'
import { beginExpiry, sweepExpiry } from './expiry-sweep.js'
import {
  finding,
  segmentOptions,
  showDone,
  sweepRounds,
  unlessBroken,
  type SweepResult,
} from './sweep-rounds.js'

const { findDue, findDueOf } = proxyActivities<RetentionActivities>({
  ...finding,
  summary: 'Find what is due',
})

export async function retentionSweep(input: SweepInput = {}): Promise<SweepResult> {
  const { organizationId, segments, atOnce = maxChildren } = input
  const asOfMs = input.asOfMs ?? Date.now()
  // What is due already; what this sweep archives and is due at once follows at its end.
  if (input.asOfMs === undefined) await beginExpiry(organizationId)
  const done = await sweepRounds<ArchiveInput>(
    {
      name: 'Sweep',
      atOnce,
      segments,
      async find(after) {
        const { ranges, next } = await (organizationId === undefined
          ? findDue(asOfMs, after ?? null, maxChildren)
          : findDueOf(asOfMs, organizationId))
        return { found: ranges, next }
      },
      run: archived,
      goOn: (place) =>
        continueAsNew<typeof retentionSweep>({
          ...(organizationId === undefined ? {} : { organizationId }),
          ...(segments === undefined ? {} : { segments }),
          atOnce,
          asOfMs,
          ...place,
        }),
    },
    input,
  )
  await sweepExpiry(organizationId)
  showDone('Sweep', done)
  return done
}

async function archived(range: ArchiveInput): Promise<boolean> {
  const summary = `Archive leaves ${String(range.from)} to ${String(range.to)} of ${range.organizationId}`
  const options = segmentOptions(range, archiveWorkflowId(range), summary, 'exporting')
  const result = await unlessBroken(executeChild(archive, { ...options, args: [range] }))
  return result?.state === 'done' || result?.state === 'shortened'
}
