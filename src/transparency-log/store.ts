/**
 * The logs of all organizations in MongoDB: three collections, written by `seal-batch.ts` alone.
 *
 *     logHeads     `<org>`                             size, root, signed checkpoint of the log as it is now
 *     logTiles     `<org>/<generation>/<level>/<n>`    the hashes of a tile; at level 0 also the event ids of its
 *                                                      leaves and when they were sealed
 *     logEntries   `<org>/<generation>/<n>`            the records of the leaves of tile n of level 0, as text
 *
 * Tiles are for ever: "where is event X", and its leaf hash, are answered from them when event and record are gone.
 * Records lie apart because they may expire (`recordDays`) and tiles never do. A leaf that has no record has an
 * empty text in its place. A closed generation keeps its head under `<org>/<generation>`.
 *
 * Everything here reads what a majority has: a head that could be rolled back is never shown to anybody.
 */
import type { Collection, Db } from 'mongodb'
import { collectionNames } from '../mongo/collections.js'
import { hashAt, type Hash } from './hash.js'
import { tileWidth, type TileAddress } from './tile.js'
import type { TileSource } from './tile-reader.js'

export interface LogHeadDocument {
  /** The organization's id; `<org>/<generation>` once the generation is closed. */
  readonly _id: string
  readonly organizationId: string
  /** From 1. */
  readonly generation: number
  readonly size: number
  /** 32 bytes. */
  readonly root: Buffer
  /** The signed note of exactly this size and root. */
  readonly checkpoint: string
  /** `sealedAt` of the last leaf. */
  readonly sealedAt: Date
  /** Names the log in the anchor log: 16 random bytes that say nothing about whose it is. */
  readonly logId: Buffer
}

/** `count` leaves in a row that were sealed at the same moment. */
export interface Sealing {
  readonly at: Date
  readonly count: number
}

export interface LogTileDocument {
  readonly _id: string
  readonly organizationId: string
  readonly generation: number
  readonly level: number
  readonly index: number
  /** Hashes in the tile, 1 to 256. */
  readonly width: number
  /** `width` × 32 bytes. */
  readonly hashes: Buffer
  /** Level 0: the event of each leaf. */
  readonly eventIds?: string[]
  /** Level 0: their counts add up to `width`. */
  readonly sealings?: Sealing[]
}

export interface LogEntriesDocument {
  readonly _id: string
  readonly organizationId: string
  readonly generation: number
  readonly index: number
  /** The record of each leaf; '' where there is none. */
  readonly records: string[]
}

export interface LogCollections {
  readonly heads: Collection<LogHeadDocument>
  readonly tiles: Collection<LogTileDocument>
  readonly entries: Collection<LogEntriesDocument>
}

/** Where an event is in its organization's log. */
export interface LeafLocation {
  readonly generation: number
  readonly index: number
  /** 32 bytes. */
  readonly leafHash: Hash
  readonly sealedAt: Date
}

/** The leaves under one tile of level 0, in order. */
export interface LogLeaf extends LeafLocation {
  readonly eventId: string
}

/** Which event a leaf is. */
export interface LeafId {
  readonly index: number
  readonly eventId: string
}

export interface LogStore {
  /** The head as it is now, or that of a closed generation; undefined where nothing was sealed yet. */
  head(organizationId: string, generation?: number): Promise<LogHeadDocument | undefined>
  /** The heads of all organizations as they are now, by organization id. */
  heads(): AsyncIterable<LogHeadDocument>
  /** Tiles of one log, for proofs (`TileHashReader`). It rejects where one is not there, or narrower than asked. */
  tileSource(organizationId: string, generation: number): TileSource
  /** The leaves under a tile of level 0, as many as are sealed; undefined where there are none. */
  leaves(organizationId: string, generation: number, index: number): Promise<LogLeaf[] | undefined>
  /** Which events the leaves are under `count` tiles of level 0 from `first` on, in order; those that there are. */
  leafIds(organizationId: string, generation: number, first: number, count: number): Promise<LeafId[]>
  /** The records of these leaves, '' where one is gone; undefined where there are none at all. */
  records(organizationId: string, generation: number, index: number): Promise<string[] | undefined>
  /** The record of one leaf; '' where it is gone. */
  record(organizationId: string, generation: number, index: number): Promise<string>
  /** Where an event is, for ever; undefined where it was never sealed. */
  locate(organizationId: string, eventId: string): Promise<LeafLocation | undefined>
  /** The same for several (at most 1,024); those that were never sealed are absent. */
  locateAll(organizationId: string, eventIds: readonly string[]): Promise<ReadonlyMap<string, LeafLocation>>
}

export const tileDocumentId = (organizationId: string, generation: number, level: number, index: number) =>
  `${organizationId}/${String(generation)}/${String(level)}/${String(index)}`

