/** Sealed events in the hot store. */
import { eventDocumentId, type EventCollection } from '../../events/store.js'
import type { EventSource } from './contract.js'

const projection = { 'fields.terms': 0, mac: 0, fingerprint: 0 } as const

export const hotEventSource = (events: EventCollection): EventSource => ({
  name: 'hot_events',
  async at(organizationId, { leaves }) {
    const ids = leaves.map(({ eventId }) => eventDocumentId(organizationId, eventId))
    return events.find({ _id: { $in: ids } }, { projection }).toArray()
  },
})
