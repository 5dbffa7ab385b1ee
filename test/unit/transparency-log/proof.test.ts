/** Every tree to 100 leaves, every index, every pair of sizes, and every hash of every proof turned once. */
import { beforeAll, describe, expect, it } from 'vitest'
import { emptyRoot, type Hash } from '../../../src/transparency-log/hash.js'
import { nodeHasher } from '../../../src/transparency-log/node-crypto.js'
import {
  checkRecord,
  checkTree,
  proveRecord,
  proveTree,
  type Proof,
} from '../../../src/transparency-log/proof.js'
import { treeRoot } from '../../../src/transparency-log/tree.js'
import { at, codeOf, flipped, hex, MemoryTree, merkleTreeHash, rejectionOf, vectorLeaf } from './support.js'

const sizes = 100
const tree = new MemoryTree(sizes)
let roots: Hash[] = []

beforeAll(() => {
  roots = Array.from({ length: sizes + 1 }, (_, size) => merkleTreeHash(tree.leaves.slice(0, size)))
})

const recordCode = (
  proof: Proof,
  size: number,
  index: number,
  leaf = vectorLeaf(index),
  root = at(roots, size),
) => codeOf(() => checkRecord(proof, { size, root, index, leaf }, nodeHasher))

const treeCode = (
  proof: Proof,
  oldSize: number,
  newSize: number,
  changed: { oldRoot?: Hash; newRoot?: Hash } = {},
) => {
  const claim = { oldSize, oldRoot: at(roots, oldSize), newSize, newRoot: at(roots, newSize), ...changed }
  return codeOf(() => checkTree(proof, claim, nodeHasher))
}

/** The proof with its i-th hash wrong, for every i; one hash short at either end; one too many at either end. */
function spoiled(proof: Proof): Proof[] {
  const extra = vectorLeaf(0)
  return [
    ...proof.map((hash, i) => proof.with(i, flipped(hash, i % 256))),
    ...(proof.length > 0 ? [proof.slice(0, -1), proof.slice(1)] : []),
    [...proof, extra],
    [extra, ...proof],
  ]
}

describe('the root of a tree', () => {
  it('is the Merkle Tree Hash of RFC 6962 at every size', async () => {
    for (let size = 0; size <= sizes; size++) {
      expect(hex(await treeRoot(size, tree, nodeHasher))).toBe(hex(at(roots, size)))
    }
  })
})

describe('the proof of a record', () => {
  it('holds for every index of every size, and fails with any of its hashes turned, missing or added', async () => {
    for (let size = 1; size <= sizes; size++) {
      for (let index = 0; index < size; index++) {
        const proof = await proveRecord(size, index, tree, nodeHasher)
        expect(recordCode(proof, size, index)).toBe('nothing')
        for (const wrong of spoiled(proof)) expect(recordCode(wrong, size, index)).toBe('proof_mismatch')
        expect(recordCode(proof, size, index, flipped(vectorLeaf(index)))).toBe('proof_mismatch')
        expect(recordCode(proof, size, index, vectorLeaf(index), flipped(at(roots, size)))).toBe(
          'proof_mismatch',
        )
      }
    }
  })

  it('proves no other index and no other size', async () => {
    const proof = await proveRecord(61, 37, tree, nodeHasher)
    for (let size = 38; size <= sizes; size++) {
      for (let index = 0; index < size; index++) {
        const expected = size === 61 && index === 37 ? 'nothing' : 'proof_mismatch'
        expect(recordCode(proof, size, index, vectorLeaf(37))).toBe(expected)
      }
    }
  })

  it('must be as long as the tree is high, even where a root is passed off as a leaf', () => {
    const root = at(roots, 8)
    expect(recordCode([], 8, 0, root, root)).toBe('proof_mismatch')
    expect(recordCode([], 8, 7, root, root)).toBe('proof_mismatch')
  })

  it('of leaf 4 of 7 is leaf 5, leaf 6 and the node over the first four, as the module comment says', async () => {
    const proof = await proveRecord(7, 4, tree, nodeHasher)
    expect(proof.map(hex)).toEqual([at(tree.leaves, 5), at(tree.leaves, 6), at(roots, 4)].map(hex))
  })

  it.each([
    ['an index at the size', 5, 5],
    ['an index below 0', 5, -1],
    ['an index between two', 5, 0.5],
    ['a tree without leaves', 0, 0],
    ['a size below 0', -1, 0],
    ['a size that is no integer', 2.5, 0],
    ['a size of 2^53', 2 ** 53, 0],
    ['a size that is no number', Number.NaN, 0],
  ])('refuses %s', async (_, size, index) => {
    expect((await rejectionOf(proveRecord(size, index, tree, nodeHasher))).code).toBe('wrong_size')
    const claim = { size, root: at(roots, 5), index, leaf: vectorLeaf(0) }
    expect(codeOf(() => checkRecord([], claim, nodeHasher))).toBe('wrong_size')
  })

  it('refuses hashes that have not 32 bytes', async () => {
    const proof = await proveRecord(7, 4, tree, nodeHasher)
    for (const wrong of [new Uint8Array(), new Uint8Array(31), new Uint8Array(33)]) {
      expect(recordCode(proof.with(1, wrong), 7, 4)).toBe('proof_mismatch')
      expect(recordCode([], 1, 0, wrong)).toBe('proof_mismatch')
    }
  })
})

