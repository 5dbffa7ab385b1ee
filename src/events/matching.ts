/**
 * Decides in memory what a scan of MongoDB decides by queries (scan.ts): for events that lie where there is no index.
 * Both start from the same terms, so that a filter means the same wherever an event is.
 */
import type { SearchCriteria } from './scan.js'
import { prefixOf, type EventFilter } from './search.js'
import type { StoredEvent } from './store.js'

/**
 * Says of an event, search terms and all, whether it fulfils everything that was asked for.
 * @param criteria those that `searchCriteria` made of `filter`
 */
export function criteriaMatcher(
  filter: EventFilter,
  criteria: SearchCriteria,
): (event: StoredEvent) => boolean {
  const { matches, from, to } = criteria
  const alternatives = criteria.terms.map((terms) => new Set(terms))
  const fromMs = from?.getTime() ?? -Infinity
  const toMs = to?.getTime() ?? Infinity
  return (event) => {
    const at = event.occurredAt.getTime()
    return (
      at >= fromMs &&
      at < toMs &&
      envelopeFits(event, filter) &&
      hasOneOfEach(event, alternatives) &&
      (matches === undefined || matches(event))
    )
  }
}

/** What stands in the envelope is compared as it is: a term may be shared by chance, and success has none. */
function envelopeFits(event: StoredEvent, filter: EventFilter): boolean {
  const { action, category, outcome, actorType, targetType } = filter
  const prefix = prefixOf(action)
  const actionFits =
    prefix === undefined
      ? action === undefined || event.action === action
      : event.action.startsWith(`${prefix}.`)
  return (
    actionFits &&
    (category === undefined || event.category === category) &&
    (outcome === undefined || event.outcome === outcome) &&
    (actorType === undefined || event.actorType === actorType) &&
    (targetType === undefined || event.targetTypes.includes(targetType))
  )
}

function hasOneOfEach(event: StoredEvent, alternatives: readonly ReadonlySet<bigint>[]): boolean {
  if (alternatives.length === 0) return true
  const missing = new Set(alternatives)
  for (const field of event.fields) {
    for (const term of ('terms' in field ? field.terms : undefined) ?? []) {
      for (const terms of missing) if (terms.has(term)) missing.delete(terms)
      if (missing.size === 0) return true
    }
  }
  return false
}
