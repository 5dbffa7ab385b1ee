/** Beyond the exhaustive tests: sizes to 2^53 - 1, random batches, random damage, random texts. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatCheckpoint, parseCheckpoint } from '../../src/transparency-log/checkpoint.js'
import { base64, base64Bytes, decimal } from '../../src/transparency-log/encoding.js'
import { decodeEntryBundle, encodeEntryBundle } from '../../src/transparency-log/entry-bundle.js'
import { LogError } from '../../src/transparency-log/errors.js'
import { Frontier } from '../../src/transparency-log/frontier.js'
import { nodeHasher } from '../../src/transparency-log/node-crypto.js'
import { formatNote, isKeyName, parseNote } from '../../src/transparency-log/note.js'
import { checkRecord, checkTree, proveRecord, proveTree } from '../../src/transparency-log/proof.js'
import { TileAppender } from '../../src/transparency-log/tile-appender.js'
import { TileHashReader } from '../../src/transparency-log/tile-reader.js'
import {
  edgeTiles,
  parseTilePath,
  placeOfNode,
  tileAt,
  tilePath,
  tilesForGrowth,
} from '../../src/transparency-log/tile.js'
import { formatTlogProof, parseTlogProof } from '../../src/transparency-log/tlog-proof.js'
import { treeRoot } from '../../src/transparency-log/tree.js'
import { parseAddCheckpoint } from '../../src/transparency-log/witness-message.js'
import {
  codeOf,
  flipped,
  hex,
  MapSource,
  MemoryTree,
  merkleTreeHash,
  tilesOf,
  UniformTree,
} from '../unit/transparency-log/support.js'

const uniform = new UniformTree()
const tree = new MemoryTree(3000)
const tiles = tilesOf(3000)
const root = merkleTreeHash(tree.leaves)

const anySize = fc.oneof(
  fc.integer({ min: 1, max: 70_000 }),
  fc.maxSafeNat().filter((size) => size > 0),
  // Around powers of two, where trees change their shape.
  fc
    .tuple(fc.integer({ min: 0, max: 52 }), fc.integer({ min: -1, max: 1 }))
    .map(([e, d]) => Math.max(1, 2 ** e + d)),
)
/** A tree size and a number below it. */
const sizeAndBelow = anySize.chain((size) =>
  fc.tuple(
    fc.constant(size),
    fc.maxSafeNat().map((n) => n % size),
  ),
)
const hash = fc.uint8Array({ minLength: 32, maxLength: 32 })
const keyName = fc.string({ minLength: 1, maxLength: 20, unit: 'binary' }).filter(isKeyName)
const noteText = fc.string({ unit: 'binary' }).map((text) => `${text.replace(/[\p{Cc}\p{Cs}]/gu, '')}\n`)
const signatures = fc.array(
  fc.record({
    name: keyName,
    keyId: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    signature: fc.uint8Array({ minLength: 1, maxLength: 72 }),
  }),
  { minLength: 1, maxLength: 5 },
)

describe('proofs at any size', () => {
  it('of a record hold, and fail with one bit of one hash turned', () =>
    fc.assert(
      fc.asyncProperty(sizeAndBelow, fc.nat(), fc.nat({ max: 255 }), async ([size, index], which, bit) => {
        const claim = { size, root: await treeRoot(size, uniform, nodeHasher), index, leaf: uniform.leaf }
        const proof = await proveRecord(size, index, uniform, nodeHasher)
        checkRecord(proof, claim, nodeHasher)
        const wrong = proof.map((h, i) => (i === which % proof.length ? flipped(h, bit) : h))
        if (proof.length > 0)
          expect(codeOf(() => checkRecord(wrong, claim, nodeHasher))).toBe('proof_mismatch')
      }),
    ))

  it('of a tree hold, and fail with one bit of one hash turned', () =>
    fc.assert(
      fc.asyncProperty(
        sizeAndBelow,
        fc.nat(),
        fc.nat({ max: 255 }),
        async ([newSize, oldSize], which, bit) => {
          const newRoot = await treeRoot(newSize, uniform, nodeHasher)
          const oldRoot = await treeRoot(oldSize, uniform, nodeHasher)
          const claim = { oldSize, oldRoot, newSize, newRoot }
          const proof = await proveTree(newSize, oldSize, uniform, nodeHasher)
          checkTree(proof, claim, nodeHasher)
          const wrong = proof.map((h, i) => (i === which % proof.length ? flipped(h, bit) : h))
          if (proof.length > 0)
            expect(codeOf(() => checkTree(wrong, claim, nodeHasher))).toBe('proof_mismatch')
        },
      ),
    ))

  it('read from tiles are the proofs read from nodes', () =>
    fc.assert(
      fc.asyncProperty(sizeAndBelow, async ([size, index]) => {
        const reader = new TileHashReader(
          size,
          await treeRoot(size, uniform, nodeHasher),
          uniform,
          nodeHasher,
        )
        const fromTiles = await proveRecord(size, index, reader, nodeHasher)
        const fromNodes = await proveRecord(size, index, uniform, nodeHasher)
        expect(fromTiles.map(hex)).toEqual(fromNodes.map(hex))
      }),
      { numRuns: 40 },
    ))
})

