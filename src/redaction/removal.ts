/**
 * Takes the values of fields out of every place where an event lies: hot, restored, archived. Each may be repeated.
 *
 * An event moves while this goes on. What the archiver has read before the values left the hot store it may not record
 * (the lifecycle counter moved), so that it reads again; what it had recorded is found in the archive and written anew.
 */
import type { AnyBulkWriteOperation, ClientSession, Db, MongoClient } from 'mongodb'
import type { SegmentDocument } from '../archive/contract.js'
import { parseSegmentPath, segmentPrefix } from '../archive/segment-paths.js'
import type { ArchiveStore } from '../archive/stores/contract.js'
import type { SegmentLookup } from '../archive/segment-lookup.js'
import type { SegmentClaim, SegmentsStore } from '../archive/segments-store.js'
import type { SegmentWriter } from '../archive/segment-writer.js'
import { restoredCollection } from '../archive/restores/rows.js'
import type { RemovedField } from '../erasure/manifests.js'
import type { ArchivedEvents } from '../events/archived.js'
import { eventCollection, eventDocumentId, type EventCollection, type StoredEvent } from '../events/store.js'
import { collectionNames } from '../mongo/collections.js'
import { inTransaction } from '../mongo/transaction.js'
import type { Lifecycle } from '../retention/lifecycle.js'
import type { LogStore } from '../transparency-log/store.js'
import { withoutFields } from './fields.js'

export interface RemovalDependencies {
  readonly client: MongoClient
  readonly db: Db
  readonly lifecycle: Lifecycle
  readonly log: Pick<LogStore, 'locateAll'>
  readonly segments: Pick<SegmentLookup, 'over' | 'again'>
  readonly segmentsStore: Pick<SegmentsStore, 'recordContent'>
  readonly writer: Pick<SegmentWriter, 'rewriteContent' | 'deleteOtherContent'>
  readonly archived: Pick<ArchivedEvents, 'find'>
  readonly store: Pick<ArchiveStore, 'versions' | 'delete'>
}

export interface FieldRemoval {
  /** Removes from hot events, in one transaction that moves the lifecycle counter. */
  fromHot(organizationId: string, removed: readonly RemovedField[]): Promise<void>
  fromRestored(organizationId: string, removed: readonly RemovedField[]): Promise<void>
  /** Writes the content of the segments that hold them anew, then deletes what was before. */
  fromArchive(organizationId: string, removed: readonly RemovedField[], beat: () => void): Promise<void>
  /** Places that still have a value, and archive runs under way that may have read one. */
  left(organizationId: string, removed: readonly RemovedField[]): Promise<number>
}

const maxRewrites = 10

