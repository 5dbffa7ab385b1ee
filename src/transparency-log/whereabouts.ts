/**
 * Where events are: in the log, or accepted and on their way into it. What is neither, and lies in the database all
 * the same, was slipped into it: only intake can make the MAC that a pending row is accepted by.
 */
import type { IntakeOrganization } from '../events/intake.js'
import { eventDocumentId, eventIdOf, type EventCollection } from '../events/store.js'
import { newLeafOf, pendingProjection, type PendingEvent } from './examine.js'
import type { LeafLocation, LogStore } from './store.js'

export interface Whereabouts {
  /** The leaf of each event that has one, 'pending' for those that wait; what is neither is absent. */
  find(
    organization: IntakeOrganization,
    ids: readonly string[],
  ): Promise<ReadonlyMap<string, LeafLocation | 'pending'>>
}

export function createWhereabouts(events: EventCollection, store: Pick<LogStore, 'locateAll'>): Whereabouts {
  return {
    async find({ keyset }, ids) {
      const { organizationId } = keyset
      const found = new Map<string, LeafLocation | 'pending'>()
      const rows = events
        .find({ _id: { $in: ids.map((id) => eventDocumentId(organizationId, id)) }, pending: true })
        .project<PendingEvent>(pendingProjection)
      for await (const row of rows)
        if (newLeafOf(row, keyset) !== undefined) found.set(eventIdOf(row._id), 'pending')
      // After the pending ones: what is sealed between the two questions is found by the second.
      for (const [id, leaf] of await store.locateAll(organizationId, ids)) found.set(id, leaf)
      return found
    },
  }
}
