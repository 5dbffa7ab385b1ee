import { describe, expect, it } from 'vitest'
import { nodeNoteCrypto, sha256 } from '../../../src/transparency-log/node-crypto.js'
import {
  ed25519Signer,
  ed25519Verifier,
  parseSignerKey,
  parseVerifierKey,
  verifierKey,
} from '../../../src/transparency-log/note-key.js'
import {
  formatNote,
  formatSignatureLine,
  isKeyName,
  openNote,
  parseNote,
  parseSignatureLine,
  signNote,
} from '../../../src/transparency-log/note.js'
import { utf8 } from '../../../src/transparency-log/encoding.js'
import { codeOf, indented, moduleComment, vectorOrigin, vectorPair } from './support.js'

/** A key of the test's own: its seed is one byte 32 times. */
function key(name: string, seed: number) {
  const pair = nodeNoteCrypto.importSeed(new Uint8Array(32).fill(seed))
  return {
    signer: ed25519Signer(name, pair, sha256),
    verifier: ed25519Verifier(verifierKey(name, 'ed25519', pair.publicKey, sha256), nodeNoteCrypto),
  }
}

const one = key('log.example/one', 1)
const two = key('log.example/two', 2)
const text = 'first line\n\nthird line\n'
const note = signNote(text, [one.signer, two.signer])

describe('a signed note', () => {
  it('is what Go’s documentation of sumdb/note shows', () => {
    const skey = 'PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz'
    const vkey = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW'
    const words =
      "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    const signer = parseSignerKey(skey, nodeNoteCrypto)
    const signed = signNote(words, [
      ed25519Signer(signer.name, nodeNoteCrypto.importSeed(signer.seed), sha256),
    ])
    expect(signed).toBe(
      `${words}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n`,
    )
    expect(openNote(signed, [ed25519Verifier(parseVerifierKey(vkey, sha256), nodeNoteCrypto)]).text).toBe(
      words,
    )
  })

  it('is opened by the example key of the C2SP specification', () => {
    const vkey = 'example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k'
    const signed =
      'This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n'
    const opened = openNote(signed, [ed25519Verifier(parseVerifierKey(vkey, sha256), nodeNoteCrypto)])
    expect(opened.text).toBe('This is an example message.\n')
  })

  it('is the example of the module comment', () => {
    const example = signNote('hello\n', [ed25519Signer(vectorOrigin, vectorPair, sha256)])
    expect(moduleComment('note.ts')).toContain(indented(example))
  })

  it('parts text and signatures at the last empty line, and is read as it was written', () => {
    const parsed = parseNote(note)
    expect(parsed.text).toBe(text)
    expect(parsed.signatures.map((signature) => signature.name)).toEqual([
      'log.example/one',
      'log.example/two',
    ])
    expect(formatNote(parsed)).toBe(note)
    expect(parseNote(utf8(note))).toEqual(parsed)
  })

  it('counts known keys and keeps unknown ones', () => {
    expect(openNote(note, [one.verifier, two.verifier]).verified).toHaveLength(2)
    const opened = openNote(note, [two.verifier])
    expect(opened.verified.map((signature) => signature.name)).toEqual(['log.example/two'])
    expect(opened.unverified.map((signature) => signature.name)).toEqual(['log.example/one'])
  })

  it('takes a key of the same name, or of the same id, for an unknown one', () => {
    const sameName = { ...one.verifier, keyId: one.verifier.keyId ^ 1 }
    const sameId = { ...one.verifier, name: 'log.example/other' }
    expect(codeOf(() => openNote(note, [sameName, sameId]))).toBe('unknown_signer')
    expect(openNote(note, [sameName, sameId, two.verifier]).unverified).toHaveLength(1)
  })

  it('is spoiled by one known key’s signature that does not verify, whoever else signed', () => {
    const [first, second] = parseNote(note).signatures
    if (first === undefined || second === undefined) throw new Error('two keys signed')
    const forged = { ...first, signature: second.signature }
    expect(
      codeOf(() =>
        openNote(formatNote({ text, signatures: [forged, second] }), [one.verifier, two.verifier]),
      ),
    ).toBe('bad_signature')
    expect(codeOf(() => openNote(note.replace('third', 'Third'), [one.verifier]))).toBe('bad_signature')
  })

  it('counts a key once, however often it signed', () => {
    const { signatures } = parseNote(note)
    const repeated = formatNote({ text, signatures: [...signatures, ...signatures, ...signatures] })
    const opened = openNote(repeated, [one.verifier])
    expect(opened.verified).toHaveLength(1)
    expect(opened.unverified).toHaveLength(3)
  })

  it('is opened by whichever of two keys under one name and id made the signature', () => {
    const never = { ...one.verifier, verify: () => false }
    expect(openNote(note, [never, one.verifier]).verified).toHaveLength(1)
  })

  it('signed anew keeps the signatures of others and replaces its own', () => {
    const { signatures } = parseNote(note)
    expect(signNote(text, [two.signer], signatures)).toBe(
      formatNote({ text, signatures: signatures.toReversed() }),
    )
  })

  it('is not signed by nobody, and not opened without keys', () => {
    expect(codeOf(() => signNote(text, []))).toBe('malformed_note')
    expect(codeOf(() => openNote(note, []))).toBe('unknown_signer')
  })

  it('with 100 signatures is read, with 101 it is not', () => {
    const signature = { name: 'x', keyId: 1, signature: Uint8Array.of(1) }
    const many = formatNote({ text, signatures: Array.from({ length: 100 }, () => signature) })
    expect(parseNote(many).signatures).toHaveLength(100)
    expect(codeOf(() => parseNote(`${many}${formatSignatureLine(signature)}\n`))).toBe('malformed_note')
    expect(codeOf(() => formatNote({ text, signatures: Array.from({ length: 101 }, () => signature) }))).toBe(
      'malformed_note',
    )
  })

  it('of more than 1,000,000 bytes is refused, as text, as bytes and when written', () => {
    const large = 'ä'.repeat(500_000) + '\n'
    expect(codeOf(() => signNote(large, [one.signer]))).toBe('malformed_note')
    expect(codeOf(() => parseNote('a'.repeat(1_000_001)))).toBe('malformed_note')
    expect(codeOf(() => parseNote(new Uint8Array(1_000_001)))).toBe('malformed_note')
  })

  it('keeps a byte order mark as part of its text', () => {
    const marked = signNote('\ufeffa\n', [one.signer])
    expect(openNote(utf8(marked), [one.verifier]).text).toBe('\ufeffa\n')
  })
})

