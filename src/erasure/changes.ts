/**
 * What becomes of a stored request by what happened, and the event that says so. Pure: recorder.ts makes the change, once.
 */
import type { JsonObject, SystemEvent } from '../events/contract.js'
import { isFinal, type ErasureReference, type ErasureState, type OperatorReason } from './contract.js'
import { dueMs, extension, type Receipt } from './deadlines.js'
import { erasureTiming, type ErasureSnapshot } from './policy.js'
import { mayRetire } from './retiring.js'
import { transition, type ErasureEvent } from './state-machine.js'
import {
  subjectsKeyOf,
  type ActionOutcome,
  type ErasureActionDocument,
  type ErasureRequestDocument,
  type Evidence,
  type RequestChange,
} from './store.js'
import { leavesOpenWhom } from './whom.js'

/** An event that the workflow brings about, with what it knows of it. */
export interface Advance {
  readonly event: Exclude<
    ErasureEvent,
    'identity_verified' | 'identity_failed' | 'approve' | 'deny' | 'extend' | 'withdraw' | 'attest' | 'retry'
  >
  /** The request's version that the event follows from: where it has moved on, nothing happens. */
  readonly version: number
  readonly at: Date
  /** Of `stopped` and `residue_found`. */
  readonly reason?: OperatorReason
  readonly targets?: readonly string[]
}

export interface PlannedChange extends RequestChange {
  readonly state: ErasureState
  readonly event: SystemEvent | null
  readonly outcome?: ActionOutcome
}

const annals = { type: 'system', id: 'annals' } as const
const hourMs = 3_600_000
/** A line of evidence each: beyond this only what the workflow itself finds is noted. */
export const maxEvidence = 1_000

function receiptOf(document: Pick<ErasureRequestDocument, 'receivedAt' | 'receivedOffsetMinutes'>): Receipt {
  return { atMs: document.receivedAt.getTime(), offsetMinutes: document.receivedOffsetMinutes }
}

export function snapshotOf(document: ErasureRequestDocument): ErasureSnapshot {
  return {
    state: document.state,
    resumeAt: document.resumeAt,
    version: document.version,
    dueMs: document.dueAt.getTime(),
    extended: document.extendedAt !== null,
    remindedMs: document.remindedFor?.getTime() ?? null,
    overdueMs: document.overdueFor?.getTime() ?? null,
    coolingOffEndsMs: document.coolingOffEndsAt?.getTime() ?? null,
    recheckMs: document.recheckAt?.getTime() ?? null,
    expiryMs: document.expiryAt?.getTime() ?? null,
    notifyMs: document.notifyAt?.getTime() ?? null,
    reason: document.operator?.reason ?? null,
  }
}

export function planAdvance(document: ErasureRequestDocument, step: Advance): PlannedChange | undefined {
  const moved = transition(document, step.event)
  if (!moved.allowed) return undefined
  const { state, resumeAt } = moved
  const { reason = null, targets = [], at } = step
  const heldAgain = step.event === 'cooling_off_over' && document.state === 'on_hold'
  // A hold that lasts for months is looked at a hundred times: once is evidence.
  const repeated = heldAgain || (step.event === 'hold_found' && document.recheckAt !== null)
  const set: RequestChange['set'] = {
    state,
    resumeAt,
    operator: state === 'needs_operator' ? { reason: reason ?? 'internal', targets } : null,
    ...(step.event === 'scoped' && document.scope !== null && document.scope.subjects.length > 0
      ? { subjectsKey: subjectsKeyOf(document.scope.subjects) }
      : {}),
    ...(step.event === 'cool_off'
      ? { coolingOffEndsAt: new Date(at.getTime() + document.policy.coolingOffHours * hourMs) }
      : {}),
    ...(step.event === 'hold_found'
      ? { recheckAt: new Date(at.getTime() + erasureTiming.holdRecheckMs) }
      : {}),
    ...(isFinal(state) ? { endedAt: at } : {}),
  }
  return {
    state,
    set,
    evidence: repeated
      ? null
      : evidenceOf(step.event, state, at, {
          ...(reason === null ? {} : { reason }),
          ...(targets.length === 0 ? {} : { targets }),
        }),
    event: endingEvent(document, state, at, null),
    // What is verified and told needs no name any more: waiting for backups to run out may take months.
    forget: isFinal(state) || state === 'awaiting_expiry',
  }
}

/** The event of a request that ends other than by a decision: what was done, or found not to be. */
function endingEvent(
  document: ErasureRequestDocument,
  state: ErasureState,
  at: Date,
  by: string | null,
): SystemEvent | null {
  if (!isFinal(state)) return null
  const completed = state === 'completed' || state === 'completed_with_exceptions'
  return eventOf(document, completed ? 'annals.erasure.completed' : 'annals.erasure.closed', at, by, {
    state,
  })
}

