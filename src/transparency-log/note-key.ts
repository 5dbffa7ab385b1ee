/**
 * Keys of signed notes, as text: C2SP signed-note verifier keys, and Go's signer keys.
 *
 *   verifier key   <name>+<key id: 8 hex digits>+<base64(type ‖ public key)>
 *   signer key     PRIVATE+KEY+<name>+<key id>+<base64(type ‖ seed)>
 *
 *   key id = the first four bytes of SHA-256(name ‖ 0x0A ‖ type ‖ public key)
 *
 * Public key and seed are Ed25519's, 32 bytes each (RFC 8032). `type` is one byte: 0x01 for a key that signs the
 * text of a note as it is (a log's), 0x04 for one that makes timestamped cosignatures (a witness's; cosignature.ts).
 *
 * Example: the seed `629f052b7544ce4658ff325a59facb19d723e0289933e5e0283a93c1893eb164` under the name
 * `annals.example/org/org_acme` has the verifier key
 * `annals.example/org/org_acme+559b0629+AQr6AAO9JSRElltSqFdyo+avQf0ZA8kUZydB50SUQrhU`.
 */
import { base64, base64Bytes, concatBytes, utf8 } from './encoding.js'
import { LogError } from './errors.js'
import type { Sha256 } from './hash.js'
import { isKeyName, type Signer, type Verifier } from './note.js'

/** The signature types that Annals reads, by their byte in C2SP signed-note. */
export const noteKeyTypes = { ed25519: 0x01, cosignature: 0x04 } as const
export type NoteKeyType = keyof typeof noteKeyTypes

/** What the core needs of a platform's cryptography to read, check and sign notes. */
export interface NoteCrypto {
  readonly sha256: Sha256
  /** A check of Ed25519 signatures (64 bytes) by a public key (32 bytes). Throws where it is no public key. */
  importPublicKey(publicKey: Uint8Array): (message: Uint8Array, signature: Uint8Array) => boolean
  /** The key pair of an Ed25519 seed (32 bytes). */
  importSeed(seed: Uint8Array): SigningPair
}

/** A signing key, wherever it lives. */
export interface SigningPair {
  /** 32 bytes. */
  readonly publicKey: Uint8Array
  /** 64 bytes. */
  sign(message: Uint8Array): Uint8Array
}

export interface VerifierKey {
  readonly name: string
  readonly keyId: number
  readonly type: NoteKeyType
  readonly publicKey: Uint8Array
}

/** A secret: never logged, never part of an error. */
export interface SignerKey extends VerifierKey {
  readonly seed: Uint8Array
}

const keyBytes = 32

/** @throws LogError `malformed_key` for a name or public key that cannot be one */
export function verifierKey(
  name: string,
  type: NoteKeyType,
  publicKey: Uint8Array,
  sha256: Sha256,
): VerifierKey {
  if (!isKeyName(name))
    throw new LogError('malformed_key', 'a key name has neither spaces nor +, and is not empty')
  if (publicKey.length !== keyBytes) throw new LogError('malformed_key', 'an Ed25519 public key has 32 bytes')
  const digest = sha256(concatBytes([utf8(name), Uint8Array.of(0x0a, noteKeyTypes[type]), publicKey]))
  const keyId = new DataView(digest.buffer, digest.byteOffset).getUint32(0)
  return { name, keyId, type, publicKey }
}

export function formatVerifierKey(key: VerifierKey): string {
  return `${key.name}+${idText(key.keyId)}+${keyText(key.type, key.publicKey)}`
}

/** @throws LogError `malformed_key`: another form, another type, or an id that is not the key's */
export function parseVerifierKey(text: string, sha256: Sha256): VerifierKey {
  const { name, id, type, bytes } = parseKeyText(text)
  const key = verifierKey(name, type, bytes, sha256)
  if (idText(key.keyId) !== id) throw new LogError('malformed_key', 'the key id is not that of the key')
  return key
}

/** The text of a secret key. */
export function formatSignerKey(key: SignerKey): string {
  return `PRIVATE+KEY+${key.name}+${idText(key.keyId)}+${keyText(key.type, key.seed)}`
}

/** @throws LogError `malformed_key`: another form, another type, or an id that is not the key's */
export function parseSignerKey(text: string, crypto: NoteCrypto): SignerKey {
  const prefix = 'PRIVATE+KEY+'
  if (!text.startsWith(prefix)) throw new LogError('malformed_key', 'a signer key begins with PRIVATE+KEY+')
  const { name, id, type, bytes } = parseKeyText(text.slice(prefix.length))
  const key = verifierKey(name, type, crypto.importSeed(bytes).publicKey, crypto.sha256)
  if (idText(key.keyId) !== id) throw new LogError('malformed_key', 'the key id is not that of the key')
  return { ...key, seed: bytes }
}

/** Checks signatures over the text of a note as it is. @throws LogError `malformed_key` for a key of another type */
export function ed25519Verifier(key: VerifierKey, crypto: NoteCrypto): Verifier {
  if (key.type !== 'ed25519') throw new LogError('malformed_key', 'the key is not one that signs notes')
  return { name: key.name, keyId: key.keyId, verify: importPublicKey(key, crypto) }
}

/** Signs the text of a note as it is, under a name. @throws LogError `malformed_key` */
export function ed25519Signer(name: string, pair: SigningPair, sha256: Sha256): Signer {
  const { keyId } = verifierKey(name, 'ed25519', pair.publicKey, sha256)
  return { name, keyId, sign: (text) => pair.sign(text) }
}

/** The check of a key's raw Ed25519 signatures. @throws LogError `malformed_key` where it is no public key */
export function importPublicKey(
  key: VerifierKey,
  crypto: NoteCrypto,
): (message: Uint8Array, signature: Uint8Array) => boolean {
  try {
    return crypto.importPublicKey(key.publicKey)
  } catch {
    throw new LogError('malformed_key', 'these bytes are not an Ed25519 public key')
  }
}

function parseKeyText(text: string): { name: string; id: string; type: NoteKeyType; bytes: Uint8Array } {
  // Base64 may hold a plus, so only the first two part anything.
  const [, name = '', id = '', encoded = ''] = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text) ?? []
  const bytes = base64Bytes(encoded)
  const type = bytes?.[0] === noteKeyTypes.ed25519 ? 'ed25519' : 'cosignature'
  if (bytes?.length !== 1 + keyBytes || bytes[0] !== noteKeyTypes[type]) {
    throw new LogError('malformed_key', 'expected <name>+<key id>+<base64 of a known type and 32 bytes>')
  }
  return { name, id, type, bytes: bytes.subarray(1) }
}

function idText(keyId: number): string {
  return keyId.toString(16).padStart(8, '0')
}

function keyText(type: NoteKeyType, bytes: Uint8Array): string {
  return base64(concatBytes([Uint8Array.of(noteKeyTypes[type]), bytes]))
}
