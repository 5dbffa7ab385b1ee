/**
 * Signed notes: C2SP signed-note. Text with signatures below it, in one text file.
 *
 *   <text: one or more lines, each ending in a newline>
 *   <an empty line>
 *   — <key name> <base64(4-byte key id, big endian ‖ signature)>
 *   … one line for every signature
 *
 * What is signed is the text with its last newline, without the empty line. The whole is valid UTF-8 without
 * control characters but the newline. The dash is an em dash (U+2014). Key names are not empty and hold neither
 * Unicode spaces nor `+`. The last empty line is the one that parts text and signatures.
 *
 * Name and id together say which key signed (note-key.ts). Signatures by keys one does not know are kept and count
 * for nothing; one by a known key that does not verify spoils the note. At most 100 signatures and 1,000,000 bytes.
 *
 * Example: the text `hello` and a newline, signed by the key of note-key.ts:
 *
 *   hello
 *
 *   — annals.example/org/org_acme VZsGKWYYXEkDPa5x94bUVcEKGR3/M3Qdl2ml1136/j+fBFYHQDJjwIavuYUcx8j751RfoW56s6IRTHyUQec4u1eexAE=
 */
import { base64, base64Bytes, concatBytes, hasLoneSurrogate, utf8, utf8Text } from './encoding.js'
import { LogError } from './errors.js'

export const maxNoteBytes = 1_000_000
export const maxNoteSignatures = 100

/** One signature line. `signature` is what follows the key id, whatever the algorithm. */
export interface NoteSignature {
  readonly name: string
  /** 32 bits, unsigned. */
  readonly keyId: number
  readonly signature: Uint8Array
}

export interface Note {
  /** Ends in a newline. To be used only once the note was opened. */
  readonly text: string
  readonly signatures: readonly NoteSignature[]
}

/** A note that at least one known key signed. */
export interface OpenedNote {
  readonly text: string
  /** By known keys, at most one each. */
  readonly verified: readonly NoteSignature[]
  /** By keys that are not known. They prove nothing. */
  readonly unverified: readonly NoteSignature[]
}

/** Checks signatures of one key over the text of a note. */
export interface Verifier {
  readonly name: string
  readonly keyId: number
  verify(text: Uint8Array, signature: Uint8Array): boolean
}

/** Signs the text of a note with one key. */
export interface Signer {
  readonly name: string
  readonly keyId: number
  sign(text: Uint8Array): Uint8Array
}

/** May this be a key's name: not empty, no Unicode space, no plus, no control character? */
export function isKeyName(name: string): boolean {
  return name !== '' && !/[\p{White_Space}+\p{Surrogate}]/u.test(name) && !hasControl(name)
}

/**
 * Reads a note, checking its form and no signature.
 * @throws LogError `malformed_note`
 */
export function parseNote(note: Uint8Array | string): Note {
  const source = typeof note === 'string' ? note : readBytes(note)
  if (source.length > maxNoteBytes) throw malformed('a note has at most 1,000,000 bytes')
  if (hasLoneSurrogate(source) || hasControl(source))
    throw malformed('a note is UTF-8 without control characters')
  const end = source.lastIndexOf('\n\n')
  if (end === -1) throw malformed('a note has an empty line before its signatures')
  const block = source.slice(end + 2)
  if (!block.endsWith('\n'))
    throw malformed('a note has one or more signature lines, each ending in a newline')
  const lines = block.slice(0, -1).split('\n')
  if (lines.length > maxNoteSignatures) throw malformed('a note has at most 100 signatures')
  return { text: source.slice(0, end + 1), signatures: lines.map(parseSignatureLine) }
}

/** One line of a note without its newline; also what a witness answers. @throws LogError `malformed_note` */
export function parseSignatureLine(line: string): NoteSignature {
  const [, name = '', encoded = ''] = /^\u2014 ([^ ]+) ([^ ]+)$/.exec(line) ?? []
  const bytes = base64Bytes(encoded)
  if (!isKeyName(name) || bytes === undefined || bytes.length < 5)
    throw malformed('a signature line is malformed')
  const keyId = new DataView(bytes.buffer).getUint32(0)
  return { name, keyId, signature: bytes.subarray(4) }
}

