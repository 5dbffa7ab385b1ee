/**
 * Restored events (`restoredEvents`): the stored form of the hot store, with the same indexes, and the restores that an
 * event is there for. Two restores may want the same event: it is there once, and goes with the last of them.
 */
import { BSON, type Collection, type Db } from 'mongodb'
import { ensureEventIndexes, type EventCollection, type StoredEvent } from '../../events/store.js'
import { collectionNames } from '../../mongo/collections.js'
import { duplicateKeyCode, insertUnordered } from '../../mongo/insert.js'
import type { RestoreReference } from './contract.js'

export interface RestoredEvent extends StoredEvent {
  /** `restore_…` of each restore that wants it. */
  readonly restores: readonly string[]
}

export interface RestoredRows {
  /** Adds events to a restore. Those that are there for it already stay as they are. @returns the bytes of them all */
  put(reference: RestoreReference, events: readonly StoredEvent[]): Promise<number>
  count(reference: RestoreReference): Promise<number>
  /** The events of a restore, in batches. */
  batches(reference: RestoreReference): AsyncIterable<readonly StoredEvent[]>
  /** Writes what was taken out of events (their fields) to where they are still. */
  replaceFields(events: readonly Pick<StoredEvent, '_id' | 'fields'>[]): Promise<void>
  /** Removes events, whichever restore wants them: their content has expired. */
  drop(events: readonly Pick<StoredEvent, '_id'>[]): Promise<void>
  /** Takes every event out of a restore, and removes those that no other wants. */
  remove(reference: RestoreReference): Promise<void>
}

const maxRounds = 10
const batchRows = 500
const rowsAtOnce = 2_000

/** As searches read them. */
export const restoredCollection = (db: Db): EventCollection => db.collection(collectionNames.restoredEvents)

export function createRestoredRows(db: Db): RestoredRows {
  const rows: Collection<RestoredEvent> = db.collection(collectionNames.restoredEvents)
  return {
    async put({ restoreId }, events) {
      let wanted = events.map((event): RestoredEvent => ({ ...event, restores: [restoreId] }))
      const bytes = wanted.reduce((sum, row) => sum + BSON.calculateObjectSize(row), 0)
      for (let round = 0; wanted.length > 0; round += 1) {
        if (round === maxRounds) throw new Error('restored rows come and go under the writer')
        const refused = await insertUnordered(rows, wanted)
        for (const code of refused.values())
          if (code !== duplicateKeyCode) throw new Error('a restored row was refused')
        const there = wanted.filter((_, index) => refused.has(index))
        if (there.length === 0) break
        const ids = there.map(({ _id }) => _id)
        const added = await rows.updateMany({ _id: { $in: ids } }, { $addToSet: { restores: restoreId } })
        // One that went between the two writes, with the restore that it was there for, is put once more.
        wanted = added.matchedCount === there.length ? [] : there
      }
      return bytes
    },
    count: ({ organizationId, restoreId }) => rows.countDocuments({ organizationId, restores: restoreId }),
    async *batches({ organizationId, restoreId }) {
      const options = { projection: { restores: 0 }, batchSize: batchRows, useBigInt64: true }
      let batch: StoredEvent[] = []
      for await (const row of rows.find({ organizationId, restores: restoreId }, options)) {
        batch.push(row)
        if (batch.length === batchRows) {
          yield batch
          batch = []
        }
      }
      if (batch.length > 0) yield batch
    },
    async replaceFields(events) {
      if (events.length === 0) return
      await rows.bulkWrite(
        events.map(({ _id, fields }) => ({ updateOne: { filter: { _id }, update: { $set: { fields } } } })),
        { ordered: false },
      )
    },
    async drop(events) {
      if (events.length > 0) await rows.deleteMany({ _id: { $in: events.map(({ _id }) => _id) } })
    },
    async remove({ organizationId, restoreId }) {
      for (;;) {
        const found = await rows
          .find({ organizationId, restores: restoreId }, { projection: { _id: 1 }, limit: rowsAtOnce })
          .toArray()
        if (found.length === 0) break
        const ids = found.map(({ _id }) => _id)
        await rows.updateMany({ _id: { $in: ids } }, { $pull: { restores: restoreId } })
        await rows.deleteMany({ _id: { $in: ids }, restores: [] })
      }
      // What a process that died between the two left behind.
      await rows.deleteMany({ organizationId, restores: [] })
    },
  }
}

/** Makes the indexes of restored events; changes nothing where they are there. */
export async function ensureRestoredIndexes(db: Db): Promise<void> {
  await ensureEventIndexes(restoredCollection(db))
  await db
    .collection<RestoredEvent>(collectionNames.restoredEvents)
    .createIndexes([{ key: { organizationId: 1, restores: 1 }, name: 'organization_restores' }])
}
