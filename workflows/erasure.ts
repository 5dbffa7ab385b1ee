/**
 * One erasure request, from its receipt to its certificate, over months: waits for people, reminds them, cools off, and
 * runs the erasing steps in their order. What to do next is decided in `src/erasure/policy.ts` over what MongoDB says of
 * the request; here it is only done, one change after the other.
 *
 * An Update's handler puts the action in a queue and waits for its answer; only the main function applies actions, so that
 * two are never decided at once and none is lost when the history is cut. It applies them also while a step runs: a
 * withdrawal does not wait for a scoping to end.
 */
import {
  ActivityFailure,
  allHandlersFinished,
  ApplicationFailure,
  CancellationScope,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  defineUpdate,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  sleep,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow'
import type { AdvanceStep, ErasureActivities } from '../activities/erasure.js'
import {
  actionIdPattern,
  erasureActions,
  erasureWorkflowId,
  holdReleasedSignal,
  operatorReasons,
  stateQuery,
  type ActionReference,
  type ErasingActivities,
  type ErasureAction,
  type ErasureReference,
  type ErasureState,
  type OperatorReason,
} from '../src/erasure/contract.js'
import {
  erasureChecklist,
  erasureTiming,
  nextStep,
  parseErasureReference,
  type ActionAnswer,
  type ErasureSnapshot,
  type RunningStep,
} from '../src/erasure/policy.js'
import { allows } from '../src/erasure/state-machine.js'

export interface ErasureInput {
  readonly request: ErasureReference
  /** Events after which a new history begins. */
  readonly historyEvents?: number
  /** What the history before this one knew. */
  readonly snapshot?: ErasureSnapshot
}

export interface ErasureResult {
  /** null: the API began this and then stored no request. */
  readonly state: ErasureState | null
}

interface Asked {
  readonly actionId: string
  answer: ActionAnswer | undefined
}

/** What a step found: the event that follows, or when to look again. */
type Found =
  | Omit<AdvanceStep, 'version' | 'atMs'>
  | { readonly event: 'wait_for_expiry'; readonly until: string }
  | { readonly event: 'wait_for_recipients'; readonly until: string }

interface Running {
  readonly step: RunningStep
  readonly scope: CancellationScope
  found: Found | undefined
}

const phaseAttribute = { name: 'AnnalsPhase', type: 'KEYWORD' } as const
const deadlineAttribute = { name: 'AnnalsDeadline', type: 'DATETIME' } as const

/** Actions that wait for their answer; a person decides a few times in the life of a request. */
const maxQueued = 100
const loadEveryMs = 5_000

const activities = (summary: string) =>
  proxyActivities<ErasureActivities>({
    startToCloseTimeout: '30s',
    retry: { initialInterval: '500ms', backoffCoefficient: 2, maximumInterval: '1m' },
    summary,
  })

/** Some twenty minutes of trying, then an operator is asked. */
const steps = (summary: string) =>
  proxyActivities<ErasingActivities>({
    startToCloseTimeout: '12h',
    heartbeatTimeout: '2m',
    retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '2m', maximumAttempts: 15 },
    summary,
  })

/** An erasure is withdrawn, by those who may, not cancelled in Temporal: half an erasure is none. */
export function erasure(input: ErasureInput): Promise<ErasureResult> {
  return CancellationScope.nonCancellable(() => run(input))
}

