/**
 * Every change of a stored request, each once however often it is tried: by an activity, by its next attempt, by two at
 * once. A change is one transaction: the compare-and-set of the request, the event that says so in the organization's
 * own log, and the outcome of the action that caused it. If the process dies before the commit nothing has happened; after
 * it, the next attempt finds it done.
 */
import type { MongoClient } from 'mongodb'
import { notFound } from '../errors.js'
import type { JsonObject, SystemEvent, SystemEventWriter } from '../events/contract.js'
import { inTransaction } from '../mongo/transaction.js'
import { isDuplicateKey } from '../mongo/unavailable.js'
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
  type ErasureStore,
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

export interface ActionResult {
  readonly outcome: ActionOutcome
  readonly snapshot: ErasureSnapshot
}

export type ErasureRecorder = ReturnType<typeof createErasureRecorder>

interface PlannedChange extends RequestChange {
  readonly state: ErasureState
  readonly event: SystemEvent | null
  readonly outcome?: ActionOutcome
}

/** Another attempt has applied the action meanwhile: this one's transaction aborts, and its outcome is the other's. */
class DecidedError extends Error {}

const annals = { type: 'system', id: 'annals' } as const
const hourMs = 3_600_000
const maxAttempts = 10
/** A line of evidence each: beyond this only what the workflow itself finds is noted. */
export const maxEvidence = 1_000

