/** The event that a repeat meets: finding it, and answering from it so that nobody takes it back. */
import { setTimeout } from 'node:timers/promises'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import type { SubjectDirectory } from '../subjects/directory.js'
import { tickBatch } from '../tick-batch.js'
import type { EventCollection, StoredEvent } from './store.js'

/** What a repeat needs of the event that stands under its id. */
export interface ExistingEvent extends Pick<
  StoredEvent,
  '_id' | 'organizationId' | 'receivedAt' | 'leafHash' | 'fingerprint' | 'pending'
> {
  readonly fields: readonly { readonly subject?: string }[]
}

export interface Replays {
  /** The event under a document id, as a majority has it now. */
  find(documentId: string): Promise<ExistingEvent | undefined>
  /** The same, where it is known to be there: waits until a majority has it. undefined = it went again. */
  existing(documentId: string): Promise<ExistingEvent | undefined>
  /**
   * Before a repeat is answered from a pending event: notes it, under a lease on every subject of that event, so that
   * nobody takes the event back. False = look again: a subject is fenced, or the event was sealed or went.
   */
  markAnswered(keyset: OrganizationKeyset, first: ExistingEvent): Promise<boolean>
}

const maxTogether = 1_000
const maxVisibilityTries = 40
const fencePauseMs = 250

const projection = {
  organizationId: 1,
  receivedAt: 1,
  leafHash: 1,
  fingerprint: 1,
  pending: 1,
  'fields.subject': 1,
} as const

export function createReplays(events: EventCollection, directory: Pick<SubjectDirectory, 'renew'>): Replays {
  const find = tickBatch<string, ExistingEvent | undefined>(async (ids) => {
    const found = await events.find<ExistingEvent>({ _id: { $in: [...ids] } }, { projection }).toArray()
    const byId = new Map(found.map((event) => [event._id, event]))
    return ids.map((id) => byId.get(id))
  }, maxTogether)

  const markOne = async ({ _id, leafHash }: ExistingEvent): Promise<boolean> => {
    const marked = await events.updateOne({ _id, leafHash, pending: true }, { $set: { answered: true } })
    return marked.matchedCount === 1
  }

  const mark = tickBatch<ExistingEvent, boolean>(async (group) => {
    const updates = group.map(({ _id, leafHash }) => ({
      updateOne: {
        filter: { _id, leafHash, pending: true as const },
        update: { $set: { answered: true as const } },
      },
    }))
    const { matchedCount } = await events.bulkWrite(updates, { ordered: false })
    if (matchedCount === group.length) return group.map(() => true)
    // One was sealed or went meanwhile; the result does not say which.
    return Promise.all(group.map(markOne))
  }, maxTogether)

  return {
    find,
    async existing(documentId) {
      for (let attempt = 0; attempt < maxVisibilityTries; attempt += 1) {
        const found = await find(documentId)
        if (found !== undefined) return found
        await setTimeout(25)
      }
      return undefined
    },
    async markAnswered(keyset, first) {
      const references = first.fields.flatMap(({ subject }) => (subject === undefined ? [] : [subject]))
      const leases = await Promise.all(references.map((reference) => directory.renew(keyset, reference)))
      if (leases.includes(undefined)) {
        await setTimeout(fencePauseMs)
        return false
      }
      return (await mark(first)) && leases.every((lease) => lease?.valid === true)
    },
  }
}
