import { describe, expect, it } from 'vitest'
import { emptyRoot } from '../../../src/transparency-log/hash.js'
import { nodeHasher } from '../../../src/transparency-log/node-crypto.js'
import { checkRecord, checkTree, proveRecord, proveTree } from '../../../src/transparency-log/proof.js'
import { TileHashReader } from '../../../src/transparency-log/tile-reader.js'
import { treeRoot } from '../../../src/transparency-log/tree.js'
import {
  at,
  codeOf,
  flipped,
  hex,
  MapSource,
  MemoryTree,
  merkleTreeHash,
  rejectionOf,
  tilesOf,
  UniformTree,
  vectorLeaf,
} from './support.js'

const size = 66_000
const tree = new MemoryTree(size)
const root = merkleTreeHash(tree.leaves)
const tiles = tilesOf(size)
const reader = (source = new MapSource(tiles)) => new TileHashReader(size, root, source, nodeHasher)

describe('hashes read from tiles', () => {
  it('are those of the tree, at every height', async () => {
    const nodes = Array.from({ length: 17 }, (_, level) => ({
      level,
      index: Math.floor(size / 2 ** level) - 1,
    }))
    expect((await reader().readHashes(nodes)).map(hex)).toEqual((await tree.readHashes(nodes)).map(hex))
  })

  it('prove records and older trees', async () => {
    for (const index of [0, 255, 256, 65_535, 65_536, size - 1]) {
      const proof = await proveRecord(size, index, reader(), nodeHasher)
      checkRecord(proof, { size, root, index, leaf: vectorLeaf(index) }, nodeHasher)
      expect(proof.map(hex)).toEqual((await proveRecord(size, index, tree, nodeHasher)).map(hex))
    }
    for (const oldSize of [1, 255, 256, 257, 65_536, size - 1]) {
      const proof = await proveTree(size, oldSize, reader(), nodeHasher)
      const oldRoot = merkleTreeHash(tree.leaves.slice(0, oldSize))
      checkTree(proof, { oldSize, oldRoot, newSize: size, newRoot: root }, nodeHasher)
    }
  })

  it('are asked for in one call, together with the tiles that vouch for them, and then remembered', async () => {
    const source = new MapSource(tiles)
    const one = reader(source)
    await proveRecord(size, 300, one, nodeHasher)
    expect(source.asked).toHaveLength(1)
    expect(at(source.asked, 0).toSorted()).toEqual([
      'tile/0/001',
      'tile/0/257.p/208',
      'tile/1/000',
      'tile/1/001.p/1',
      'tile/2/000.p/1',
    ])
    await proveRecord(size, 301, one, nodeHasher)
    expect(source.asked).toHaveLength(1)
    await proveRecord(size, 700, one, nodeHasher)
    expect(source.asked.slice(1)).toEqual([['tile/0/002']])
  })

  it('are right for calls at the same time', async () => {
    const one = reader()
    const indexes = [0, 300, 301, 65_999, 40_000, 12]
    const proofs = await Promise.all(indexes.map((index) => proveRecord(size, index, one, nodeHasher)))
    for (const [i, index] of indexes.entries()) {
      checkRecord(at(proofs, i), { size, root, index, leaf: vectorLeaf(index) }, nodeHasher)
    }
  })

  it('keep no more full tiles than allowed', async () => {
    const source = new MapSource(tiles)
    const one = new TileHashReader(size, root, source, nodeHasher, { maxCachedTiles: 2 })
    for (const index of [0, 256, 512, 0]) await proveRecord(size, index, one, nodeHasher)
    expect(source.asked.slice(1).map((paths) => paths.includes('tile/0/000'))).toEqual([false, false, true])
  })

  it('may come from tiles that have grown since', async () => {
    const small = 300
    const wide = new Map(tiles)
    wide
      .set('tile/0/001.p/44', at([...tiles.entries()], 1)[1])
      .set('tile/1/000.p/1', tiles.get('tile/1/000') ?? root)
    const smallRoot = merkleTreeHash(tree.leaves.slice(0, small))
    const old = new TileHashReader(small, smallRoot, new MapSource(wide), nodeHasher)
    expect(hex(await treeRoot(small, old, nodeHasher))).toBe(hex(smallRoot))
    const proof = await proveRecord(small, 299, old, nodeHasher)
    checkRecord(proof, { size: small, root: smallRoot, index: 299, leaf: vectorLeaf(299) }, nodeHasher)
  })

  it('work at the largest size there is', async () => {
    const uniform = new UniformTree()
    const largest = Number.MAX_SAFE_INTEGER
    const largestRoot = await treeRoot(largest, uniform, nodeHasher)
    const one = new TileHashReader(largest, largestRoot, uniform, nodeHasher)
    for (const index of [0, 2 ** 31, 2 ** 32 + 1, largest - 1]) {
      const proof = await proveRecord(largest, index, one, nodeHasher)
      checkRecord(proof, { size: largest, root: largestRoot, index, leaf: uniform.leaf }, nodeHasher)
    }
  })
})

