/** What became of the single documents of an unordered `insertMany` that failed. */
import { MongoBulkWriteError, type WriteError } from 'mongodb'

export const duplicateKeyCode = 11_000

/**
 * The server's code for each document that was refused, by its position; all others are durably written.
 * @returns undefined where the outcome of the whole write is not known (a broken connection, a write concern
 *   that was not met)
 */
export function writeFailures(error: unknown): ReadonlyMap<number, unknown> | undefined {
  if (!(error instanceof MongoBulkWriteError)) return undefined
  if (error.result.getWriteConcernError() !== undefined) return undefined
  const failures = (
    Array.isArray(error.writeErrors) ? error.writeErrors : [error.writeErrors]
  ) as WriteError[]
  return failures.length === 0 ? undefined : new Map(failures.map(({ index, code }) => [index, code]))
}