describe('the proof of a tree', () => {
  it('holds for every pair of sizes, and fails with any of its hashes turned, missing or added', async () => {
    for (let newSize = 0; newSize <= sizes; newSize++) {
      for (let oldSize = 0; oldSize <= newSize; oldSize++) {
        const proof = await proveTree(newSize, oldSize, tree, nodeHasher)
        expect(treeCode(proof, oldSize, newSize)).toBe('nothing')
        for (const wrong of spoiled(proof)) expect(treeCode(wrong, oldSize, newSize)).toBe('proof_mismatch')
        expect(treeCode(proof, oldSize, newSize, { oldRoot: flipped(at(roots, oldSize)) })).toBe(
          'proof_mismatch',
        )
        // From a tree without leaves nothing follows about the newer one.
        const newRoot = flipped(at(roots, newSize))
        const nothingToSay = oldSize === 0 && newSize > 0
        expect(treeCode(proof, oldSize, newSize, { newRoot })).toBe(
          nothingToSay ? 'nothing' : 'proof_mismatch',
        )
      }
    }
  })

  it('proves no other pair of sizes', async () => {
    const proof = await proveTree(61, 37, tree, nodeHasher)
    for (let newSize = 1; newSize <= sizes; newSize++) {
      for (let oldSize = 1; oldSize < newSize; oldSize++) {
        const expected = newSize === 61 && oldSize === 37 ? 'nothing' : 'proof_mismatch'
        expect(treeCode(proof, oldSize, newSize)).toBe(expected)
      }
    }
  })

  it('must be as long as the newer tree is high, even where both roots are one', () => {
    const root = at(roots, 2)
    expect(treeCode([], 2, 8, { oldRoot: root, newRoot: root })).toBe('proof_mismatch')
    expect(treeCode([root], 3, 8, { oldRoot: root, newRoot: root })).toBe('proof_mismatch')
  })

  it('from 3 to 7 is what the module comment says', async () => {
    const proof = await proveTree(7, 3, tree, nodeHasher)
    const right = nodeHasher.node(nodeHasher.node(vectorLeaf(4), vectorLeaf(5)), vectorLeaf(6))
    expect(proof.map(hex)).toEqual([vectorLeaf(2), vectorLeaf(3), at(roots, 2), right].map(hex))
  })

  it('from a tree without leaves is empty, and the old root must be the empty tree’s', () => {
    expect(treeCode([], 0, 7)).toBe('nothing')
    expect(treeCode([], 0, 7, { oldRoot: at(roots, 1) })).toBe('proof_mismatch')
    expect(treeCode([], 0, 0, { oldRoot: emptyRoot(), newRoot: at(roots, 1) })).toBe('proof_mismatch')
  })

  it.each([
    ['an older tree that is larger', 5, 4],
    ['a size below 0', -1, 4],
    ['a size of 2^53', 4, 2 ** 53],
    ['a size between two', 1.5, 4],
  ])('refuses %s', async (_, oldSize, newSize) => {
    expect((await rejectionOf(proveTree(newSize, oldSize, tree, nodeHasher))).code).toBe('wrong_size')
    const claim = { oldSize, oldRoot: at(roots, 4), newSize, newRoot: at(roots, 4) }
    expect(codeOf(() => checkTree([], claim, nodeHasher))).toBe('wrong_size')
  })
})