describe('an edited tile', () => {
  it.each(
    [...tiles.keys()].filter((path) => !/^tile\/0\/(?:00[2-9]|0[1-9]|1\d\d|2[0-4]\d|25[0-5])/.test(path)),
  )('%s is found, whatever hash of it was edited', async (path) => {
    const bytes = tiles.get(path) ?? new Uint8Array()
    for (let position = 0; position < bytes.length / 32; position += 29) {
      const edited = new Map(tiles).set(path, flipped(bytes, position * 256))
      const index = path === 'tile/0/001' ? 256 : path === 'tile/0/256' ? 65_536 : 0
      const error = await rejectionOf(proveRecord(size, index, reader(new MapSource(edited)), nodeHasher))
      expect(error.code).toBe('tile_mismatch')
      // A partial tile is vouched for by the root alone, with the others of the edge.
      expect(error.at).toBe(path.includes('.p/') ? undefined : path)
    }
  })

  it('that was cut short is named', async () => {
    for (const path of ['tile/0/000', 'tile/1/000', 'tile/0/257.p/208']) {
      for (const length of [0, 31, 32, 8191]) {
        const bytes = tiles.get(path) ?? new Uint8Array()
        const cut = new Map(tiles).set(path, bytes.slice(0, Math.min(length, bytes.length - 1)))
        const error = await rejectionOf(proveRecord(size, 0, reader(new MapSource(cut)), nodeHasher))
        expect([error.code, error.at]).toEqual(['tile_mismatch', path])
      }
    }
  })

  it('put in the place of another is found', async () => {
    const swapped = new Map(tiles).set('tile/0/000', tiles.get('tile/0/001') ?? new Uint8Array())
    const error = await rejectionOf(proveRecord(size, 0, reader(new MapSource(swapped)), nodeHasher))
    expect([error.code, error.at]).toEqual(['tile_mismatch', 'tile/0/000'])
  })

  it('is not remembered as checked', async () => {
    const source = new Map(tiles).set('tile/0/000', flipped(tiles.get('tile/0/000') ?? new Uint8Array()))
    const one = reader(new MapSource(source))
    await rejectionOf(proveRecord(size, 0, one, nodeHasher))
    await rejectionOf(proveRecord(size, 0, one, nodeHasher))
    source.set('tile/0/000', tiles.get('tile/0/000') ?? new Uint8Array())
    await expect(proveRecord(size, 0, one, nodeHasher)).resolves.toBeDefined()
  })
})

describe('a reader of tiles', () => {
  it('refuses roots and sizes that cannot be', () => {
    const source = new MapSource(tiles)
    const open = (at: number, of: Uint8Array) => codeOf(() => new TileHashReader(at, of, source, nodeHasher))
    expect(open(0, emptyRoot())).toBe('nothing')
    expect(open(0, root)).toBe('tile_mismatch')
    expect(open(5, new Uint8Array(31))).toBe('wrong_size')
    expect(open(-1, root)).toBe('wrong_size')
  })

  it('refuses a node that the tree has not', async () => {
    expect((await rejectionOf(reader().readHashes([{ level: 0, index: size }]))).code).toBe('wrong_size')
  })

  it('finds that its tiles are of a tree with another root', async () => {
    const other = new TileHashReader(size, flipped(root), new MapSource(tiles), nodeHasher)
    expect((await rejectionOf(proveRecord(size, 0, other, nodeHasher))).code).toBe('tile_mismatch')
  })

  it('passes on what its source rejects with', async () => {
    await expect(proveRecord(size, 0, reader(new MapSource(new Map())), nodeHasher)).rejects.toThrow(
      'no such tile',
    )
  })
})
