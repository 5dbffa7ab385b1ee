/**
 * A tree that only grows, kept as its frontier: the roots of the complete subtrees that its size is made of (at
 * most 53 hashes, whatever the size). Appending a leaf costs two hashes on average and no memory.
 *
 * Example: after the leaves a, b, c the frontier is [H(a, b), c] and the root is H(H(a, b), c).
 */
import { LogError } from './errors.js'
import { emptyRoot, requireHash, type Hash, type Hasher } from './hash.js'
import { completeSubtrees, foldSubtrees, requireSize } from './tree.js'

/** Called for every complete subtree the moment it is complete: level, and index within the level. */
export type NodeListener = (level: number, index: number, hash: Hash) => void

export class Frontier {
  /** Roots of the complete subtrees, the largest (leftmost) first. */
  readonly #roots: Hash[] = []
  #size = 0

  /** @param onNode sees leaves (level 0) and inner nodes alike, in the order they are completed */
  constructor(
    private readonly hasher: Hasher,
    private readonly onNode?: NodeListener,
  ) {}

  /**
   * The frontier of a tree of `size` leaves from the hashes that `hashes()` gave. Nothing is checked but their
   * number: compare `root()` with a root you trust.
   * @throws LogError `wrong_size`
   */
  static resume(size: number, hashes: readonly Hash[], hasher: Hasher, onNode?: NodeListener): Frontier {
    requireSize(size)
    const nodes = size === 0 ? [] : completeSubtrees({ from: 0, to: size })
    if (hashes.length !== nodes.length) {
      throw new LogError('wrong_size', 'a frontier has one hash for every binary one of its size')
    }
    for (const hash of hashes) requireHash(hash, 'a frontier hash')
    const frontier = new Frontier(hasher, onNode)
    frontier.#roots.push(...hashes)
    frontier.#size = size
    return frontier
  }

  get size(): number {
    return this.#size
  }

  /** Adds one leaf by its leaf hash, which is kept by reference. @throws LogError `wrong_size` at 2^53 - 1 leaves */
  append(leaf: Hash): void {
    this.appendSubtree(0, leaf)
  }

  /**
   * Adds a complete subtree of 2^level leaves by its root, such as a whole tile. The size must be a multiple of
   * 2^level. Nodes inside the subtree are not announced to the listener.
   * @throws LogError `wrong_size`
   */
  appendSubtree(level: number, root: Hash): void {
    const leaves = 2 ** level
    const grown = this.#size + leaves
    if (this.#size % leaves !== 0)
      throw new LogError('wrong_size', 'a subtree must begin at a multiple of its size')
    if (!Number.isSafeInteger(grown)) throw new LogError('wrong_size', 'the tree is full')
    let hash = root
    let height = level
    // `index` is the subtree's place in its level. An odd one completes a pair with the root left of it.
    let index = this.#size / leaves
    this.onNode?.(height, index, hash)
    while (index % 2 === 1) {
      const left = this.#roots.pop()
      if (left === undefined) throw new Error('a frontier has one root for every binary one of its size')
      hash = this.hasher.node(left, hash)
      height++
      index = (index - 1) / 2
      this.onNode?.(height, index, hash)
    }
    this.#roots.push(hash)
    this.#size = grown
  }

  /** The root of the tree as it is now. */
  root(): Hash {
    return this.#roots.length === 0 ? emptyRoot() : foldSubtrees(this.#roots, this.hasher)
  }

  /** The frontier's hashes, the largest subtree first: all that `resume` needs besides the size. */
  hashes(): Hash[] {
    return [...this.#roots]
  }
}
