/**
 * The shape of an RFC 6962 Merkle tree, and its root.
 *
 * The tree of leaves `from` to `to` (exclusive) splits at the largest power of two below its size, so every tree
 * is a row of *complete subtrees*, each of 2^level leaves and beginning at a multiple of 2^level, from the largest
 * to the smallest: the binary digits of its size. Seven leaves are subtrees of four, two and one:
 *
 *           root(7)
 *          /       \           node {level: 2, index: 0}   leaves 0 to 3
 *        4          ·          node {level: 1, index: 2}   leaves 4 and 5
 *      /   \       / \         node {level: 0, index: 6}   leaf 6
 *     2     2     2   6
 *    / \   / \   / \           root = H(node(2,0), H(node(1,2), node(0,6)))
 *   0   1 2   3 4   5
 *
 * A complete subtree never changes once its leaves are there. It is all that has to be stored, and a `HashReader`
 * is asked for nothing else. It is named by level and index, because Go's single storage index passes 2^53 before
 * the size does. Sizes and indexes are integers from 0 to 2^53 - 1, so no bit operators here (they end at 2^32).
 */
import { LogError } from './errors.js'
import { emptyRoot, type Hash, type Hasher } from './hash.js'

/** The complete subtree over leaves `index · 2^level` to `(index + 1) · 2^level - 1`. */
export interface NodeAddress {
  readonly level: number
  readonly index: number
}

/** Leaves `from` to `to`, exclusive, as one (sub)tree. */
export interface LeafRange {
  readonly from: number
  readonly to: number
}

/** Where hashes of complete subtrees come from. All hashes of a proof are asked for in one call. */
export interface HashReader {
  /** The hashes of `nodes`, in order. Rejects where one cannot be had or is not the tree's. */
  readHashes(nodes: readonly NodeAddress[]): Promise<readonly Hash[]>
}

/** @throws LogError `wrong_size` for anything but an integer from 0 to 2^53 - 1 */
export function requireSize(size: number): void {
  if (!Number.isSafeInteger(size) || size < 0) {
    throw new LogError('wrong_size', 'a tree size must be an integer from 0 to 2^53 - 1')
  }
}

/** @throws LogError `wrong_size` where `index` is no leaf of a tree of `size` leaves */
export function requireLeafIndex(index: number, size: number): void {
  requireSize(size)
  if (!Number.isSafeInteger(index) || index < 0 || index >= size) {
    throw new LogError('wrong_size', 'a leaf index must be an integer below the tree size')
  }
}

/** The largest power of two that is at most `n`, with its exponent. `n` is at least 1. */
function largestPower(n: number): { power: number; exponent: number } {
  let power = 1
  let exponent = 0
  while (power * 2 <= n) {
    power *= 2
    exponent++
  }
  return { power, exponent }
}

/** Where the tree over `range` splits: its left part has the largest power of two of leaves below its size. */
export function splitPoint(range: LeafRange): number {
  return range.from + largestPower(range.to - range.from - 1).power
}

/**
 * The complete subtrees that make up `range`, from left to right. `range.from` must be where a subtree of the
 * Merkle recursion begins (0, or a split point), as it always is for ranges of a proof.
 */
export function completeSubtrees(range: LeafRange): NodeAddress[] {
  const nodes: NodeAddress[] = []
  let from = range.from
  while (from < range.to) {
    const { power, exponent } = largestPower(range.to - from)
    nodes.push({ level: exponent, index: from / power })
    from += power
  }
  return nodes
}

/** The hash of a range from those of its complete subtrees, at least one, left to right. */
export function foldSubtrees(hashes: readonly Hash[], hasher: Hasher): Hash {
  const [last, ...rest] = hashes.toReversed()
  if (last === undefined) throw new Error('a range of no leaves has no subtrees to fold')
  return rest.reduce((right, left) => hasher.node(left, right), last)
}

/** Reads the hash of every range, with one call of the reader. */
export async function readRanges(
  ranges: readonly LeafRange[],
  reader: HashReader,
  hasher: Hasher,
): Promise<Hash[]> {
  const parts = ranges.map(completeSubtrees)
  const nodes = parts.flat()
  const hashes = nodes.length === 0 ? [] : await reader.readHashes(nodes)
  if (hashes.length !== nodes.length)
    throw new Error('a hash reader must answer as many hashes as it was asked for')
  let at = 0
  return parts.map((part) => foldSubtrees(hashes.slice(at, (at += part.length)), hasher))
}

/**
 * The root of the tree of the first `size` leaves.
 * @throws LogError `wrong_size`, and whatever the reader rejects with
 */
export async function treeRoot(size: number, reader: HashReader, hasher: Hasher): Promise<Hash> {
  requireSize(size)
  if (size === 0) return emptyRoot()
  const [root] = await readRanges([{ from: 0, to: size }], reader, hasher)
  if (root === undefined) throw new Error('one range has one hash')
  return root
}
