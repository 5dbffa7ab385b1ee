import { describe, expect, it } from 'vitest'
import { nodeHasher } from '../../../src/transparency-log/node-crypto.js'
import { TileAppender } from '../../../src/transparency-log/tile-appender.js'
import { edgeTiles, tilePath, tilesForGrowth } from '../../../src/transparency-log/tile.js'
import {
  at,
  codeOf,
  flipped,
  hex,
  hashesIn,
  MemoryTree,
  merkleTreeHash,
  tilesOf,
  vectorLeaf,
} from './support.js'

const tree = new MemoryTree(1000)
const headOf = (size: number, tiles = tilesOf(size)) => ({
  size,
  root: merkleTreeHash(tree.leaves.slice(0, size)),
  edge: edgeTiles(size).map((tile) => tiles.get(tilePath(tile)) ?? new Uint8Array()),
})

describe('a tree that grows', () => {
  it('gives exactly the tiles that a growth changes, in batches of any size', () => {
    for (const batch of [1, 7, 100, 255, 256, 257, 600]) {
      const appender = new TileAppender(nodeHasher)
      const stored = new Map<string, Uint8Array>()
      for (let size = 0; size < 1000;) {
        const to = Math.min(1000, size + batch)
        for (const leaf of tree.leaves.slice(size, to)) appender.append(leaf)
        const written = appender.takeTiles()
        expect(written.map(({ tile }) => tilePath(tile)).toSorted()).toEqual(
          Array.from(tilesForGrowth(size, to), tilePath).toSorted(),
        )
        for (const { tile, bytes } of written) {
          expect(bytes.length).toBe(tile.width * 32)
          stored.set(tilePath(tile), bytes)
        }
        expect(appender.takeTiles()).toEqual([])
        size = to
      }
      for (const tile of tilesForGrowth(0, 1000)) {
        const bytes = stored.get(tilePath(tile)) ?? new Uint8Array()
        if (tile.level === 0) {
          const leaves = tree.leaves.slice(tile.index * 256, tile.index * 256 + tile.width)
          expect(hashesIn(bytes)).toEqual(leaves.map(hex))
        }
      }
      expect(hex(appender.root())).toBe(hex(merkleTreeHash(tree.leaves)))
    }
  })

  it('resumed from its edge tiles goes on as if it had never stopped', () => {
    for (const size of [0, 1, 2, 254, 255, 256, 257, 511, 512, 513, 767, 999]) {
      const appender = TileAppender.resume(headOf(size), nodeHasher)
      expect(appender.size).toBe(size)
      expect(appender.takeTiles()).toEqual([])
      for (const leaf of tree.leaves.slice(size)) appender.append(leaf)
      const stored = tilesOf(1000)
      for (const { tile, bytes } of appender.takeTiles()) {
        expect(hex(bytes)).toBe(hex(stored.get(tilePath(tile)) ?? new Uint8Array()))
      }
      expect(hex(appender.root())).toBe(hex(merkleTreeHash(tree.leaves)))
    }
  })

  it('at 255 leaves and one more gives a full tile and one above it, as the module comment says', () => {
    const appender = TileAppender.resume(headOf(255), nodeHasher)
    appender.append(at(tree.leaves, 255))
    expect(appender.takeTiles().map(({ tile }) => tilePath(tile))).toEqual(['tile/0/000', 'tile/1/000.p/1'])
  })

  it('keeps what it gave apart from what it writes next', () => {
    const appender = TileAppender.resume(headOf(3), nodeHasher)
    appender.append(at(tree.leaves, 3))
    const [first] = appender.takeTiles()
    const before = hex(first?.bytes ?? new Uint8Array())
    appender.append(at(tree.leaves, 4))
    appender.takeTiles()
    expect(hex(first?.bytes ?? new Uint8Array())).toBe(before)
  })

  it('is not resumed from an edited, cut, missing or surplus tile, nor at another size', () => {
    const head = headOf(700)
    const [leaves, above] = head.edge
    if (leaves === undefined || above === undefined) throw new Error('700 leaves have two edge tiles')
    const resumed = (changed: Partial<typeof head>) =>
      codeOf(() => TileAppender.resume({ ...head, ...changed }, nodeHasher))
    expect(resumed({})).toBe('nothing')
    for (let i = 0; i < leaves.length; i += 32)
      expect(resumed({ edge: [flipped(leaves, i * 8), above] })).toBe('tile_mismatch')
    expect(resumed({ edge: [leaves, flipped(above)] })).toBe('tile_mismatch')
    expect(resumed({ edge: [leaves.slice(0, -32), above] })).toBe('tile_mismatch')
    expect(resumed({ edge: [leaves.slice(0, -1), above] })).toBe('tile_mismatch')
    expect(resumed({ edge: [leaves] })).toBe('wrong_size')
    expect(resumed({ edge: [leaves, above, above] })).toBe('wrong_size')
    expect(resumed({ root: flipped(head.root) })).toBe('tile_mismatch')
    expect(resumed({ size: 699 })).toBe('tile_mismatch')
    expect(resumed({ size: -1 })).toBe('wrong_size')
    expect(resumed({ size: 0, edge: [] })).toBe('tile_mismatch')
  })

  it('may be resumed from a tile that is wider than its head calls for', () => {
    const head = headOf(300)
    const wider = at(headOf(400).edge, 0)
    const appender = TileAppender.resume({ ...head, edge: [wider, ...head.edge.slice(1)] }, nodeHasher)
    appender.append(vectorLeaf(300))
    expect(appender.takeTiles().map(({ tile }) => tilePath(tile))).toEqual(['tile/0/001.p/45'])
  })

  it('takes 32 bytes for a leaf hash and nothing else', () => {
    const appender = new TileAppender(nodeHasher)
    expect(codeOf(() => appender.append(new Uint8Array(31)))).toBe('wrong_size')
    expect(appender.size).toBe(0)
  })
})