export function createFieldRemoval(deps: RemovalDependencies): FieldRemoval {
  const { client, db, lifecycle, log, segments, segmentsStore, writer, archived, store } = deps
  const events = eventCollection(db)
  const restored = restoredCollection(db)
  const claims = db.collection<SegmentClaim>(collectionNames.archiveClaims)

  async function leavesOf(organizationId: string, removed: readonly RemovedField[]) {
    const eventIds = [...new Set(removed.map(({ eventId }) => eventId))]
    return [...(await log.locateAll(organizationId, eventIds)).values()]
  }

  async function segmentsOf(organizationId: string, removed: readonly RemovedField[]) {
    const found = new Map<string, SegmentDocument>()
    for (const { generation, index } of await leavesOf(organizationId, removed)) {
      const covering = await segments.over(organizationId, generation, index, index + 1)
      for (const segment of covering) found.set(segment._id, segment)
    }
    return [...found.values()]
  }

  /** Ranges with one of the leaves that an archive run has exported, and not recorded. */
  async function claimed(organizationId: string, removed: readonly RemovedField[]): Promise<number> {
    const ranges = (await leavesOf(organizationId, removed)).map(({ generation, index }) => ({
      generation,
      from: { $lte: index },
      to: { $gt: index },
    }))
    if (ranges.length === 0) return 0
    return claims.countDocuments({ organizationId, written: { $ne: null }, $or: ranges })
  }

  /** Writes the content of a segment anew, unless what is recorded has none of the values. */
  async function rewrite(
    segment: SegmentDocument,
    removed: readonly RemovedField[],
    beat: () => void,
  ): Promise<void> {
    for (let attempt = 0; attempt < maxRewrites; attempt += 1) {
      const current = await segments.again(segment)
      if (current === undefined || current.content === null) return
      if (current.content.state === 'expired' || !(await holdsAny(current.organizationId, removed))) {
        await deleteOlder(current, current.content.revision)
        return
      }
      const { revision } = current.content
      const { content } = await writer.rewriteContent(
        current,
        (leaves) => leaves.map(({ event }) => withoutFields(event, removed)),
        { onProgress: beat },
      )
      const recorded = await inTransaction(client, async (session) => {
        await lifecycle.advance(current.organizationId, session)
        return segmentsStore.recordContent(current, revision, content, session)
      })
      if (!recorded) continue
      // From here on readers have the new one, and what was before goes: every version of it.
      await writer.deleteOtherContent(current, content.revision)
      return
    }
    throw new Error('the content of a segment was written anew by others all the time')
  }

  /**
   * What a rewriting that died behind its record left. Nothing newer goes: another rewriting may be about to record it.
   */
  async function deleteOlder(segment: SegmentDocument, revision: number): Promise<void> {
    const paths = new Set<string>()
    for await (const { path } of store.versions(segmentPrefix(segment))) {
      const object = parseSegmentPath(path)
      if (object !== undefined && object.revision > 0 && object.revision < revision) paths.add(path)
    }
    for (const path of paths) await store.delete(path)
  }

  const holdsAny = async (organizationId: string, removed: readonly RemovedField[]): Promise<boolean> => {
    const eventIds = [...new Set(removed.map(({ eventId }) => eventId))]
    const found = [...(await archived.find(organizationId, eventIds)).values()]
    return found.some((event) => withoutFields(event, removed) !== event)
  }

  return {
    fromHot: (organizationId, removed) =>
      inTransaction(client, async (session) => {
        await lifecycle.advance(organizationId, session)
        await strip(events, organizationId, removed, session)
      }),
    fromRestored: (organizationId, removed) => strip(restored, organizationId, removed),
    async fromArchive(organizationId, removed, beat) {
      for (const segment of await segmentsOf(organizationId, removed)) {
        beat()
        await rewrite(segment, removed, beat)
      }
    },
    async left(organizationId, removed) {
      const _id = { $in: removed.map(({ eventId }) => eventDocumentId(organizationId, eventId)) }
      let left = await claimed(organizationId, removed)
      for (const collection of [events, restored]) {
        for await (const event of collection.find({ _id }, { projection: { 'fields.terms': 0 } }))
          if (withoutFields(event, removed) !== event) left += 1
      }
      return (await holdsAny(organizationId, removed)) ? left + 1 : left
    },
  }
}

/** The commitment takes the place of value, salt and terms in one update: the leaf can be rebuilt at every moment. */
async function strip(
  events: EventCollection,
  organizationId: string,
  removed: readonly RemovedField[],
  session?: ClientSession,
): Promise<void> {
  const writes = removed.flatMap(({ eventId, slot, commitment }): AnyBulkWriteOperation<StoredEvent>[] => {
    const _id = eventDocumentId(organizationId, eventId)
    const field = { slot, commitment: Buffer.from(commitment) }
    return [
      {
        updateOne: {
          filter: { _id, fields: { $elemMatch: { slot, value: { $exists: true } } } },
          update: { $set: { 'fields.$[field]': field }, $unset: { fingerprint: '' } },
          arrayFilters: [{ 'field.slot': slot, 'field.value': { $exists: true } }],
        },
      },
      {
        updateOne: {
          filter: {
            _id,
            fields: { $elemMatch: { slot, sealed: { $exists: true }, restricted: { $exists: false } } },
          },
          update: {
            $unset: { 'fields.$[field].sealed': '', 'fields.$[field].terms': '', fingerprint: '' },
          },
          arrayFilters: [{ 'field.slot': slot }],
        },
      },
    ]
  })
  const options =
    session === undefined ? { writeConcern: { w: 'majority' as const, journal: true } } : { session }
  await events.bulkWrite(writes, { ordered: false, ...options })
}
