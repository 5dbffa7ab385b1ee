/**
 * Who waits to be sealed: answered from the partial index over pending events alone, which is empty when all is
 * sealed. So looking often costs next to nothing, and intake has nothing to do for sealing to wake up.
 */
import type { EventCollection } from '../events/store.js'

export interface PendingOrganization {
  readonly organizationId: string
  /** Receipt of the event that has waited longest. */
  readonly oldest: Date
}

export interface PendingEvents {
  /**
   * The organizations with pending events, the one that has waited longest first. Calls of one moment share an
   * answer, which is at most `maxAgeMs` old.
   */
  organizations(): Promise<readonly PendingOrganization[]>
  /** How many events wait, up to `maxCounted`. */
  count(): Promise<number>
  /** Seconds that the oldest of them has waited; 0 where none waits. */
  lagSeconds(): Promise<number>
}

/** Counting stops here: a figure for an alert, not an inventory. */
export const maxCounted = 1_000_000
const maxQueryMs = 10_000

export function createPendingEvents(events: EventCollection, maxAgeMs = 100): PendingEvents {
  let answer:
    { readonly at: number; readonly organizations: Promise<readonly PendingOrganization[]> } | undefined

  async function read(): Promise<readonly PendingOrganization[]> {
    // $sort and $group by the leading fields of one index: the server skips from organization to organization.
    const found = await events
      .aggregate<PendingOrganization>(
        [
          { $match: { pending: true } },
          { $sort: { pending: 1, organizationId: 1, receivedAt: 1 } },
          { $group: { _id: '$organizationId', oldest: { $first: '$receivedAt' } } },
          { $project: { _id: 0, organizationId: '$_id', oldest: 1 } },
        ],
        { hint: 'pending_received', maxTimeMS: maxQueryMs },
      )
      .toArray()
    return found
      .filter(({ organizationId }) => typeof organizationId === 'string')
      .sort((a, b) => Number(a.oldest) - Number(b.oldest))
  }

  function organizations(): Promise<readonly PendingOrganization[]> {
    if (answer === undefined || performance.now() - answer.at > maxAgeMs) {
      answer = { at: performance.now(), organizations: read() }
      answer.organizations.catch(() => (answer = undefined))
    }
    return answer.organizations
  }

  return {
    organizations,
    count: () =>
      events.countDocuments(
        { pending: true },
        { hint: 'pending_received', limit: maxCounted, maxTimeMS: maxQueryMs },
      ),
    async lagSeconds() {
      const [first] = await organizations()
      return first === undefined ? 0 : Math.max(0, (Date.now() - first.oldest.getTime()) / 1_000)
    },
  }
}
