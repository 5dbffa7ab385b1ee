/** Is a database's log where its copy says that it was, or beyond? */
import { equalHashes } from '../hash.js'
import { nodeHasher } from '../node-crypto.js'
import { TileHashReader, type TileSource } from '../tile-reader.js'
import { treeRoot } from '../tree.js'
import { parseCopy, type CheckpointCopies, type CopyName, type PublishedTree } from './copies.js'

/**
 * `fits`: the log is the copy's tree, or begins with it, or is of a later generation.
 * `none`: there is no copy, as of a log that has just begun.
 * `behind`: the log has less than what was published; `forked`: another tree; `unreadable`: nobody can tell.
 */
export type Comparison = 'fits' | 'none' | 'behind' | 'forked' | 'unreadable'

/** The comparisons after which a log may grow. */
export const mayGrow = (comparison: Comparison): boolean => comparison === 'fits' || comparison === 'none'

/**
 * @param tree the log as the database has it; undefined where it has none
 * @param tiles of the log's generation
 * @throws LogError `tile_mismatch` where the log's own tiles do not fit together
 */
export async function compareWithCopy(
  tree: PublishedTree | undefined,
  copy: PublishedTree,
  tiles: (generation: number) => TileSource,
): Promise<Comparison> {
  if (tree === undefined || tree.generation < copy.generation) return 'behind'
  if (tree.generation > copy.generation) return 'fits'
  if (tree.size < copy.size) return 'behind'
  if (tree.size === copy.size) return equalHashes(tree.root, copy.root) ? 'fits' : 'forked'
  const reader = new TileHashReader(tree.size, tree.root, tiles(tree.generation), nodeHasher)
  return equalHashes(await treeRoot(copy.size, reader, nodeHasher), copy.root) ? 'fits' : 'forked'
}

export interface Compared {
  readonly comparison: Comparison
  /** The log that was compared: as it was given, or as it is now. */
  readonly tree: PublishedTree | undefined
  /** Absent for `none` and `unreadable`. */
  readonly copy?: PublishedTree
}

/** Where a log is read from. */
export interface LogTrees {
  /** The log as the database has it now. */
  readonly treeOf: (name: CopyName) => Promise<PublishedTree | undefined>
  readonly tilesOf: (name: CopyName, generation: number) => TileSource
}

/**
 * Reads the copy of a log and compares.
 * @param tree the log as it was read a moment ago
 * @throws what the store of copies fails with; LogError as above
 */
export async function readAndCompare(
  copies: Pick<CheckpointCopies, 'read'>,
  name: CopyName,
  tree: PublishedTree | undefined,
  { treeOf, tilesOf }: LogTrees,
): Promise<Compared> {
  const note = await copies.read(name)
  if (note === undefined) return { comparison: 'none', tree }
  const copy = parseCopy(name, note)
  if (copy === undefined) return { comparison: 'unreadable', tree }
  const tiles = (generation: number) => tilesOf(name, generation)
  const comparison = await compareWithCopy(tree, copy, tiles)
  if (comparison !== 'behind') return { comparison, tree, copy }
  // The copy may be of a tree that has grown since the log was read. The log as it is now cannot be behind it.
  const now = await treeOf(name)
  return { comparison: await compareWithCopy(now, copy, tiles), tree: now, copy }
}