export function planAction(
  document: ErasureRequestDocument,
  action: ErasureActionDocument,
): PlannedChange | { readonly refused: ActionOutcome } {
  const { facts, principal, at } = action
  const refused = (code: ActionOutcome['code']) => ({
    refused: { applied: false, code, state: document.state, version: document.version },
  })
  const event = eventOfAction(action)
  const moved = transition(document, event)
  if (!moved.allowed || document.evidence.length >= maxEvidence) return refused('wrong_state')
  if (needsSecondPrincipal(action) && principal === document.submitter) return refused('four_eyes')
  if (facts.outcome !== undefined && !mayRetire(document, facts.target ?? '')) return refused('wrong_state')
  if (event === 'extend' && extensionOf(document, at) !== 'possible') return refused('wrong_state')
  const { scope } = document
  if (event === 'approve' && scope !== null && leavesOpenWhom(scope, facts.confirmed ?? []))
    return refused('wrong_state')

  const { state, resumeAt } = moved
  const dueAt = event === 'extend' ? new Date(dueMs(receiptOf(document), true)) : document.dueAt
  const set: RequestChange['set'] = {
    state,
    resumeAt,
    operator: state === 'needs_operator' ? document.operator : null,
    ...(event === 'approve'
      ? { approver: principal, exempt: facts.exempt ?? [], confirmed: facts.confirmed ?? [] }
      : {}),
    ...(event === 'deny' ? { denialGround: facts.ground ?? null } : {}),
    ...(event === 'extend' ? { extendedAt: at, dueAt } : {}),
    ...(isFinal(state) ? { endedAt: at } : {}),
  }
  const { actionId } = action
  return {
    state,
    set,
    evidence: evidenceOf(event, state, at, {
      by: principal,
      ...(facts.ground === undefined ? {} : { ground: facts.ground }),
      ...(facts.exempt === undefined ? {} : { exempt: facts.exempt }),
      ...(facts.target === undefined ? {} : { targets: [facts.target] }),
      ...(event === 'extend' ? { dueAt } : {}),
    }),
    ...(action.sealedWords === null
      ? {}
      : { words: { actionId, action: action.action, at, by: principal, sealed: action.sealedWords } }),
    ...(event === 'attest' && facts.target !== undefined
      ? { attestation: { target: facts.target, principal, at, ...retirementIn(facts) } }
      : {}),
    event: actionEvent(document, action, event, state, dueAt),
    forget: isFinal(state),
    outcome: { applied: true, code: null, state, version: document.version + 1 },
  }
}

function actionEvent(
  document: ErasureRequestDocument,
  { facts, principal, at }: ErasureActionDocument,
  event: ErasureEvent,
  state: ErasureState,
  dueAt: Date,
): SystemEvent | null {
  switch (event) {
    case 'approve':
      return eventOf(document, 'annals.erasure.approved', at, principal, {
        exempt: (facts.exempt ?? []).map(({ class: recordClass, ground }) => ({
          class: recordClass,
          ground,
        })),
      })
    case 'deny':
      return eventOf(document, 'annals.erasure.denied', at, principal, { ground: facts.ground ?? null })
    case 'extend':
      return eventOf(document, 'annals.erasure.extended', at, principal, { dueAt: dueAt.toISOString() })
    case 'withdraw':
      return eventOf(document, 'annals.erasure.withdrawn', at, principal, {})
    case 'attest':
      // The reason stays with the request: words of a person are in no event that never expires.
      return facts.outcome === undefined
        ? null
        : eventOf(document, 'annals.erasure.target_retired', at, principal, {
            target: facts.target ?? '',
            status: facts.outcome,
          })
    default:
      return endingEvent(document, state, at, principal)
  }
}

function eventOfAction({ action, facts }: Pick<ErasureActionDocument, 'action' | 'facts'>): ErasureEvent {
  if (action !== 'verifyIdentity') return action
  return facts.result === 'verified' ? 'identity_verified' : 'identity_failed'
}

const retirementIn = ({ outcome, reason }: ErasureActionDocument['facts']) =>
  outcome === undefined || reason === undefined ? {} : { outcome, reason }

/**
 * Deciding that a person's data goes, or stays, or is looked for no more, takes another person than the one who asked.
 */
export const needsSecondPrincipal = ({
  action,
  facts,
}: Pick<ErasureActionDocument, 'action' | 'facts'>): boolean =>
  action === 'approve' || action === 'deny' || (action === 'attest' && facts.outcome !== undefined)

export const extensionOf = (document: ErasureRequestDocument, at: Date) =>
  extension(receiptOf(document), document.extendedAt !== null, at.getTime())

export function evidenceOf(
  event: Evidence['event'],
  state: ErasureState,
  at: Date,
  rest: Omit<Partial<Evidence>, 'event' | 'state' | 'at'>,
): Evidence {
  return { event, at, by: null, state, ...rest }
}

/** An event about a request in its organization's own log: ids, dates and codes, nothing of the person. */
export function eventOf(
  { organizationId, requestId }: ErasureReference,
  action: SystemEvent['action'],
  at: Date,
  by: string | null,
  { outcome, ...metadata }: JsonObject & { readonly outcome?: 'success' | 'failure' },
): SystemEvent {
  return {
    organizationId,
    action,
    occurredAt: at,
    actor: by === null ? annals : { type: 'principal', id: by },
    targets: [{ type: 'erasure', id: requestId }],
    metadata,
    ...(outcome === undefined ? {} : { outcome }),
  }
}
