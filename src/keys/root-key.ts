/**
 * The root key: what every other key is wrapped under. A local file by default; a KMS fits behind the same
 * two calls, which is why they are asynchronous.
 */
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createFileOnce } from './key-files.js'
import { deriveKey, KeyError, openSeal, seal } from './wrapping.js'

export interface RootKey {
  /** Names the key without telling it: stored beside what it wraps, so that a wrong key is recognised as one. */
  readonly id: string
  /** Seals a key for one purpose; `purpose` must be given again to open it. */
  wrap(key: Uint8Array, purpose: string): Promise<Buffer>
  /** @throws KeyError `cannot_open` */
  unwrap(wrapped: Uint8Array, purpose: string): Promise<Buffer>
}

const noSalt = Buffer.alloc(0)

/** A root key from 32 bytes held in this process. */
export function rootKeyFromBytes(bytes: Uint8Array): RootKey {
  const wrappingKey = deriveKey(bytes, noSalt, 'annals/root/wrap/v1')
  return {
    id: deriveKey(bytes, noSalt, 'annals/root/id/v1').subarray(0, 8).toString('hex'),
    wrap: (key, purpose) => Promise.resolve(seal(wrappingKey, key, purpose)),
    // An async function, so that a wrong key is a rejected promise like a KMS's refusal.
    unwrap: async (wrapped, purpose) => Promise.resolve(openSeal(wrappingKey, wrapped, purpose)),
  }
}

/** Makes the root key file (32 random bytes in base64, mode 0600) unless it is there. Durable when it returns. */
export async function ensureRootKeyFile(file: string): Promise<void> {
  await createFileOnce(file, `${randomBytes(32).toString('base64')}\n`)
}

/**
 * Reads the root key file.
 * @throws KeyError `root_key_missing` | `malformed_key`
 */
export async function readRootKeyFile(file: string): Promise<RootKey> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch {
    throw new KeyError('root_key_missing', `the root key file ${file} cannot be read (ANNALS_ROOT_KEY_FILE)`)
  }
  const bytes = Buffer.from(text.trim(), 'base64')
  if (bytes.length !== 32) {
    throw new KeyError(
      'malformed_key',
      `the root key file ${file} must hold 32 bytes in base64 (ANNALS_ROOT_KEY_FILE)`,
    )
  }
  return rootKeyFromBytes(bytes)
}
