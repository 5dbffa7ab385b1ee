/**
 * One batch of leaves of one organization becomes part of its log, in one transaction:
 *
 *     the head moves from (size, root) to the new ones, or nothing happens      compare-and-set: no fork, ever
 *     the tiles and records that the leaves touch grow, from exactly the width that the old size calls for
 *     `annals.log.event_damaged` for each leaf whose stored form was changed
 *     `pending` goes from exactly these events                                  so each is sealed once
 *
 * If the process dies anywhere before the commit, nothing of it is there; after it, all is. Two sealers that meet
 * work for nothing and harm nothing: the head lets one of them through. The loser reads again.
 */
import { randomBytes } from 'node:crypto'
import type { AnyBulkWriteOperation, ClientSession, MongoClient } from 'mongodb'
import type { EventCollection } from '../events/store.js'
import { inTransaction } from '../mongo/transaction.js'
import { isDuplicateKey } from '../mongo/unavailable.js'
import { formatCheckpoint } from './checkpoint.js'
import type { NewLeaf } from './examine.js'
import { nodeHasher } from './node-crypto.js'
import { signNote, type Signer } from './note.js'
import {
  entriesDocumentId,
  tileDocumentId,
  type LogCollections,
  type LogEntriesDocument,
  type LogHeadDocument,
  type LogStore,
  type LogTileDocument,
} from './store.js'
import { edgeTiles, tileAt, tileWidth } from './tile.js'
import { TileAppender, type TileContent } from './tile-appender.js'

/** Somebody else moved the log, or took an event of the batch: read again and go on. */
export class StaleBatchError extends Error {
  override readonly name = 'StaleBatchError'
}

/**
 * The right edge refuses the leaves: one of them stands there already, or the edge is not as wide as the head says.
 * (A leaf in an earlier tile is refused by the unique index, with MongoDB's duplicate key error.)
 */
export class EdgeRefusedError extends Error {
  override readonly name = 'EdgeRefusedError'
}

/** A log as it was read, able to grow. After a failure it is to be read again: its tree may be ahead of the store. */
export interface OpenLog {
  readonly organizationId: string
  /** Absent before the first leaf. */
  readonly head: LogHeadDocument | undefined
  /** Of a log without a head. Default 1. */
  readonly generation?: number
  readonly tree: TileAppender
}

/** A batch that only has to be written. */
export interface PreparedBatch {
  /** The log as it is once the batch is committed. */
  readonly head: LogHeadDocument
  /** @throws as `sealBatch` */
  readonly write: (session: ClientSession) => Promise<void>
}

export interface SealBatchDependencies extends LogCollections {
  readonly client: MongoClient
  readonly events: EventCollection
  /** `<ANNALS_LOG_ORIGIN>/<org>/<generation>` */
  readonly originOf: (organizationId: string, generation: number) => string
  readonly signersOf: (origin: string) => Promise<readonly Signer[]>
  /** Writes the event about a damaged one, in the transaction that seals it. */
  readonly recordDamage: (damage: Damage, session: ClientSession) => Promise<void>
  readonly now: () => Date
}

export interface Damage {
  readonly organizationId: string
  readonly eventId: string
  readonly generation: number
  readonly index: number
}

/**
 * Reads a log and checks its right edge against its root: a tile that was edited is never signed over.
 * @throws LogError `tile_mismatch`
 */
export async function openLog(store: LogStore, organizationId: string): Promise<OpenLog> {
  const head = await store.head(organizationId)
  if (head === undefined) return { organizationId, head, tree: new TileAppender(nodeHasher) }
  const { generation, size, root } = head
  const edge = await store.tileSource(organizationId, generation).readTiles(edgeTiles(size))
  return { organizationId, head, tree: TileAppender.resume({ size, root, edge }, nodeHasher) }
}

/**
 * Seals a batch (1 to 1,024 leaves).
 * @returns the log as it is now
 * @throws StaleBatchError | EdgeRefusedError; MongoDB's own errors, after which the batch may have been sealed or not
 */
export async function sealBatch(
  log: OpenLog,
  leaves: readonly NewLeaf[],
  dependencies: SealBatchDependencies,
): Promise<OpenLog> {
  const { head, write } = await prepareBatch(log, leaves, dependencies)
  await inTransaction(dependencies.client, write)
  return { organizationId: log.organizationId, head, tree: log.tree }
}

/**
 * The same, for a transaction of the caller's. The log's tree has grown when this resolves, whatever comes of it.
 */