/** A signature line without its newline. @throws LogError `malformed_note` for a name or signature that cannot stand there */
export function formatSignatureLine(signature: NoteSignature): string {
  if (!isKeyName(signature.name) || signature.signature.length === 0)
    throw malformed('a signature line is malformed')
  const id = new Uint8Array(4)
  new DataView(id.buffer).setUint32(0, signature.keyId)
  return `\u2014 ${signature.name} ${base64(concatBytes([id, signature.signature]))}`
}

/** The note as text. @throws LogError `malformed_note` where it could not be read again */
export function formatNote(note: Note): string {
  const { text, signatures } = note
  if (!text.endsWith('\n')) throw malformed('the text of a note ends in a newline')
  if (hasLoneSurrogate(text) || hasControl(text))
    throw malformed('a note is UTF-8 without control characters')
  if (signatures.length === 0 || signatures.length > maxNoteSignatures) {
    throw malformed('a note has 1 to 100 signatures')
  }
  const formatted = `${text}\n${signatures.map(formatSignatureLine).join('\n')}\n`
  if (utf8(formatted).length > maxNoteBytes) throw malformed('a note has at most 1,000,000 bytes')
  return formatted
}

/**
 * The text signed by every signer, and by whoever signed it before (`earlier`, where not by the same key).
 * @throws LogError `malformed_note`
 */
export function signNote(
  text: string,
  signers: readonly Signer[],
  earlier: readonly NoteSignature[] = [],
): string {
  const bytes = utf8(text)
  const kept = earlier.filter((signature) => !signers.some((signer) => isBy(signature, signer)))
  const fresh = signers.map((signer) => ({
    name: signer.name,
    keyId: signer.keyId,
    signature: signer.sign(bytes),
  }))
  return formatNote({ text, signatures: [...fresh, ...kept] })
}

/**
 * Reads a note and checks it against the keys one knows.
 * @throws LogError `malformed_note`; `bad_signature` where a known key's signature does not verify;
 *   `unknown_signer` where no known key signed
 */
export function openNote(note: Uint8Array | string, verifiers: readonly Verifier[]): OpenedNote {
  const { text, signatures } = parseNote(note)
  const bytes = utf8(text)
  const verified: NoteSignature[] = []
  const unverified: NoteSignature[] = []
  for (const signature of signatures) {
    const known = verifiers.filter((verifier) => isBy(signature, verifier))
    if (known.length === 0) {
      unverified.push(signature)
      continue
    }
    // A key signs once; what else stands under its name is not looked at.
    if (verified.some((earlier) => isBy(earlier, signature))) continue
    if (!known.some((verifier) => verifier.verify(bytes, signature.signature))) {
      throw new LogError('bad_signature', 'a signature of a known key does not verify')
    }
    verified.push(signature)
  }
  if (verified.length === 0) throw new LogError('unknown_signer', 'no known key signed the note')
  return { text, verified, unverified }
}

/** Was the signature made under the key's name and id? */
export function isBy(
  signature: Pick<NoteSignature, 'name' | 'keyId'>,
  key: { readonly name: string; readonly keyId: number },
): boolean {
  return signature.name === key.name && signature.keyId === key.keyId
}

function readBytes(note: Uint8Array): string {
  if (note.length > maxNoteBytes) throw malformed('a note has at most 1,000,000 bytes')
  const text = utf8Text(note)
  if (text === undefined) throw malformed('a note is UTF-8 without control characters')
  return text
}

function hasControl(text: string): boolean {
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  return /[\u0000-\u0009\u000b-\u001f]/.test(text)
}

function malformed(detail: string): LogError {
  return new LogError('malformed_note', detail)
}
