/**
 * The offboarding of one organization, from its approval on: cooling off, the point of no return, the steps of the
 * checklist, and what remains until its day. What is true stands in MongoDB; a signal says that it changed.
 */
import {
  ActivityFailure,
  ApplicationFailure,
  condition,
  continueAsNew,
  defineSignal,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  sleep,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow'
import type { OffboardingActivities } from '../activities/offboarding.js'
import {
  maxInterruptions,
  offboardingInterruption,
  offboardingReasons,
  offboardingSteps,
  offboardingTiming,
  offboardingWakeSignal,
  offboardingWorkflowId,
  parseOffboardingReference,
  type OffboardingReason,
  type OffboardingReference,
  type OffboardingSnapshot,
  type OffboardingState,
  type OffboardingStep,
} from '../src/offboarding/contract.js'

export interface OffboardingResult {
  readonly state: 'completed' | 'withdrawn'
}

const phaseAttribute = { name: 'AnnalsPhase', type: 'KEYWORD' } as const
const loadEveryMs = 1_000
const loadAttempts = 120

/** The database may be away for as long as it is: what was begun is seen to its end. */
const short = (summary: string) =>
  proxyActivities<OffboardingActivities>({
    startToCloseTimeout: '1m',
    heartbeatTimeout: '30s',
    retry: {
      initialInterval: '1s',
      backoffCoefficient: 2,
      maximumInterval: '1m',
      nonRetryableErrorTypes: ['not_found'],
    },
    summary,
  })

/** Millions of rows take hours; what fails for minutes on end is an operator's. */
const long = (summary: string) =>
  proxyActivities<OffboardingActivities>({
    startToCloseTimeout: '1d',
    heartbeatTimeout: '1m',
    retry: {
      initialInterval: '1s',
      backoffCoefficient: 2,
      maximumInterval: '1m',
      maximumAttempts: 12,
      nonRetryableErrorTypes: ['not_found'],
    },
    summary,
  })

const names: Readonly<Record<OffboardingStep, string>> = {
  stop_workflows: 'Stop what runs for the organization',
  settle: 'Wait until every process knows',
  seal: 'Seal what was accepted, and note the final tree',
  destroy_keys: 'Destroy the key',
  remove_rows: 'Remove every row',
  remove_archive: 'Remove archive, ledger and checkpoint copy',
  remove_workflows: 'Remove executions from Temporal',
  verify: 'Look for what is left',
  certify: 'Note in the log of the deployment',
}

export async function offboarding(input: OffboardingReference): Promise<OffboardingResult> {
  const reference = checkInput(input)
  let woken = false
  setHandler(defineSignal(offboardingWakeSignal), () => {
    woken = true
  })
  const wakeOr = async (ms: number | undefined) => {
    if (ms === undefined) await condition(() => woken)
    else await condition(() => woken, Math.max(1, ms))
  }

  let holdWaitMs: number = offboardingTiming.holdRecheckMs
  for (;;) {
    woken = false
    const { state, coolingOffEndsMs } = await load(reference)
    switch (state) {
      case 'withdrawn':
      case 'completed':
        show(state, state === 'completed' ? 'Completed: nothing is left' : 'Withdrawn')
        return { state }
      case 'requested':
      case 'cooling_off': {
        show(state, 'Cooling off')
        const left = (coolingOffEndsMs ?? Date.now()) - Date.now()
        if (left > 0) await wakeOr(left)
        else await begin()
        break
      }
      case 'on_hold':
        await begin()
        break
      case 'offboarding':
        await takeSteps(reference)
        break
      case 'needs_operator':
        show(state, 'Needs an operator: see the checklist of the offboarding, then retry')
        await wakeOr(undefined)
        break
      case 'awaiting_expiry':
        show(state, 'Nothing is left but what no one can delete yet: objects under lock, old backups')
        if (!(await look(reference))) await wakeOr(offboardingTiming.expiryLookMs)
    }
    if (workflowInfo().continueAsNewSuggested) await continueAsNew<typeof offboarding>(reference)
  }

  async function begin(): Promise<void> {
    if ((await short('Close the organization').beginOffboarding(reference)) !== 'held') return
    show('on_hold', 'A legal hold is in force; it is looked at again by itself')
    await wakeOr(holdWaitMs)
    holdWaitMs = Math.min(2 * holdWaitMs, offboardingTiming.maxHoldRecheckMs)
  }
}

/** The approval is written right after the workflow began, or never. */
async function load(reference: OffboardingReference): Promise<OffboardingSnapshot> {
  for (let attempt = 0; attempt < loadAttempts; attempt += 1) {
    const snapshot = await short('Read where it stands').loadOffboarding(reference)
    if (snapshot !== null) return snapshot
    await sleep(loadEveryMs)
  }
  throw ApplicationFailure.nonRetryable('the approval was never written', 'not_approved')
}

async function takeSteps(reference: OffboardingReference): Promise<void> {
  for (const [done, step] of offboardingSteps.entries()) {
    showSteps(done)
    try {
      await uninterrupted(() => long(names[step]).takeOffboardingStep(reference, step))
    } catch (error) {
      const reason = reasonOf(error)
      if (reason === undefined) throw error
      await short('Note what it stands still for').stopOffboarding(reference, { step, reason })
      return
    }
  }
}

/** What remains is looked at each day, whatever came of it on the day before. */
async function look(reference: OffboardingReference): Promise<boolean> {
  try {
    return await uninterrupted(() => long('Look whether the last of it is gone').lookAtOffboarding(reference))
  } catch (error) {
    if (reasonOf(error) === undefined || typeOf(error) === 'not_found') throw error
    return false
  }
}

/** A worker that stops over a step is no failure of it, and uses up none of its attempts: another worker takes it again. */
async function uninterrupted<T>(run: () => Promise<T>): Promise<T> {
  for (let interruptions = 0; ; interruptions += 1) {
    try {
      return await run()
    } catch (error) {
      if (typeOf(error) !== offboardingInterruption || interruptions === maxInterruptions) throw error
    }
  }
}

function typeOf(error: unknown): string | undefined {
  if (!(error instanceof ActivityFailure)) return undefined
  return error.cause instanceof ApplicationFailure ? (error.cause.type ?? undefined) : undefined
}

/** A failure leaves an activity as its code; a cancellation is none. */
function reasonOf(error: unknown): OffboardingReason | undefined {
  if (!(error instanceof ActivityFailure)) return undefined
  const type = typeOf(error)
  return offboardingReasons.find((reason) => reason === type) ?? 'internal'
}

/** Any program with access to Temporal may start a workflow, with anything. */
function checkInput(input: unknown): OffboardingReference {
  const reference = parseOffboardingReference(input)
  if (reference === undefined || offboardingWorkflowId(reference) !== workflowInfo().workflowId)
    throw ApplicationFailure.nonRetryable('not the input of this offboarding', 'invalid')
  return reference
}

function showSteps(done: number): void {
  const lines = offboardingSteps.map((step, index) => `- [${index < done ? 'x' : ' '}] ${names[step]}`)
  show('offboarding', lines.join('\n'))
}

function show(phase: OffboardingState, text: string): void {
  upsertSearchAttributes([{ key: phaseAttribute, value: phase }])
  setCurrentDetails(text)
}
