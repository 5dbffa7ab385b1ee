/**
 * Erasure requests in MongoDB: `erasureRequests`, one document each, and `erasureActions`, what people asked to be done
 * to them, each once.
 *
 * A request changes by compare-and-set on `version` alone, in one transaction with the event that says so and with the
 * outcome of the action that caused it. Two unique keys, both gone with whom it is about, make the second request about the same
 * person a duplicate of the first: `identifiersKey` (keyed hash of the identifiers) from the moment it is stored, and
 * `subjectsKey` (hash of the references they lead to) from its scoping on.
 */
import { createHash } from 'node:crypto'
import type { ClientSession, Collection, Db, Filter, UpdateFilter } from 'mongodb'
import { collectionNames } from '../mongo/collections.js'
import type {
  Attestation,
  ErasureAction,
  ErasureGround,
  ErasureIdentifier,
  ErasureReference,
  ErasureState,
  Exemption,
  ExemptionGround,
  JointFreeText,
  OperatorReason,
  RetirementOutcome,
  ScopeReport,
} from './contract.js'
import type { WrappedRequestKey } from './sealed.js'
import type { ErasureEvent, Position } from './state-machine.js'

/** One line of what happened: who, when, what counts. Never a word of anybody's. */
export interface Evidence {
  readonly event: ErasureEvent | 'submitted' | 'reminded' | 'overdue' | 'exceptions_ended'
  readonly at: Date
  /** `prn_…`; null = Annals itself. */
  readonly by: string | null
  /** Where the request stood afterwards. */
  readonly state: ErasureState
  readonly ground?: ErasureGround | ExemptionGround
  readonly exempt?: readonly Exemption[]
  /** What a step stopped for, or an attestation is about. */
  readonly reason?: OperatorReason
  readonly targets?: readonly string[]
  readonly dueAt?: Date
}

export interface SealedWords {
  readonly actionId: string
  readonly action: ErasureAction
  readonly at: Date
  readonly by: string
  readonly sealed: Buffer
}

export interface ErasureRequestDocument extends Position {
  /** `<organizationId>/<requestId>` */
  readonly _id: string
  readonly organizationId: string
  readonly requestId: string
  /** From 1; one more with each change of the request. */
  readonly version: number
  readonly submittedAt: Date
  readonly submitter: string
  readonly receivedAt: Date
  /** How far the clock that `receivedAt` was written by was ahead of UTC: which calendar its month is counted in. */
  readonly receivedOffsetMinutes: number
  readonly ground: ErasureGround
  readonly jointFreeText: JointFreeText
  readonly identifierKinds: readonly ErasureIdentifier['kind'][]
  readonly recipientCount: number
  /** Which settings and which retention policy the organization had when it was submitted: what it is judged by. */
  readonly policy: {
    readonly version: number
    readonly coolingOffHours: number
    readonly retentionVersion: number
  }

  /** Gone once whom it is about is needed no more. */
  readonly key: WrappedRequestKey | null
  readonly sealed: Buffer | null
  readonly words: readonly SealedWords[]
  readonly bodyFingerprint: Buffer | null
  readonly identifiersKey?: string
  readonly subjectsKey?: string

  readonly dueAt: Date
  readonly extendedAt: Date | null
  readonly remindedFor: Date | null
  readonly overdueFor: Date | null
  readonly approver: string | null
  readonly exempt: readonly Exemption[]
  readonly confirmed: readonly number[]
  readonly denialGround: ExemptionGround | null
  readonly coolingOffEndsAt: Date | null
  readonly recheckAt: Date | null
  readonly expiryAt: Date | null
  /** When recipients are called again; absent = they were not called, or all have their outcome. */
  readonly notifyAt?: Date | null
  readonly operator: { readonly reason: OperatorReason; readonly targets: readonly string[] } | null
  readonly scope: ScopeReport | null
  readonly attestations: readonly Attestation[]
  /** The request that it repeats. */
  readonly duplicateOf: string | null
  /** The newest requests that repeat it. */
  readonly duplicates: readonly string[]
  readonly evidence: readonly Evidence[]
  readonly endedAt: Date | null
}

