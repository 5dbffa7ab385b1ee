/**
 * Inclusion and consistency proofs of RFC 6962 (sections 2.1.1 and 2.1.2), proved and checked.
 *
 * A proof is a list of hashes from the leaf's side up to the root's: of a *record*, that it is the leaf at an
 * index of the tree of a size; of a *tree*, that the first leaves of a newer tree are an older tree.
 *
 * Example, with the seven leaves of `tree.ts`: the proof of leaf 4 in the tree of 7 is
 * `[leaf 5, leaf 6, node(2, 0)]`; the proof that the tree of 7 begins with the tree of 3 is
 * `[leaf 2, leaf 3, node(1, 0), H(node(1, 2), leaf 6)]`.
 *
 * A tree without leaves is the beginning of every tree: the proof from size 0 is empty, as C2SP tlog-witness has
 * it, and so is the proof of a tree from itself.
 *
 * Checking follows the loops of RFC 9162 (sections 2.1.3.2 and 2.1.4.2), which need nothing but the proof.
 */
import { LogError } from './errors.js'
import { emptyRoot, equalHashes, hashLength, type Hash, type Hasher } from './hash.js'
import {
  readRanges,
  requireLeafIndex,
  requireSize,
  splitPoint,
  type HashReader,
  type LeafRange,
} from './tree.js'

/** Hashes that lead from a leaf, or from an older root, to a root. */
export type Proof = readonly Hash[]

/** A record's place: the leaf at `index` of the tree of `size` leaves whose root is `root`. */
export interface RecordClaim {
  readonly size: number
  readonly root: Hash
  readonly index: number
  /** The leaf hash of the record. */
  readonly leaf: Hash
}

/** An older tree and a newer one that begins with it. */
export interface TreeClaim {
  readonly oldSize: number
  readonly oldRoot: Hash
  readonly newSize: number
  readonly newRoot: Hash
}

/**
 * The proof that the record at `index` is in the tree of `size` leaves.
 * @throws LogError `wrong_size`, and whatever the reader rejects with
 */
export async function proveRecord(
  size: number,
  index: number,
  reader: HashReader,
  hasher: Hasher,
): Promise<Hash[]> {
  requireLeafIndex(index, size)
  const siblings: LeafRange[] = []
  let tree: LeafRange = { from: 0, to: size }
  while (tree.to - tree.from > 1) {
    const middle = splitPoint(tree)
    const left = { from: tree.from, to: middle }
    const right = { from: middle, to: tree.to }
    siblings.push(index < middle ? right : left)
    tree = index < middle ? left : right
  }
  return readRanges(siblings.reverse(), reader, hasher)
}

/** @throws LogError `wrong_size` | `proof_mismatch` where `proof` does not prove the claim */
export function checkRecord(proof: Proof, claim: RecordClaim, hasher: Hasher): void {
  requireLeafIndex(claim.index, claim.size)
  requireHashes(proof)
  // The place of the running hash in its level, and that of the level's last node.
  let place = claim.index
  let last = claim.size - 1
  let hash = claim.leaf
  for (const sibling of proof) {
    if (last === 0) throw new LogError('proof_mismatch', 'the proof has too many hashes')
    if (place % 2 === 1 || place === last) {
      hash = hasher.node(sibling, hash)
      // A last node without a right neighbour passes through the levels where it has no left one either.
      while (place % 2 === 0 && place !== 0) {
        place /= 2
        last = half(last)
      }
    } else {
      hash = hasher.node(hash, sibling)
    }
    place = half(place)
    last = half(last)
  }
  if (last !== 0) throw new LogError('proof_mismatch', 'the proof has too few hashes')
  if (!equalHashes(hash, claim.root))
    throw new LogError('proof_mismatch', 'the record is not in the tree there')
}

/**
 * The proof that the tree of `newSize` leaves begins with the tree of `oldSize`.
 * @throws LogError `wrong_size`, and whatever the reader rejects with
 */
export async function proveTree(
  newSize: number,
  oldSize: number,
  reader: HashReader,
  hasher: Hasher,
): Promise<Hash[]> {
  requireOrder(oldSize, newSize)
  if (oldSize === 0 || oldSize === newSize) return []
  const siblings: LeafRange[] = []
  let tree: LeafRange = { from: 0, to: newSize }
  while (tree.to !== oldSize) {
    const middle = splitPoint(tree)
    const left = { from: tree.from, to: middle }
    const right = { from: middle, to: tree.to }
    siblings.push(oldSize <= middle ? right : left)
    tree = oldSize <= middle ? left : right
  }
  // The old tree itself is known to whoever checks; only a part of it has to be told.
  if (tree.from !== 0) siblings.push(tree)
  return readRanges(siblings.reverse(), reader, hasher)
}

/** @throws LogError `wrong_size` | `proof_mismatch` where `proof` does not prove the claim */
export function checkTree(proof: Proof, claim: TreeClaim, hasher: Hasher): void {
  requireOrder(claim.oldSize, claim.newSize)
  requireHashes(proof)
  if (claim.oldSize === 0 || claim.oldSize === claim.newSize) {
    const expected = claim.oldSize === 0 ? emptyRoot() : claim.newRoot
    if (proof.length > 0) throw new LogError('proof_mismatch', 'the proof has too many hashes')
    if (!equalHashes(claim.oldRoot, expected)) throw new LogError('proof_mismatch', 'the roots differ')
    if (claim.newSize === 0 && !equalHashes(claim.newRoot, expected)) {
      throw new LogError('proof_mismatch', 'the roots differ')
    }
    return
  }
  let place = claim.oldSize - 1
  let last = claim.newSize - 1
  while (place % 2 === 1) {
    place = half(place)
    last = half(last)
  }
  // An old tree of a power of two is a node of the new tree, and its root is where the proof begins.
  const [first, ...rest] = place === 0 ? [claim.oldRoot, ...proof] : proof
  if (first === undefined) throw new LogError('proof_mismatch', 'the proof has too few hashes')
  let oldHash = first
  let newHash = first
  for (const sibling of rest) {
    if (last === 0) throw new LogError('proof_mismatch', 'the proof has too many hashes')
    if (place % 2 === 1 || place === last) {
      oldHash = hasher.node(sibling, oldHash)
      newHash = hasher.node(sibling, newHash)
      while (place % 2 === 0 && place !== 0) {
        place /= 2
        last = half(last)
      }
    } else {
      newHash = hasher.node(newHash, sibling)
    }
    place = half(place)
    last = half(last)
  }
  if (last !== 0) throw new LogError('proof_mismatch', 'the proof has too few hashes')
  if (!equalHashes(oldHash, claim.oldRoot) || !equalHashes(newHash, claim.newRoot)) {
    throw new LogError('proof_mismatch', 'the newer tree does not begin with the older one')
  }
}

function half(n: number): number {
  return Math.floor(n / 2)
}

function requireOrder(oldSize: number, newSize: number): void {
  requireSize(oldSize)
  requireSize(newSize)
  if (oldSize > newSize) throw new LogError('wrong_size', 'the older tree must not be the larger one')
}

function requireHashes(proof: Proof): void {
  if (proof.some((hash) => hash.length !== hashLength)) {
    throw new LogError('proof_mismatch', `every hash of a proof has ${hashLength} bytes`)
  }
}
