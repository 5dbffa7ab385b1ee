/**
 * Reading the hot store: one event, or a page of them, whole or masked. Whoever sees or looks up a person is
 * noted in the organization's own log before the answer leaves.
 */
import { AnnalsError, notFound } from '../errors.js'
import type { SubjectDirectory } from '../subjects/directory.js'
import type { SubjectReader } from '../subjects/readers.js'
import type { JsonObject, SystemEventWriter } from './contract.js'
import type { IntakeOrganization } from './intake.js'
import { namesPerson, personalFilters, searchQuery, type EventFilter, type EventPosition } from './search.js'
import { eventDocumentId, eventIdOf, type EventCollection, type StoredEvent } from './store.js'
import { subjectsIn, viewOf, type EventView } from './view.js'

/** Who reads, and what is noted of it. */
export interface Reader {
  readonly principal: string
  /** Has the personal grant, and did not ask to read without it. */
  readonly personal: boolean
  readonly requestId: string
}

export interface EventPage {
  readonly data: readonly EventView[]
  /** Where the next page starts; undefined at the end. */
  readonly next: EventPosition | undefined
}

export interface EventReader {
  /**
   * A page of events, newest first.
   * @throws AnnalsError `forbidden` where the filter names a person and the reader has no grant
   */
  list(
    organization: IntakeOrganization,
    filter: EventFilter,
    page: { readonly limit: number; readonly after?: EventPosition | undefined },
    reader: Reader,
  ): Promise<EventPage>
  /** One event. @throws AnnalsError `not_found` */
  get(organization: IntakeOrganization, eventId: string, reader: Reader): Promise<EventView>
}

export interface EventReaderDependencies {
  readonly events: EventCollection
  readonly directory: SubjectDirectory
  readonly subjects: SubjectReader
  readonly systemEvents: SystemEventWriter
}

/** A search that takes longer is given up; nothing of a client's may hold the database. */
const maxSearchMs = 10_000
const projection = { 'fields.terms': 0, mac: 0, fingerprint: 0 }
/** More references than these are counted, not listed, in the note of a personal read. */
const maxListedSubjects = 500

export function createEventReader(dependencies: EventReaderDependencies): EventReader {
  const { events, directory, subjects, systemEvents } = dependencies

  /** Views of events; the persons in them are looked up once, and the read is noted where one is shown. */
  async function present(
    organization: IntakeOrganization,
    stored: readonly StoredEvent[],
    reader: Reader,
    note: JsonObject & { by: string },
    lookedUp: boolean,
  ): Promise<EventView[]> {
    const { keyset } = organization
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
  }

  return {
    async list(organization, filter, { limit, after }, reader) {
      const { keyset } = organization
      const named = personalFilters.filter((name) => filter[name] !== undefined)
      if (named.length > 0 && !reader.personal) {
        throw new AnnalsError(
          'forbidden',
          `Filtering by ${named.join(', ')} needs a key with the personal grant.`,
        )
      }
      const query = await searchQuery(filter, after, { keyset, directory, personal: reader.personal })
      const found =
        query === undefined
          ? []
          : await events
              .find(query, {
                projection,
                sort: { occurredAt: -1, _id: -1 },
                limit: limit + 1,
                maxTimeMS: maxSearchMs,
              })
              .toArray()
      const page = found.slice(0, limit)
      const note = {
        by: 'search',
        filters: Object.keys(filter).filter((name) => filter[name as keyof EventFilter] !== undefined),
      }
      const data = await present(organization, page, reader, note, reader.personal && namesPerson(filter))
      const last = page.at(-1)
      const more = found.length > limit && last !== undefined
      return {
        data,
        next: more ? { occurredAtMs: last.occurredAt.getTime(), id: eventIdOf(last._id) } : undefined,
      }
    },
    async get(organization, eventId, reader) {
      const id = eventDocumentId(organization.keyset.organizationId, eventId)
      const found = await events.findOne({ _id: id }, { projection })
      if (found === null) throw notFound()
      const [view] = await present(organization, [found], reader, { by: 'detail', event: eventId }, false)
      if (view === undefined) throw new Error('one event gave no view')
      return view
    },
  }
}
