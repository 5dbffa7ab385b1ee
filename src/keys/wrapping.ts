/**
 * Authenticated encryption and key derivation: the only place that calls AES-GCM and HKDF for keys and fields.
 *
 * Sealed bytes are `iv (12) ‖ ciphertext ‖ tag (16)`, AES-256-GCM with a random iv. The additional data says
 * what the bytes are for, so that a sealed value copied to another place does not open there. A random 96-bit
 * iv is safe for 2^32 values under one key; a subject's key protects one person's fields and stays far below.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomFillSync } from 'node:crypto'

const ivBytes = 12
const tagBytes = 16
const keyBytes = 32

/** What went wrong with a key. A missing or wrong key is an error, never a sign that something was erased. */
export type KeyErrorCode =
  | 'cannot_open'
  | 'root_key_missing'
  | 'wrong_root_key'
  | 'period_key_missing'
  | 'signing_key_missing'
  | 'malformed_key'

export class KeyError extends Error {
  override readonly name = 'KeyError'
  constructor(
    readonly code: KeyErrorCode,
    message: string,
  ) {
    super(message)
  }
}

const ivPool = Buffer.alloc(ivBytes * 512)
let ivOffset = ivPool.length

/** Fresh random bytes from a pool: one system call per 512 ivs. */
function freshIv(): Buffer {
  if (ivOffset === ivPool.length) {
    randomFillSync(ivPool)
    ivOffset = 0
  }
  ivOffset += ivBytes
  return ivPool.subarray(ivOffset - ivBytes, ivOffset)
}

/** Encrypts `plaintext` under `key` (32 bytes), bound to `additionalData`. Returns `iv ‖ ciphertext ‖ tag`. */
export function seal(key: Uint8Array, plaintext: Uint8Array, additionalData: string): Buffer {
  const iv = freshIv()
  const cipher = createCipheriv('aes-256-gcm', key, iv)
  cipher.setAAD(Buffer.from(additionalData))
  const sealed = Buffer.allocUnsafe(ivBytes + plaintext.length + tagBytes)
  sealed.set(iv, 0)
  sealed.set(cipher.update(plaintext), ivBytes)
  cipher.final()
  sealed.set(cipher.getAuthTag(), ivBytes + plaintext.length)
  return sealed
}

/**
 * Opens what `seal` made.
 * @throws KeyError `cannot_open` where key, additional data or bytes do not belong together
 */
export function openSeal(key: Uint8Array, sealed: Uint8Array, additionalData: string): Buffer {
  if (sealed.length < ivBytes + tagBytes) throw new KeyError('cannot_open', 'sealed bytes are too short')
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, ivBytes))
  decipher.setAAD(Buffer.from(additionalData))
  decipher.setAuthTag(sealed.subarray(sealed.length - tagBytes))
  const plaintext = decipher.update(sealed.subarray(ivBytes, sealed.length - tagBytes))
  try {
    decipher.final()
  } catch {
    throw new KeyError('cannot_open', 'the key, the additional data or the bytes do not belong together')
  }
  return plaintext
}

/** HKDF-SHA-256 to 32 bytes. `info` names the use: one use, one key. */
export function deriveKey(secret: Uint8Array, salt: Uint8Array, info: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, salt, info, keyBytes))
}
