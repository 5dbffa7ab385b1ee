import { describe, expect, it } from 'vitest'
import { formatCheckpoint, openCheckpoint } from '../../../src/transparency-log/checkpoint.js'
import {
  cosignatureSigner,
  cosignatureTime,
  cosignatureVerifier,
} from '../../../src/transparency-log/cosignature.js'
import { utf8 } from '../../../src/transparency-log/encoding.js'
import { nodeHasher, nodeNoteCrypto, sha256 } from '../../../src/transparency-log/node-crypto.js'
import {
  ed25519Signer,
  ed25519Verifier,
  formatVerifierKey,
  verifierKey,
} from '../../../src/transparency-log/note-key.js'
import {
  formatNote,
  formatSignatureLine,
  openNote,
  parseNote,
  signNote,
} from '../../../src/transparency-log/note.js'
import { at, codeOf, flipped, moduleComment, vectorLeaf, vectorOrigin, vectorPair } from './support.js'

const time = 1_679_315_147
const pair = nodeNoteCrypto.importSeed(new Uint8Array(32).fill(1))
const key = verifierKey('witness.example/w1', 'cosignature', pair.publicKey, sha256)
const witness = cosignatureSigner('witness.example/w1', pair, sha256, () => time)
const witnessKey = cosignatureVerifier(key, nodeNoteCrypto)
const log = ed25519Signer(vectorOrigin, vectorPair, sha256)
const logKey = ed25519Verifier(
  verifierKey(vectorOrigin, 'ed25519', vectorPair.publicKey, sha256),
  nodeNoteCrypto,
)

const root = nodeHasher.node(vectorLeaf(0), vectorLeaf(1))
const text = formatCheckpoint({ origin: vectorOrigin, size: 2, root, extensions: [] })
const note = signNote(text, [log, witness])

describe('a cosignature', () => {
  it('is the example of the module comment', () => {
    const comment = moduleComment('cosignature.ts')
    expect(comment).toContain(`\`${formatVerifierKey(key)}\``)
    expect(comment).toContain(formatSignatureLine(at(parseNote(note).signatures, 1)))
  })

  it('is reported beside the log’s signature, with its time', () => {
    const opened = openCheckpoint(note, {
      origin: vectorOrigin,
      logKeys: [logKey],
      witnessKeys: [witnessKey],
    })
    expect(opened.logSignatures.map((signature) => signature.name)).toEqual([vectorOrigin])
    expect(opened.cosignatures.map((signature) => signature.name)).toEqual(['witness.example/w1'])
    expect(cosignatureTime(at(opened.cosignatures, 0).signature)).toBe(time)
  })

  it('of a witness one does not know is kept and counts for nothing', () => {
    const opened = openCheckpoint(note, { origin: vectorOrigin, logKeys: [logKey] })
    expect(opened.cosignatures).toEqual([])
    expect(opened.unverified.map((signature) => signature.name)).toEqual(['witness.example/w1'])
  })

  it('makes no checkpoint without the log', () => {
    const trusted = { origin: vectorOrigin, logKeys: [logKey], witnessKeys: [witnessKey] }
    expect(codeOf(() => openCheckpoint(signNote(text, [witness]), trusted))).toBe('unknown_signer')
  })

  it('signs the header, the time and the text, so none of them can be changed', () => {
    const [own, cosignature] = parseNote(note).signatures
    if (own === undefined || cosignature === undefined) throw new Error('log and witness signed')
    // Each byte: eight of the time, sixty-four of the signature.
    for (let byte = 0; byte < 72; byte++) {
      const forged = { ...cosignature, signature: flipped(cosignature.signature, byte * 8) }
      expect(codeOf(() => openNote(formatNote({ text, signatures: [forged] }), [witnessKey]))).toBe(
        'bad_signature',
      )
    }
    expect(codeOf(() => openNote(note.replace('\n2\n', '\n3\n'), [witnessKey]))).toBe('bad_signature')
    const message = Buffer.concat([utf8(`cosignature/v1\ntime ${time}\n`), utf8(text)])
    expect(nodeNoteCrypto.importPublicKey(pair.publicKey)(message, cosignature.signature.subarray(8))).toBe(
      true,
    )
  })

  it('is not taken for a plain signature, nor the other way round', () => {
    const plain = ed25519Signer('witness.example/w1', pair, sha256)
    const disguised = { ...plain, keyId: key.keyId }
    expect(codeOf(() => openNote(signNote(text, [disguised]), [witnessKey]))).toBe('bad_signature')
    expect(codeOf(() => openNote(signNote(text, [plain]), [witnessKey]))).toBe('unknown_signer')
  })

  it.each([
    ['one byte short', new Uint8Array(71)],
    ['one byte long', new Uint8Array(73)],
    ['a time past 2^53', new Uint8Array(72).fill(255, 0, 8)],
    ['nothing', new Uint8Array()],
  ])('of %s is none', (_, signature) => {
    expect(cosignatureTime(signature)).toBeUndefined()
    expect(witnessKey.verify(utf8(text), signature)).toBe(false)
  })
})
