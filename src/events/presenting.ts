/**
 * Shows stored events to a reader, whole or masked. Whoever sees or looks up a person is noted in the
 * organization's own log before the answer leaves.
 */
import type { SubjectReader } from '../subjects/readers.js'
import type { SystemEventWriter } from './contract.js'
import type { IntakeOrganization } from './intake.js'
import { notePersonalRead, type Reader, type ReadNote } from './personal-reads.js'
import type { StoredEvent } from './store.js'
import { subjectsIn, viewOf, type EventView } from './view.js'

export interface Presenter {
  /**
   * Views of events; the persons in them are looked up once, and the read is noted where one is shown.
   * @param lookedUp a person was looked up by the request, whatever was found: noted too
   * @throws AnnalsError `unavailable` where it took too long to still be current
   */
  readonly present: (
    organization: IntakeOrganization,
    stored: readonly StoredEvent[],
    reader: Reader,
    note: ReadNote,
    lookedUp: boolean,
  ) => Promise<EventView[]>
}

export function createPresenter(subjects: SubjectReader, systemEvents: SystemEventWriter): Presenter {
  return {
    present: async ({ keyset }, stored, reader, note, lookedUp) => {
      const references = [...new Set(stored.flatMap(subjectsIn))]
      const { subjects: readable, lease } = await subjects.read(keyset, references, reader.personal)
      const shown = references.filter((reference) => readable.get(reference)?.key !== undefined)
      const views = stored.map((event) => viewOf(event, readable))
      if (shown.length > 0 || lookedUp) {
        const { organizationId } = keyset
        const read = { organizationId, reader, note, events: stored.length, shown, leases: [lease] }
        await notePersonalRead(systemEvents, read)
      }
      return views
    },
  }
}
