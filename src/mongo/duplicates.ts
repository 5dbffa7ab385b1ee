/** Which documents of an unordered `insertMany` were refused because their unique key was taken. */
import { MongoBulkWriteError, type WriteError } from 'mongodb'

const duplicateKey = 11_000

/**
 * @returns the positions of the duplicates, all other documents being durably written; undefined where the
 *   write failed in any other way, the write concern included
 */
export function duplicatePositions(error: unknown): ReadonlySet<number> | undefined {
  if (!(error instanceof MongoBulkWriteError)) return undefined
  const writeErrors = (
    Array.isArray(error.writeErrors) ? error.writeErrors : [error.writeErrors]
  ) as WriteError[]
  if (writeErrors.length === 0 || error.result.getWriteConcernError() !== undefined) return undefined
  return writeErrors.every(({ code }) => code === duplicateKey)
    ? new Set(writeErrors.map(({ index }) => index))
    : undefined
}
