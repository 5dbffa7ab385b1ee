import { describe, expect, it } from 'vitest'
import { formatCheckpoint } from '../../../src/transparency-log/checkpoint.js'
import { utf8 } from '../../../src/transparency-log/encoding.js'
import { nodeHasher, nodeNoteCrypto, sha256 } from '../../../src/transparency-log/node-crypto.js'
import { ed25519Signer, ed25519Verifier, verifierKey } from '../../../src/transparency-log/note-key.js'
import { signNote } from '../../../src/transparency-log/note.js'
import { proveRecord } from '../../../src/transparency-log/proof.js'
import { formatTlogProof, openTlogProof, parseTlogProof } from '../../../src/transparency-log/tlog-proof.js'
import {
  codeOf,
  flipped,
  indented,
  MemoryTree,
  merkleTreeHash,
  moduleComment,
  vectorLeaf,
  vectorOrigin,
  vectorPair,
} from './support.js'

const tree = new MemoryTree(20)
const signer = ed25519Signer(vectorOrigin, vectorPair, sha256)
const logKey = ed25519Verifier(
  verifierKey(vectorOrigin, 'ed25519', vectorPair.publicKey, sha256),
  nodeNoteCrypto,
)
const log = { origin: vectorOrigin, logKeys: [logKey] }

function checkpointAt(size: number): string {
  const root = merkleTreeHash(tree.leaves.slice(0, size))
  return signNote(formatCheckpoint({ origin: vectorOrigin, size, root, extensions: [] }), [signer])
}

async function receiptOf(index: number, size: number): Promise<string> {
  const hashes = await proveRecord(size, index, tree, nodeHasher)
  return formatTlogProof({ index, hashes, checkpoint: checkpointAt(size) })
}

describe('a receipt', () => {
  it('is the example of the module comment', async () => {
    expect(moduleComment('tlog-proof.ts')).toContain(indented(await receiptOf(1, 2)))
  })

  it('proves every record of every size to 20, as text and as bytes', async () => {
    for (let size = 1; size <= 20; size++) {
      for (let index = 0; index < size; index++) {
        const receipt = await receiptOf(index, size)
        const opened = openTlogProof(receipt, vectorLeaf(index), log, nodeHasher)
        expect([opened.index, opened.checkpoint.size]).toEqual([index, size])
        expect(parseTlogProof(utf8(receipt))).toEqual(parseTlogProof(receipt))
        expect(formatTlogProof(parseTlogProof(receipt))).toBe(receipt)
      }
    }
  })

  it('carries extra data, even none of it', async () => {
    const plain = parseTlogProof(await receiptOf(3, 9))
    for (const extra of [new Uint8Array(), utf8('record'), new Uint8Array(10_000).fill(3)]) {
      const receipt = formatTlogProof({ ...plain, extra })
      expect(parseTlogProof(receipt)).toEqual({ ...plain, extra })
      expect(openTlogProof(receipt, vectorLeaf(3), log, nodeHasher).index).toBe(3)
    }
  })

  it('does not prove another record, another index, another log', async () => {
    const receipt = await receiptOf(3, 9)
    const open = (text: string, leaf = vectorLeaf(3), trusted = log) =>
      codeOf(() => openTlogProof(text, leaf, trusted, nodeHasher))
    expect(open(receipt)).toBe('nothing')
    expect(open(receipt, vectorLeaf(4))).toBe('proof_mismatch')
    expect(open(receipt, flipped(vectorLeaf(3)))).toBe('proof_mismatch')
    expect(open(receipt.replace('index 3', 'index 2'))).toBe('proof_mismatch')
    expect(open(receipt.replace('index 3', 'index 9'))).toBe('wrong_size')
    expect(open(receipt, vectorLeaf(3), { ...log, origin: 'annals.example/org/org_other' })).toBe(
      'wrong_origin',
    )
    expect(open(receipt, vectorLeaf(3), { ...log, logKeys: [] })).toBe('unknown_signer')
    expect(open(receipt.replace('\n9\n', '\n8\n'))).toBe('bad_signature')
    const { index, hashes } = parseTlogProof(receipt)
    expect(open(formatTlogProof({ index, hashes, checkpoint: checkpointAt(10) }))).toBe('proof_mismatch')
  })
})

