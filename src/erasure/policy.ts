/**
 * What a request's workflow does next: pure decisions over what MongoDB says of the request and the time, so that they
 * can be tested one by one and replayed for ever. `workflows/erasure.ts` only carries them out.
 */
import {
  erasureIdPattern,
  isFinal,
  type ErasureReference,
  type ErasureState,
  type OperatorReason,
  type ReleaseKeptInput,
} from './contract.js'
import { deadlineBinds, deadlineStep } from './deadlines.js'
import type { ErasureEvent } from './state-machine.js'

export const erasureTiming = {
  /** How long the workflow looks for a request that the API was about to store. */
  graceMs: 60_000,
  /** A hold is looked at again after so long. */
  holdRecheckMs: 6 * 3_600_000,
  /** What still remains is looked at again when it is to be gone, and after so long at the latest. */
  maxExpiryWaitMs: 7 * 86_400_000,
  /** Where it was to be gone by now and is not. */
  expiryRetryMs: 3_600_000,
  /** Recipients are called again when the next attempt is due, and after so long at the latest. */
  maxNotifyWaitMs: 12 * 3_600_000,
  /** Where the attempt was due by now: the clocks of two machines differ, or one died at it. */
  notifyRetryMs: 10_000,
  /** The workflow starts a new history after so many events. */
  historyEvents: 1_000,
} as const

/**
 * All that a workflow knows of its request: small, free of anything personal, and always as MongoDB had it. Times are
 * milliseconds since 1970.
 */
export interface ErasureSnapshot {
  readonly state: ErasureState
  readonly resumeAt: ErasureState | null
  /** Grows with every change of the request. */
  readonly version: number
  readonly dueMs: number
  readonly extended: boolean
  readonly remindedMs: number | null
  readonly overdueMs: number | null
  /** When cooling off is over; null before it began. */
  readonly coolingOffEndsMs: number | null
  /** When the hold is looked at again; null where there is none. */
  readonly recheckMs: number | null
  /** When what remains is looked at again; null = it was not looked at yet. */
  readonly expiryMs: number | null
  /** When recipients are called again; null = not called yet. Histories of earlier versions know nothing of it. */
  readonly notifyMs?: number | null
  readonly reason: OperatorReason | null
}

/** What an Update answers. */
export interface ActionAnswer {
  readonly applied: boolean
  /** Why not; `not_found`: no such action is stored. */
  readonly code: 'wrong_state' | 'four_eyes' | 'not_found' | null
  /** Where the request stands then; null where that was not looked at. */
  readonly state: ErasureState | null
}

const isOrganizationId = (value: unknown): value is string =>
  typeof value === 'string' && /^[A-Za-z0-9_-]{1,64}$/.test(value)

/** Checks what a workflow was started with: another program may start one. @returns undefined where it does not fit */
export function parseErasureReference(value: unknown): ErasureReference | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  if (!('organizationId' in value) || !('requestId' in value)) return undefined
  const { organizationId, requestId } = value
  if (!isOrganizationId(organizationId)) return undefined
  if (typeof requestId !== 'string' || !erasureIdPattern.test(requestId)) return undefined
  return { organizationId, requestId }
}

/** @returns undefined where it does not fit */
export function parseReleaseInput(value: unknown): ReleaseKeptInput | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { organizationId, after, failed, requests }: Partial<Record<keyof ReleaseKeptInput, unknown>> = value
  if (organizationId !== null && !isOrganizationId(organizationId)) return undefined
  const place = after === undefined ? undefined : parseErasureReference(after)
  if (after !== undefined && place === undefined) return undefined
  if (failed !== undefined && failed !== true) return undefined
  if (requests !== undefined && !(typeof requests === 'number' && requests >= 1)) return undefined
  return {
    organizationId,
    ...(place === undefined ? {} : { after: place }),
    ...(failed === undefined ? {} : { failed }),
    ...(requests === undefined ? {} : { requests }),
  }
}

/** A step of the erasing that a state runs. */
export const runningSteps = ['scope', 'fence', 'erase', 'verify', 'notify', 'complete'] as const
export type RunningStep = (typeof runningSteps)[number]

export type ErasureStep =
  | { readonly do: 'close' }
  | { readonly do: 'escalate' }
  | { readonly do: 'remind'; readonly momentMs: number }
  | {
      readonly do: 'advance'
      readonly event: Extract<ErasureEvent, 'begin' | 'cool_off' | 'cooling_off_over'>
    }
  /** `untilMs`: the deadline has something to say then, though the step may still run. */
  | { readonly do: 'run'; readonly step: RunningStep; readonly untilMs: number }
  | { readonly do: 'wait'; readonly untilMs: number }