export async function prepareBatch(
  log: OpenLog,
  leaves: readonly NewLeaf[],
  dependencies: SealBatchDependencies,
): Promise<PreparedBatch> {
  const { organizationId, tree } = log
  const generation = log.head?.generation ?? log.generation ?? 1
  const oldSize = tree.size
  const before = log.head?.sealedAt.getTime() ?? 0
  const sealedAt = new Date(Math.max(before, dependencies.now().getTime(), newestReceipt(leaves)))

  for (const leaf of leaves) tree.append(leaf.leafHash)
  const tiles = tree.takeTiles()
  const origin = dependencies.originOf(organizationId, generation)
  const root = Buffer.from(tree.root())
  const text = formatCheckpoint({ origin, size: tree.size, root, extensions: [] })
  const head: LogHeadDocument = {
    _id: organizationId,
    organizationId,
    generation,
    size: tree.size,
    root,
    checkpoint: signNote(text, await dependencies.signersOf(origin)),
    sealedAt,
    logId: log.head?.logId ?? randomBytes(16),
  }
  const place = { organizationId, generation, oldSize, sealedAt }
  const tileWrites = tiles.map((tile) => tileWrite(tile, leaves, place))
  const entryWrites = tiles
    .filter(({ tile }) => tile.level === 0)
    .map((tile) => entriesWrite(tile, leaves, place))
  const documentIds = leaves.map(({ documentId }) => documentId)
  const damaged = leaves.flatMap((leaf, offset) =>
    leaf.record === '' ? [{ ...leaf, index: oldSize + offset }] : [],
  )

  const write = async (session: ClientSession): Promise<void> => {
    await moveHead(dependencies, log.head, head, session)
    await writeAll(dependencies.tiles.bulkWrite(tileWrites, { session }), tileWrites.length, 'tiles')
    await writeAll(dependencies.entries.bulkWrite(entryWrites, { session }), entryWrites.length, 'records')
    for (const { eventId, index } of damaged) {
      await dependencies.recordDamage({ organizationId, eventId, generation, index }, session)
    }
    const cleared = await dependencies.events.updateMany(
      { _id: { $in: documentIds }, pending: true },
      { $unset: { pending: '', answered: '' } },
      { session },
    )
    if (cleared.modifiedCount !== leaves.length)
      throw new StaleBatchError('an event of the batch is not pending')
  }
  return { head, write }
}

/**
 * No leaf is older than its receipt: where this process's clock is years back, the first leaf of a log would else be born
 * old, and go as soon as the clock is right.
 */
function newestReceipt(leaves: readonly NewLeaf[]): number {
  let newest = 0
  for (const { receivedAt } of leaves) {
    // A row that was edited may hold anything there.
    const time: unknown = receivedAt
    if (time instanceof Date && time.getTime() > newest) newest = time.getTime()
  }
  return newest
}

/** The compare-and-set that everything else rests on. */
async function moveHead(
  { heads }: LogCollections,
  from: LogHeadDocument | undefined,
  to: LogHeadDocument,
  session: ClientSession,
): Promise<void> {
  if (from === undefined) {
    try {
      await heads.insertOne(to, { session })
    } catch (error) {
      if (isDuplicateKey(error)) throw new StaleBatchError('another sealer began the log')
      throw error
    }
    return
  }
  const { _id, generation, size, root } = from
  const { _id: _same, ...members } = to
  const moved = await heads.updateOne({ _id, generation, size, root }, { $set: members }, { session })
  if (moved.matchedCount !== 1) throw new StaleBatchError('another sealer moved the log')
}

interface BatchPlace {
  readonly organizationId: string
  readonly generation: number
  readonly oldSize: number
  readonly sealedAt: Date
}

/** The leaves of the batch that fall under a tile of level 0. */
function leavesUnder({ tile }: TileContent, leaves: readonly NewLeaf[], oldSize: number): readonly NewLeaf[] {
  const from = tile.index * tileWidth
  return leaves.slice(Math.max(0, from - oldSize), from + tile.width - oldSize)
}

/** Inserts a new tile, or grows one from exactly the width that the tree had there. */
function tileWrite(
  content: TileContent,
  leaves: readonly NewLeaf[],
  place: BatchPlace,
): AnyBulkWriteOperation<LogTileDocument> {
  const { level, index, width } = content.tile
  const { organizationId, generation, oldSize, sealedAt } = place
  const _id = tileDocumentId(organizationId, generation, level, index)
  const hashes = Buffer.from(content.bytes.buffer, content.bytes.byteOffset, content.bytes.length)
  const oldWidth = tileAt(level, index, oldSize)?.width ?? 0
  const eventIds =
    level === 0 ? leavesUnder(content, leaves, oldSize).map(({ eventId }) => eventId) : undefined
  const sealing = { at: sealedAt, count: width - oldWidth }
  if (oldWidth === 0) {
    const leafMembers = eventIds === undefined ? {} : { eventIds, sealings: [sealing] }
    return {
      insertOne: {
        document: { _id, organizationId, generation, level, index, width, hashes, ...leafMembers },
      },
    }
  }
  return {
    updateOne: {
      // A unique index does not look for a second time within one document: the filter does.
      filter: { _id, width: oldWidth, ...(eventIds === undefined ? {} : { eventIds: { $nin: eventIds } }) },
      update: {
        $set: { width, hashes },
        ...(eventIds === undefined ? {} : { $push: { eventIds: { $each: eventIds }, sealings: sealing } }),
      },
    },
  }
}

function entriesWrite(
  content: TileContent,
  leaves: readonly NewLeaf[],
  { organizationId, generation, oldSize }: BatchPlace,
): AnyBulkWriteOperation<LogEntriesDocument> {
  const { index } = content.tile
  const _id = entriesDocumentId(organizationId, generation, index)
  const records = leavesUnder(content, leaves, oldSize).map(({ record }) => record)
  const oldWidth = tileAt(0, index, oldSize)?.width ?? 0
  return oldWidth === 0
    ? { insertOne: { document: { _id, organizationId, generation, index, records } } }
    : {
        updateOne: {
          filter: { _id, records: { $size: oldWidth } },
          update: { $push: { records: { $each: records } } },
        },
      }
}

/** Every write must have found what it was to grow. */
async function writeAll(
  writing: Promise<{ readonly insertedCount: number; readonly matchedCount: number }>,
  expected: number,
  what: string,
): Promise<void> {
  const { insertedCount, matchedCount } = await writing
  if (insertedCount + matchedCount !== expected) {
    throw new EdgeRefusedError(`the ${what} on the right edge refuse the batch`)
  }
}
