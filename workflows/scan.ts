/**
 * One scan, from its start to its end: waits for the job to report, notices where it stalls or times out, and
 * sees to it that there is one start event and one finish event. What to do next is decided in
 * `src/scans/policy.ts`; here it is only done. Handlers set state and nothing else, so that none is ever in flight
 * when the history is cut.
 */
import {
  allHandlersFinished,
  ApplicationFailure,
  CancellationScope,
  condition,
  continueAsNew,
  defineSignal,
  isCancellation,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow'
import type { ScanActivities } from '../activities/scans.js'
import {
  cancelSignal,
  failSignal,
  finishSignal,
  parseEnd,
  parseFinish,
  parseProgress,
  parseScanReference,
  progressSignal,
  scanWorkflowId,
  type ScanEnd,
  type ScanReference,
  type ScanStatus,
} from '../src/scans/contract.js'
import { newScanState, nextStep, scanChecklist, scanTiming, type ScanState } from '../src/scans/policy.js'

export interface ScanInput {
  readonly scan: ScanReference
  /** How long the API has to write the start before the workflow does. */
  readonly graceMs?: number
  /** Events after which a new history begins. */
  readonly historyEvents?: number
  /** What the history before this one knew. */
  readonly state?: ScanState
}

export interface ScanResult {
  readonly status: ScanStatus
  readonly late: boolean
}

const phaseAttribute = { name: 'AnnalsPhase', type: 'KEYWORD' } as const

const activities = (summary: string) =>
  proxyActivities<ScanActivities>({
    startToCloseTimeout: '15s',
    retry: { initialInterval: '500ms', backoffCoefficient: 2, maximumInterval: '30s' },
    summary,
  })

export async function scan(input: ScanInput): Promise<ScanResult> {
  const reference = checkInput(input)
  const state = input.state ?? newScanState(reference)
  const historyEvents = input.historyEvents ?? scanTiming.historyEvents
  const show = (): void => setCurrentDetails(scanChecklist(reference, state))

  setHandler(defineSignal<[unknown]>(progressSignal), (payload) => {
    takeProgress(state, payload)
    show()
  })
  const onEnd = (name: string, parse: (payload: unknown) => ScanEnd | undefined): void =>
    setHandler(defineSignal<[unknown]>(name), (payload) => {
      takeEnd(state, parse(payload))
      show()
    })
  onEnd(finishSignal, parseFinish)
  onEnd(failSignal, (payload) => parseEnd('failed', payload))
  onEnd(cancelSignal, (payload) => parseEnd('cancelled', payload))
  show()

  try {
    await ensureStarted(input, reference, state)
    for (;;) {
      show()
      const step = nextStep(reference, state, Date.now())
      switch (step.do) {
        case 'conclude':
        case 'close':
          return await conclude(reference, state)
        case 'time_out':
          await timeOut(reference, state)
          break
        case 'look_into_stall':
          await lookIntoStall(reference, state)
          break
        case 'record_progress':
          await recordProgress(reference, state)
          break
        case 'wait':
          if (historyIsLong(historyEvents)) {
            await condition(allHandlersFinished)
            await continueAsNew<typeof scan>({ ...input, state })
          }
          await waitUntil(step.untilMs, state, historyEvents)
      }
    }
  } catch (error) {
    if (!isCancellation(error)) throw error
    // An operator cancelled the workflow in Temporal: so ends the scan, and its event says so.
    await CancellationScope.nonCancellable(() => {
      takeEnd(state, { status: 'cancelled', outcome: 'failure' })
      return conclude(reference, state)
    })
    throw error
  }
}

/** Any program with access to Temporal may start a workflow, with anything. */
function checkInput(input: unknown): ScanReference {
  const given = typeof input === 'object' && input !== null && 'scan' in input ? input.scan : undefined
  const reference = parseScanReference(given)
  if (
    reference === undefined ||
    scanWorkflowId(reference.organizationId, reference.scanId) !== workflowInfo().workflowId
  ) {
    throw ApplicationFailure.nonRetryable('not the input of this scan', 'invalid')
  }
  return reference
}

function takeProgress(state: ScanState, payload: unknown): void {
  const progress = parseProgress(payload)
  if (progress === undefined) {
    state.badSignals += 1
    return
  }
  state.percent = progress.percent ?? state.percent
  state.counts = progress.counts ?? state.counts
  state.lastProgressAtMs = Date.now()
  if (progress.recorded !== true) state.unrecorded = true
  if (state.phase === 'stalled') {
    state.phase = 'running'
    upsertSearchAttributes([{ key: phaseAttribute, value: 'running' }])
  }
}

function takeEnd(state: ScanState, end: ScanEnd | undefined): void {
  if (end === undefined) state.badSignals += 1
  else if (state.end !== null) state.repeatedEnds += 1
  else {
    state.end = end
    state.endedAtMs = Date.now()
  }
}

/** Leaves the API a moment to write the start itself; an end does not wait for it. */
async function ensureStarted(input: ScanInput, reference: ScanReference, state: ScanState): Promise<void> {
  if (state.started) return
  await condition(() => state.end !== null, input.graceMs ?? scanTiming.graceMs)
  const check = await activities('Write the start if the API did not').ensureScanStarted(reference)
  state.started = true
  state.claimed = check.ended
}

async function recordProgress(reference: ScanReference, state: ScanState): Promise<void> {
  const atMs = state.lastProgressAtMs
  const { percent, counts } = state
  // Before the activity: what is signalled while it runs is the next record's.
  state.unrecorded = false
  state.lastRecordedAtMs = Date.now()
  const check = await activities('Store progress').recordScanProgress(reference, { percent, counts, atMs })
  state.claimed = check.ended
}

async function lookIntoStall(reference: ScanReference, state: ScanState): Promise<void> {
  state.stallChecks += 1
  const knownAtMs = state.lastProgressAtMs
  const check = await activities('See whether it has stalled').lookIntoScanStall(reference, {
    number: state.stallChecks,
    atMs: Date.now(),
  })
  state.claimed = check.ended
  state.lastProgressAtMs = Math.max(state.lastProgressAtMs, check.lastProgressAtMs)
  // Progress that was signalled meanwhile ended the stall before it was shown.
  if (check.stalled && state.lastProgressAtMs === knownAtMs) {
    state.phase = 'stalled'
    upsertSearchAttributes([{ key: phaseAttribute, value: 'stalled' }])
  }
}

async function timeOut(reference: ScanReference, state: ScanState): Promise<void> {
  const check = await activities('Write that it timed out').timeOutScan(reference, Date.now())
  state.claimed = check.ended
  if (check.ended) return
  state.phase = 'timed_out'
  upsertSearchAttributes([{ key: phaseAttribute, value: 'timed_out' }])
}

async function conclude(reference: ScanReference, state: ScanState): Promise<ScanResult> {
  const { end, endedAtMs } = state
  const signalled = end === null || endedAtMs === null ? null : { end, atMs: endedAtMs }
  const result = await activities('Write the end').concludeScan(reference, signalled)
  upsertSearchAttributes([{ key: phaseAttribute, value: result.status }])
  setCurrentDetails(
    `${scanChecklist(reference, state)}\n\nEnded: ${result.status}${result.late ? ', late' : ''}`,
  )
  return { status: result.status, late: result.late }
}

function historyIsLong(historyEvents: number): boolean {
  const info = workflowInfo()
  return info.continueAsNewSuggested || info.historyLength >= historyEvents
}

/**
 * Sleeps until the next thing is due or a signal brings a new one. Progress that was stored already, and further
 * progress while some waits to be stored, wake nobody: a chatty job costs signals, not timers.
 */
async function waitUntil(untilMs: number, state: ScanState, historyEvents: number): Promise<void> {
  const { unrecorded, phase } = state
  await condition(
    () =>
      state.end !== null ||
      (state.unrecorded && !unrecorded) ||
      state.phase !== phase ||
      historyIsLong(historyEvents),
    untilMs - Date.now(),
  )
}