/** What came of an action; null while the workflow has not decided. */
export interface ActionOutcome {
  readonly applied: boolean
  readonly code: 'wrong_state' | 'four_eyes' | null
  readonly state: ErasureState
  readonly version: number
}

/** What an action says beyond its name, and beside the words, which are sealed. */
export interface ActionFacts {
  readonly result?: 'verified' | 'failed'
  readonly ground?: ExemptionGround
  readonly exempt?: readonly Exemption[]
  readonly confirmed?: readonly number[]
  readonly target?: string
  /** Of an attestation that retires its target, with the reason, which names nobody. */
  readonly outcome?: RetirementOutcome
  readonly reason?: string
}

export interface ErasureActionDocument {
  /** `<organizationId>/<actionId>` */
  readonly _id: string
  readonly organizationId: string
  readonly requestId: string
  readonly actionId: string
  readonly action: ErasureAction
  /** Under which the action counts once. */
  readonly businessKey: string
  readonly bodyFingerprint: Buffer
  readonly principal: string
  readonly at: Date
  readonly facts: ActionFacts
  /** Gone once whom the request is about is. */
  readonly sealedWords: Buffer | null
  readonly outcome: ActionOutcome | null
}

export interface ErasurePosition {
  readonly submittedAt: Date
  readonly requestId: string
}

export interface ErasureListQuery {
  readonly organizationId: string
  readonly state?: ErasureState | undefined
  readonly after?: ErasurePosition | undefined
  readonly limit: number
}

/** A change of a request: what becomes of its members, and the line of evidence. */
export interface RequestChange {
  readonly set: Partial<Omit<ErasureRequestDocument, '_id' | 'version' | 'evidence'>>
  readonly evidence: Evidence | null
  readonly words?: SealedWords
  readonly attestation?: Attestation
  /** Whom it is about is needed no more: key, identifiers, words and the unique keys go. */
  readonly forget?: boolean
}

export type ErasureStore = ReturnType<typeof createErasureStore>

/** Duplicates that a request names; more are counted by nobody, and each names its first itself. */
const maxDuplicates = 100

export const erasureKey = (organizationId: string, id: string): string => `${organizationId}/${id}`

/** What makes two scoped requests the same. */
export const subjectsKeyOf = (subjects: readonly string[]): string =>
  createHash('sha256')
    .update([...subjects].sort().join('\n'))
    .digest('base64url')

/** Creates the indexes of the erasure domain; safe to repeat. */
export async function ensureErasureIndexes(db: Db): Promise<void> {
  await db.collection<ErasureRequestDocument>(collectionNames.erasureRequests).createIndexes([
    { key: { organizationId: 1, submittedAt: -1, requestId: -1 }, name: 'newestFirst' },
    {
      key: { organizationId: 1, identifiersKey: 1 },
      name: 'oneForTheSameIdentifiers',
      unique: true,
      partialFilterExpression: { identifiersKey: { $exists: true } },
    },
    {
      key: { organizationId: 1, subjectsKey: 1 },
      name: 'oneForTheSameSubjects',
      unique: true,
      partialFilterExpression: { subjectsKey: { $exists: true } },
    },
  ])
  await db
    .collection<ErasureActionDocument>(collectionNames.erasureActions)
    .createIndexes([
      { key: { organizationId: 1, requestId: 1, businessKey: 1 }, name: 'eachActionOnce', unique: true },
    ])
}

