/** Sealed events in the hot store. */
import { BSON } from 'mongodb'
import { eventDocumentId, eventIdOf, type EventCollection, type StoredEvent } from '../../events/store.js'
import { isMongoUnavailable } from '../../mongo/unavailable.js'
import type { EventSource } from './contract.js'
import { findRawBatch } from './raw-batch.js'

/** As the driver has it where it decodes. */
const decoding = { promoteBuffers: true, useBigInt64: true } as const

export const hotEventSource = (events: EventCollection): EventSource => ({
  name: 'hot_events',
  async at(organizationId, { leaves }, sieve) {
    const ids = leaves.map(({ eventId }) => eventDocumentId(organizationId, eventId))
    const raw = await rawEvents(events, ids)
    const wanted = await sieve(raw)
    const there = new Set(raw.map(idIn))
    const decoded = raw.flatMap((bytes, index) =>
      wanted[index] === true ? [BSON.deserialize(bytes, decoding) as StoredEvent] : [],
    )
    return { there, events: decoded }
  },
})

async function rawEvents(events: EventCollection, ids: readonly string[]): Promise<readonly Buffer[]> {
  const filter = { _id: { $in: ids } }
  const found = await findRawBatch(events, filter, ids.length).catch((error: unknown) => {
    // A command is not tried again by itself; a cursor is.
    if (isMongoUnavailable(error)) return undefined
    throw error
  })
  // With `raw` the driver gives a document's bytes.
  return found ?? ((await events.find(filter, { raw: true }).toArray()) as unknown as readonly Buffer[])
}

/** `_id` comes first in a document that MongoDB stored: type, name and NUL, length, text, NUL. */
const idAt = 13
function idIn(bytes: Buffer): string {
  return eventIdOf(bytes.toString('utf8', idAt, idAt + bytes.readInt32LE(idAt - 4) - 1))
}
