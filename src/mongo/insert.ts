/**
 * One unordered insert as one command, of documents or of documents that are BSON already.
 *
 * The driver serialises all that it sends, but for a section of documents beside the command (OP_MSG's kind 1), which it
 * fills from buffers in its own bulk writes and does not export. Intake takes that one class from within the driver: its
 * events are BSON when they are queued. Where a later driver has no such class, start-up fails, and every test.
 */
import { MongoServerError, type Collection, type Document } from 'mongodb'
import { DocumentSequence } from 'mongodb/lib/cmap/commands.js'
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
export const insertUnordered = <T extends Document>(
  collection: Collection<T>,
  documents: readonly T[],
): Promise<ReadonlyMap<number, number>> => insert(collection, documents)

/** As `insertUnordered`, of documents in BSON; together they must fit into one command of 16 MB. */
export function insertSerialized<T extends Document>(
  collection: Collection<T>,
  documents: readonly Uint8Array[],
): Promise<ReadonlyMap<number, number>> {
  const sequence = new DocumentSequence('documents')
  for (const document of documents) sequence.push(unmonitored, document)
  return insert(collection, sequence)
}

/** What command monitoring would show for a document: events are nothing to show. */
const unmonitored = {}

async function insert<T extends Document>(
  collection: Collection<T>,
  documents: readonly T[] | DocumentSequence,
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
