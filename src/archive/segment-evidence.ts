/** What a segment says of the tree that it is a part of: read from the log when it is written. */
import { nodeHasher } from '../transparency-log/node-crypto.js'
import type { Hash } from '../transparency-log/hash.js'
import type { LogKeys } from '../transparency-log/log-keys.js'
import { formatVerifierKey } from '../transparency-log/note-key.js'
import { proveTree } from '../transparency-log/proof.js'
import type { LogStore } from '../transparency-log/store.js'
import { TileHashReader } from '../transparency-log/tile-reader.js'
import { completeSubtrees, treeRoot } from '../transparency-log/tree.js'
import type { SegmentRange } from './contract.js'

export interface SegmentEvidence {
  /** Of the complete subtrees of the tree of `from` leaves, the largest first. */
  readonly frontier: readonly Hash[]
  /** Of the tree of `to` leaves. */
  readonly root: Hash
  /** That the checkpoint's tree begins with that one. */
  readonly consistency: readonly Hash[]
  /** The signed note. */
  readonly checkpoint: string
  /** Verifier keys of the checkpoint, newest first. */
  readonly logKeys: readonly string[]
}

/**
 * Reads the evidence of a range; every tile it is read from is hashed up to the checkpoint's root first.
 * @throws LogError `tile_mismatch` where the log's own tiles do not fit together; an Error where the range is not sealed
 */
export async function readEvidence(
  store: Pick<LogStore, 'head' | 'tileSource'>,
  keys: LogKeys,
  { organizationId, generation, from, to }: SegmentRange,
): Promise<SegmentEvidence> {
  const head = await store.head(organizationId, generation)
  if (head === undefined || head.size < to) throw new Error('only sealed leaves are archived')
  const { size, root, checkpoint } = head
  const tiles = store.tileSource(organizationId, generation)
  const reader = new TileHashReader(size, root, tiles, nodeHasher)
  const logKeys = await keys.verifierKeys(keys.origin(organizationId, generation))
  return {
    frontier: from === 0 ? [] : await reader.readHashes(completeSubtrees({ from: 0, to: from })),
    root: await treeRoot(to, reader, nodeHasher),
    consistency: await proveTree(size, to, reader, nodeHasher),
    checkpoint,
    logKeys: logKeys.map(formatVerifierKey),
  }
}
