/**
 * Search terms: what a filter looks an event up by, as 64-bit numbers in one index.
 *
 * A term is the first eight bytes of a hash over kind and value. Terms of values that stand in clear anyway are
 * plain SHA-256; terms of personal values (an address, a session) are HMACs under the organization's index key,
 * lie beside the encrypted value and go with it. Two of a million different terms of one organization share a
 * number with odds of 1 in 37 million.
 */
import { hash } from 'node:crypto'
import type { OrganizationKeyset } from '../keys/organization-keys.js'

export type ClearTermKind =
  | 'action'
  | 'actionPrefix'
  | 'category'
  | 'outcome'
  | 'actorType'
  | 'targetType'
  | 'actorSubject'
  | 'targetSubject'
  | 'actorId'
  | 'targetId'
  | 'requestId'
  | 'metadata'
  | 'detected'

export type KeyedTermKind = 'ip' | 'session'

// The same few actions, types and settings come again and again: a look-up costs a fraction of a hash. Emptied when
// full: cheaper than keeping track of what was used last.
const clearTerms = new Map<string, bigint>()
const maxCached = 50_000
const longestCached = 100

/** The term of a value that is stored in clear. */
export function clearTerm(kind: ClearTermKind, value: string): bigint {
  const text = `${kind}\0${value}`
  const known = clearTerms.get(text)
  if (known !== undefined) return known
  const term = hash('sha256', text, 'buffer').readBigInt64BE(0)
  if (text.length <= longestCached) {
    if (clearTerms.size >= maxCached) clearTerms.clear()
    clearTerms.set(text, term)
  }
  return term
}

/** The term of a personal value. */
export function keyedTerm(keyset: OrganizationKeyset, kind: KeyedTermKind, value: string): bigint {
  return keyset.index(`term\0${kind}\0${value}`).readBigInt64BE(0)
}

/** The prefixes of an action that `team.*` and `team.member.*` ask for: up to each dot, at most four. */
export function actionPrefixes(action: string): string[] {
  const prefixes: string[] = []
  for (
    let dot = action.indexOf('.');
    dot > 0 && prefixes.length < maxPrefixes;
    dot = action.indexOf('.', dot + 1)
  ) {
    prefixes.push(action.slice(0, dot))
  }
  return prefixes
}
/** Dots of an action that prefixes are indexed up to. */
export const maxPrefixes = 4
