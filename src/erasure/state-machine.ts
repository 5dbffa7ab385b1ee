/**
 * The states of an erasure request and what moves it from one to another. Pure: the API, the workflow and the activities
 * ask the same function, so that none of them allows what another refuses.
 *
 *     received → identity_pending → scoping → review → approved → cooling_off → fenced → erasing → verifying → notifying
 *         → awaiting_expiry → completed | completed_with_exceptions
 *
 * `fenced` is entered *before* the fence goes up: it is the written intent. From then on nothing takes the request back,
 * whatever a crash left half done; only a fence that found everything under a hold, and so changed nothing, gives it up
 * again (`on_hold`). What stops in between is `needs_operator` and knows where it goes on (`resumeAt`).
 */
import { erasureStates, isFinal, type ErasureAction, type ErasureState } from './contract.js'

export const erasureEvents = [
  // what people do
  'identity_verified',
  'identity_failed',
  'approve',
  'deny',
  'extend',
  'withdraw',
  'attest',
  'retry',
  // what the workflow finds
  'begin',
  'scoped',
  'matched_nothing',
  'matched_duplicate',
  'cool_off',
  'cooling_off_over',
  'hold_found',
  'prepared',
  'erased',
  'verified_clean',
  'residue_found',
  'notified',
  'nothing_remains',
  'exceptions_remain',
  'stopped',
] as const
export type ErasureEvent = (typeof erasureEvents)[number]

/** Where a request stands. */
export interface Position {
  readonly state: ErasureState
  /** In `needs_operator`: the state that `retry` goes back to; null in every other state. */
  readonly resumeAt: ErasureState | null
}

export type Transition =
  | ({ readonly allowed: true } & Position)
  /** The state does not allow it. */
  | { readonly allowed: false; readonly code: 'wrong_state' }

type Moves = Readonly<Partial<Record<ErasureEvent, ErasureState>>>

const beforeApproval: Moves = { withdraw: 'withdrawn' }
const beforeFence: Moves = { deny: 'denied', withdraw: 'withdrawn' }

/** Every move that leads to another state, or may be made again in the same. What is not here is refused. */
const moves: Readonly<Record<ErasureState, Moves>> = {
  // Identity may be verified before the workflow has looked at the request for the first time.
  received: {
    ...beforeApproval,
    begin: 'identity_pending',
    identity_verified: 'scoping',
    identity_failed: 'identity_failed',
  },
  identity_pending: { ...beforeApproval, identity_verified: 'scoping', identity_failed: 'identity_failed' },
  scoping: {
    ...beforeApproval,
    scoped: 'review',
    matched_nothing: 'no_match',
    matched_duplicate: 'duplicate',
    stopped: 'needs_operator',
  },
  review: { ...beforeFence, approve: 'approved' },
  approved: { ...beforeFence, cool_off: 'cooling_off' },
  cooling_off: { ...beforeFence, cooling_off_over: 'fenced' },
  // A hold is looked at again by going up to the fence again.
  on_hold: { ...beforeFence, cooling_off_over: 'fenced' },
  fenced: { hold_found: 'on_hold', prepared: 'erasing', stopped: 'needs_operator' },
  erasing: { erased: 'verifying', stopped: 'needs_operator' },
  verifying: {
    verified_clean: 'notifying',
    residue_found: 'needs_operator',
    stopped: 'needs_operator',
  },
  notifying: { notified: 'awaiting_expiry', stopped: 'needs_operator' },
  awaiting_expiry: {
    nothing_remains: 'completed',
    exceptions_remain: 'completed_with_exceptions',
    stopped: 'needs_operator',
  },
  // `retry` and `withdraw` depend on where it stopped: see `transition`.
  needs_operator: {},
  completed: {},
  completed_with_exceptions: {},
  identity_failed: {},
  denied: {},
  withdrawn: {},
  no_match: {},
  duplicate: {},
}

/** States in which what an attestation says can still matter to a verification. */
const attestable: ReadonlySet<ErasureState> = new Set<ErasureState>([
  'review',
  'approved',
  'cooling_off',
  'on_hold',
  'fenced',
  'erasing',
  'verifying',
  'needs_operator',
])

/** What an event does to a request. */
export function transition(position: Position, event: ErasureEvent): Transition {
  const { state, resumeAt } = position
  if (event === 'extend') return isFinal(state) ? refused : { allowed: true, state, resumeAt }
  if (event === 'attest') return attestable.has(state) ? { allowed: true, state, resumeAt } : refused
  if (state === 'needs_operator') return fromNeedsOperator(event, resumeAt)
  const next = moves[state][event]
  if (next === undefined) return refused
  if (next !== 'needs_operator') return { allowed: true, state: next, resumeAt: null }
  // What was left has to be removed before it can be looked for again.
  return { allowed: true, state: next, resumeAt: event === 'residue_found' ? 'erasing' : state }
}

function fromNeedsOperator(event: ErasureEvent, resumeAt: ErasureState | null): Transition {
  if (resumeAt === null) return refused
  if (event === 'retry') return { allowed: true, state: resumeAt, resumeAt: null }
  if (event === 'withdraw' && moves[resumeAt].withdraw !== undefined) {
    return { allowed: true, state: 'withdrawn', resumeAt: null }
  }
  return refused
}

const refused: Transition = { allowed: false, code: 'wrong_state' }

/** States in which a request may have removed something, or is about to. */
const pastFence: ReadonlySet<ErasureState> = new Set<ErasureState>([
  'fenced',
  'erasing',
  'verifying',
  'notifying',
  'awaiting_expiry',
  'completed',
  'completed_with_exceptions',
])

/** Has the intent to fence been written? From then on the request runs to its end. */
export function isPastFence({ state, resumeAt }: Position): boolean {
  return pastFence.has(state === 'needs_operator' ? (resumeAt ?? state) : state)
}

/** The events that an action may be, for asking whether one is possible at all. */
const eventsOf: Readonly<Record<ErasureAction, ErasureEvent>> = {
  // Verified or failed: both are possible in the same states.
  verifyIdentity: 'identity_verified',
  approve: 'approve',
  deny: 'deny',
  extend: 'extend',
  withdraw: 'withdraw',
  attest: 'attest',
  retry: 'retry',
}

/** Does the state allow the action, whoever takes it? Whether an extension is in time says deadlines.ts. */
export function allows(position: Position, action: ErasureAction): boolean {
  return transition(position, eventsOf[action]).allowed
}

/** Every position there is, for tests that try each. */
export const positions: readonly Position[] = erasureStates.flatMap((state): Position[] =>
  state === 'needs_operator'
    ? erasureStates
        .filter((stopped) => moves[stopped].stopped !== undefined)
        .map((resumeAt) => ({ state, resumeAt }))
    : [{ state, resumeAt: null }],
)
