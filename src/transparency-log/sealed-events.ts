/**
 * "Was this id accepted before?", for events that may have left the hot store: asked by intake before every insert
 * that a client may repeat. Questions of one moment are one query for each organization.
 */
import type { SealedEvent, SealedEvents } from '../events/contract.js'
import { tickBatch } from '../tick-batch.js'
import type { LeafLocation, LogStore } from './store.js'
import { tileWidth } from './tile.js'

interface Question {
  readonly organizationId: string
  readonly eventId: string
}

const maxPerQuery = 1_024

export function createSealedEvents(store: Pick<LogStore, 'locateAll' | 'records'>): SealedEvents {
  const find = tickBatch<Question, SealedEvent | undefined>(async (questions) => {
    const byOrganization = new Map<string, Set<string>>()
    for (const { organizationId, eventId } of questions) {
      const ids = byOrganization.get(organizationId)
      if (ids === undefined) byOrganization.set(organizationId, new Set([eventId]))
      else ids.add(eventId)
    }
    const located = new Map<string, ReadonlyMap<string, LeafLocation>>()
    await Promise.all(
      [...byOrganization].map(async ([organizationId, ids]) =>
        located.set(organizationId, await store.locateAll(organizationId, [...ids])),
      ),
    )
    return Promise.all(
      questions.map(async ({ organizationId, eventId }) => {
        const leaf = located.get(organizationId)?.get(eventId)
        return leaf === undefined ? undefined : sealedEvent(organizationId, leaf)
      }),
    )
  }, maxPerQuery)

  async function sealedEvent(organizationId: string, leaf: LeafLocation): Promise<SealedEvent> {
    const records = await store.records(organizationId, leaf.generation, Math.floor(leaf.index / tileWidth))
    const receivedAt = receivedAtOf(records?.[leaf.index % tileWidth] ?? '')
    // Where the record is gone too, the moment of sealing is the nearest that is known.
    return { leafHash: leaf.leafHash, receivedAt: receivedAt ?? leaf.sealedAt }
  }

  return { find: (organizationId, eventId) => find({ organizationId, eventId }) }
}

function receivedAtOf(record: string): Date | undefined {
  if (record === '') return undefined
  const { receivedAt } = JSON.parse(record) as { readonly receivedAt: string }
  return new Date(receivedAt)
}
