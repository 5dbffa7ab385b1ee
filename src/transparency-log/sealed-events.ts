/**
 * "Was this id accepted before?", for events that may have left the hot store: asked by intake before every insert
 * that a client may repeat. Questions of one moment are one query for each organization.
 */
import type { SealedEvent, SealedEvents } from '../events/contract.js'
import type { LeafLocation, LogStore } from './store.js'
import { tileWidth } from './tile.js'

interface Question {
  readonly organizationId: string
  readonly eventId: string
  resolve(answer: SealedEvent | undefined): void
  reject(error: unknown): void
}

const maxPerQuery = 1_024

export function createSealedEvents(store: Pick<LogStore, 'locateAll' | 'records'>): SealedEvents {
  let waiting: Question[] = []

  function flush(): void {
    const byOrganization = new Map<string, Question[]>()
    for (const question of waiting) {
      const known = byOrganization.get(question.organizationId)
      if (known === undefined) byOrganization.set(question.organizationId, [question])
      else known.push(question)
    }
    waiting = []
    for (const [organizationId, questions] of byOrganization) {
      for (let from = 0; from < questions.length; from += maxPerQuery) {
        void answer(organizationId, questions.slice(from, from + maxPerQuery))
      }
    }
  }

  async function answer(organizationId: string, questions: readonly Question[]): Promise<void> {
    try {
      const ids = questions.map(({ eventId }) => eventId)
      const located = await store.locateAll(organizationId, ids)
      for (const question of questions) {
        const leaf = located.get(question.eventId)
        question.resolve(leaf === undefined ? undefined : await sealedEvent(organizationId, leaf))
      }
    } catch (error) {
      for (const question of questions) question.reject(error)
    }
  }

  async function sealedEvent(organizationId: string, leaf: LeafLocation): Promise<SealedEvent> {
    const records = await store.records(organizationId, leaf.generation, Math.floor(leaf.index / tileWidth))
    const receivedAt = receivedAtOf(records?.[leaf.index % tileWidth] ?? '')
    // Where the record is gone too, the moment of sealing is the nearest that is known.
    return { leafHash: leaf.leafHash, receivedAt: receivedAt ?? leaf.sealedAt }
  }

  return {
    find: (organizationId, eventId) =>
      new Promise((resolve, reject) => {
        waiting.push({ organizationId, eventId, resolve, reject })
        if (waiting.length === 1) setImmediate(flush)
      }),
  }
}

function receivedAtOf(record: string): Date | undefined {
  if (record === '') return undefined
  const { receivedAt } = JSON.parse(record) as { readonly receivedAt: string }
  return new Date(receivedAt)
}
