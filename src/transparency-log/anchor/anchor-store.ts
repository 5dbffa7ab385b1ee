/**
 * The anchor log in MongoDB: one log for the deployment, written by `append.ts` and, for cosignatures, `witnesses.ts`.
 *
 *     anchorHeads       `current`                       size, root, signed checkpoint, cosignatures of exactly that;
 *                                                       the secret under which the newest entry was made
 *                       `closed/<generation>`           the same of a closed generation
 *     anchorTiles       `<generation>/<level>/<n>`      hashes; at level 0 also the entries
 *     anchorLogs        `<n>`                           what the newest entry commits to: log id, size and root of
 *                                                       each log, 8,192 to a document
 *     anchorWitnesses   `<key name>+<key id>`           what is known of a witness
 *
 * What older entries committed to is not kept: whoever proves a leaf does so by the newest, which has them all.
 */
import type { ClientSession, Collection, Db } from 'mongodb'
import { collectionNames } from '../../mongo/collections.js'
import { tileWidth, type TileAddress } from '../tile.js'
import type { TileSource } from '../tile-reader.js'
import { logIdBytes, type AnchoredLog } from './entry.js'
import type { WitnessState } from './witness-client.js'

export interface AnchorHeadDocument {
  readonly _id: string
  /** From 1. */
  readonly generation: number
  readonly size: number
  readonly root: Buffer
  /** The note as the log signed it, without cosignatures. */
  readonly checkpoint: string
  /** Of the newest entry. */
  readonly at: Date
  /** 32 bytes; of the newest entry. */
  readonly secret: Buffer
  /** SHA-256 of what the newest entry commits to. */
  readonly content: Buffer
  /** Verified signature lines of witnesses on this checkpoint, by the witness's key. */
  readonly cosignatures: readonly { readonly witness: string; readonly line: string }[]
}

export interface AnchorTileDocument {
  readonly _id: string
  readonly generation: number
  readonly level: number
  readonly index: number
  readonly width: number
  readonly hashes: Buffer
  /** Level 0: the entry of each leaf. */
  readonly entries?: string[]
}

export interface AnchorLogsDocument {
  readonly _id: number
  /** 56 bytes a log: id (16), size (8, big endian), root (32), by ascending id. */
  readonly logs: Buffer
}

export interface AnchorWitnessDocument {
  readonly _id: string
  /** The size of the anchor log's tree that the witness cosigned last, or said it has. */
  readonly size: number
  /** The size that it was shown last. */
  readonly tried: number
  /** What came of it. */
  readonly state: WitnessState
  readonly triedAt: Date
}

export interface AnchorCollections {
  readonly heads: Collection<AnchorHeadDocument>
  readonly tiles: Collection<AnchorTileDocument>
  readonly logs: Collection<AnchorLogsDocument>
  readonly witnesses: Collection<AnchorWitnessDocument>
}

export const currentHeadId = 'current'
export const anchorTileId = (generation: number, level: number, index: number) =>
  `${String(generation)}/${String(level)}/${String(index)}`

export function anchorCollections(db: Db): AnchorCollections {
  return {
    heads: db.collection(collectionNames.anchorHeads),
    tiles: db.collection(collectionNames.anchorTiles),
    logs: db.collection(collectionNames.anchorLogs),
    witnesses: db.collection(collectionNames.anchorWitnesses),
  }
}

/** Makes the collections, so that no transaction has to. */
export async function ensureAnchorCollections({
  heads,
  tiles,
  logs,
  witnesses,
}: AnchorCollections): Promise<void> {
  for (const collection of [heads, tiles, logs, witnesses]) {
    await collection.createIndexes([{ key: { _id: 1 }, name: '_id_' }])
  }
}