const line = '— log.example/one AAAAAQI='

describe('a malformed note', () => {
  it.each([
    ['nothing', ''],
    ['a newline', '\n'],
    ['two newlines', '\n\n'],
    ['text alone', 'text\n'],
    ['text and an empty line', 'text\n\n'],
    ['a signature line alone', `${line}\n`],
    ['no empty line', `text\n${line}\n`],
    ['no newline at the end', `text\n\n${line}`],
    ['a line after the signatures', `text\n\n${line}\nmore\n`],
    ['an empty line after the signatures', `text\n\n${line}\n\n`],
    ['a signature line without the dash', 'text\n\nlog.example/one AAAAAQI=\n'],
    ['a hyphen for the dash', 'text\n\n- log.example/one AAAAAQI=\n'],
    ['an en dash for the dash', 'text\n\n– log.example/one AAAAAQI=\n'],
    ['no space after the dash', 'text\n\n—log.example/one AAAAAQI=\n'],
    ['two spaces after the dash', 'text\n\n—  log.example/one AAAAAQI=\n'],
    ['no name', 'text\n\n— AAAAAQI=\n'],
    ['an empty name', 'text\n\n—  AAAAAQI=\n'],
    ['a name with a plus', 'text\n\n— log+one AAAAAQI=\n'],
    ['a name with a no-break space', 'text\n\n— log\u00a0one AAAAAQI=\n'],
    ['a name with a next line character', 'text\n\n— log\u0085one AAAAAQI=\n'],
    ['a name with an ideographic space', 'text\n\n— log\u3000one AAAAAQI=\n'],
    ['no signature', 'text\n\n— log.example/one\n'],
    ['an empty signature', 'text\n\n— log.example/one \n'],
    ['a space at the end', `text\n\n${line} \n`],
    ['something after the signature', `text\n\n${line} x\n`],
    ['a signature of four bytes, the key id alone', 'text\n\n— log.example/one AAAAAQ==\n'],
    ['a signature that is no base64', 'text\n\n— log.example/one AAAAAQ*=\n'],
    ['a signature without padding', 'text\n\n— log.example/one AAAAAQI\n'],
    ['a signature in base64url', 'text\n\n— log.example/one AAAA-_I=\n'],
    ['a signature with unused bits set', 'text\n\n— log.example/one AAAAAQJ=\n'],
    ['a tab in the text', `te\txt\n\n${line}\n`],
    ['a carriage return', `text\r\n\r\n${line}\r\n`],
    ['a carriage return in the text', `text\r\n\n${line}\n`],
    ['a NUL', `te\0xt\n\n${line}\n`],
    ['an escape character', `te\u001bxt\n\n${line}\n`],
    ['half a surrogate pair', `te\ud83dxt\n\n${line}\n`],
  ])('of %s is refused', (_, malformed) => {
    expect(codeOf(() => parseNote(malformed))).toBe('malformed_note')
    expect(codeOf(() => openNote(malformed, [one.verifier]))).toBe('malformed_note')
  })

  it.each([
    ['a byte that no UTF-8 has', [0xff]],
    ['an overlong slash', [0xc0, 0xaf]],
    ['an encoded surrogate', [0xed, 0xa0, 0x80]],
    ['a sequence cut short', [0xe2, 0x80]],
  ])('with %s is refused', (_, bytes) => {
    const whole = Uint8Array.from([...utf8('text'), ...bytes, ...utf8(`\n\n${line}\n`)])
    expect(codeOf(() => parseNote(whole))).toBe('malformed_note')
  })

  it.each([
    ['text that does not end in a newline', { text: 'a', name: 'x' }],
    ['text with a control character', { text: 'a\u0007\n', name: 'x' }],
    ['text with half a surrogate pair', { text: 'a\udc00\n', name: 'x' }],
    ['a name with a space', { text: 'a\n', name: 'x y' }],
    ['a name with a newline', { text: 'a\n', name: 'x\ny' }],
    ['no name', { text: 'a\n', name: '' }],
  ])('is not written: %s', (_, { text: wrong, name }) => {
    const signatures = [{ name, keyId: 1, signature: Uint8Array.of(1) }]
    expect(codeOf(() => formatNote({ text: wrong, signatures }))).toBe('malformed_note')
  })

  it('is never quoted by its error', () => {
    const secret = 'jane.doe@acme.example'
    for (const wrong of [secret, `${secret}\n\n— ${secret} AAAA\n`, `a\n\n${secret}\n`]) {
      expect(() => parseNote(wrong)).toThrow(/^malformed_note: [^@]*$/)
    }
  })
})

describe('a signature line', () => {
  it('keeps key ids of 32 bits', () => {
    for (const keyId of [0, 1, 0x7fffffff, 0x80000000, 0xffffffff]) {
      const signature = { name: 'log.example/one', keyId, signature: Uint8Array.of(1, 2, 3) }
      expect(parseSignatureLine(formatSignatureLine(signature))).toEqual(signature)
    }
  })

  it('holds at least one byte of signature', () => {
    const none = { name: 'x', keyId: 1, signature: new Uint8Array() }
    expect(codeOf(() => formatSignatureLine(none))).toBe('malformed_note')
  })
})

describe('a key name', () => {
  it.each(['a', 'log.example/one', 'ä/日本', 'a=b&c', '\ufeffa'])('may be %j', (name) =>
    expect(isKeyName(name)).toBe(true),
  )
  it.each(['', ' ', 'a b', 'a+b', 'a\tb', 'a\u2028b', 'a\u0085b', 'a\u0001', '\ud800'])(
    'may not be %j',
    (name) => expect(isKeyName(name)).toBe(false),
  )
})
