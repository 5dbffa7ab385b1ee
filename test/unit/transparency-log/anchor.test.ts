import { expect, test } from 'vitest'
import {
  anchorProofFromJson,
  anchorProofToJson,
  checkAnchorProof,
  type AnchorProof,
} from '../../../src/transparency-log/anchor/anchor-proof.js'
import {
  formatEntry,
  logLeaf,
  parseEntry,
  saltOf,
  type AnchoredLog,
} from '../../../src/transparency-log/anchor/entry.js'
import { buildLogsTree, checkLogsTree } from '../../../src/transparency-log/anchor/logs-tree.js'
import { formatCheckpoint } from '../../../src/transparency-log/checkpoint.js'
import { utf8 } from '../../../src/transparency-log/encoding.js'
import { nodeHasher, nodeNoteCrypto, sha256 } from '../../../src/transparency-log/node-crypto.js'
import { signNote } from '../../../src/transparency-log/note.js'
import { ed25519Signer, ed25519Verifier, verifierKey } from '../../../src/transparency-log/note-key.js'

const bytes = (length: number, value: number) => new Uint8Array(length).fill(value)
const hex = (data: Uint8Array) => Buffer.from(data).toString('hex')
const secret = bytes(32, 7)
const example: AnchoredLog = { logId: bytes(16, 1), size: 3, root: bytes(32, 2) }

/** Ids that differ in every bit, and some that share many of their first bits. */
const logs = (count: number): AnchoredLog[] =>
  Array.from({ length: count }, (_, number) => {
    const logId = sha256(utf8(`log ${String(number)}`)).slice(0, 16)
    if (number % 5 === 4) logId.fill(0xab, 0, 5)
    return { logId, size: number + 1, root: sha256(utf8(`root ${String(number)}`)) }
  })
const treeOf = (all: readonly AnchoredLog[]) => buildLogsTree(all, secret, nodeHasher, sha256)

function code(work: () => unknown): unknown {
  try {
    work()
  } catch (error) {
    return error instanceof Error && 'code' in error ? error.code : error
  }
  return 'nothing was thrown'
}

test('the worked example of the entry format holds', async () => {
  const salt = saltOf(secret, example.logId, sha256)
  expect(hex(salt)).toBe('14c6c5f40a33f931d3c6836842fa2a6b')
  expect(hex(logLeaf(example, salt, nodeHasher))).toBe(
    '3e6bcb88a44e5f2613b1dab35d2b2d4a5fe42fd288111f8fa08206022b6d99e6',
  )
  const { root } = await treeOf([example])
  expect(formatEntry({ at: new Date('2026-11-25T10:00:00Z'), root })).toBe(
    'annals-anchor/v1\n2026-11-25T10:00:00.000Z\ntX1f+mokrG+gpa0X4ja4ygGMgG7K+eLFxZyqGRpDflk=\n',
  )
})

test.each([
  ['annals-anchor/v2\n2026-11-25T10:00:00.000Z\nAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n'],
  ['annals-anchor/v1\n2026-11-25T10:00:00Z\nAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n'],
  ['annals-anchor/v1\n2026-11-25T10:00:00.000Z\nAgIC\n'],
  ['annals-anchor/v1\n2026-11-25T10:00:00.000Z\nAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI='],
  ['annals-anchor/v1\n2026-11-25T10:00:00.000Z\nAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n\n'],
  ['annals-anchor/v1\nyesterday\nAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n'],
  [''],
])('an entry has one spelling (%#)', (text) => {
  expect(code(() => parseEntry(text))).toBe('malformed_entry')
  expect(code(() => parseEntry(utf8(text)))).toBe('malformed_entry')
})

test('every log of a tree of logs is proved, and by no other size, root, id, salt or hash', async () => {
  for (const count of [1, 2, 3, 30, 300]) {
    const all = logs(count)
    const tree = await treeOf(all)
    for (const log of all) {
      const proof = tree.prove(log)
      checkLogsTree(proof, log, tree.root, nodeHasher)
      const wrong = [
        { ...log, size: log.size + 1 },
        { ...log, root: bytes(32, 9) },
        { ...log, logId: bytes(16, 9) },
      ]
      for (const one of wrong) {
        expect(code(() => checkLogsTree(proof, one, tree.root, nodeHasher))).toBe('proof_mismatch')
        expect(code(() => tree.prove(one))).toBe('wrong_size')
      }
      const salted = { ...proof, salt: bytes(16, 9) }
      expect(code(() => checkLogsTree(salted, log, tree.root, nodeHasher))).toBe('proof_mismatch')
      for (const at of proof.hashes.keys()) {
        const hashes = proof.hashes.with(at, bytes(32, 9))
        expect(code(() => checkLogsTree({ ...proof, hashes }, log, tree.root, nodeHasher))).toBe(
          'proof_mismatch',
        )
      }
      const shorter = { ...proof, hashes: proof.hashes.slice(1) }
      expect(code(() => checkLogsTree(shorter, log, tree.root, nodeHasher))).toBe('proof_mismatch')
    }
  }
})