describe('a tree of 3,000 records', () => {
  it('grown in any batches, resumed at each from its stored tiles, has the tiles of one growth', () =>
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 900 }), { minLength: 1, maxLength: 8 }), (batches) => {
        const stored = new Map<string, Uint8Array>()
        let size = 0
        for (const batch of batches) {
          const edge = edgeTiles(size).map((tile) => stored.get(tilePath(tile)) ?? new Uint8Array())
          const head = { size, root: merkleTreeHash(tree.leaves.slice(0, size)), edge }
          const appender = TileAppender.resume(head, nodeHasher)
          const to = Math.min(size + batch, tree.size)
          for (const leaf of tree.leaves.slice(size, to)) appender.append(leaf)
          for (const { tile, bytes } of appender.takeTiles()) stored.set(tilePath(tile), bytes)
          size = to
        }
        const expected = tilesOf(size)
        for (const [path, bytes] of expected)
          expect(hex(stored.get(path) ?? new Uint8Array())).toBe(hex(bytes))
      }),
      { numRuns: 40 },
    ))

  it('read from tiles of which one bit was turned gives no wrong hash', () =>
    fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...tiles.keys()),
        fc.nat(),
        fc.array(fc.nat({ max: tree.size - 1 }), { minLength: 1, maxLength: 10 }),
        async (path, bit, indexes) => {
          const bytes = tiles.get(path) ?? new Uint8Array()
          const edited = new Map(tiles).set(path, flipped(bytes, bit % (bytes.length * 8)))
          const reader = new TileHashReader(tree.size, root, new MapSource(edited), nodeHasher)
          const nodes = indexes.map((index) => ({ level: 0, index }))
          try {
            const hashes = await reader.readHashes(nodes)
            expect(hashes.map(hex)).toEqual((await tree.readHashes(nodes)).map(hex))
          } catch (error) {
            expect(error).toBeInstanceOf(LogError)
          }
        },
      ),
    ))

  it('has one frontier, however its subtrees were added', () =>
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 3000 }), fc.integer({ min: 0, max: 11 }), (size, maxLevel) => {
        const frontier = new Frontier(nodeHasher)
        while (frontier.size < size) {
          let level = 0
          const fits = (l: number) =>
            l <= maxLevel && frontier.size % 2 ** l === 0 && frontier.size + 2 ** l <= size
          while (fits(level + 1)) level++
          const leaves = tree.leaves.slice(frontier.size, frontier.size + 2 ** level)
          frontier.appendSubtree(level, merkleTreeHash(leaves))
        }
        expect(hex(frontier.root())).toBe(hex(merkleTreeHash(tree.leaves.slice(0, size))))
        expect(frontier.hashes()).toHaveLength(size.toString(2).replaceAll('0', '').length)
      }),
      { numRuns: 60 },
    ))
})

