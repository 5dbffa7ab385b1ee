/**
 * Documents as their bytes, in one answer of the database that nobody takes apart: the driver's cursors look into every
 * document that they hand over, of which a search wants the bytes alone.
 */
import type { Collection, Filter } from 'mongodb'

/** Of an answer. MongoDB ends one before 16 MiB; so one that is shorter than this is whole. No stored event is that large. */
const surelyWholeBytes = 8 * 1_024 * 1_024

/**
 * Finds at most `limit` documents, of which a majority knows, in no order.
 * @returns the BSON of each; undefined where they may not have fitted into one answer
 */
export async function findRawBatch<T extends object>(
  collection: Collection<T>,
  filter: Filter<T>,
  limit: number,
): Promise<Buffer[] | undefined> {
  const command = {
    find: collection.collectionName,
    filter,
    batchSize: limit,
    singleBatch: true,
    readConcern: { level: 'majority' },
  }
  // With `raw` what is embedded in the answer stays as it is.
  const { cursor } = await collection.db.command(command, { raw: true })
  if (!Buffer.isBuffer(cursor)) throw new Error('the database answered a search without a cursor')
  const found = documentsIn(cursor)
  return found.length < limit && cursor.length >= surelyWholeBytes ? undefined : found
}

const types = { document: 3, array: 4 } as const

/** The documents of `firstBatch`, which comes first in a cursor (BSON as in raw-events.ts). */
function documentsIn(cursor: Buffer): Buffer[] {
  const found: Buffer[] = []
  const batch = cursor.indexOf(0, 5) + 1
  if (cursor[4] !== types.array || cursor.toString('latin1', 5, batch - 1) !== 'firstBatch')
    throw new Error('the cursor of the database does not begin with its documents')
  const end = batch + cursor.readInt32LE(batch) - 1
  let at = batch + 4
  while (at < end) {
    if (cursor[at] !== types.document) throw new Error('the database found something that is no document')
    while (cursor[at] !== 0) at += 1
    const length = cursor.readInt32LE(at + 1)
    found.push(cursor.subarray(at + 1, at + 1 + length))
    at += 1 + length
  }
  return found
}
