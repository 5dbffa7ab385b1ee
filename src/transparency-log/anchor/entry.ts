/**
 * An entry of the anchor log, and how one organization's log is committed to in it.
 *
 *   entry   annals-anchor/v1
 *           <when: RFC 3339, UTC, three digits>
 *           <root of the tree of logs: base64>          (three lines, each with its newline)
 *
 * The *tree of logs* is binary, and a log's id says where its leaf is: left at each 0 bit, right at each 1 bit, from the
 * highest bit of the first byte on. The leaf stands at the first depth from 16 on at which no other log's id begins
 * with the same bits; where no log is, stands a filling.
 *
 *   node    SHA-256(01 left right), as in RFC 6962
 *   leaf    SHA-256(00 "annals/anchor-log/v1" 00 salt (16) log id (16) size (8, big endian) root (32))
 *   salt    the first 16 bytes of SHA-256("annals/anchor-salt/v1" 00 secret (32) log id (16))
 *   filling SHA-256("annals/anchor-filling/v1" 00 secret (32) depth (1) path (16, the bits beyond the depth 0))
 *
 * The secret is random and of one entry alone. So an entry commits, and says nothing: whoever holds the proof of one
 * log learns of the others neither ids nor sizes, nor whether they grew since another entry, nor, while they are fewer
 * than some thousands, how many they are. And since the id is the way, there is room in a tree for one size and root of a
 * log and no second.
 *
 * Example: under the secret of 32 bytes 07, the log whose id is 16 bytes 01, with three leaves and the root of 32
 * bytes 02, has the salt `14c6c5f40a33f931d3c6836842fa2a6b` and the leaf
 * `3e6bcb88a44e5f2613b1dab35d2b2d4a5fe42fd288111f8fa08206022b6d99e6`. Alone in its tree, at
 * 2026-11-25T10:00:00.000Z, it makes the entry
 *
 *   annals-anchor/v1
 *   2026-11-25T10:00:00.000Z
 *   tX1f+mokrG+gpa0X4ja4ygGMgG7K+eLFxZyqGRpDflk=
 */
import { base64, base64Bytes, concatBytes, utf8, utf8Text } from '../encoding.js'
import { LogError } from '../errors.js'
import { hashLength, requireHash, type Hash, type Hasher, type Sha256 } from '../hash.js'
import { requireSize } from '../tree.js'

export interface AnchorEntry {
  readonly at: Date
  /** Of the tree of logs. */
  readonly root: Hash
}

/** What an entry commits to of one log. */
export interface AnchoredLog {
  /** 16 random bytes that say nothing about whose log it is. */
  readonly logId: Uint8Array
  readonly size: number
  readonly root: Hash
}

export const logIdBytes = 16
export const saltBytes = 16
export const secretBytes = 32

const header = 'annals-anchor/v1'
const saltPrefix = utf8('annals/anchor-salt/v1\0')
const fillingPrefix = utf8('annals/anchor-filling/v1\0')
const logPrefix = utf8('annals/anchor-log/v1\0')

/** @throws LogError `wrong_size` for a root that is none */
export function formatEntry({ at, root }: AnchorEntry): string {
  requireHash(root, 'a root')
  return `${header}\n${at.toISOString()}\n${base64(root)}\n`
}

/** @throws LogError `malformed_entry` for anything but the one spelling of an entry */
export function parseEntry(entry: Uint8Array | string): AnchorEntry {
  const text = typeof entry === 'string' ? entry : (utf8Text(entry) ?? '')
  const [first, time = '', rootText = '', ...rest] = text.split('\n')
  const at = new Date(time)
  const root = base64Bytes(rootText)
  if (first !== header || rest.length !== 1 || rest[0] !== '' || root?.length !== hashLength) {
    throw new LogError('malformed_entry', 'expected the three lines of annals-anchor/v1')
  }
  if (Number.isNaN(at.getTime()) || at.toISOString() !== time) {
    throw new LogError('malformed_entry', 'the second line is no UTC time with three digits')
  }
  return { at, root }
}

/** The salt of a log's leaf in the entry that has this secret. */
export function saltOf(secret: Uint8Array, logId: Uint8Array, sha256: Sha256): Uint8Array {
  return sha256(concatBytes([saltPrefix, secret, logId])).slice(0, saltBytes)
}

/** @param path 16 bytes that begin with the way of `depth` bits to the place, and are 0 beyond */
export function filling(secret: Uint8Array, depth: number, path: Uint8Array, sha256: Sha256): Hash {
  return sha256(concatBytes([fillingPrefix, secret, Uint8Array.of(depth), path]))
}

/** @throws LogError `wrong_size` for a part of another length */
export function logLeaf(log: AnchoredLog, salt: Uint8Array, hasher: Hasher): Hash {
  const { logId, size, root } = log
  requireSize(size)
  requireHash(root, 'a root')
  if (logId.length !== logIdBytes || salt.length !== saltBytes) {
    throw new LogError('wrong_size', 'a log id and a salt have 16 bytes each')
  }
  const sizeBytes = new Uint8Array(8)
  new DataView(sizeBytes.buffer).setBigUint64(0, BigInt(size))
  return hasher.leaf(concatBytes([logPrefix, salt, logId, sizeBytes, root]))
}
