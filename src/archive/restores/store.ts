/** Restores in MongoDB (`restores`): what was asked for, how far it is, and when it goes again. */
import type { ClientSession, Collection, Db, Filter } from 'mongodb'
import { collectionNames } from '../../mongo/collections.js'
import type { LeafPlace } from '../segment-lookup.js'
import type { RestoreFailure, RestoreReference, RestoreState } from './contract.js'

export interface RestoreDocument extends RestoreReference {
  /** `<organizationId>/<restoreId>` */
  readonly _id: string
  /** By `occurredAt`: inclusive, exclusive. */
  readonly from: Date
  readonly to: Date
  readonly days: number
  /** An officer's own words. */
  readonly reason: string
  /** `prn_…` */
  readonly principal: string
  readonly state: RestoreState
  readonly requestedAt: Date
  readonly restoredAt: Date | null
  readonly expiresAt: Date | null
  /** When it expired or failed. */
  readonly endedAt: Date | null
  readonly failure: RestoreFailure | null
  /** The last leaf that was copied or passed over; null before the first. Leaves are read newest first. */
  readonly position: LeafPlace | null
  readonly counts: RestoreCounts
  /** Leaves that there were to read when it was asked for. */
  readonly leavesToRead: number
  /** The lifecycle counter as it was before the first leaf was read; null before that. */
  readonly lifecycleSeen: number | null
  /** HMAC of the body, where the request had an idempotency key. */
  readonly bodyFingerprint: Buffer | null
}

export interface RestoreCounts {
  /** Leaves that were looked at. */
  readonly leaves: number
  /** Events that are there under this restore. */
  readonly events: number
  /** Of the events that were copied, as they lie in the database. */
  readonly bytes: number
}

export interface RestorePosition {
  readonly requestedAt: Date
  readonly restoreId: string
}

export interface RestoreListQuery {
  readonly organizationId: string
  readonly after?: RestorePosition | undefined
  readonly limit: number
}

type Change = Partial<
  Pick<
    RestoreDocument,
    'state' | 'restoredAt' | 'expiresAt' | 'endedAt' | 'failure' | 'position' | 'counts' | 'lifecycleSeen'
  >
>

export interface RestoreStore {
  /** @returns false where it is there already */
  insert(document: RestoreDocument): Promise<boolean>
  find(reference: RestoreReference): Promise<RestoreDocument | undefined>
  /** Newest first by request, then id. */
  list(query: RestoreListQuery): Promise<RestoreDocument[]>
  countUnended(organizationId: string): Promise<number>
  /** Changes a restore that is in this state. @returns whether it was */
  change(
    reference: RestoreReference,
    state: RestoreState,
    change: Change,
    session?: ClientSession,
  ): Promise<boolean>
}

const key = ({ organizationId, restoreId }: RestoreReference) => `${organizationId}/${restoreId}`
const unended: readonly RestoreState[] = ['copying', 'restored']

export function createRestoreStore(db: Db): RestoreStore {
  const restores: Collection<RestoreDocument> = db.collection(collectionNames.restores)
  return {
    async insert(document) {
      const { upsertedCount } = await restores.updateOne(
        { _id: document._id },
        { $setOnInsert: document },
        { upsert: true },
      )
      return upsertedCount === 1
    },
    find: async (reference) => (await restores.findOne({ _id: key(reference) })) ?? undefined,
    list({ organizationId, after, limit }) {
      const filter: Filter<RestoreDocument> = {
        organizationId,
        ...(after === undefined
          ? {}
          : {
              $or: [
                { requestedAt: { $lt: after.requestedAt } },
                { requestedAt: after.requestedAt, restoreId: { $lt: after.restoreId } },
              ],
            }),
      }
      return restores.find(filter, { sort: { requestedAt: -1, restoreId: -1 }, limit }).toArray()
    },
    countUnended: (organizationId) =>
      restores.countDocuments({ organizationId, state: { $in: [...unended] } }),
    async change(reference, state, change, session) {
      const options = session === undefined ? {} : { session }
      const { matchedCount } = await restores.updateOne(
        { _id: key(reference), state },
        { $set: change },
        options,
      )
      return matchedCount === 1
    },
  }
}

/** Makes the indexes of restores; changes nothing where they are there. */
export async function ensureRestoreIndexes(db: Db): Promise<void> {
  await db.collection<RestoreDocument>(collectionNames.restores).createIndexes([
    { key: { organizationId: 1, requestedAt: -1, restoreId: -1 }, name: 'newest_first' },
    { key: { organizationId: 1, state: 1 }, name: 'organization_state' },
  ])
}
