import { describe, expect, it } from 'vitest'
import {
  formatCheckpoint,
  openCheckpoint,
  parseCheckpoint,
} from '../../../src/transparency-log/checkpoint.js'
import { emptyRoot } from '../../../src/transparency-log/hash.js'
import { nodeNoteCrypto, sha256 } from '../../../src/transparency-log/node-crypto.js'
import { ed25519Signer, ed25519Verifier, verifierKey } from '../../../src/transparency-log/note-key.js'
import { signNote } from '../../../src/transparency-log/note.js'
import { codeOf, fromHex, indented, moduleComment, vectorOrigin, vectorPair } from './support.js'

const root = fromHex('4e3272055cb9345984170484b5a7bf3deb20c0c7779b4611cb1ed71a7365795f')
const rootText = 'TjJyBVy5NFmEFwSEtae/PesgwMd3m0YRyx7XGnNleV8='
const emptyText = '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
const signer = ed25519Signer(vectorOrigin, vectorPair, sha256)
const logKey = ed25519Verifier(
  verifierKey(vectorOrigin, 'ed25519', vectorPair.publicKey, sha256),
  nodeNoteCrypto,
)
const log = { origin: vectorOrigin, logKeys: [logKey] }

describe('a checkpoint', () => {
  it('is the example of the module comment', () => {
    const text = formatCheckpoint({ origin: vectorOrigin, size: 600, root, extensions: [] })
    expect(moduleComment('checkpoint.ts')).toContain(indented(signNote(text, [signer])))
  })

  it.each([
    ['with extension lines', { origin: 'a b', size: 1, root, extensions: ['x', 'y z'] }],
    ['of the largest size', { origin: 'a', size: Number.MAX_SAFE_INTEGER, root, extensions: [] }],
    ['of the empty tree', { origin: 'a', size: 0, root: emptyRoot(), extensions: [] }],
  ])('%s is read as it was written', (_, checkpoint) => {
    const read = parseCheckpoint(formatCheckpoint(checkpoint))
    expect(read).toEqual(checkpoint)
  })

  it('of a newly signed log opens with the old key, the new key and both', () => {
    const newPair = nodeNoteCrypto.importSeed(new Uint8Array(32).fill(5))
    const newKey = ed25519Verifier(
      verifierKey(vectorOrigin, 'ed25519', newPair.publicKey, sha256),
      nodeNoteCrypto,
    )
    const text = formatCheckpoint({ origin: vectorOrigin, size: 600, root, extensions: [] })
    const note = signNote(text, [ed25519Signer(vectorOrigin, newPair, sha256), signer])
    for (const [logKeys, count] of [
      [[logKey], 1] as const,
      [[newKey], 1] as const,
      [[logKey, newKey], 2] as const,
    ]) {
      expect(openCheckpoint(note, { origin: vectorOrigin, logKeys }).logSignatures).toHaveLength(count)
    }
  })

  it('of another log is refused, though the key is right', () => {
    const text = formatCheckpoint({ origin: 'annals.example/org/org_other', size: 600, root, extensions: [] })
    expect(codeOf(() => openCheckpoint(signNote(text, [signer]), log))).toBe('wrong_origin')
  })

  it('that a stranger signed is refused before it is read', () => {
    const stranger = ed25519Signer('stranger', nodeNoteCrypto.importSeed(new Uint8Array(32).fill(6)), sha256)
    expect(codeOf(() => openCheckpoint(signNote('not a checkpoint\n', [stranger]), log))).toBe(
      'unknown_signer',
    )
    expect(codeOf(() => openCheckpoint(signNote('not a checkpoint\n', [signer]), log))).toBe(
      'malformed_checkpoint',
    )
  })

  it.each([
    ['nothing', ''],
    ['a newline', '\n'],
    ['an origin alone', 'a\n'],
    ['no root', 'a\n1\n'],
    ['no newline at the end', `a\n1\n${rootText}`],
    ['an empty origin', `\n1\n${rootText}\n`],
    ['an empty size', `a\n\n${rootText}\n`],
    ['a size with a leading zero', `a\n01\n${rootText}\n`],
    ['a size with a sign', `a\n+1\n${rootText}\n`],
    ['a size below 0', `a\n-1\n${rootText}\n`],
    ['a size with a point', `a\n1.0\n${rootText}\n`],
    ['a size in hex', `a\n0x1\n${rootText}\n`],
    ['a size with an exponent', `a\n1e3\n${rootText}\n`],
    ['a size with a space', `a\n1 \n${rootText}\n`],
    ['a size of 2^53', `a\n9007199254740992\n${rootText}\n`],
    ['a size of 2^64', `a\n18446744073709551616\n${rootText}\n`],
    ['a root of 31 bytes', `a\n1\n${Buffer.alloc(31).toString('base64')}\n`],
    ['a root of 33 bytes', `a\n1\n${Buffer.alloc(33).toString('base64')}\n`],
    ['a root in hex', `a\n1\n${Buffer.alloc(32).toString('hex')}\n`],
    ['a root with unused bits set', `a\n1\n${rootText.replace('8=', '9=')}\n`],
    ['an empty extension line', `a\n1\n${rootText}\n\nx\n`],
    ['an empty line at the end', `a\n1\n${rootText}\n\n`],
    ['an empty tree with a root', `a\n0\n${rootText}\n`],
  ])('of %s is refused', (_, text) => {
    expect(codeOf(() => parseCheckpoint(text))).toBe('malformed_checkpoint')
  })

  it('of the empty tree has the empty tree’s root', () => {
    expect(parseCheckpoint(`a\n0\n${emptyText}\n`).size).toBe(0)
  })

  it.each([
    ['an empty origin', { origin: '' }, 'malformed_checkpoint'],
    ['an origin of two lines', { origin: 'a\nb' }, 'malformed_checkpoint'],
    ['an empty extension', { extensions: [''] }, 'malformed_checkpoint'],
    ['a size that is none', { size: -1 }, 'wrong_size'],
    ['a root that is none', { root: new Uint8Array(31) }, 'wrong_size'],
  ])('is not written with %s', (_, changed, code) => {
    const checkpoint = { origin: 'a', size: 1, root, extensions: [], ...changed }
    expect(codeOf(() => formatCheckpoint(checkpoint))).toBe(code)
  })
})
