/**
 * Appends an entry to the anchor log: at most one a minute, and only where some organization's log has grown since.
 *
 * One transaction moves the head by compare-and-set, grows the tiles, and replaces the list of what the newest entry
 * commits to. Two that try at once do so for nothing, but for one of them. If the process dies before the commit,
 * nothing of it is there; after it, the next turn finds a checkpoint without cosignatures and shows it to the witnesses.
 */
import { randomBytes } from 'node:crypto'
import { setImmediate as breathe } from 'node:timers/promises'
import type { AnyBulkWriteOperation, ClientSession, Collection, MongoClient } from 'mongodb'
import { inTransaction } from '../../mongo/transaction.js'
import { isDuplicateKey } from '../../mongo/unavailable.js'
import { formatCheckpoint } from '../checkpoint.js'
import type { RollbackGuard } from '../checkpoint-copies/guard.js'
import { utf8 } from '../encoding.js'
import { nodeHasher, sha256 } from '../node-crypto.js'
import { signNote } from '../note.js'
import type { LogHeadDocument } from '../store.js'
import { edgeTiles, tileAt } from '../tile.js'
import { TileAppender, type TileContent } from '../tile-appender.js'
import type { AnchorKeys } from './anchor-keys.js'
import {
  anchorTileId,
  currentHeadId,
  packLogs,
  replaceLogs,
  type AnchorCollections,
  type AnchorHeadDocument,
  type AnchorStore,
  type AnchorTileDocument,
} from './anchor-store.js'
import { formatEntry, secretBytes, type AnchoredLog } from './entry.js'
import { buildLogsTree } from './logs-tree.js'

/**
 * `anchored`: there is a new entry. `too_soon`: the last one is younger than a minute. `unchanged`: no log has grown.
 * `overtaken`: another process made one meanwhile.
 */
export type AnchorOutcome = 'anchored' | 'too_soon' | 'unchanged' | 'overtaken'

export interface AppendDependencies extends AnchorCollections {
  readonly client: MongoClient
  readonly store: AnchorStore
  readonly keys: AnchorKeys
  /** Of organizations' logs. */
  readonly logHeads: Collection<LogHeadDocument>
  readonly guard: Pick<RollbackGuard, 'check' | 'grown'>
  readonly now: () => Date
}

export const minGapMs = 60_000

class OvertakenError extends Error {
  override readonly name = 'OvertakenError'
}

/**
 * Makes an entry where one is due.
 * @throws RolledBackError where the anchor log is behind its copy; LogError `tile_mismatch`; MongoDB's errors
 */
export async function appendAnchor(dependencies: AppendDependencies): Promise<AnchorOutcome> {
  const { store, keys, guard } = dependencies
  const head = await store.head()
  const at = dependencies.now()
  // Also where the clock was set back: entries stand in the order of their times.
  if (head !== undefined && at.getTime() - head.at.getTime() < minGapMs) return 'too_soon'
  await guard.check('anchor', head)

  const logs = await readLogs(dependencies.logHeads)
  const packed = packLogs(logs)
  const content = sha256(Buffer.concat(packed))
  if (logs.length === 0 || head?.content.equals(content) === true) return 'unchanged'

  const secret = randomBytes(secretBytes)
  const { root: logsRoot } = await buildLogsTree(logs, secret, nodeHasher, sha256, () => breathe())
  const entry = formatEntry({ at, root: logsRoot })
  const tree = await openTree(store, head)
  tree.append(nodeHasher.leaf(utf8(entry)))
  const tiles = tree.takeTiles()
  const generation = head?.generation ?? 1
  const root = Buffer.from(tree.root())
  const text = formatCheckpoint({ origin: keys.origin(generation), size: tree.size, root, extensions: [] })
  const next: AnchorHeadDocument = {
    _id: currentHeadId,
    generation,
    size: tree.size,
    root,
    checkpoint: signNote(text, await keys.signers(generation)),
    at,
    secret,
    content: Buffer.from(content),
    cosignatures: [],
  }
  const writes = tiles.map((tile) => tileWrite(tile, generation, head?.size ?? 0, entry))
  try {
    await inTransaction(dependencies.client, async (session) => {
      await moveHead(dependencies, head, next, session)
      const written = await dependencies.tiles.bulkWrite(writes, { session })
      if (written.insertedCount + written.matchedCount !== writes.length) throw new OvertakenError()
      await replaceLogs(dependencies, packed, session)
    })
  } catch (error) {
    if (error instanceof OvertakenError || isDuplicateKey(error)) return 'overtaken'
    throw error
  }
  guard.grown('anchor', next)
  return 'anchored'
}

/** Every log that has a leaf, closed generations too: their events have receipts as well. */
async function readLogs(logHeads: Collection<LogHeadDocument>): Promise<AnchoredLog[]> {
  const projection = { logId: 1, size: 1, root: 1 } as const
  const found = logHeads.find({ size: { $gt: 0 } }, { projection }).batchSize(10_000)
  const logs: AnchoredLog[] = []
  for await (const { logId, size, root } of found) logs.push({ logId, size, root })
  return logs
}

async function openTree(store: AnchorStore, head: AnchorHeadDocument | undefined): Promise<TileAppender> {
  if (head === undefined) return new TileAppender(nodeHasher)
  const { generation, size, root } = head
  const edge = await store.tileSource(generation).readTiles(edgeTiles(size))
  return TileAppender.resume({ size, root, edge }, nodeHasher)
}

async function moveHead(
  { heads }: AnchorCollections,
  from: AnchorHeadDocument | undefined,
  to: AnchorHeadDocument,
  session: ClientSession,
): Promise<void> {
  if (from === undefined) {
    await heads.insertOne(to, { session })
    return
  }
  const { _id, generation, size, root } = from
  const moved = await heads.replaceOne({ _id, generation, size, root }, to, { session })
  if (moved.matchedCount !== 1) throw new OvertakenError()
}

/** Inserts a new tile, or grows one from exactly the width that the tree had there. */
function tileWrite(
  { tile, bytes }: TileContent,
  generation: number,
  oldSize: number,
  entry: string,
): AnyBulkWriteOperation<AnchorTileDocument> {
  const { level, index, width } = tile
  const _id = anchorTileId(generation, level, index)
  const hashes = Buffer.from(bytes)
  const oldWidth = tileAt(level, index, oldSize)?.width ?? 0
  if (oldWidth === 0) {
    const entries = level === 0 ? { entries: [entry] } : {}
    return { insertOne: { document: { _id, generation, level, index, width, hashes, ...entries } } }
  }
  return {
    updateOne: {
      filter: { _id, width: oldWidth },
      update: { $set: { width, hashes }, ...(level === 0 ? { $push: { entries: entry } } : {}) },
    },
  }
}
