/**
 * A small log written by our own code, for the Go judge to check: 600 records, three checkpoints, two log keys
 * (the second came by rotation), a witness, every tile and entry bundle, receipts and consistency proofs.
 *
 * Keys are seeds of one repeated byte and times are fixed, so the files come out the same each time.
 */
import { formatCheckpoint } from '../../src/transparency-log/checkpoint.js'
import { cosignatureSigner } from '../../src/transparency-log/cosignature.js'
import { base64, utf8 } from '../../src/transparency-log/encoding.js'
import { encodeEntryBundle } from '../../src/transparency-log/entry-bundle.js'
import type { Hash } from '../../src/transparency-log/hash.js'
import { nodeHasher, nodeNoteCrypto, sha256 } from '../../src/transparency-log/node-crypto.js'
import { ed25519Signer, formatVerifierKey, verifierKey } from '../../src/transparency-log/note-key.js'
import { signNote } from '../../src/transparency-log/note.js'
import { proveRecord, proveTree } from '../../src/transparency-log/proof.js'
import { TileAppender } from '../../src/transparency-log/tile-appender.js'
import { TileHashReader, type TileSource } from '../../src/transparency-log/tile-reader.js'
import { entryBundlePath, tilePath, tileWidth } from '../../src/transparency-log/tile.js'
import { formatTlogProof } from '../../src/transparency-log/tlog-proof.js'

const origin = 'annals.example/org_acme/1'
const sizes = [1, 300, 600]
/** Leaves with a receipt: both ends of the tree and of a tile, and the checkpoint they are shown in. */
const receipts: readonly (readonly [index: number, size: number])[] = [
  [0, 1],
  [0, 600],
  [255, 300],
  [256, 600],
  [511, 600],
  [599, 600],
]
const proofs: readonly (readonly [oldSize: number, newSize: number])[] = [
  [1, 300],
  [1, 600],
  [300, 600],
]

const pairs = [1, 2, 3].map((seed) => nodeNoteCrypto.importSeed(new Uint8Array(32).fill(seed)))
const [oldPair, newPair, witnessPair] = pairs

/** The id in record `index`. */
function eventId(index: number): string {
  return `evt_${String(index).padStart(26, '0')}`
}

function record(index: number): Uint8Array {
  return utf8(`{"id":"${eventId(index)}","v":1}`)
}

/** Every file of the fixture by its path. */
export async function logFixture(): Promise<Map<string, Uint8Array>> {
  if (oldPair === undefined || newPair === undefined || witnessPair === undefined)
    throw new Error('three pairs')
  const files = new Map<string, Uint8Array>()
  const write = (path: string, text: string) => files.set(path, utf8(text))
  const keys = [newPair, oldPair].map((pair) => verifierKey(origin, 'ed25519', pair.publicKey, sha256))
  const witnessKey = verifierKey('witness.example/w1', 'cosignature', witnessPair.publicKey, sha256)
  write('keys', keys.map((key) => `${formatVerifierKey(key)}\n`).join(''))
  write('witness-keys', `${formatVerifierKey(witnessKey)}\n`)

  const oldSigner = ed25519Signer(origin, oldPair, sha256)
  const newSigner = ed25519Signer(origin, newPair, sha256)
  const witness = cosignatureSigner('witness.example/w1', witnessPair, sha256, () => 1_764_060_000)
  const appender = new TileAppender(nodeHasher)
  const heads = new Map<number, { root: Hash; note: string }>()
  for (const size of sizes) {
    while (appender.size < size) appender.append(nodeHasher.leaf(record(appender.size)))
    const root = appender.root()
    const text = formatCheckpoint({ origin, size, root, extensions: [] })
    const signers = size < 300 ? [oldSigner] : [newSigner, oldSigner, witness]
    heads.set(size, { root, note: signNote(text, signers) })
    write(`checkpoints/${size}`, heads.get(size)?.note ?? '')
  }
  write('checkpoint', heads.get(600)?.note ?? '')

  const tiles = appender.takeTiles()
  for (const { tile, bytes } of tiles) {
    files.set(tilePath(tile), bytes)
    if (tile.level > 0) continue
    const records = Array.from({ length: tile.width }, (_, i) => record(tile.index * tileWidth + i))
    files.set(entryBundlePath(tile), encodeEntryBundle(records))
  }
  const source: TileSource = {
    readTiles: (asked) =>
      Promise.resolve(
        asked.map(({ level, index }) => {
          const found = tiles.find(({ tile }) => tile.level === level && tile.index === index)
          if (found === undefined) throw new Error('the fixture has every tile')
          return found.bytes
        }),
      ),
  }
  const head = (size: number) => {
    const found = heads.get(size)
    if (found === undefined) throw new Error('the fixture has a checkpoint of every size it proves')
    return { ...found, reader: new TileHashReader(size, found.root, source, nodeHasher) }
  }
  for (const [index, size] of receipts) {
    const { note, reader } = head(size)
    const hashes = await proveRecord(size, index, reader, nodeHasher)
    write(`proofs/${size}/${eventId(index)}`, formatTlogProof({ index, hashes, checkpoint: note }))
  }
  for (const [oldSize, newSize] of proofs) {
    const proof = await proveTree(newSize, oldSize, head(newSize).reader, nodeHasher)
    const answer = { from: oldSize, to: newSize, proof: proof.map(base64) }
    write(`consistency/${oldSize}-${newSize}`, `${JSON.stringify(answer)}\n`)
  }
  return files
}