test('the order of the logs does not matter, and two with one id are refused', async () => {
  const all = logs(30)
  expect((await treeOf(all.toReversed())).root).toEqual((await treeOf(all)).root)
  const double = { ...example, logId: all[0]?.logId ?? secret }
  await expect(treeOf([...all, double])).rejects.toMatchObject({ code: 'wrong_size' })
})

test('what one log is shown says nothing of the others: neither whether they changed, nor how many they are', async () => {
  const [log = example, ...others] = logs(4)
  const sets: Set<string>[] = []
  for (const one of [secret, bytes(32, 8)]) {
    const tree = await buildLogsTree([log, ...others], one, nodeHasher, sha256)
    sets.push(new Set(tree.prove(log).hashes.map(hex)))
  }
  expect([...(sets[0] ?? [])].filter((hash) => sets[1]?.has(hash))).toEqual([])
  for (const count of [0, 1, 2]) {
    const tree = await treeOf([log, ...others.slice(0, count)])
    expect(tree.prove(log).hashes).toHaveLength(16)
  }
})

test('the proof of an anchor is checked in every part, and reads back from JSON', async () => {
  const origin = 'annals.example/anchor'
  const pair = nodeNoteCrypto.importSeed(secret)
  const at = new Date('2026-11-25T10:00:00Z')
  const all = logs(5)
  const tree = await treeOf(all)
  const log = all[2] ?? example
  const entry = formatEntry({ at, root: tree.root })
  const earlier = sha256(utf8('an earlier entry'))
  const text = formatCheckpoint({
    origin,
    size: 2,
    root: nodeHasher.node(earlier, nodeHasher.leaf(utf8(entry))),
    extensions: [],
  })
  const { salt, hashes } = tree.prove(log)
  const proof: AnchorProof = {
    log,
    salt,
    logsProof: hashes,
    entry,
    index: 1,
    proof: [earlier],
    checkpoint: signNote(text, [ed25519Signer(origin, pair, sha256)]),
  }
  const key = ed25519Verifier(verifierKey(origin, 'ed25519', pair.publicKey, sha256), nodeNoteCrypto)
  const check = (one: AnchorProof) => checkAnchorProof(one, { origin, logKeys: [key] }, nodeHasher)
  expect(check(proof)).toMatchObject({ log, at, checkpoint: { size: 2 } })
  const read = anchorProofFromJson(JSON.parse(JSON.stringify(anchorProofToJson(proof))))
  expect(anchorProofToJson(read)).toEqual(anchorProofToJson(proof))
  expect(check(read)).toMatchObject({ at })

  const other = formatEntry({ at, root: bytes(32, 9) })
  expect(code(() => check({ ...proof, entry: other }))).toBe('proof_mismatch')
  expect(code(() => check({ ...proof, index: 0 }))).toBe('proof_mismatch')
  expect(code(() => check({ ...proof, proof: [bytes(32, 9)] }))).toBe('proof_mismatch')
  expect(code(() => check({ ...proof, log: { ...log, size: 99 } }))).toBe('proof_mismatch')
  expect(code(() => check({ ...proof, checkpoint: proof.checkpoint.replace('\n2\n', '\n3\n') }))).toBe(
    'bad_signature',
  )
  const json = anchorProofToJson(proof)
  for (const name of Object.keys(json)) {
    expect(code(() => anchorProofFromJson({ ...json, [name]: undefined }))).toBe('malformed_proof')
    expect(code(() => anchorProofFromJson({ ...json, [name]: { toString: 1 } }))).toBe('malformed_proof')
  }
  expect(code(() => anchorProofFromJson(null))).toBe('malformed_proof')
  expect(code(() => anchorProofFromJson({ ...json, salt: 'AAAA' }))).toBe('malformed_proof')
  expect(code(() => anchorProofFromJson({ ...json, size: -1 }))).toBe('wrong_size')
  expect(code(() => anchorProofFromJson({ ...json, proof: Array(200).fill(json.root) }))).toBe(
    'malformed_proof',
  )
})
