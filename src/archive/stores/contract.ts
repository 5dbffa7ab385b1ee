/**
 * Where an archive lies: a folder or an S3 bucket, behind one interface with one contract suite
 * (test/contracts/archive-store.ts). Objects are written once and never changed; what changes is a new object.
 *
 * A path is relative, of `[A-Za-z0-9_][A-Za-z0-9._-]*` segments of at most 200 characters joined by `/`, 512 in all, and
 * holds no personal value. No object's path is a folder of another's. A prefix is the beginning of paths, as in S3:
 * `a/b` begins `a/bc` too.
 *
 * Every operation ends: what a store does not answer in time is `unavailable`.
 */
import type { Readable } from 'node:stream'

/** S3 takes no more in one write, and one write is what appears whole or not at all. */
export const maxObjectBytes = 5 * 1024 ** 3

export interface PutOptions {
  /** SHA-256 of all bytes, 32 bytes, and how many there are: a store refuses to keep anything else. */
  readonly sha256: Uint8Array
  /** At most `maxObjectBytes`. */
  readonly bytes: number
  /** Kept under lock until then where the store can (S3 object lock, governance mode). */
  readonly lockUntil?: Date | undefined
}

export interface StoredObject {
  readonly path: string
  readonly bytes: number
  /** Of `head`: until when it cannot be deleted, where the store locks it. */
  readonly lockedUntil?: Date
}

/** `offset` and `length` in bytes; without `length` to the end. What lies beyond the end is not there, and no error. */
export interface ByteRange {
  readonly offset: number
  readonly length?: number
}

/**
 * `exists`: another object lies under the path already, with other bytes. `mismatch`: the bytes given or kept are not
 * those announced. `locked`: deletion is not allowed yet. `refused`: no store takes such a path or size; nothing was
 * tried. `full`, `read_only`, `unavailable`: the store cannot at the moment, and is worth another try.
 */
export const archiveStoreErrorCodes = [
  'exists',
  'mismatch',
  'locked',
  'refused',
  'full',
  'read_only',
  'unavailable',
] as const
export type ArchiveStoreErrorCode = (typeof archiveStoreErrorCodes)[number]

/** A store's failure by its code; the cause may name paths of the machine and is never logged. */
export class ArchiveStoreError extends Error {
  override readonly name = 'ArchiveStoreError'

  constructor(
    readonly code: ArchiveStoreErrorCode,
    message: string,
    options?: { readonly cause?: unknown },
  ) {
    super(message, options)
  }
}

export interface ArchiveStore {
  /**
   * Creates an object, whole or not at all; it is durable when this resolves. The same bytes again change nothing and
   * answer `already` (the source may stay unread), also where two write at once.
   * @param source opened anew for each attempt; its own failure is thrown as it is
   * @throws ArchiveStoreError `exists` | `mismatch` | `refused` | `full` | `read_only` | `unavailable`
   */
  put(path: string, source: () => Readable, options: PutOptions): Promise<'written' | 'already'>
  /**
   * The bytes of a range, or all; undefined where there is no such object. A stream that breaks off early is destroyed
   * with an ArchiveStoreError, never ended; only whoever hashes knows that the bytes are those once written.
   */
  get(path: string, range?: ByteRange): Promise<Readable | undefined>
  /** undefined where there is no such object. */
  head(path: string): Promise<StoredObject | undefined>
  /** Every object under a prefix, in the order of paths by their bytes. */
  list(prefix: string): AsyncIterable<StoredObject>
  /**
   * Deletes an object, every version of it, and what a writer that died left of it. Resolves when none is left; nothing
   * there is fine.
   * @throws ArchiveStoreError `locked` | `read_only` | `unavailable`
   */
  delete(path: string): Promise<void>
  /**
   * Every version of every object under a prefix, deletion markers left out: what an erasure has to look at, in the
   * order of paths. A store without versions lists each object once, and what a writer that died left of it.
   */
  versions(prefix: string): AsyncIterable<StoredVersion>
  /** The bytes of one version; undefined where it is gone. */
  getVersion(version: StoredVersion): Promise<Readable | undefined>
  /**
   * Puts an object that is there under lock until then, where the store can (as `PutOptions.lockUntil`); one that is
   * locked for longer stays so. For what must be deletable until something else vouches for it.
   */
  lock(path: string, until: Date): Promise<void>
  /** Replaces a small mutable object (a checkpoint copy), whole or not at all, durably, keeping no older version. */
  replace(path: string, bytes: Uint8Array): Promise<void>
}

export interface StoredVersion extends StoredObject {
  /** The store's own name of the version; '' where it has none. */
  readonly version: string
}
