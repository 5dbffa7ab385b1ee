/** What every archive store checks alike: paths, sizes and ranges. */
import { ArchiveStoreError, maxObjectBytes, type ByteRange, type PutOptions } from './contract.js'

/** A file's name has at most 255 bytes, and an unfinished one adds 42. */
const segmentShape = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$/
const maxPathLength = 512

/** Could a store have written this? What it could not have written is not its own, and is not listed. */
export const isPath = (path: string): boolean =>
  path.length <= maxPathLength && path.split('/').every((segment) => segmentShape.test(segment))

/** @throws ArchiveStoreError `refused` for a path outside of what contract.ts allows */
export function checkPath(path: string): void {
  if (!isPath(path)) throw new ArchiveStoreError('refused', 'no path that an archive store takes')
}

/** A prefix may end anywhere in a path, and may be ''. */
export function checkPrefix(prefix: string): void {
  if (prefix !== '') checkPath(prefix.endsWith('/') ? prefix.slice(0, -1) : prefix)
}

/** The order of paths: by bytes, which are their characters. */
export const byPath = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** @throws ArchiveStoreError `refused` for a size that no store takes in one write */
export function checkPut(path: string, { sha256, bytes }: PutOptions): void {
  checkPath(path)
  if (Number.isSafeInteger(bytes) && bytes >= 0 && bytes <= maxObjectBytes && sha256.length === 32) return
  throw new ArchiveStoreError('refused', 'no size or digest that an archive store takes')
}

/** @throws RangeError where the caller computed nonsense */
export function checkRange({ offset, length = 0 }: ByteRange): void {
  if ([offset, length].every((number) => Number.isSafeInteger(number) && number >= 0)) return
  throw new RangeError('a byte range is of natural numbers')
}
