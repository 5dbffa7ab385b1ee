/**
 * The hashes of an RFC 6962 Merkle tree.
 *
 *   leaf = SHA-256(0x00 ‖ record)        node = SHA-256(0x01 ‖ left ‖ right)        empty tree = SHA-256("")
 *
 * Example: the record of zero bytes has the leaf hash
 * `6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d`.
 *
 * The hash function comes in as an argument, so that the core runs anywhere: `node-crypto.ts` brings Node's, a
 * browser brings one of its own. It is synchronous because a tree asks for it a million times.
 */
import { LogError } from './errors.js'

/** 32 bytes. Never written to once it is handed on: trees and tiles keep it by reference. */
export type Hash = Uint8Array

export const hashLength = 32

export interface Hasher {
  leaf(record: Uint8Array): Hash
  node(left: Hash, right: Hash): Hash
}

/** SHA-256 of anything, for key ids. */
export type Sha256 = (data: Uint8Array) => Uint8Array

const emptyRootHex = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

/** The root of the tree without leaves: SHA-256 of nothing. A fresh copy at each call. */
export function emptyRoot(): Hash {
  return Uint8Array.from({ length: hashLength }, (_, i) =>
    Number.parseInt(emptyRootHex.slice(2 * i, 2 * i + 2), 16),
  )
}

/** Are both 32 bytes and the same? Roots and proofs are public: no constant time is needed. */
export function equalHashes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== hashLength || b.length !== hashLength) return false
  for (let i = 0; i < hashLength; i++) if (a[i] !== b[i]) return false
  return true
}

/** The `position`-th hash of concatenated ones, as a view on the same memory. */
export function hashAt(hashes: Uint8Array, position: number): Hash {
  return hashes.subarray(position * hashLength, (position + 1) * hashLength)
}

/** @throws LogError `wrong_size` where a value is no hash */
export function requireHash(hash: Uint8Array, what: string): void {
  if (hash.length !== hashLength) throw new LogError('wrong_size', `${what} must have ${hashLength} bytes`)
}