/** The next step. What the deadline has to say comes first: a step may take hours. */
export function nextStep(snapshot: ErasureSnapshot, nowMs: number): ErasureStep {
  const { state } = snapshot
  if (isFinal(state)) return { do: 'close' }
  let untilMs = Infinity
  if (deadlineBinds(state)) {
    const due = deadlineStep(snapshot, nowMs)
    if (due.do !== 'wait') return due
    untilMs = due.untilMs
  }
  const until = (momentMs: number | null, then: ErasureStep): ErasureStep =>
    momentMs !== null && nowMs < momentMs ? { do: 'wait', untilMs: Math.min(untilMs, momentMs) } : then
  const run = (step: RunningStep): ErasureStep => ({ do: 'run', step, untilMs })
  switch (state) {
    case 'received':
      return { do: 'advance', event: 'begin' }
    case 'scoping':
      return run('scope')
    case 'approved':
      return { do: 'advance', event: 'cool_off' }
    case 'cooling_off':
      return until(snapshot.coolingOffEndsMs, { do: 'advance', event: 'cooling_off_over' })
    case 'on_hold':
      return until(snapshot.recheckMs, { do: 'advance', event: 'cooling_off_over' })
    case 'fenced':
      return run('fence')
    case 'erasing':
      return run('erase')
    case 'verifying':
      return run('verify')
    case 'notifying':
      return until(snapshot.notifyMs ?? null, run('notify'))
    case 'awaiting_expiry':
      return until(snapshot.expiryMs, run('complete'))
    case 'identity_pending':
    case 'review':
    case 'needs_operator':
      return { do: 'wait', untilMs }
  }
}

const path = [
  ['identity_pending', 'identity verified'],
  ['scoping', 'scope counted'],
  ['review', 'approved by a second officer'],
  ['cooling_off', 'cooled off'],
  ['fenced', 'fenced and recorded'],
  ['erasing', 'erased'],
  ['verifying', 'verified by the second reader'],
  ['notifying', 'recipients told'],
  ['awaiting_expiry', 'nothing remains'],
] as const satisfies readonly (readonly [ErasureState, string])[]

/** Where on the path a state stands; states of the same step share a number. */
function progressOf({ state, resumeAt }: ErasureSnapshot): number {
  switch (state) {
    case 'received':
      return 0
    case 'approved':
    case 'on_hold':
      return 3
    case 'completed':
    case 'completed_with_exceptions':
      return path.length
    case 'needs_operator':
      return path.findIndex(([name]) => name === resumeAt)
    default:
      return path.findIndex(([name]) => name === state)
  }
}

/** What an operator reads in Temporal UI under "current details" (Markdown); nothing personal can get in. */
export function erasureChecklist(reference: ErasureReference, snapshot: ErasureSnapshot | undefined): string {
  if (snapshot === undefined) return `**Erasure** ${reference.requestId}: being read`
  const { state, reason, resumeAt } = snapshot
  const done = progressOf(snapshot)
  return [
    `**Erasure** ${reference.requestId} of ${reference.organizationId}: ${state}`,
    ...path.map(([, text], index) => `- [${index < done ? 'x' : ' '}] ${text}`),
    `- due ${iso(snapshot.dueMs)}${snapshot.extended ? ', extended' : ''}${
      snapshot.overdueMs === snapshot.dueMs ? ', **overdue**' : ''
    }`,
    ...(state === 'cooling_off' && snapshot.coolingOffEndsMs !== null
      ? [`- cooling off until ${iso(snapshot.coolingOffEndsMs)}`]
      : []),
    ...(state === 'on_hold' && snapshot.recheckMs !== null
      ? [`- everything is held; looked at again ${iso(snapshot.recheckMs)}`]
      : []),
    ...(state === 'notifying' && (snapshot.notifyMs ?? null) !== null
      ? [`- some recipients are not reached; called again ${iso(snapshot.notifyMs ?? 0)}`]
      : []),
    ...(state === 'awaiting_expiry' && snapshot.expiryMs !== null
      ? [`- something remains; looked at again ${iso(snapshot.expiryMs)}`]
      : []),
    ...(state === 'needs_operator'
      ? [
          `- **needs an operator**: ${reason ?? 'internal'}, goes on with ${resumeAt ?? 'nothing'}. See docs/erasure.md, \`annals erasure retry\`.`,
        ]
      : []),
  ].join('\n')
}

const iso = (ms: number): string => new Date(ms).toISOString()