async function run(input: ErasureInput): Promise<ErasureResult> {
  const request = checkInput(input)
  const historyEvents = input.historyEvents ?? erasureTiming.historyEvents
  const queue: Asked[] = []
  /** A hold was released since the holds were looked at. */
  const told = { holdReleased: false }
  let snapshot = input.snapshot

  setHandler(defineQuery<ErasureSnapshot | null>(stateQuery), () => snapshot ?? null)
  setHandler(defineSignal(holdReleasedSignal), () => {
    told.holdReleased = true
  })
  for (const action of erasureActions) {
    setHandler(
      defineUpdate<ActionAnswer, [ActionReference]>(action),
      async ({ actionId }) => {
        const asked: Asked = { actionId, answer: undefined }
        queue.push(asked)
        // A handler runs in the scope of the workflow, which somebody may have cancelled.
        await CancellationScope.nonCancellable(() => condition(() => asked.answer !== undefined))
        return asked.answer ?? { applied: false, code: 'not_found', state: null }
      },
      { validator: (reference) => validate(action, reference, snapshot, queue.length) },
    )
  }

  function take(next: ErasureSnapshot): void {
    if (snapshot?.state !== next.state) upsertSearchAttributes([{ key: phaseAttribute, value: next.state }])
    if (snapshot?.dueMs !== next.dueMs) {
      upsertSearchAttributes([{ key: deadlineAttribute, value: new Date(next.dueMs) }])
    }
    snapshot = next
    setCurrentDetails(erasureChecklist(request, snapshot))
  }

  async function answer(asked: Asked): Promise<void> {
    try {
      const result = await activities('Apply what was decided').applyErasureAction(request, asked.actionId)
      take(result.snapshot)
      const { applied, code, state } = result.outcome
      asked.answer = { applied, code, state }
    } catch (error) {
      // Nobody stored such an action: whoever sent this went round the API.
      if (failureType(error) !== 'not_found') throw error
      asked.answer = { applied: false, code: 'not_found', state: null }
    }
  }

  setCurrentDetails(erasureChecklist(request, snapshot))
  snapshot ??= await load(request)
  if (snapshot === undefined) return { state: null }
  take(snapshot)

  let running: Running | undefined
  for (;;) {
    const asked = queue.shift()
    if (asked !== undefined) {
      await answer(asked)
      continue
    }
    const waitsForHold: boolean = snapshot.state === 'on_hold'
    const step = nextStep(
      waitsForHold && told.holdReleased ? { ...snapshot, recheckMs: null } : snapshot,
      Date.now(),
    )
    if (running !== undefined && (step.do === 'close' || (step.do === 'run' && step.step !== running.step))) {
      // It was withdrawn, or denied, while a step ran that changes nothing.
      running.scope.cancel()
      running = undefined
    }
    const { version } = snapshot
    switch (step.do) {
      case 'close':
        if (queue.length > 0) break
        await condition(() => allHandlersFinished() || queue.length > 0)
        if (queue.length === 0) return { state: snapshot.state }
        break
      case 'remind':
        take(
          await activities('Remind of the deadline').remindErasure(request, {
            momentMs: step.momentMs,
            atMs: Date.now(),
          }),
        )
        break
      case 'escalate':
        take(await activities('Say that it is overdue').escalateErasure(request, Date.now()))
        break
      case 'advance':
        if (waitsForHold) told.holdReleased = false
        take(
          await activities('Record where it stands').advanceErasure(request, {
            event: step.event,
            version,
            atMs: Date.now(),
          }),
        )
        break
      case 'run':
        running ??= begin(step.step, request)
        await until(step.untilMs, () => queue.length > 0 || running?.found !== undefined)
        // An action that came first may have taken the request elsewhere.
        if (running.found !== undefined && queue.length === 0) {
          const { found } = running
          running = undefined
          take(await record(request, version, found))
        }
        break
      case 'wait':
        if (historyIsLong(historyEvents)) {
          await condition(() => allHandlersFinished() || queue.length > 0)
          if (queue.length > 0) break
          await continueAsNew<typeof erasure>({ ...input, snapshot })
        }
        await until(
          step.untilMs,
          () => queue.length > 0 || (waitsForHold && told.holdReleased) || historyIsLong(historyEvents),
        )
    }
  }
}

/** Any program with access to Temporal may start a workflow, with anything. */
function checkInput(input: unknown): ErasureReference {
  const given = typeof input === 'object' && input !== null && 'request' in input ? input.request : undefined
  const request = parseErasureReference(given)
  if (
    request === undefined ||
    erasureWorkflowId(request.organizationId, request.requestId) !== workflowInfo().workflowId
  ) {
    throw ApplicationFailure.nonRetryable('not the input of this erasure', 'invalid')
  }
  return request
}

/** Synchronous: refuses what the request's state, as far as it is known here, does not allow. */
function validate(
  action: ErasureAction,
  reference: unknown,
  snapshot: ErasureSnapshot | undefined,
  queued: number,
): void {
  const actionId =
    typeof reference === 'object' && reference !== null && 'actionId' in reference
      ? reference.actionId
      : undefined
  if (typeof actionId !== 'string' || !actionIdPattern.test(actionId)) {
    throw ApplicationFailure.nonRetryable('not an action', 'invalid')
  }
  if (queued >= maxQueued) throw ApplicationFailure.nonRetryable('too many actions wait', 'overloaded')
  if (snapshot !== undefined && !allows(snapshot, action)) {
    throw ApplicationFailure.nonRetryable('the state does not allow it', 'wrong_state')
  }
}

