/**
 * What happened around an event: others with the same actor, target, session or request, within a stretch of time
 * before and after it. What is shared is a term of the index, so that nothing is scanned; the nearest on each side
 * are answered.
 */
import { AnnalsError } from '../errors.js'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import type { SubjectReader } from '../subjects/readers.js'
import type { JsonValue } from './contract.js'
import type { EventFinder } from './finding.js'
import type { IntakeOrganization } from './intake.js'
import type { Reader } from './personal-reads.js'
import type { Presenter } from './presenting.js'
import { positionOf, scan, searchBudget, type EventOrder } from './scan.js'
import type { EventCollection, StoredEvent, StoredField } from './store.js'
import { clearTerm, keyedTerm } from './terms.js'
import { viewOf, type EventView } from './view.js'

export const relations = ['actor', 'target', 'session', 'request'] as const
export type Relation = (typeof relations)[number]

export interface RelatedRequest {
  /** Undefined = all that the reader may: a session names a person, and needs the grant. */
  readonly by?: readonly Relation[] | undefined
  /** How far before and after the event, in milliseconds. */
  readonly withinMs: number
  /** Events on each side. */
  readonly limit: number
}

export interface RelatedEvent extends EventView {
  readonly relatedBy: readonly Relation[]
}

export interface RelatedEvents {
  /** Oldest first, without the event itself. */
  readonly data: readonly RelatedEvent[]
  /** On which side there are more than were asked for. */
  readonly more: { readonly before: boolean; readonly after: boolean }
}

export interface RelatedDependencies extends Presenter {
  readonly events: EventCollection
  readonly finder: EventFinder
  readonly subjects: SubjectReader
  /** Why there is no such event. */
  readonly absent: (organizationId: string, eventId: string) => Promise<AnnalsError>
}

/** Terms of one event that are looked up: an event with more targets is related by its first. */
const maxTerms = 20

/** @throws AnnalsError `not_found` | `expired`; `forbidden` where the session is asked for without the grant */
export async function relatedTo(
  { events, finder, subjects, present, absent }: RelatedDependencies,
  organization: IntakeOrganization,
  eventId: string,
  { by, withinMs, limit }: RelatedRequest,
  reader: Reader,
): Promise<RelatedEvents> {
  const { keyset } = organization
  const wanted = by ?? relations.filter((relation) => relation !== 'session' || reader.personal)
  if (wanted.includes('session') && !reader.personal)
    throw new AnnalsError('forbidden', 'Events of the same session need a key with the personal grant.')
  const event = (await finder.find(keyset.organizationId, [eventId])).get(eventId)
  if (event === undefined) throw await absent(keyset.organizationId, eventId)
  const session = wanted.includes('session') ? await sessionOf(event, keyset, subjects) : undefined
  const shared = sharedTerms(event, wanted, session)
  const criteria = {
    organizationId: keyset.organizationId,
    terms: [[...shared.keys()]],
    conditions: [],
    implied: [],
    from: new Date(event.occurredAt.getTime() - withinMs),
    to: new Date(event.occurredAt.getTime() + withinMs + 1),
  }
  const side = (order: EventOrder) =>
    scan(events, criteria, {
      order,
      after: positionOf(event),
      limit,
      budget: searchBudget,
      withTerms: true,
    })
  const none = { events: [], next: undefined, partial: false }
  const [before, after] = shared.size === 0 ? [none, none] : await Promise.all([side('desc'), side('asc')])
  const found = [...before.events.toReversed(), ...after.events]
  const note = { by: 'related', event: eventId, filters: [...wanted] }
  const views = await present(organization, found, reader, note, session !== undefined)
  return {
    data: views.map((view, index) => ({ ...view, relatedBy: relationsOf(found[index], shared) })),
    more: { before: before.next !== undefined, after: after.next !== undefined },
  }
}

/** The term of the event's session, out of the person's block where the actor is one. */
async function sessionOf(
  event: StoredEvent,
  keyset: OrganizationKeyset,
  subjects: SubjectReader,
): Promise<bigint | undefined> {
  const actor = event.fields.find((field) => 'slot' in field && field.slot === 'actor')
  const references = actor !== undefined && 'subject' in actor ? [actor.subject] : []
  const { subjects: readable } = await subjects.read(keyset, references, true)
  const { sessionId } = viewOf(event, readable).context
  return typeof sessionId === 'string' ? keyedTerm(keyset, 'session', sessionId) : undefined
}

/** The terms that others may share with the event, and what sharing them means. */
function sharedTerms(
  event: StoredEvent,
  wanted: readonly Relation[],
  session: bigint | undefined,
): ReadonlyMap<bigint, Relation> {
  const shared = new Map<bigint, Relation>()
  const add = (relation: Relation, term: bigint | undefined) => {
    if (term !== undefined && wanted.includes(relation) && shared.size < maxTerms) shared.set(term, relation)
  }
  if (session !== undefined) add('session', session)
  for (const field of event.fields) {
    if (!('slot' in field)) continue
    if (field.slot === 'actor') add('actor', partyTerm(field, 'actorSubject', 'actorId'))
    if (field.slot === 'context') {
      const requestId = memberOf(field, 'requestId')
      if (requestId !== undefined) add('request', clearTerm('requestId', requestId))
    }
  }
  for (const field of event.fields) {
    if ('slot' in field && field.slot.startsWith('target/'))
      add('target', partyTerm(field, 'targetSubject', 'targetId'))
  }
  return shared
}

function partyTerm(
  field: StoredField,
  subjectKind: 'actorSubject' | 'targetSubject',
  idKind: 'actorId' | 'targetId',
): bigint | undefined {
  if ('subject' in field) return clearTerm(subjectKind, field.subject)
  const id = memberOf(field, 'id')
  return id === undefined ? undefined : clearTerm(idKind, id)
}

/** A text member of a clear field's object. */
function memberOf(field: StoredField, name: string): string | undefined {
  if (!('value' in field)) return undefined
  const value = JSON.parse(field.value) as JsonValue
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const member = value[name]
  return typeof member === 'string' ? member : undefined
}

function relationsOf(event: StoredEvent | undefined, shared: ReadonlyMap<bigint, Relation>): Relation[] {
  const found = new Set<Relation>()
  for (const field of event?.fields ?? []) {
    for (const term of 'terms' in field ? (field.terms ?? []) : []) {
      const relation = shared.get(term)
      if (relation !== undefined) found.add(relation)
    }
  }
  return relations.filter((relation) => found.has(relation))
}
