/**
 * The collection `holds`: one document a hold, for ever; a released one says since when. No document holds an
 * identifier of a person: identifiers become references when a hold is placed.
 */
import type { ClientSession, Collection, Db, Filter } from 'mongodb'
import { collectionNames } from '../mongo/collections.js'
import type { Hold } from './contract.js'

interface HoldDocument extends Omit<Hold, 'id'> {
  /** `<organizationId>/<hold_…>` */
  readonly _id: string
  readonly holdId: string
}

export interface HoldPosition {
  readonly placedAt: Date
  readonly id: string
}

export interface HoldListQuery {
  readonly organizationId: string
  readonly active?: boolean | undefined
  readonly after?: HoldPosition | undefined
  readonly limit: number
}

export interface HoldStore {
  find(organizationId: string, id: string, session?: ClientSession): Promise<Hold | undefined>
  insert(hold: Hold, session: ClientSession): Promise<void>
  /** @returns whether this call released it */
  release(
    organizationId: string,
    id: string,
    released: { readonly at: Date; readonly by: string },
    session: ClientSession,
  ): Promise<boolean>
  /** Those in force, the first placed first; `limits.maxActive` at most exist (holds.ts). */
  active(organizationId: string, session?: ClientSession): Promise<Hold[]>
  countActive(organizationId: string, session: ClientSession): Promise<number>
  /** Newest first by when they were placed, then id. */
  list(query: HoldListQuery): Promise<Hold[]>
}

const holdKey = (organizationId: string, id: string) => `${organizationId}/${id}`

export function createHoldStore(db: Db): HoldStore {
  const holds: Collection<HoldDocument> = db.collection(collectionNames.holds)
  const within = (session: ClientSession | undefined) => (session === undefined ? {} : { session })

  return {
    async find(organizationId, id, session) {
      const found = await holds.findOne({ _id: holdKey(organizationId, id) }, within(session))
      return found === null ? undefined : holdOf(found)
    },
    async insert({ id, ...hold }, session) {
      await holds.insertOne({ _id: holdKey(hold.organizationId, id), holdId: id, ...hold }, { session })
    },
    async release(organizationId, id, { at, by }, session) {
      const { modifiedCount } = await holds.updateOne(
        { _id: holdKey(organizationId, id), releasedAt: null },
        { $set: { releasedAt: at, releasedBy: by } },
        { session },
      )
      return modifiedCount === 1
    },
    async active(organizationId, session) {
      const found = holds
        .find({ organizationId, releasedAt: null }, within(session))
        .sort({ placedAt: 1, holdId: 1 })
      return (await found.toArray()).map(holdOf)
    },
    countActive: (organizationId, session) =>
      holds.countDocuments({ organizationId, releasedAt: null }, { session }),
    async list({ organizationId, active, after, limit }) {
      const filter: Filter<HoldDocument> = {
        organizationId,
        ...(active === undefined ? {} : { releasedAt: active ? null : { $ne: null } }),
        ...(after === undefined
          ? {}
          : {
              $or: [
                { placedAt: { $lt: after.placedAt } },
                { placedAt: after.placedAt, holdId: { $lt: after.id } },
              ],
            }),
      }
      const found = holds.find(filter).sort({ placedAt: -1, holdId: -1 }).limit(limit)
      return (await found.toArray()).map(holdOf)
    },
  }
}

const holdOf = ({ _id, holdId, ...hold }: HoldDocument): Hold => ({ id: holdId, ...hold })

/** Creates the indexes of holds; safe to repeat. */
export async function ensureHoldIndexes(db: Db): Promise<void> {
  await db.collection<HoldDocument>(collectionNames.holds).createIndexes([
    { key: { organizationId: 1, placedAt: -1, holdId: -1 }, name: 'newestFirst' },
    { key: { organizationId: 1, releasedAt: 1 }, name: 'organization_released' },
  ])
}
