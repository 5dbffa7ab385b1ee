/**
 * Every change of a stored request, each once however often it is tried: by an activity, by its next attempt, by two at
 * once. A change is one transaction: the compare-and-set of the request, the event that says so in the organization's
 * own log, and the outcome of the action that caused it. If the process dies before the commit nothing has happened; after
 * it, the next attempt finds it done.
 */
import type { MongoClient } from 'mongodb'
import { notFound } from '../errors.js'
import type { SystemEventWriter } from '../events/contract.js'
import { inTransaction } from '../mongo/transaction.js'
import { isDuplicateKey } from '../mongo/unavailable.js'
import {
  evidenceOf,
  eventOf,
  planAction,
  planAdvance,
  snapshotOf,
  type Advance,
  type PlannedChange,
} from './changes.js'
import { isFinal, type ErasureReference, type ErasureState } from './contract.js'
import type { ErasureSnapshot } from './policy.js'
import {
  subjectsKeyOf,
  type ActionOutcome,
  type ErasureRequestDocument,
  type ErasureStore,
  type RequestChange,
} from './store.js'

export interface ActionResult {
  readonly outcome: ActionOutcome
  readonly snapshot: ErasureSnapshot
}

export type ErasureRecorder = ReturnType<typeof createErasureRecorder>

/** Another attempt has applied the action meanwhile: this one's transaction aborts, and its outcome is the other's. */
class DecidedError extends Error {}

const maxAttempts = 10
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
