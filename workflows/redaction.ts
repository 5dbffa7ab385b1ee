/**
 * One redaction, from its approval on: looks up what goes, waits while a legal hold covers it, then removes it. Past the
 * event that says so it is tried for as long as it takes: a value that should be gone is not left where it is.
 */
import {
  ApplicationFailure,
  continueAsNew,
  proxyActivities,
  setCurrentDetails,
  sleep,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow'
import type { RedactionActivities } from '../activities/redaction.js'
import {
  parseRedactionReference,
  redactionTiming,
  redactionWorkflowId,
  type RedactionReference,
} from '../src/redaction/contract.js'

export interface RedactionResult {
  readonly state: 'redacted' | 'failed'
}

const phaseAttribute = { name: 'AnnalsPhase', type: 'KEYWORD' } as const

/** The approval is written right after the workflow began, or never. */
const awaiting = proxyActivities<RedactionActivities>({
  startToCloseTimeout: '15s',
  heartbeatTimeout: '15s',
  retry: { initialInterval: '500ms', backoffCoefficient: 1.5, maximumInterval: '10s', maximumAttempts: 20 },
  summary: 'Wait for the approval to be written',
})

/** A segment of the archive is written anew within minutes; database and archive may be away for as long as they are. */
const steps = (summary: string) =>
  proxyActivities<RedactionActivities>({
    startToCloseTimeout: '6h',
    heartbeatTimeout: '1m',
    retry: {
      initialInterval: '1s',
      backoffCoefficient: 2,
      maximumInterval: '5m',
      nonRetryableErrorTypes: ['not_found'],
    },
    summary,
  })

export async function redaction(input: RedactionReference): Promise<RedactionResult> {
  const reference = checkInput(input)
  show('approved', 'Wait for the approval')
  await awaiting.awaitRedaction(reference)
  show('approved', 'Look up what is to go')
  if ((await steps('Look up what is to go').prepareRedaction(reference)) === 'failed') {
    show('failed', 'Failed: a field is not there any more, or its event is damaged; nothing was done')
    return { state: 'failed' }
  }
  let waitMs: number = redactionTiming.holdRecheckMs
  while (
    (await steps('Look whether a hold covers it, and write the event').decideRedaction(reference)) === 'held'
  ) {
    show('on_hold', 'A legal hold covers it; it is looked at again by itself')
    await sleep(waitMs)
    waitMs = Math.min(2 * waitMs, redactionTiming.maxHoldRecheckMs)
    if (workflowInfo().continueAsNewSuggested) await continueAsNew<typeof redaction>(reference)
  }
  show('redacting', 'Remove the values wherever the events are')
  await steps('Remove the values').removeRedacted(reference)
  show('redacted', 'Redacted')
  return { state: 'redacted' }
}

/** Any program with access to Temporal may start a workflow, with anything. */
function checkInput(input: unknown): RedactionReference {
  const reference = parseRedactionReference(input)
  if (reference === undefined || redactionWorkflowId(reference) !== workflowInfo().workflowId)
    throw ApplicationFailure.nonRetryable('not the input of this redaction', 'invalid')
  return reference
}

function show(phase: string, text: string): void {
  upsertSearchAttributes([{ key: phaseAttribute, value: phase }])
  setCurrentDetails(text)
}
