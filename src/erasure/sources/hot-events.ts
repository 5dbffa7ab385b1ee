/** Sealed events in the hot store. */
import { BSON } from 'mongodb'
import { eventDocumentId, eventIdOf, type EventCollection, type StoredEvent } from '../../events/store.js'
import type { EventSource } from './contract.js'

/** As the driver has it where it decodes. */
const decoding = { promoteBuffers: true, useBigInt64: true } as const

export const hotEventSource = (events: EventCollection): EventSource => ({
  name: 'hot_events',
  async at(organizationId, { leaves }, sieve) {
    const ids = leaves.map(({ eventId }) => eventDocumentId(organizationId, eventId))
    const found = await events.find({ _id: { $in: ids } }, { raw: true, batchSize: ids.length }).toArray()
    // With `raw` the driver gives a document's bytes.
    const raw = found as unknown as readonly Buffer[]
    const wanted = await sieve(raw)
    const there = new Set(raw.map(idIn))
    const decoded = raw.flatMap((bytes, index) =>
      wanted[index] === true ? [BSON.deserialize(bytes, decoding) as StoredEvent] : [],
    )
    return { there, events: decoded }
  },
})

/** `_id` comes first in a document that MongoDB stored: type, name and NUL, length, text, NUL. */
const idAt = 13
function idIn(bytes: Buffer): string {
  return eventIdOf(bytes.toString('utf8', idAt, idAt + bytes.readInt32LE(idAt - 4) - 1))
}
