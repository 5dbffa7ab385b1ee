/**
 * The ids that Annals makes.
 *
 * Things get TypeIDs (https://github.com/jetify-com/typeid): a prefix, `_`, and a UUIDv7 in 26 base32
 * characters, so ids sort by the time they were made. An id that stands for an idempotency key is a UUIDv8 of
 * a keyed hash of it instead. Persons get 128 random bits: a UUIDv7 would tell when one was first seen.
 */
import { randomBytes } from 'node:crypto'
import { TypeID, typeid } from 'typeid-js'

const suffix = '[0-7][0-9a-hjkmnp-tv-z]{25}'

/** A fresh TypeID; within a process, later ids sort after earlier ones. */
export function newId(prefix: string): string {
  return typeid(prefix).toString()
}

/** The TypeID that stands for a digest (at least 16 bytes): a UUIDv8 of its first bits. */
export function idFromDigest(prefix: string, digest: Uint8Array): string {
  const bytes = Buffer.from(digest.subarray(0, 16))
  bytes.writeUInt8(0x80 | (bytes.readUInt8(6) & 0x0f), 6)
  bytes.writeUInt8(0x80 | (bytes.readUInt8(8) & 0x3f), 8)
  return TypeID.fromUUIDBytes(prefix, bytes).toString()
}

/** A random reference (`sub_…`, `prn_…`): the prefix and 26 base32 characters of 128 random bits. */
export function newReference(prefix: 'sub' | 'prn'): string {
  return TypeID.fromUUIDBytes(prefix, randomBytes(16)).toString()
}

/** Matches one TypeID or reference with the prefix, and nothing else. */
export function idPattern(prefix: string): RegExp {
  return new RegExp(`^${prefix}_${suffix}$`)
}
