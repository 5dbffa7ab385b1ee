/** Reading events: one, a page of them, what is related to one, how many there were over time. */
import { expired, notFound, type AnnalsError } from '../errors.js'
import type { SubjectDirectory } from '../subjects/directory.js'
import type { SubjectReader } from '../subjects/readers.js'
import type { SystemEventWriter } from './contract.js'
import { countOverTime, type CountsPage, type CountsRequest } from './counts.js'
import type { IntakeOrganization } from './intake.js'
import type { Reader } from './personal-reads.js'
import type { CountedSource } from './read-input.js'
import { createPresenter } from './presenting.js'
import { relatedTo, type RelatedEvents, type RelatedRequest } from './related.js'
import type { ArchivedEvents, ExpiredEvents } from './archived.js'
import type { EventFinder } from './finding.js'
import type { EventOrder } from './scan.js'
import { filterNames, namesPerson, requireGrant, searchCriteria, type EventFilter } from './search.js'
import { readSource, type EventSource, type SourcePosition } from './sources.js'
import type { EventCollection } from './store.js'
import type { EventView } from './view.js'

export interface PageRequest {
  readonly limit: number
  readonly after?: SourcePosition | undefined
  readonly order?: EventOrder
  /** Absent = hot. */
  readonly source?: EventSource
}

export interface EventPage {
  readonly data: readonly EventView[]
  /** Where the next page starts; undefined at the end. */
  readonly next: SourcePosition | undefined
  /** The scan budget was used up: the page may be short, and going on finds the rest. */
  readonly partial: boolean
}

export interface EventReader {
  /**
   * A page of events, newest first unless ordered otherwise; those of the archive by descending leaf.
   * @throws AnnalsError `forbidden` where the filter names a person and the reader has no grant; `unavailable` and
   *   `archive_damaged` where the archive is read
   */
  list(
    organization: IntakeOrganization,
    filter: EventFilter,
    page: PageRequest,
    reader: Reader,
  ): Promise<EventPage>
  /** One event, wherever it is. @throws AnnalsError `not_found` | `expired` | `unavailable` | `archive_damaged` */
  get(organization: IntakeOrganization, eventId: string, reader: Reader): Promise<EventView>
  /** Events around one that share something with it. @throws AnnalsError `not_found` | `expired` | `forbidden` */
  related(
    organization: IntakeOrganization,
    eventId: string,
    request: RelatedRequest,
    reader: Reader,
  ): Promise<RelatedEvents>
  /** How many events there were over time. @throws AnnalsError as `list` */
  counts(
    organization: IntakeOrganization,
    request: CountsRequest,
    reader: Reader,
    source: CountedSource,
  ): Promise<CountsPage>
}

export interface EventReaderDependencies {
  readonly events: EventCollection
  readonly restored: EventCollection
  readonly archived: ArchivedEvents & ExpiredEvents
  readonly finder: EventFinder
  readonly directory: SubjectDirectory
  readonly subjects: SubjectReader
  readonly systemEvents: SystemEventWriter
}

export function createEventReader(dependencies: EventReaderDependencies): EventReader {
  const { events, restored, archived, finder, directory, subjects, systemEvents } = dependencies
  const { present } = createPresenter(subjects, systemEvents)

  /** Why there is no such event. */
  const absent = async (organizationId: string, eventId: string): Promise<AnnalsError> =>
    (await archived.hasExpired(organizationId, eventId)) ? expired() : notFound()

  const criteriaOf = async ({ keyset }: IntakeOrganization, filter: EventFilter, { personal }: Reader) => {
    requireGrant(filter, personal)
    return searchCriteria(filter, { keyset, directory, personal })
  }

  return {
    async list(organization, filter, { limit, after, order = 'desc', source = 'hot' }, reader) {
      const criteria = await criteriaOf(organization, filter, reader)
      const found =
        criteria === undefined
          ? { events: [], next: undefined, partial: false }
          : await readSource({ hot: events, restored, archived }, filter, criteria, {
              source,
              order,
              after,
              limit,
            })
      const note = { by: 'search', filters: filterNames(filter) }
      const lookedUp = reader.personal && namesPerson(filter)
      const data = await present(organization, found.events, reader, note, lookedUp)
      return { data, next: found.next, partial: found.partial }
    },
    async get(organization, eventId, reader) {
      const found = (await finder.find(organization.keyset.organizationId, [eventId])).get(eventId)
      if (found === undefined) throw await absent(organization.keyset.organizationId, eventId)
      const [view] = await present(organization, [found], reader, { by: 'detail', event: eventId }, false)
      if (view === undefined) throw new Error('one event gave no view')
      return view
    },
    related: (organization, eventId, request, reader) =>
      relatedTo({ events, finder, subjects, present, absent }, organization, eventId, request, reader),
    async counts(organization, request, reader, source) {
      const { filter } = request
      const criteria = await criteriaOf(organization, filter, reader)
      const page = await countOverTime(source === 'hot' ? events : restored, criteria, request)
      if (reader.personal && namesPerson(filter))
        await present(organization, [], reader, { by: 'counts', filters: filterNames(filter) }, true)
      return page
    },
  }
}
