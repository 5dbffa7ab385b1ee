/** Every vector of test/vectors/tlog.json, which Go's sumdb/tlog and sumdb/note made. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { formatCheckpoint, openCheckpoint } from '../../../src/transparency-log/checkpoint.js'
import { Frontier } from '../../../src/transparency-log/frontier.js'
import { nodeHasher, nodeNoteCrypto, sha256 } from '../../../src/transparency-log/node-crypto.js'
import {
  ed25519Signer,
  ed25519Verifier,
  formatVerifierKey,
  parseVerifierKey,
} from '../../../src/transparency-log/note-key.js'
import { signNote } from '../../../src/transparency-log/note.js'
import { checkRecord, checkTree, proveRecord, proveTree } from '../../../src/transparency-log/proof.js'
import { TileAppender } from '../../../src/transparency-log/tile-appender.js'
import { parseTilePath, tileAt, tilePath, tilesForGrowth } from '../../../src/transparency-log/tile.js'
import { treeRoot } from '../../../src/transparency-log/tree.js'
import {
  at,
  fromHex,
  hex,
  MemoryTree,
  merkleTreeHash,
  tilesOf,
  vectorLeaf,
  vectorOrigin,
  vectorRecord,
} from './support.js'

const vectors = z
  .strictObject({
    Comment: z.string(),
    recordsBase64: z.array(z.string()),
    leafHashesHex: z.array(z.string()),
    rootsHexBySize: z.array(z.string()),
    Inclusion: z.array(z.strictObject({ Size: z.number(), Index: z.number(), Proof: z.array(z.string()) })),
    Consistency: z.array(z.strictObject({ Old: z.number(), New: z.number(), Proof: z.array(z.string()) })),
    Tiles: z.array(
      z.strictObject({ Size: z.number(), Path: z.string(), SHA256: z.string(), Width: z.number() }),
    ),
    Note: z.strictObject({
      checkpoint: z.string(),
      origin: z.string(),
      seedHex: z.string(),
      verifierKey: z.string(),
    }),
  })
  .parse(JSON.parse(readFileSync(new URL('../../vectors/tlog.json', import.meta.url), 'utf8')))

const tree = new MemoryTree(vectors.rootsHexBySize.length - 1)
/** The roots that Go wrote down: sizes 0 to 70 and a few larger ones. The others are empty strings. */
const knownRoots = new Map([...vectors.rootsHexBySize.entries()].filter(([, root]) => root !== ''))
/** Go's root where there is one, else by the definition of RFC 6962. */
const root = (size: number) => {
  const known = knownRoots.get(size)
  return known === undefined ? merkleTreeHash(tree.leaves.slice(0, size)) : fromHex(known)
}

describe('the vectors made with Go', () => {
  it('agree on records and leaf hashes', () => {
    expect(vectors.recordsBase64).toHaveLength(20)
    for (const [i, record] of vectors.recordsBase64.entries()) {
      expect(Buffer.from(vectorRecord(i)).toString('base64')).toBe(record)
      expect(hex(vectorLeaf(i))).toBe(at(vectors.leafHashesHex, i))
    }
  })

  it('agree on every root, computed from stored hashes and grown leaf by leaf', async () => {
    expect([...knownRoots.keys()].slice(70)).toEqual([70, 255, 256, 257, 512, 513, 600])
    const frontier = new Frontier(nodeHasher)
    for (const [size, expected] of knownRoots) {
      while (frontier.size < size) frontier.append(vectorLeaf(frontier.size))
      expect(hex(await treeRoot(size, tree, nodeHasher))).toBe(expected)
      expect(hex(frontier.root())).toBe(expected)
    }
  })

  it.each(vectors.Inclusion)('agree on the proof of record $Index in the tree of $Size', async (vector) => {
    const { Size: size, Index: index, Proof: expected } = vector
    const proof = await proveRecord(size, index, tree, nodeHasher)
    expect(proof.map(hex)).toEqual(expected)
    checkRecord(expected.map(fromHex), { size, root: root(size), index, leaf: vectorLeaf(index) }, nodeHasher)
  })

  it.each(vectors.Consistency)(
    'agree on the proof that the tree of $New begins with that of $Old',
    async (vector) => {
      const { Old: oldSize, New: newSize, Proof: expected } = vector
      const proof = await proveTree(newSize, oldSize, tree, nodeHasher)
      expect(proof.map(hex)).toEqual(expected)
      const claim = { oldSize, oldRoot: root(oldSize), newSize, newRoot: root(newSize) }
      checkTree(expected.map(fromHex), claim, nodeHasher)
    },
  )

  it.each(vectors.Tiles)('agree on $Path of the tree of $Size', (vector) => {
    const bytes = tilesOf(vector.Size).get(vector.Path)
    if (bytes === undefined) throw new Error('the tree has no such tile')
    expect(hex(sha256(bytes))).toBe(vector.SHA256)
    const { level, index, width } = parseTilePath(vector.Path)
    expect(width).toBe(vector.Width)
    expect(tileAt(level, index, vector.Size)).toEqual({ level, index, width })
    expect(Array.from(tilesForGrowth(0, vector.Size), tilePath)).toContain(vector.Path)
  })

  it('agree on the verifier key and the signed checkpoint, byte for byte', () => {
    const { checkpoint: note, origin, seedHex, verifierKey } = vectors.Note
    const pair = nodeNoteCrypto.importSeed(fromHex(seedHex))
    const key = parseVerifierKey(verifierKey, sha256)
    expect(origin).toBe(vectorOrigin)
    expect(formatVerifierKey(key)).toBe(verifierKey)
    expect(hex(key.publicKey)).toBe(hex(pair.publicKey))

    const opened = openCheckpoint(note, { origin, logKeys: [ed25519Verifier(key, nodeNoteCrypto)] })
    expect({ size: opened.size, root: hex(opened.root) }).toEqual({
      size: 600,
      root: hex(root(600)),
    })

    const appender = new TileAppender(nodeHasher)
    for (const leaf of tree.leaves.slice(0, 600)) appender.append(leaf)
    const text = formatCheckpoint({ origin, size: 600, root: appender.root(), extensions: [] })
    expect(signNote(text, [ed25519Signer(origin, pair, sha256)])).toBe(note)
  })
})
