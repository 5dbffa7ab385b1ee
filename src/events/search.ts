/**
 * From a reader's filters to a query over the hot store.
 *
 * Every filter becomes a term (terms.ts) of the one index, and what stands in the envelope is compared once more
 * as it is. Filters by personal values (a person's id, an e-mail, an address, a session) are resolved through the
 * directory or keyed terms, so no personal value is ever part of a query.
 */
import type { Filter } from 'mongodb'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import type { SubjectDirectory } from '../subjects/directory.js'
import type { StoredEvent } from './store.js'
import { clearTerm, keyedTerm } from './terms.js'

/** What a reader may ask for; everything given must hold. */
export interface EventFilter {
  /** Exact, or a prefix as `team.*`. */
  readonly action?: string | undefined
  readonly category?: string | undefined
  readonly outcome?: string | undefined
  readonly actorType?: string | undefined
  readonly actorId?: string | undefined
  readonly actorEmail?: string | undefined
  readonly targetType?: string | undefined
  readonly targetId?: string | undefined
  /** A subject reference, as actor or target. */
  readonly subject?: string | undefined
  readonly ip?: string | undefined
  readonly sessionId?: string | undefined
  readonly requestId?: string | undefined
  /** Top-level metadata keys and the text of their values. */
  readonly metadata?: Readonly<Record<string, string>> | undefined
  /** A kind of personal data that was detected in free text. */
  readonly detected?: string | undefined
  /** Inclusive. */
  readonly from?: Date | undefined
  /** Exclusive. */
  readonly to?: Date | undefined
}

/** The place after which a page starts: lists run by `occurredAt`, then id, newest first. */
export interface EventPosition {
  readonly occurredAtMs: number
  readonly id: string
}

/** Filters that name a person; they need the personal grant and are logged. */
export const personalFilters = ['actorEmail', 'ip', 'sessionId'] as const

/** Does the filter look a person up, in a search by someone who may? */
export function namesPerson(filter: EventFilter): boolean {
  return (
    filter.actorId !== undefined ||
    filter.targetId !== undefined ||
    personalFilters.some((name) => filter[name] !== undefined)
  )
}

export interface SearchContext {
  readonly keyset: OrganizationKeyset
  readonly directory: SubjectDirectory
  /** Without it ids match things only. */
  readonly personal: boolean
}

/** Builds the query; undefined where nothing can match (an e-mail that nobody has). */
export async function searchQuery(
  filter: EventFilter,
  after: EventPosition | undefined,
  context: SearchContext,
): Promise<Filter<StoredEvent> | undefined> {
  const { organizationId } = context.keyset
  const required = await requiredTerms(filter, context)
  if (required.some((alternatives) => alternatives.length === 0)) return undefined
  const conditions: Filter<StoredEvent>[] = required.map((alternatives) => ({
    'fields.terms': { $in: alternatives },
  }))
  conditions.push(...envelopeConditions(filter))
  if (filter.from !== undefined) conditions.push({ occurredAt: { $gte: filter.from } })
  if (filter.to !== undefined) conditions.push({ occurredAt: { $lt: filter.to } })
  if (after !== undefined) {
    const occurredAt = new Date(after.occurredAtMs)
    conditions.push(
      { occurredAt: { $lte: occurredAt } },
      { $or: [{ occurredAt: { $lt: occurredAt } }, { _id: { $lt: `${organizationId}/${after.id}` } }] },
    )
  }
  return conditions.length === 0 ? { organizationId } : { organizationId, $and: conditions }
}

/** One list of alternatives per filter: an event must have one term of each. */
async function requiredTerms(
  filter: EventFilter,
  { keyset, directory, personal }: SearchContext,
): Promise<bigint[][]> {
  const required: bigint[][] = []
  const addClear = (kind: Parameters<typeof clearTerm>[0], value: string | undefined) => {
    if (value !== undefined) required.push([clearTerm(kind, value)])
  }
  const action = filter.action
  if (action?.endsWith('.*') === true) addClear('actionPrefix', indexedPrefix(action.slice(0, -2)))
  else addClear('action', action)
  addClear('category', filter.category)
  if (filter.outcome !== 'success') addClear('outcome', filter.outcome)
  addClear('actorType', filter.actorType)
  addClear('targetType', filter.targetType)
  addClear('requestId', filter.requestId)
  addClear('detected', filter.detected)
  for (const [key, value] of Object.entries(filter.metadata ?? {})) addClear('metadata', `${key}\0${value}`)
  if (filter.subject !== undefined) {
    required.push([clearTerm('actorSubject', filter.subject), clearTerm('targetSubject', filter.subject)])
  }
  const referencesOf = async (id: string, type: string | undefined) =>
    personal ? directory.find(keyset, type === undefined ? { id } : { id, type }) : []
  if (filter.actorId !== undefined) {
    const references = await referencesOf(filter.actorId, filter.actorType)
    required.push([
      clearTerm('actorId', filter.actorId),
      ...references.map((reference) => clearTerm('actorSubject', reference)),
    ])
  }
  if (filter.targetId !== undefined) {
    const references = await referencesOf(filter.targetId, filter.targetType)
    required.push([
      clearTerm('targetId', filter.targetId),
      ...references.map((reference) => clearTerm('targetSubject', reference)),
    ])
  }
  if (filter.actorEmail !== undefined) {
    const references = await directory.find(keyset, { email: filter.actorEmail })
    required.push(references.map((reference) => clearTerm('actorSubject', reference)))
  }
  if (filter.ip !== undefined) required.push([keyedTerm(keyset, 'ip', filter.ip)])
  if (filter.sessionId !== undefined) required.push([keyedTerm(keyset, 'session', filter.sessionId)])
  return required
}

/** Terms reach four dots deep; a longer prefix is narrowed down by `envelopeConditions`. */
const indexedPrefix = (prefix: string) => prefix.split('.').slice(0, 4).join('.')

function envelopeConditions(filter: EventFilter): Filter<StoredEvent>[] {
  const conditions: Filter<StoredEvent>[] = []
  const { action } = filter
  if (action?.endsWith('.*') === true) {
    const start = action.slice(0, -1)
    // A range, not a regular expression: nothing of a client's is ever compiled. '/' follows '.' in ASCII.
    conditions.push({ action: { $gte: start, $lt: `${start.slice(0, -1)}/` } })
  } else if (action !== undefined) {
    conditions.push({ action })
  }
  if (filter.category !== undefined) conditions.push({ category: filter.category })
  if (filter.outcome !== undefined) conditions.push({ outcome: filter.outcome })
  if (filter.actorType !== undefined) conditions.push({ actorType: filter.actorType })
  if (filter.targetType !== undefined) conditions.push({ targetTypes: filter.targetType })
  return conditions
}
