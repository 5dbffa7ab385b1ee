/**
 * From a reader's filters to the criteria of a scan (scan.ts) over the hot store.
 *
 * Every filter becomes a term (terms.ts) of the one index, and what stands in the envelope is compared once more
 * as it is; free text alone has no terms. Filters by personal values (a person's id, an e-mail, an address, a
 * session) are resolved through the directory or keyed terms, so no personal value is ever part of a query.
 */
import type { Filter } from 'mongodb'
import { AnnalsError } from '../errors.js'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import type { SubjectDirectory } from '../subjects/directory.js'
import type { SearchCriteria } from './scan.js'
import type { StoredEvent } from './store.js'
import { clearTerm, keyedTerm, maxPrefixes } from './terms.js'
import { matchesWords, textConditions, wordsOf } from './text-search.js'

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
  /** Free text: words that all occur (text-search.ts). */
  readonly q?: string | undefined
  /** Inclusive. */
  readonly from?: Date | undefined
  /** Exclusive. */
  readonly to?: Date | undefined
}

/** Filters that name a person; they need the personal grant and are logged. */
const personalFilters = ['actorEmail', 'ip', 'sessionId'] as const

/** Does the filter look a person up, in a search by someone who may? */
export function namesPerson(filter: EventFilter): boolean {
  return (
    filter.actorId !== undefined ||
    filter.targetId !== undefined ||
    personalFilters.some((name) => filter[name] !== undefined)
  )
}

/** @throws AnnalsError `forbidden` where the filter names a person and the reader has no grant */
export function requireGrant(filter: EventFilter, personal: boolean): void {
  const named = personalFilters.filter((name) => filter[name] !== undefined)
  if (named.length === 0 || personal) return
  throw new AnnalsError('forbidden', `Filtering by ${named.join(', ')} needs a key with the personal grant.`)
}

/** The names of the filters that are set, for a note of the read; never what they are set to. */
export const filterNames = (filter: EventFilter): string[] =>
  Object.entries(filter).flatMap(([name, value]) => (value === undefined ? [] : [name]))

export interface SearchContext {
  readonly keyset: OrganizationKeyset
  readonly directory: SubjectDirectory
  /** Without it ids match things only. */
  readonly personal: boolean
}

/** What an event must fulfil; undefined where none can (an e-mail that nobody has). */
export async function searchCriteria(
  filter: EventFilter,
  context: SearchContext,
): Promise<SearchCriteria | undefined> {
  const terms = await requiredTerms(filter, context)
  if (terms.some((alternatives) => alternatives.length === 0)) return undefined
  const words = filter.q === undefined ? [] : wordsOf(filter.q)
  return {
    organizationId: context.keyset.organizationId,
    terms,
    implied: impliedConditions(filter),
    conditions: [...narrowingConditions(filter), ...textConditions(words)],
    ...(words.length === 0 ? {} : { matches: matchesWords(words) }),
    from: filter.from,
    to: filter.to,
  }
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
  const prefix = prefixOf(filter.action)
  if (prefix === undefined) addClear('action', filter.action)
  else addClear('actionPrefix', prefix.split('.').slice(0, maxPrefixes).join('.'))
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

/** What terms do not say: success has none, a prefix has one as far as the fourth dot. */
function narrowingConditions({ outcome, action }: EventFilter): Filter<StoredEvent>[] {
  const conditions: Filter<StoredEvent>[] = []
  if (outcome === 'success') conditions.push({ outcome })
  const prefix = prefixOf(action)
  if (prefix !== undefined && prefix.split('.').length > maxPrefixes) conditions.push(prefixCondition(prefix))
  return conditions
}

/** What terms say already, as it stands in the envelope. */
function impliedConditions(filter: EventFilter): Filter<StoredEvent>[] {
  const conditions: Filter<StoredEvent>[] = []
  const { action, outcome } = filter
  const prefix = prefixOf(action)
  if (prefix !== undefined) conditions.push(prefixCondition(prefix))
  else if (action !== undefined) conditions.push({ action })
  if (filter.category !== undefined) conditions.push({ category: filter.category })
  if (outcome !== undefined && outcome !== 'success') conditions.push({ outcome })
  if (filter.actorType !== undefined) conditions.push({ actorType: filter.actorType })
  if (filter.targetType !== undefined) conditions.push({ targetTypes: filter.targetType })
  return conditions
}

/** `team` of `team.*`. */
export const prefixOf = (action: string | undefined): string | undefined =>
  action?.endsWith('.*') === true ? action.slice(0, -2) : undefined

/** A range, not a regular expression: nothing of a client's is ever compiled. '/' follows '.' in ASCII. */
const prefixCondition = (prefix: string): Filter<StoredEvent> => ({
  action: { $gte: `${prefix}.`, $lt: `${prefix}/` },
})