export const entriesDocumentId = (organizationId: string, generation: number, index: number) =>
  `${organizationId}/${String(generation)}/${String(index)}`

export function logCollections(db: Db): LogCollections {
  return {
    heads: db.collection(collectionNames.logHeads),
    tiles: db.collection(collectionNames.logTiles),
    entries: db.collection(collectionNames.logEntries),
  }
}

/** Makes the collections and their indexes; changes nothing where they are there. */
export async function ensureLogIndexes({ heads, tiles, entries }: LogCollections): Promise<void> {
  await tiles.createIndexes([
    {
      // Unique: no event can be sealed twice, whatever is done to its row.
      key: { organizationId: 1, eventIds: 1 },
      name: 'organization_event',
      unique: true,
      partialFilterExpression: { level: 0 },
    },
  ])
  // In a transaction a collection that does not exist yet would be made with a lock on the catalog.
  await entries.createIndexes([{ key: { organizationId: 1 }, name: 'organization' }])
  await heads.createIndexes([{ key: { organizationId: 1 }, name: 'organization' }])
}

export function createLogStore({ heads, tiles, entries }: LogCollections): LogStore {
  async function locateAll(
    organizationId: string,
    eventIds: readonly string[],
  ): Promise<ReadonlyMap<string, LeafLocation>> {
    const wanted = new Set(eventIds)
    const found = new Map<string, LeafLocation>()
    const query = { organizationId, level: 0, eventIds: { $in: [...wanted] } }
    for await (const tile of tiles.find(query)) {
      for (const { eventId, ...location } of leavesOf(tile))
        if (wanted.has(eventId)) found.set(eventId, location)
    }
    return found
  }

  return {
    async head(organizationId, generation) {
      const current = await heads.findOne({ _id: organizationId })
      if (generation === undefined || current?.generation === generation) return current ?? undefined
      return (await heads.findOne({ _id: `${organizationId}/${String(generation)}` })) ?? undefined
    },
    async *heads() {
      for await (const head of heads.find({}, { sort: { _id: 1 } }))
        if (head._id === head.organizationId) yield head
    },
    tileSource: (organizationId, generation) => ({
      readTiles: (addresses) => readTiles(tiles, organizationId, generation, addresses),
    }),
    async leaves(organizationId, generation, index) {
      const tile = await tiles.findOne({ _id: tileDocumentId(organizationId, generation, 0, index) })
      return tile === null ? undefined : leavesOf(tile)
    },
    async leafIds(organizationId, generation, first, count) {
      const ids = Array.from({ length: count }, (_, offset) =>
        tileDocumentId(organizationId, generation, 0, first + offset),
      )
      const projection = { eventIds: 1, index: 1 }
      const found = await tiles.find({ _id: { $in: ids } }, { projection }).toArray()
      return found
        .toSorted((a, b) => a.index - b.index)
        .flatMap(({ index, eventIds = [] }) =>
          eventIds.map((eventId, position) => ({ index: index * tileWidth + position, eventId })),
        )
    },
    async records(organizationId, generation, index) {
      const found = await entries.findOne({ _id: entriesDocumentId(organizationId, generation, index) })
      return found?.records
    },
    async record(organizationId, generation, index) {
      const _id = entriesDocumentId(organizationId, generation, Math.floor(index / tileWidth))
      const projection = { records: { $slice: [index % tileWidth, 1] } }
      const found = await entries.findOne({ _id }, { projection })
      return found?.records[0] ?? ''
    },
    locate: async (organizationId, eventId) => (await locateAll(organizationId, [eventId])).get(eventId),
    locateAll,
  }
}

/** The leaves that a tile of level 0 says it has. */
function leavesOf(tile: LogTileDocument): LogLeaf[] {
  const { generation, index, hashes, eventIds = [], sealings = [] } = tile
  const times = sealings.flatMap(({ at, count }) => Array.from({ length: count }, () => at))
  return eventIds.map((eventId, position) => {
    const sealedAt = times[position]
    if (sealedAt === undefined) throw new Error('a tile of level 0 has a time for every leaf')
    const leafHash = hashAt(hashes, position)
    return { eventId, generation, index: index * tileWidth + position, leafHash, sealedAt }
  })
}

async function readTiles(
  tiles: LogCollections['tiles'],
  organizationId: string,
  generation: number,
  addresses: readonly TileAddress[],
): Promise<Uint8Array[]> {
  const ids = addresses.map(({ level, index }) => tileDocumentId(organizationId, generation, level, index))
  const found = new Map<string, Buffer>()
  for await (const tile of tiles.find({ _id: { $in: ids } }, { projection: { hashes: 1 } })) {
    found.set(tile._id, tile.hashes)
  }
  // What is not there has no bytes: whoever checks tiles says so, with the tile's name (`tile_mismatch`).
  return ids.map((id) => found.get(id) ?? new Uint8Array())
}