export interface AnchorStore {
  /** The log as it is now, or a closed generation; undefined before the first entry. */
  head(generation?: number): Promise<AnchorHeadDocument | undefined>
  tileSource(generation: number): TileSource
  /** The entries under a tile of level 0, as many as there are. */
  entries(generation: number, index: number): Promise<readonly string[]>
  /** What the entry of this head commits to; undefined where the log has moved on. */
  logsOf(head: AnchorHeadDocument): Promise<readonly AnchoredLog[] | undefined>
}

export function createAnchorStore({ heads, tiles, logs }: AnchorCollections): AnchorStore {
  return {
    async head(generation) {
      const current = (await heads.findOne({ _id: currentHeadId })) ?? undefined
      if (generation === undefined || current?.generation === generation) return current
      return (await heads.findOne({ _id: `closed/${String(generation)}` })) ?? undefined
    },
    tileSource: (generation) => ({ readTiles: (addresses) => readTiles(tiles, generation, addresses) }),
    async entries(generation, index) {
      return (await tiles.findOne({ _id: anchorTileId(generation, 0, index) }))?.entries ?? []
    },
    async logsOf(head) {
      const found = await logs.find({}, { sort: { _id: 1 } }).toArray()
      // Read without a transaction: only the head afterwards can tell that it was one entry's.
      const now = await heads.findOne({ _id: currentHeadId })
      if (now?.size !== head.size || !now.root.equals(head.root)) return undefined
      return found.flatMap((document) => unpackLogs(document.logs))
    },
  }
}

/** Replaces what the newest entry commits to, in the transaction that makes it. */
export async function replaceLogs(
  { logs }: AnchorCollections,
  packed: readonly Buffer[],
  session: ClientSession,
): Promise<void> {
  await logs.deleteMany({}, { session })
  const documents = packed.map((rows, _id) => ({ _id, logs: rows }))
  if (documents.length > 0) await logs.insertMany(documents, { session })
}

const sizeBytes = 8
const rootBytes = 32
const rowBytes = logIdBytes + sizeBytes + rootBytes
const logsPerDocument = 8_192

/** The rows of logs, by ascending id, in the pieces that documents hold. */
export function packLogs(logs: readonly AnchoredLog[]): Buffer[] {
  const rows = logs.map(({ logId, size, root }) => {
    const row = Buffer.alloc(rowBytes)
    row.set(logId, 0)
    row.writeBigUInt64BE(BigInt(size), logIdBytes)
    row.set(root, logIdBytes + sizeBytes)
    return row
  })
  rows.sort((a, b) => a.compare(b))
  return Array.from({ length: Math.ceil(rows.length / logsPerDocument) }, (_, piece) =>
    Buffer.concat(rows.slice(piece * logsPerDocument, (piece + 1) * logsPerDocument)),
  )
}

function unpackLogs(rows: Buffer): AnchoredLog[] {
  return Array.from({ length: Math.floor(rows.length / rowBytes) }, (_, number) => {
    const row = rows.subarray(number * rowBytes, (number + 1) * rowBytes)
    return {
      logId: row.subarray(0, logIdBytes),
      size: Number(row.readBigUInt64BE(logIdBytes)),
      root: row.subarray(logIdBytes + sizeBytes),
    }
  })
}

async function readTiles(
  tiles: AnchorCollections['tiles'],
  generation: number,
  addresses: readonly TileAddress[],
): Promise<Uint8Array[]> {
  const ids = addresses.map(({ level, index }) => anchorTileId(generation, level, index))
  const found = new Map<string, Buffer>()
  for await (const tile of tiles.find({ _id: { $in: ids } }, { projection: { hashes: 1 } })) {
    found.set(tile._id, tile.hashes)
  }
  // What is not there has no bytes: whoever checks tiles says so (`tile_mismatch`).
  return ids.map((id) => found.get(id) ?? new Uint8Array())
}

/** The place of an entry in the tile that holds it. */
export const entryPlace = (index: number) => ({
  tile: Math.floor(index / tileWidth),
  position: index % tileWidth,
})
