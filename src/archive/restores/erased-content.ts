/**
 * What must not come back: the archive may hold what was erased since, until its content is written anew. Everything
 * that leaves the archive to be stored again goes through here first.
 */
import type { Collection } from 'mongodb'
import type { StoredEvent, StoredField } from '../../events/store.js'
import { subjectDocumentId, type SubjectDocument } from '../../subjects/store.js'

export interface ErasedContent {
  /** The events without what was erased of them; those that nothing was erased of are the same objects. */
  strip(organizationId: string, events: readonly StoredEvent[]): Promise<readonly StoredEvent[]>
}

/** Takes the blocks of erased persons out. Who knows of more that went (free text, redactions) wraps it. */
export function createErasedContent(subjects: Collection<SubjectDocument>): ErasedContent {
  return {
    async strip(organizationId, events) {
      const references = new Set(
        events.flatMap(({ fields }) =>
          fields.flatMap((field) => ('subject' in field ? [field.subject] : [])),
        ),
      )
      if (references.size === 0) return events
      const ids = [...references].map((reference) => subjectDocumentId(organizationId, reference))
      const erased = new Set<string>()
      const query = { _id: { $in: ids }, state: 'erased' as const }
      for await (const { _id } of subjects.find(query, { projection: { _id: 1 } }))
        erased.add(_id.slice(organizationId.length + 1))
      return erased.size === 0 ? events : events.map((event) => withoutPersons(event, erased))
    },
  }
}

/** An event without the ciphertexts and terms of these persons: the form that an erasure leaves. */
function withoutPersons(event: StoredEvent, erased: ReadonlySet<string>): StoredEvent {
  const names = (field: StoredField) => 'subject' in field && erased.has(field.subject)
  if (!event.fields.some(names)) return event
  return {
    ...event,
    fields: event.fields.map((field) => {
      if (!('subject' in field) || !erased.has(field.subject)) return field
      const { slot, subject, subjectSalt, commitment } = field
      return { slot, subject, subjectSalt, commitment }
    }),
  }
}
