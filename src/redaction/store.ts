/** Redactions in MongoDB (`redactions`): one document each. It names fields by event and slot, and holds no value. */
import type { ClientSession, Collection, Db, Filter, UpdateFilter } from 'mongodb'
import type { FieldName, RemovedField } from '../erasure/manifests.js'
import { collectionNames } from '../mongo/collections.js'
import type { RedactionFailure, RedactionReference, RedactionState } from './contract.js'

export interface RedactionDocument extends RedactionReference {
  /** `<organizationId>/<redactionId>` */
  readonly _id: string
  readonly state: RedactionState
  readonly fields: readonly FieldName[]
  /** An officer's own words. */
  readonly reason: string
  /** `prn_…` */
  readonly submitter: string
  readonly requestedAt: Date
  readonly approver: string | null
  readonly approvedAt: Date | null
  readonly failure: RedactionFailure | null
  /** What goes, with the commitments that stay; null until it was looked up. */
  readonly removed: readonly (FieldName & { readonly commitment: Buffer })[] | null
  /** SHA-256 of the manifest that lies in the ledger, in hex; null until then. */
  readonly manifest: string | null
  /** The event that says so; null until there is no way back. */
  readonly eventId: string | null
  /** When it was redacted, or failed. */
  readonly endedAt: Date | null
  /** HMAC of the body, where the request had an idempotency key. */
  readonly bodyFingerprint: Buffer | null
}

export interface RedactionPosition {
  readonly requestedAt: Date
  readonly redactionId: string
}

export interface RedactionListQuery {
  readonly organizationId: string
  readonly state?: RedactionState | undefined
  readonly after?: RedactionPosition | undefined
  readonly limit: number
}

export type RedactionStore = ReturnType<typeof createRedactionStore>

const key = ({ organizationId, redactionId }: RedactionReference) => `${organizationId}/${redactionId}`
/** More than an event has fields. */
const maxRedactionsOfEvent = 1_000
const open: readonly RedactionState[] = ['requested', 'approved', 'on_hold', 'redacting']
const majority = { writeConcern: { w: 'majority' as const, journal: true } }

export function createRedactionStore(db: Db) {
  const redactions: Collection<RedactionDocument> = db.collection(collectionNames.redactions)

  return {
    /** @throws MongoServerError (duplicate key) where it is there already */
    async insert(document: RedactionDocument, session: ClientSession): Promise<void> {
      await redactions.insertOne(document, { session })
    },
    find: async (reference: RedactionReference): Promise<RedactionDocument | undefined> =>
      (await redactions.findOne({ _id: key(reference) })) ?? undefined,
    countOpen: (organizationId: string): Promise<number> =>
      redactions.countDocuments({ organizationId, state: { $in: [...open] } }),
    /** Newest first by request, then id. */
    list({ organizationId, state, after, limit }: RedactionListQuery): Promise<RedactionDocument[]> {
      const filter: Filter<RedactionDocument> = {
        organizationId,
        ...(state === undefined ? {} : { state }),
        ...(after === undefined
          ? {}
          : {
              $or: [
                { requestedAt: { $lt: after.requestedAt } },
                { requestedAt: after.requestedAt, redactionId: { $lt: after.redactionId } },
              ],
            }),
      }
      return redactions.find(filter, { sort: { requestedAt: -1, redactionId: -1 }, limit }).toArray()
    },
    /** Changes a redaction that is in one of these states. @returns whether it was */
    async change(
      reference: RedactionReference,
      from: readonly RedactionState[],
      change: UpdateFilter<RedactionDocument>['$set'],
      session?: ClientSession,
    ): Promise<boolean> {
      const options = session === undefined ? majority : { session }
      const filter = { _id: key(reference), state: { $in: [...from] } }
      const { matchedCount } = await redactions.updateOne(filter, { $set: { ...change } }, options)
      return matchedCount === 1
    },
    /** The redaction whose manifest has this hash. */
    manifestNamed: (organizationId: string, manifest: string): Promise<RedactionDocument | null> =>
      redactions.findOne({ organizationId, manifest }),
    /** Those of an event that are past the point of no return, the first ones. */
    redacting: (organizationId: string, eventId: string): Promise<RedactionDocument[]> =>
      redactions
        .find(
          { organizationId, 'fields.eventId': eventId, state: { $in: ['redacting', 'redacted'] } },
          { sort: { requestedAt: 1 }, limit: maxRedactionsOfEvent },
        )
        .toArray(),
    /** Which fields of these events are past the point of no return, or gone. */
    async removedFrom(organizationId: string, eventIds: readonly string[]): Promise<RemovedField[]> {
      const wanted = new Set(eventIds)
      const found = redactions.find({
        organizationId,
        'fields.eventId': { $in: [...wanted] },
        state: { $in: ['redacting', 'redacted'] },
      })
      const rows: RemovedField[] = []
      for await (const document of found)
        rows.push(...(document.removed ?? []).filter(({ eventId }) => wanted.has(eventId)))
      return rows
    },
  }
}

/** Makes the indexes of redactions; safe to repeat. */
export async function ensureRedactionIndexes(db: Db): Promise<void> {
  await db.collection<RedactionDocument>(collectionNames.redactions).createIndexes([
    { key: { organizationId: 1, requestedAt: -1, redactionId: -1 }, name: 'newest_first' },
    { key: { organizationId: 1, state: 1 }, name: 'organization_state' },
    { key: { organizationId: 1, 'fields.eventId': 1 }, name: 'organization_event' },
  ])
}