describe('tiles at any size', () => {
  it('have one path each', () =>
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 63 }),
        fc.maxSafeNat(),
        fc.integer({ min: 1, max: 256 }),
        (level, index, width) => {
          const tile = { level, index, width }
          expect(parseTilePath(tilePath(tile))).toEqual(tile)
        },
      ),
    ))

  it('that a growth names are as wide as the tree makes them, and wider than before', () =>
    fc.assert(
      fc.property(anySize, fc.nat({ max: 5000 }), (size, leaves) => {
        const newSize = Math.min(size + leaves, Number.MAX_SAFE_INTEGER)
        for (const tile of tilesForGrowth(size, newSize)) {
          expect(tileAt(tile.level, tile.index, newSize)).toEqual(tile)
          expect(tileAt(tile.level, tile.index, size)?.width ?? 0).toBeLessThan(tile.width)
        }
      }),
    ))

  it('hold every complete node', () =>
    fc.assert(
      fc.property(sizeAndBelow, fc.integer({ min: 0, max: 53 }), ([size, leaf], level) => {
        const index = Math.floor(leaf / 2 ** level)
        if ((index + 1) * 2 ** level > size) return
        const place = placeOfNode({ level, index }, size)
        expect(place.tile.level * 8 + place.height).toBe(level)
        expect((place.position + 1) * 2 ** place.height).toBeLessThanOrEqual(place.tile.width)
      }),
    ))
})

describe('texts and bytes', () => {
  it('of bundles are read as they were written, and no other bytes are read', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 600 }), { minLength: 1, maxLength: 256 }),
        (entries) => {
          expect(decodeEntryBundle(encodeEntryBundle(entries), entries.length).map(hex)).toEqual(
            entries.map(hex),
          )
        },
      ),
    )
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 50 }), fc.integer({ min: 1, max: 5 }), (bytes, width) => {
        try {
          expect(hex(encodeEntryBundle(decodeEntryBundle(bytes, width)))).toBe(hex(bytes))
        } catch (error) {
          expect(error).toBeInstanceOf(LogError)
        }
      }),
    )
  })

  it('of notes and receipts are read as they were written', () =>
    fc.assert(
      fc.property(
        noteText,
        signatures,
        fc.maxSafeNat(),
        fc.array(hash, { maxLength: 63 }),
        (text, by, index, hashes) => {
          const note = formatNote({ text, signatures: by })
          expect(parseNote(note)).toEqual({ text, signatures: by })
          const receipt = formatTlogProof({ index, hashes, checkpoint: note })
          expect(parseTlogProof(receipt)).toEqual({ index, hashes, checkpoint: note })
        },
      ),
    ))

  it('of checkpoints are read as they were written', () =>
    fc.assert(
      fc.property(
        keyName,
        anySize,
        hash,
        fc.array(keyName, { maxLength: 3 }),
        (origin, size, checkpointRoot, extensions) => {
          const checkpoint = { origin, size, root: checkpointRoot, extensions }
          expect(parseCheckpoint(formatCheckpoint(checkpoint))).toEqual(checkpoint)
        },
      ),
    ))

  it('that anybody may send throw nothing but log errors', () => {
    const lines = fc.constantFrom(
      'c2sp.org/tlog-proof@v1',
      'index 3',
      'old 3',
      'extra AA==',
      '— a AAAAAQI=',
      '',
      base64(root),
      'a',
    )
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(lines).map((all) => all.join('\n')),
    )
    fc.assert(
      fc.property(text, (sent) => {
        for (const read of [parseNote, parseTlogProof, parseCheckpoint, parseAddCheckpoint, parseTilePath])
          codeOf(() => read(sent))
      }),
      { numRuns: 1000 },
    )
  })

  it('of base64 and decimals have one spelling', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.maxSafeNat(), (bytes, n) => {
        expect(base64(bytes)).toBe(Buffer.from(bytes).toString('base64'))
        expect(base64Bytes(base64(bytes))).toEqual(bytes)
        expect(decimal(String(n))).toBe(n)
      }),
    )
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('A', 'B', '=', '+', '/', '-', '\n', '0', '1') }),
        (text) => {
          const bytes = base64Bytes(text)
          if (bytes !== undefined) expect(base64(bytes)).toBe(text)
          const n = decimal(text)
          if (n !== undefined) expect(String(n)).toBe(text)
        },
      ),
    )
  })
})
