/**
 * Shows stored events to a reader, whole or masked. Whoever sees or looks up a person is noted in the
 * organization's own log before the answer leaves.
 */
import { AnnalsError } from '../errors.js'
import type { SubjectReader } from '../subjects/readers.js'
import type { JsonObject, SystemEventWriter } from './contract.js'
import type { IntakeOrganization } from './intake.js'
import type { StoredEvent } from './store.js'
import { subjectsIn, viewOf, type EventView } from './view.js'

/** Who reads, and what is noted of it. */
export interface Reader {
  readonly principal: string
  /** Has the personal grant, and did not ask to read without it. */
  readonly personal: boolean
  readonly requestId: string
}

/** What a note says of a read: of which kind it was, and what it was asked for. */
export type ReadNote = JsonObject & { by: string }

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

/** More references than these are counted, not listed, in the note of a personal read. */
const maxListedSubjects = 500

export function createPresenter(subjects: SubjectReader, systemEvents: SystemEventWriter): Presenter {
  return {
    present: async ({ keyset }, stored, reader, note, lookedUp) => {
      const references = [...new Set(stored.flatMap(subjectsIn))]
      const { subjects: readable, lease } = await subjects.read(keyset, references, reader.personal)
      const shown = references.filter((reference) => readable.get(reference)?.key !== undefined)
      const views = stored.map((event) => viewOf(event, readable))
      if (shown.length > 0 || lookedUp) {
        await systemEvents.write({
          organizationId: keyset.organizationId,
          action: 'annals.personal.read',
          occurredAt: new Date(),
          actor: { type: 'principal', id: reader.principal },
          context: { requestId: reader.requestId },
          metadata: {
            ...note,
            events: stored.length,
            subjectCount: shown.length,
            subjects: shown.slice(0, maxListedSubjects),
          },
        })
      }
      if (shown.length > 0 && !lease.valid) {
        throw new AnnalsError('unavailable', 'The read took too long to still be current; try again.', {
          retryAfterSeconds: 1,
        })
      }
      return views
    },
  }
}
