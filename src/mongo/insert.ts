/**
 * One unordered insert as one command. The driver's `insertMany` measures every document before it serialises it;
 * without that, a write of a thousand events costs the client a third less CPU (bench/, docs/decisions).
 */
import { MongoServerError, type Collection, type Document } from 'mongodb'
import { z } from 'zod'

export const duplicateKeyCode = 11_000

const replySchema = z.object({
  writeErrors: z.array(z.object({ index: z.int(), code: z.int() })).optional(),
  writeConcernError: z.object({ code: z.int() }).optional(),
})

/** The documents may be written and may be rolled back: a majority did not acknowledge them in time. */
export class WriteConcernError extends MongoServerError {
  override get name(): string {
    return 'WriteConcernError'
  }
}

/**
 * Inserts documents, each with its `_id`, durably: a majority has journaled all that are not in the result.
 * @returns the server's code for each document that was refused, by its position
 * @throws WriteConcernError, or the driver's errors, where the outcome of the whole write is not known
 */
export async function insertUnordered<T extends Document>(
  collection: Collection<T>,
  documents: readonly T[],
): Promise<ReadonlyMap<number, number>> {
  const reply = replySchema.parse(
    await collection.db.command({
      insert: collection.collectionName,
      documents,
      ordered: false,
      writeConcern: { w: 'majority', j: true },
    }),
  )
  if (reply.writeConcernError !== undefined) throw new WriteConcernError(reply.writeConcernError)
  return new Map(reply.writeErrors?.map(({ index, code }) => [index, code]))
}
