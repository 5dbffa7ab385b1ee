import { describe, expect, it } from 'vitest'
import { Frontier } from '../../../src/transparency-log/frontier.js'
import { nodeHasher } from '../../../src/transparency-log/node-crypto.js'
import { at, codeOf, hex, MemoryTree, merkleTreeHash, UniformTree, vectorLeaf } from './support.js'
import { treeRoot } from '../../../src/transparency-log/tree.js'

const tree = new MemoryTree(300)
const rootOf = (size: number) => hex(merkleTreeHash(tree.leaves.slice(0, size)))

function grown(size: number): Frontier {
  const frontier = new Frontier(nodeHasher)
  for (const leaf of tree.leaves.slice(0, size)) frontier.append(leaf)
  return frontier
}

describe('a frontier', () => {
  it('has the root of the tree at every size to 300', () => {
    const frontier = new Frontier(nodeHasher)
    for (let size = 0; size < 300; size++) {
      expect(hex(frontier.root())).toBe(rootOf(size))
      frontier.append(at(tree.leaves, size))
    }
    expect(frontier.size).toBe(300)
  })

  it('goes on from its own hashes at any size', () => {
    for (let size = 0; size < 40; size++) {
      const resumed = Frontier.resume(size, grown(size).hashes(), nodeHasher)
      expect(hex(resumed.root())).toBe(rootOf(size))
      resumed.append(at(tree.leaves, size))
      expect(hex(resumed.root())).toBe(rootOf(size + 1))
    }
  })

  it('of three leaves is the node over two and the third, as the module comment says', () => {
    const [a, b, c] = [vectorLeaf(0), vectorLeaf(1), vectorLeaf(2)]
    const ab = nodeHasher.node(a, b)
    expect(grown(3).hashes().map(hex)).toEqual([ab, c].map(hex))
    expect(hex(grown(3).root())).toBe(hex(nodeHasher.node(ab, c)))
  })

  it('announces every complete node once, children before parents', async () => {
    const seen: string[] = []
    const nodes: { level: number; index: number; hash: string }[] = []
    const frontier = new Frontier(nodeHasher, (level, index, hash) => {
      if (level > 0) expect(seen).toContain(`${level - 1}/${2 * index + 1}`)
      seen.push(`${level}/${index}`)
      nodes.push({ level, index, hash: hex(hash) })
    })
    for (const leaf of tree.leaves.slice(0, 21)) frontier.append(leaf)
    // 21 = 16 + 4 + 1: 21 leaves, 10 pairs, 5 fours, 2 eights and one sixteen.
    expect(seen).toHaveLength(21 + 10 + 5 + 2 + 1)
    expect(new Set(seen).size).toBe(seen.length)
    const hashes = await tree.readHashes(nodes)
    expect(nodes.map((node) => node.hash)).toEqual(hashes.map(hex))
  })

  it('takes whole subtrees where one may begin, and nowhere else', () => {
    const frontier = grown(8)
    frontier.appendSubtree(3, merkleTreeHash(tree.leaves.slice(8, 16)))
    frontier.appendSubtree(1, merkleTreeHash(tree.leaves.slice(16, 18)))
    expect(frontier.size).toBe(18)
    expect(hex(frontier.root())).toBe(rootOf(18))
    expect(codeOf(() => frontier.appendSubtree(2, vectorLeaf(0)))).toBe('wrong_size')
    expect(frontier.size).toBe(18)
  })

  it('grows to 2^53 - 1 leaves and no further', async () => {
    const uniform = new UniformTree()
    const frontier = new Frontier(nodeHasher)
    for (let level = 52; level >= 0; level--) {
      const [hash] = await uniform.readHashes([{ level, index: 0 }])
      if (hash !== undefined) frontier.appendSubtree(level, hash)
    }
    expect(frontier.size).toBe(Number.MAX_SAFE_INTEGER)
    expect(hex(frontier.root())).toBe(hex(await treeRoot(Number.MAX_SAFE_INTEGER, uniform, nodeHasher)))
    expect(codeOf(() => frontier.append(uniform.leaf))).toBe('wrong_size')
  })

  it.each([
    ['too few hashes', 3, 1],
    ['too many hashes', 4, 2],
    ['hashes of an empty tree', 0, 1],
    ['a size below 0', -1, 0],
  ])('does not go on from %s', (_, size, count) => {
    const hashes = tree.leaves.slice(0, count)
    expect(codeOf(() => Frontier.resume(size, hashes, nodeHasher))).toBe('wrong_size')
  })

  it('does not go on from something that is no hash', () => {
    expect(codeOf(() => Frontier.resume(1, [new Uint8Array(31)], nodeHasher))).toBe('wrong_size')
  })
})