/** The API starts the workflow before it stores the request: so that no stored request is without one. */
async function load(request: ErasureReference): Promise<ErasureSnapshot | undefined> {
  for (let waitedMs = 0; ; waitedMs += loadEveryMs) {
    const snapshot = await activities('Read the request').loadErasure(request)
    if (snapshot !== null) return snapshot
    if (waitedMs >= erasureTiming.graceMs) return undefined
    await sleep(loadEveryMs)
  }
}

function begin(step: RunningStep, request: ErasureReference): Running {
  const running: Running = { step, scope: new CancellationScope(), found: undefined }
  running.scope
    .run(() => perform(step, request))
    .then(
      (found) => (running.found = found),
      (error: unknown) => (running.found = stoppedBy(error)),
    )
  return running
}

async function perform(step: RunningStep, request: ErasureReference): Promise<Found> {
  switch (step) {
    case 'scope': {
      const { result } = await steps('Count what there is').scope(request)
      return { event: result === 'matched' ? 'scoped' : 'matched_nothing' }
    }
    case 'fence': {
      const { result } = await steps('Fence the person').fence(request)
      if (result === 'held') return { event: 'hold_found' }
      await steps('Keep what is exempt, and record what is to go').prepare(request)
      return { event: 'prepared' }
    }
    case 'erase':
      await steps('Destroy the key and remove').erase(request)
      return { event: 'erased' }
    case 'verify': {
      const outcome = await steps('Look for what is left, as a second reader').verify(request)
      return outcome.result === 'clean'
        ? { event: 'verified_clean' }
        : { event: 'residue_found', reason: 'residue_found', targets: outcome.targets }
    }
    case 'notify': {
      const outcome = await steps('Tell the recipients').notify(request)
      return outcome.result === 'waiting'
        ? { event: 'wait_for_recipients', until: outcome.until }
        : { event: 'notified' }
    }
    case 'complete': {
      const outcome = await steps('Ledger and certificate').complete(request)
      if (outcome.result === 'waiting') return { event: 'wait_for_expiry', until: outcome.until }
      return { event: outcome.result === 'completed' ? 'nothing_remains' : 'exceptions_remain' }
    }
  }
}

function record(request: ErasureReference, version: number, found: Found): Promise<ErasureSnapshot> {
  if (found.event === 'wait_for_expiry') {
    const { maxExpiryWaitMs, expiryRetryMs } = erasureTiming
    const untilMs = nextLook(found.until, maxExpiryWaitMs, expiryRetryMs)
    return activities('Wait for what remains').awaitErasureExpiry(request, { version, untilMs })
  }
  if (found.event === 'wait_for_recipients') {
    const { maxNotifyWaitMs, notifyRetryMs } = erasureTiming
    const untilMs = nextLook(found.until, maxNotifyWaitMs, notifyRetryMs)
    return activities('Wait for recipients').awaitErasureRecipients(request, { version, untilMs })
  }
  return activities('Record where it stands').advanceErasure(request, { ...found, version, atMs: Date.now() })
}

/** When a step that waits is run again: at the moment it named, within bounds; or soon, where that has passed. */
function nextLook(until: string, maxWaitMs: number, retryMs: number): number {
  const now = Date.now()
  const waitMs = Date.parse(until) - now
  return now + (waitMs > 0 ? Math.min(waitMs, maxWaitMs) : retryMs)
}

/** A step failed for good: why, and which targets are concerned. */
function stoppedBy(error: unknown): Found {
  const type = failureType(error)
  const reason: OperatorReason =
    operatorReasons.find((known) => known === type) ??
    (type === undefined || type === 'NotFoundError' ? 'step_unavailable' : 'internal')
  const targets = targetsOf(error)
  return { event: 'stopped', reason, ...(targets.length === 0 ? {} : { targets }) }
}

function failureType(error: unknown): string | undefined {
  const cause = error instanceof ActivityFailure ? error.cause : error
  return cause instanceof ApplicationFailure ? (cause.type ?? undefined) : undefined
}

function targetsOf(error: unknown): string[] {
  const cause = error instanceof ActivityFailure ? error.cause : error
  const details: unknown = cause instanceof ApplicationFailure ? cause.details?.[0] : undefined
  if (typeof details !== 'object' || details === null || !('targets' in details)) return []
  const { targets } = details
  return Array.isArray(targets) ? targets.filter((target) => typeof target === 'string').slice(0, 100) : []
}

function historyIsLong(historyEvents: number): boolean {
  const info = workflowInfo()
  return info.continueAsNewSuggested || info.historyLength >= historyEvents
}

async function until(untilMs: number, comes: () => boolean): Promise<void> {
  if (untilMs === Infinity) await condition(comes)
  else await condition(comes, Math.max(untilMs - Date.now(), 0))
}
