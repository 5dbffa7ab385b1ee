/** Finds segments for readers: by leaf, by tile, newest first. What writes them is in segments-store.ts. */
import type { Collection, Db, Filter } from 'mongodb'
import { collectionNames } from '../mongo/collections.js'
import type { SegmentDocument } from './contract.js'
import { segmentViewProjection } from './segment-schema.js'

/** A place among leaves, newest first. */
export interface LeafPlace {
  readonly generation: number
  readonly index: number
}

export interface SegmentWalk {
  /** Leaves before it only. */
  readonly before?: LeafPlace | undefined
  /** Only segments with an event at or after it, by `occurredAt`. */
  readonly from?: Date | undefined
  /** Only segments with an event before it. */
  readonly to?: Date | undefined
}

export interface SegmentLookup {
  /** The segments that have leaves in [from, to), newest first. */
  over(organizationId: string, generation: number, from: number, to: number): Promise<SegmentDocument[]>
  /** Segments of an organization, newest first; a walk need not be finished. */
  newestFirst(organizationId: string, walk: SegmentWalk): AsyncIterable<SegmentDocument>
  /** A page of segments, newest first, without the lists of their members. */
  page(organizationId: string, before: LeafPlace | undefined, limit: number): Promise<SegmentDocument[]>
  /** The segment as it is now: its content may have been written anew, or have gone. */
  again(segment: SegmentDocument): Promise<SegmentDocument | undefined>
}

/** Leaf numbers in ids have twelve digits, so that ids sort as leaves do. */
const idOf = (organizationId: string, generation: number, from: number) =>
  `${organizationId}/${String(generation)}/${String(from).padStart(12, '0')}`

/** A segment lists its members: some tens of kilobytes. */
const batchSize = 4
const newest = { generation: -1, from: -1 } as const

export function createSegmentLookup(db: Db): SegmentLookup {
  const segments: Collection<SegmentDocument> = db.collection(collectionNames.archiveSegments)
  return {
    async over(organizationId, generation, from, to) {
      const found: SegmentDocument[] = []
      const range = { $gte: idOf(organizationId, generation, 0), $lt: idOf(organizationId, generation, to) }
      for await (const segment of segments.find({ _id: range }, { sort: { _id: -1 }, batchSize })) {
        // Ranges do not overlap: those before it end before it begins.
        if (segment.to <= from) break
        found.push(segment)
      }
      return found
    },
    newestFirst(organizationId, { before, from, to }) {
      const filter: Filter<SegmentDocument> = {
        ...beforePlace(organizationId, before),
        ...(from === undefined ? {} : { occurredTo: { $gte: from } }),
        ...(to === undefined ? {} : { occurredFrom: { $lt: to } }),
      }
      return segments.find(filter, { sort: newest, batchSize })
    },
    page(organizationId, before, limit) {
      const options = { sort: newest, limit, projection: segmentViewProjection }
      return segments.find(beforePlace(organizationId, before), options).toArray()
    },
    async again({ _id }) {
      return (await segments.findOne({ _id })) ?? undefined
    },
  }
}

const beforePlace = (organizationId: string, before: LeafPlace | undefined): Filter<SegmentDocument> => ({
  organizationId,
  ...(before === undefined
    ? {}
    : {
        $or: [
          { generation: { $lt: before.generation } },
          { generation: before.generation, from: { $lt: before.index } },
        ],
      }),
})

/** Makes the index that walks follow; changes nothing where it is there. */
export async function ensureSegmentLookupIndex(db: Db): Promise<void> {
  await db
    .collection<SegmentDocument>(collectionNames.archiveSegments)
    .createIndexes([{ key: { organizationId: 1, generation: -1, from: -1 }, name: 'newest_leaf_first' }])
}

/** How many leaves the segments have that hold events of [from, to), by `occurredAt`. */
export async function leavesBetween(db: Db, organizationId: string, from: Date, to: Date): Promise<number> {
  const segments = db.collection<SegmentDocument>(collectionNames.archiveSegments)
  const [sum] = await segments
    .aggregate<{ leaves: number }>([
      { $match: { organizationId, occurredTo: { $gte: from }, occurredFrom: { $lt: to } } },
      { $group: { _id: null, leaves: { $sum: '$leaves' } } },
    ])
    .toArray()
  return sum?.leaves ?? 0
}
