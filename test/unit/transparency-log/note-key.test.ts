import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { nodeNoteCrypto, sha256, signingPair } from '../../../src/transparency-log/node-crypto.js'
import { cosignatureVerifier } from '../../../src/transparency-log/cosignature.js'
import {
  ed25519Signer,
  ed25519Verifier,
  formatSignerKey,
  formatVerifierKey,
  parseSignerKey,
  parseVerifierKey,
  verifierKey,
} from '../../../src/transparency-log/note-key.js'
import { openNote, signNote } from '../../../src/transparency-log/note.js'
import { codeOf, hex, moduleComment, vectorOrigin, vectorPair, vectorSeed } from './support.js'

const key = verifierKey(vectorOrigin, 'ed25519', vectorPair.publicKey, sha256)
const vkey = formatVerifierKey(key)

describe('a verifier key', () => {
  it('is the example of the module comment', () => {
    const comment = moduleComment('note-key.ts')
    expect(comment).toContain(`\`${vkey}\``)
    expect(comment).toContain(`\`${hex(vectorSeed)}\``)
    expect(vkey).toBe('annals.example/org/org_acme+559b0629+AQr6AAO9JSRElltSqFdyo+avQf0ZA8kUZydB50SUQrhU')
  })

  it('is read as it was written, for logs and for witnesses', () => {
    for (const type of ['ed25519', 'cosignature'] as const) {
      const made = verifierKey('witness.example/w1', type, vectorPair.publicKey, sha256)
      const read = parseVerifierKey(formatVerifierKey(made), sha256)
      expect({ ...read, publicKey: hex(read.publicKey) }).toEqual({ ...made, publicKey: hex(made.publicKey) })
    }
  })

  it('has an id that depends on its type and its name', () => {
    const ids = [
      key.keyId,
      verifierKey(vectorOrigin, 'cosignature', vectorPair.publicKey, sha256).keyId,
      verifierKey('other.example', 'ed25519', vectorPair.publicKey, sha256).keyId,
    ]
    expect(new Set(ids).size).toBe(3)
  })

  const encoded = vkey.split('+').slice(2).join('+')
  it.each([
    ['nothing', ''],
    ['a name alone', vectorOrigin],
    ['no key', `${vectorOrigin}+559b0629`],
    ['an empty key', `${vectorOrigin}+559b0629+`],
    ['an empty name', `+559b0629+${encoded}`],
    ['a name with a space', `annals example+559b0629+${encoded}`],
    ['another name', `annals.example+559b0629+${encoded}`],
    ['another id', `${vectorOrigin}+559b0628+${encoded}`],
    ['a short id', `${vectorOrigin}+59b0629+${encoded}`],
    ['an id in capitals', `${vectorOrigin}+559B0629+${encoded}`],
    ['another type', `${vectorOrigin}+559b0629+Aw${encoded.slice(2)}`],
    ['a key of 31 bytes', `${vectorOrigin}+559b0629+AQr6AAO9JSRElltSqFdyo+avQf0ZA8kUZydB50SUQrg=`],
    ['a key of 33 bytes', `${vectorOrigin}+559b0629+${encoded}AA==`],
    ['no base64', `${vectorOrigin}+559b0629+${encoded.slice(0, -1)}*`],
    ['a newline at the end', `${vkey}\n`],
    ['a space before it', ` ${vkey}`],
    ['a signer key', formatSignerKey({ ...key, seed: vectorSeed })],
  ])('of %s is refused', (_, text) => {
    expect(codeOf(() => parseVerifierKey(text, sha256))).toBe('malformed_key')
  })

  it('is not made of a name or of bytes that cannot be one', () => {
    expect(codeOf(() => verifierKey('a b', 'ed25519', vectorPair.publicKey, sha256))).toBe('malformed_key')
    expect(codeOf(() => verifierKey('a', 'ed25519', new Uint8Array(31), sha256))).toBe('malformed_key')
  })

  it('of one type does not check signatures of the other', () => {
    const witness = verifierKey(vectorOrigin, 'cosignature', vectorPair.publicKey, sha256)
    expect(codeOf(() => ed25519Verifier(witness, nodeNoteCrypto))).toBe('malformed_key')
    expect(codeOf(() => cosignatureVerifier(key, nodeNoteCrypto))).toBe('malformed_key')
  })

  it('that the platform does not take is malformed', () => {
    const refusing = {
      ...nodeNoteCrypto,
      importPublicKey: () => {
        throw new Error('no point of the curve')
      },
    }
    expect(codeOf(() => ed25519Verifier(key, refusing))).toBe('malformed_key')
  })
})

describe('a signer key', () => {
  const skey = formatSignerKey({ ...key, seed: vectorSeed })

  it('is read as it was written and signs as its verifier key expects', () => {
    const read = parseSignerKey(skey, nodeNoteCrypto)
    expect(hex(read.seed)).toBe(hex(vectorSeed))
    expect(formatSignerKey(read)).toBe(skey)
    const signer = ed25519Signer(read.name, nodeNoteCrypto.importSeed(read.seed), sha256)
    const verifier = ed25519Verifier(parseVerifierKey(vkey, sha256), nodeNoteCrypto)
    expect(openNote(signNote('a\n', [signer]), [verifier]).verified).toHaveLength(1)
  })

  it.each([
    ['a verifier key', vkey],
    ['another prefix', skey.replace('PRIVATE', 'private')],
    [
      'the seed of another key',
      skey.replace(/\+AW.*$/, `+${Buffer.from([1, ...Array<number>(32).fill(9)]).toString('base64')}`),
    ],
    ['the id of another key', skey.replace('559b0629', '559b0628')],
  ])('of %s is refused, without a word of it', (_, text) => {
    expect(codeOf(() => parseSignerKey(text, nodeNoteCrypto))).toBe('malformed_key')
    expect(() => parseSignerKey(text, nodeNoteCrypto)).not.toThrow(text.slice(-20))
  })

  it('may be any Ed25519 key of Node’s, and no other', () => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const pair = signingPair(privateKey)
    expect(hex(pair.publicKey)).toBe(hex(publicKey.export({ format: 'der', type: 'spki' }).subarray(12)))
    const verifier = ed25519Verifier(verifierKey('a', 'ed25519', pair.publicKey, sha256), nodeNoteCrypto)
    expect(openNote(signNote('a\n', [ed25519Signer('a', pair, sha256)]), [verifier]).text).toBe('a\n')
    expect(() => signingPair(generateKeyPairSync('x25519').privateKey)).toThrow('Ed25519')
  })
})
