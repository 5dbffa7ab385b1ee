import { describe, expect, it } from 'vitest'
import { formatCheckpoint } from '../../../src/transparency-log/checkpoint.js'
import { nodeHasher, sha256 } from '../../../src/transparency-log/node-crypto.js'
import { ed25519Signer } from '../../../src/transparency-log/note-key.js'
import { signNote } from '../../../src/transparency-log/note.js'
import { proveTree } from '../../../src/transparency-log/proof.js'
import {
  formatAddCheckpoint,
  parseAddCheckpoint,
  parseCosignatures,
  parseWitnessSize,
} from '../../../src/transparency-log/witness-message.js'
import { codeOf, MemoryTree, merkleTreeHash, vectorLeaf, vectorOrigin, vectorPair } from './support.js'

const tree = new MemoryTree(7)
const root = merkleTreeHash(tree.leaves)
const text = formatCheckpoint({ origin: vectorOrigin, size: 7, root, extensions: [] })
const checkpoint = signNote(text, [ed25519Signer(vectorOrigin, vectorPair, sha256)])
const hash = Buffer.alloc(32, 7).toString('base64')

describe('what a log says to a witness', () => {
  it('is read as it was written', async () => {
    for (const oldSize of [0, 1, 3, 7]) {
      const request = { oldSize, proof: await proveTree(7, oldSize, tree, nodeHasher), checkpoint }
      const body = formatAddCheckpoint(request)
      expect(body.startsWith(`old ${oldSize}\n`)).toBe(true)
      expect(formatAddCheckpoint(parseAddCheckpoint(body))).toBe(body)
      expect(parseAddCheckpoint(body).proof).toHaveLength(request.proof.length)
    }
  })

  it('is, from one leaf to two, the second leaf, as the module comment says', async () => {
    const proof = await proveTree(2, 1, tree, nodeHasher)
    const leaf = Buffer.from(vectorLeaf(1)).toString('base64')
    expect(formatAddCheckpoint({ oldSize: 1, proof, checkpoint })).toBe(`old 1\n${leaf}\n\n${checkpoint}`)
  })

  it.each([
    ['nothing', ''],
    ['a checkpoint alone', checkpoint],
    ['no old size', `\n${checkpoint}`],
    ['an old size that is none', `old x\n\n${checkpoint}`],
    ['a leading zero', `old 01\n\n${checkpoint}`],
    ['an old size below 0', `old -1\n\n${checkpoint}`],
    ['no space', `old1\n\n${checkpoint}`],
    ['a hash that is none', `old 1\nx\n\n${checkpoint}`],
    ['64 hashes', `old 1\n${`${hash}\n`.repeat(64)}\n${checkpoint}`],
    ['no empty line', `old 1\n${hash}\n`],
    ['too much', 'a'.repeat(2_000_001)],
  ])('of %s is refused', (_, body) => {
    expect(codeOf(() => parseAddCheckpoint(body))).toBe('malformed_witness_message')
  })

  it('without a signed checkpoint is refused', () => {
    expect(codeOf(() => parseAddCheckpoint(`old 1\n${hash}\n\n${text}`))).toBe('malformed_note')
    expect(codeOf(() => formatAddCheckpoint({ oldSize: 1, proof: [], checkpoint: text }))).toBe(
      'malformed_note',
    )
  })

  it('is not written with what could not be read', () => {
    expect(codeOf(() => formatAddCheckpoint({ oldSize: -1, proof: [], checkpoint }))).toBe(
      'malformed_witness_message',
    )
    const proof = [new Uint8Array(31)]
    expect(codeOf(() => formatAddCheckpoint({ oldSize: 1, proof, checkpoint }))).toBe(
      'malformed_witness_message',
    )
  })
})

describe('what a witness answers', () => {
  it('are signature lines', () => {
    const lines = '— w.example/1 AAAAAQI=\n— w.example/2 AAAAAgI=\n'
    expect(parseCosignatures(lines).map(({ name, keyId }) => [name, keyId])).toEqual([
      ['w.example/1', 1],
      ['w.example/2', 2],
    ])
  })

  it.each([
    ['nothing', '', 'malformed_witness_message'],
    ['no newline at the end', '— w.example/1 AAAAAQI=', 'malformed_witness_message'],
    ['an empty line', '\n', 'malformed_note'],
    ['something else', 'thanks\n', 'malformed_note'],
    ['101 lines', '— w.example/1 AAAAAQI=\n'.repeat(101), 'malformed_witness_message'],
  ])('is not %s', (_, body, code) => {
    expect(codeOf(() => parseCosignatures(body))).toBe(code)
  })

  it('may be the size it saw last', () => {
    expect(parseWitnessSize('20852014\n')).toBe(20_852_014)
    for (const body of ['', '1', '01\n', '-1\n', '1\n\n', 'x\n', '9007199254740992\n']) {
      expect(codeOf(() => parseWitnessSize(body))).toBe('malformed_witness_message')
    }
  })
})