export function createErasureStore(db: Db) {
  const requests: Collection<ErasureRequestDocument> = db.collection(collectionNames.erasureRequests)
  const actions: Collection<ErasureActionDocument> = db.collection(collectionNames.erasureActions)
  const idOf = ({ organizationId, requestId }: ErasureReference) => erasureKey(organizationId, requestId)

  return {
    find: (request: ErasureReference) => requests.findOne({ _id: idOf(request) }),

    /** @throws MongoServerError (duplicate key) where an open request has the same identifiers, or the id is taken */
    async insert(document: ErasureRequestDocument, session: ClientSession): Promise<void> {
      await requests.insertOne(document, { session })
    },

    findByIdentifiers: (organizationId: string, identifiersKey: string) =>
      requests.findOne({ organizationId, identifiersKey }),

    findBySubjects: (organizationId: string, subjectsKey: string) =>
      requests.findOne({ organizationId, subjectsKey }),

    /** Names a duplicate in the request that it repeats. */
    async addDuplicate(first: ErasureReference, requestId: string, session: ClientSession): Promise<void> {
      await requests.updateOne(
        { _id: idOf(first), duplicates: { $ne: requestId } },
        { $push: { duplicates: { $each: [requestId], $slice: -maxDuplicates } } },
        { session },
      )
    },

    /**
     * Changes a request that still has the version it was read with.
     * @returns whether it had
     */
    async change(
      request: ErasureReference,
      version: number,
      { set, evidence, words, attestation, forget = false }: RequestChange,
      session: ClientSession,
    ): Promise<boolean> {
      const push = {
        ...(evidence === null ? {} : { evidence }),
        ...(words === undefined || forget ? {} : { words }),
        ...(attestation === undefined ? {} : { attestations: attestation }),
      }
      const update: UpdateFilter<ErasureRequestDocument> = {
        $set: {
          ...set,
          ...(forget ? { key: null, sealed: null, words: [], bodyFingerprint: null } : {}),
        },
        $inc: { version: 1 },
        ...(Object.keys(push).length === 0 ? {} : { $push: push }),
        ...(forget ? { $unset: { identifiersKey: '' as const, subjectsKey: '' as const } } : {}),
      }
      const { modifiedCount } = await requests.updateOne({ _id: idOf(request), version }, update, { session })
      if (modifiedCount === 1 && forget) {
        await actions.updateMany(
          { organizationId: request.organizationId, requestId: request.requestId },
          { $set: { sealedWords: null } },
          { session },
        )
      }
      return modifiedCount === 1
    },

    /** Saves a scope report while the request is being scoped; the last one stands. */
    async setScope(request: ErasureReference, scope: ScopeReport): Promise<void> {
      await requests.updateOne({ _id: idOf(request), state: 'scoping' }, { $set: { scope } })
    },

    /** Newest first by submission, then id. */
    async list({ organizationId, state, after, limit }: ErasureListQuery): Promise<ErasureRequestDocument[]> {
      const filter: Filter<ErasureRequestDocument> = {
        organizationId,
        ...(state === undefined ? {} : { state }),
        ...(after === undefined
          ? {}
          : {
              $or: [
                { submittedAt: { $lt: after.submittedAt } },
                { submittedAt: after.submittedAt, requestId: { $lt: after.requestId } },
              ],
            }),
      }
      return requests.find(filter).sort({ submittedAt: -1, requestId: -1 }).limit(limit).toArray()
    },

    /** Stores an action; one that is stored under the same business key stands. @returns the one that stands */
    async insertAction(document: ErasureActionDocument): Promise<ErasureActionDocument> {
      const { organizationId, requestId, businessKey } = document
      const stored = await actions.findOneAndUpdate(
        { organizationId, requestId, businessKey },
        { $setOnInsert: document },
        { upsert: true, returnDocument: 'after' },
      )
      if (stored === null) throw new Error('an action that was just stored is not there')
      return stored
    },

    findAction: (organizationId: string, actionId: string) =>
      actions.findOne({ _id: erasureKey(organizationId, actionId) }),

    findActionByKey: ({ organizationId, requestId }: ErasureReference, businessKey: string) =>
      actions.findOne({ organizationId, requestId, businessKey }),

    /** Says what came of an action. @returns false where that was said before, and stands */
    async setOutcome(
      organizationId: string,
      actionId: string,
      outcome: ActionOutcome,
      session?: ClientSession,
    ): Promise<boolean> {
      const { modifiedCount } = await actions.updateOne(
        { _id: erasureKey(organizationId, actionId), outcome: null },
        { $set: { outcome } },
        session === undefined ? {} : { session },
      )
      return modifiedCount === 1
    },
  }
}