const note = checkpointAt(2)
const hash = Buffer.alloc(32, 7).toString('base64')

describe('a malformed receipt', () => {
  it.each([
    ['nothing', ''],
    ['a checkpoint alone', note],
    ['no header', `index 0\n\n${note}`],
    ['another version', `c2sp.org/tlog-proof@v2\nindex 0\n\n${note}`],
    ['a header with a space', `c2sp.org/tlog-proof@v1 \nindex 0\n\n${note}`],
    ['no index', `c2sp.org/tlog-proof@v1\n\n${note}`],
    ['no index, a hash', `c2sp.org/tlog-proof@v1\n${hash}\n\n${note}`],
    ['an index with a leading zero', `c2sp.org/tlog-proof@v1\nindex 00\n\n${note}`],
    ['an index below 0', `c2sp.org/tlog-proof@v1\nindex -1\n\n${note}`],
    ['an index of 2^53', `c2sp.org/tlog-proof@v1\nindex 9007199254740992\n\n${note}`],
    ['an index that is no number', `c2sp.org/tlog-proof@v1\nindex one\n\n${note}`],
    ['two spaces before the index', `c2sp.org/tlog-proof@v1\nindex  0\n\n${note}`],
    ['extra data after the index', `c2sp.org/tlog-proof@v1\nindex 0\nextra AA==\n\n${note}`],
    ['extra data twice', `c2sp.org/tlog-proof@v1\nextra AA==\nextra AA==\nindex 0\n\n${note}`],
    ['extra data that is no base64', `c2sp.org/tlog-proof@v1\nextra *\nindex 0\n\n${note}`],
    [
      'a hash of 31 bytes',
      `c2sp.org/tlog-proof@v1\nindex 0\n${Buffer.alloc(31).toString('base64')}\n\n${note}`,
    ],
    ['a hash in hex', `c2sp.org/tlog-proof@v1\nindex 0\n${Buffer.alloc(32).toString('hex')}\n\n${note}`],
    ['a space after a hash', `c2sp.org/tlog-proof@v1\nindex 0\n${hash} \n\n${note}`],
    ['64 hashes', `c2sp.org/tlog-proof@v1\nindex 0\n${`${hash}\n`.repeat(64)}\n${note}`],
    ['carriage returns', `c2sp.org/tlog-proof@v1\r\nindex 0\r\n\r\n${note}`],
    ['no empty line before the checkpoint', `c2sp.org/tlog-proof@v1\nindex 0\n${note}`],
  ])('of %s is refused', (_, text) => {
    expect(codeOf(() => parseTlogProof(text))).toBe('malformed_proof')
  })

  it.each([
    ['no checkpoint', 'c2sp.org/tlog-proof@v1\nindex 0\n\n'],
    ['a checkpoint without signatures', 'c2sp.org/tlog-proof@v1\nindex 0\n\na\n1\nb\n'],
    ['an empty line too many', `c2sp.org/tlog-proof@v1\nindex 0\n\n\n${note}x`],
  ])('of %s is refused as a malformed note', (_, text) => {
    expect(codeOf(() => parseTlogProof(text))).toBe('malformed_note')
  })

  it('that is not UTF-8, or larger than any, is refused', () => {
    expect(codeOf(() => parseTlogProof(Uint8Array.of(0xff)))).toBe('malformed_proof')
    expect(codeOf(() => parseTlogProof('a'.repeat(2_000_001)))).toBe('malformed_proof')
  })

  it.each([
    ['an index below 0', { index: -1 }, 'malformed_proof'],
    ['a hash of 31 bytes', { hashes: [new Uint8Array(31)] }, 'malformed_proof'],
    ['64 hashes', { hashes: Array.from({ length: 64 }, () => new Uint8Array(32)) }, 'malformed_proof'],
    ['a checkpoint without signatures', { checkpoint: 'a\n1\nb\n' }, 'malformed_note'],
  ])('is not written with %s', (_, changed, code) => {
    expect(codeOf(() => formatTlogProof({ index: 0, hashes: [], checkpoint: note, ...changed }))).toBe(code)
  })
})