export function createErasureRecorder(deps: {
  readonly store: ErasureStore
  readonly events: Pick<SystemEventWriter, 'writeInTransaction'>
  readonly client: MongoClient
}) {
  const { store, events, client } = deps

  async function read(request: ErasureReference): Promise<ErasureRequestDocument> {
    const document = await store.find(request)
    if (document === null) throw notFound()
    return document
  }

  /** Plans and makes a change until the request holds still for it. @param plan undefined = there is nothing to change */
  async function change(
    request: ErasureReference,
    actionId: string | null,
    plan: (document: ErasureRequestDocument) => PlannedChange | undefined,
  ): Promise<ErasureRequestDocument> {
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      const document = await read(request)
      const planned = plan(document)
      if (planned === undefined) return document
      const changed = await inTransaction(client, async (session) => {
        if (!(await store.change(request, document.version, planned, session))) return false
        if (planned.event !== null) await events.writeInTransaction(planned.event, session)
        if (planned.outcome === undefined || actionId === null) return true
        if (!(await store.setOutcome(request.organizationId, actionId, planned.outcome, session))) {
          throw new DecidedError()
        }
        return true
      }).catch((error: unknown) => {
        if (error instanceof DecidedError) return true
        throw error
      })
      if (changed) return read(request)
    }
    throw new Error('a request was changed by others each time that it was to be changed')
  }

  async function advance(request: ErasureReference, step: Advance): Promise<ErasureSnapshot> {
    const plan = (document: ErasureRequestDocument): PlannedChange | undefined =>
      document.version === step.version ? planAdvance(document, step) : undefined
    try {
      return snapshotOf(await change(request, null, plan))
    } catch (error) {
      if (step.event !== 'scoped' || !isDuplicateKey(error)) throw error
    }
    // Another request holds the same persons: this one is attached to it.
    const { scope } = await read(request)
    const first = await store.findBySubjects(request.organizationId, subjectsKeyOf(scope?.subjects ?? []))
    if (first === null) return advance(request, step)
    const repeats: Advance = { ...step, event: 'matched_duplicate' }
    const document = await change(request, null, (current) => {
      const planned = current.version === step.version ? planAdvance(current, repeats) : undefined
      return planned && { ...planned, set: { ...planned.set, duplicateOf: first.requestId } }
    })
    await inTransaction(client, (session) => store.addDuplicate(first, request.requestId, session))
    return snapshotOf(document)
  }

  /** Notes when a state looks again, unless the request has moved on since. No evidence: it is done many times. */
  async function awaitIn(
    state: ErasureState,
    set: RequestChange['set'],
    request: ErasureReference,
    version: number,
  ): Promise<ErasureSnapshot> {
    const document = await change(request, null, (current) =>
      current.version !== version || current.state !== state
        ? undefined
        : { state, set, evidence: null, event: null },
    )
    return snapshotOf(document)
  }

  return {
    /** The request as its workflow knows it. @throws AnnalsError `not_found` */
    snapshot: async (request: ErasureReference): Promise<ErasureSnapshot> => snapshotOf(await read(request)),

    /** Applies what the workflow found, unless the request has moved on since. @throws AnnalsError `not_found` */
    advance,

    /**
     * Applies what somebody asked for, once; where the state does not allow it any more, that is the outcome.
     * @throws AnnalsError `not_found` where no such action, or request, is stored
     */
    async applyAction(request: ErasureReference, actionId: string): Promise<ActionResult> {
      const action = await store.findAction(request.organizationId, actionId)
      if (action?.requestId !== request.requestId) throw notFound()
      if (action.outcome !== null)
        return { outcome: action.outcome, snapshot: snapshotOf(await read(request)) }
      let refusal: ActionOutcome | undefined
      const document = await change(request, actionId, (current) => {
        const planned = planAction(current, action)
        refusal = 'refused' in planned ? planned.refused : undefined
        return 'refused' in planned ? undefined : planned
      })
      if (refusal !== undefined) await store.setOutcome(request.organizationId, actionId, refusal)
      // Of two attempts at once the first one's outcome stands.
      const { outcome } = (await store.findAction(request.organizationId, actionId)) ?? { outcome: null }
      if (outcome === null) throw new Error('an action that was just decided has no outcome')
      return { outcome, snapshot: snapshotOf(document) }
    },

    /** Notes that officers are reminded of the due moment: `annals.erasure.reminded`. */
    async remind(request: ErasureReference, moment: Date, at: Date): Promise<ErasureSnapshot> {
      const document = await change(request, null, (current) =>
        isFinal(current.state) || (current.remindedFor?.getTime() ?? 0) >= moment.getTime()
          ? undefined
          : {
              state: current.state,
              set: { remindedFor: moment },
              evidence: evidenceOf('reminded', current.state, at, { dueAt: current.dueAt }),
              event: eventOf(current, 'annals.erasure.reminded', at, null, {
                state: current.state,
                dueAt: current.dueAt.toISOString(),
              }),
            },
      )
      return snapshotOf(document)
    },

    /** Notes that the due moment has passed: `annals.erasure.overdue`. */
    async escalate(request: ErasureReference, at: Date): Promise<ErasureSnapshot> {
      const document = await change(request, null, (current) =>
        isFinal(current.state) || current.overdueFor?.getTime() === current.dueAt.getTime()
          ? undefined
          : {
              state: current.state,
              set: { overdueFor: current.dueAt },
              evidence: evidenceOf('overdue', current.state, at, { dueAt: current.dueAt }),
              event: eventOf(current, 'annals.erasure.overdue', at, null, {
                outcome: 'failure',
                state: current.state,
                dueAt: current.dueAt.toISOString(),
              }),
            },
      )
      return snapshotOf(document)
    },

    /** When what remains is looked at again. */
    awaitExpiry: (request: ErasureReference, version: number, until: Date): Promise<ErasureSnapshot> =>
      awaitIn('awaiting_expiry', { expiryAt: until }, request, version),

    /** When recipients are called again. */
    awaitRecipients: (request: ErasureReference, version: number, until: Date): Promise<ErasureSnapshot> =>
      awaitIn('notifying', { notifyAt: until }, request, version),
  }
}

export function receiptOf(
  document: Pick<ErasureRequestDocument, 'receivedAt' | 'receivedOffsetMinutes'>,
): Receipt {
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

function planAdvance(document: ErasureRequestDocument, step: Advance): PlannedChange | undefined {
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

function planAction(
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

export function eventOfAction({
  action,
  facts,
}: Pick<ErasureActionDocument, 'action' | 'facts'>): ErasureEvent {
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

function evidenceOf(
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
