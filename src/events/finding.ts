/**
 * Events by their ids, wherever they are. An event moves from hot to the archive while readers look for it: first the
 * archive has it, then the hot store has it no more. So who does not find it hot looks into the archive, and then once
 * more into the hot store; where both have it, the hot one counts.
 */
import type { ArchivedEvents } from './archived.js'
import { viewProjection } from './scan.js'
import { eventDocumentId, eventIdOf, type EventCollection, type StoredEvent } from './store.js'

export interface EventFinder {
  /**
   * Those of these events (at most 1,000) that are hot or archived, by id, without what is kept from readers.
   * @throws AnnalsError `unavailable` | `archive_damaged`
   */
  find(organizationId: string, eventIds: readonly string[]): Promise<ReadonlyMap<string, StoredEvent>>
}

export function createEventFinder(
  events: EventCollection,
  archived: Pick<ArchivedEvents, 'find'>,
): EventFinder {
  return {
    async find(organizationId, eventIds) {
      const found = new Map<string, StoredEvent>()
      const missing = () => eventIds.filter((id) => !found.has(id))
      async function lookHot(ids: readonly string[]): Promise<void> {
        const _id = { $in: ids.map((id) => eventDocumentId(organizationId, id)) }
        const options = { projection: viewProjection, batchSize: ids.length + 1 }
        for await (const event of events.find({ _id }, options)) found.set(eventIdOf(event._id), event)
      }
      await lookHot(eventIds)
      if (missing().length === 0) return found
      for (const [id, event] of await archived.find(organizationId, missing())) found.set(id, event)
      const still = missing()
      if (still.length > 0) await lookHot(still)
      return found
    },
  }
}
