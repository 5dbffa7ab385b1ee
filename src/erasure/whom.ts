/**
 * Whom a request is about: the subjects that its identifiers lead to, and every identifier that is searched for. An e-mail
 * may lead to several persons. Then it is ambiguous: where another identifier leads to the person without a doubt, the
 * others that go by the e-mail are left alone unless the reviewer confirmed it. Where nothing else leads to anybody, an
 * approval that does not confirm it is refused; one that does takes the persons of the report.
 */
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import type { SubjectDirectory } from '../subjects/directory.js'
import { looksLikeEmail, normaliseEmail, type Identifier } from '../subjects/policy.js'
import type { ErasureIdentifier, OpenedErasureRequest, ScopeReport } from './contract.js'
import { maxUnconfirmedHits, minUnconfirmedLength } from './matching.js'

type Find = Pick<SubjectDirectory, 'find'>

/** The references of each identifier, by its position. */
export async function resolveAll(
  directory: Find,
  keyset: OrganizationKeyset,
  identifiers: readonly ErasureIdentifier[],
): Promise<readonly (readonly string[])[]> {
  const found: string[][] = []
  for (const identifier of identifiers) {
    const byId =
      identifier.kind === 'id'
        ? await directory.find(keyset, { id: identifier.value, type: identifier.type })
        : []
    const byEmail =
      identifier.kind === 'email' ? await directory.find(keyset, { email: identifier.value }) : []
    found.push([...new Set([...byId, ...byEmail])].sort())
  }
  return found
}

export const ambiguousIn = (resolved: readonly (readonly string[])[]): number[] =>
  resolved.flatMap((references, position) => (references.length > 1 ? [position] : []))

/** The subjects to whom an identifier leads that leads to nobody else. */
export const certainIn = (resolved: readonly (readonly string[])[]): string[] => [
  ...new Set(resolved.filter((references) => references.length === 1).flat()),
]

/**
 * Would it be left open who is meant? Several persons, none of whom an identifier names alone, and no reviewer's word that
 * all of them are: an e-mail that two share must not forget both by itself.
 */
export const leavesOpenWhom = (
  { subjects, certainSubjects, ambiguousIdentifiers }: ScopeReport,
  confirmed: readonly number[],
): boolean =>
  subjects.length > 1 &&
  certainSubjects === 0 &&
  !ambiguousIdentifiers.some((position) => confirmed.includes(position))

/** The subjects of the approved report that are fenced. */
export function fencedSubjects(
  { scope, confirmed }: Pick<OpenedErasureRequest, 'scope' | 'confirmed'>,
  resolved: readonly (readonly string[])[],
): string[] {
  const reviewed = new Set(scope?.subjects ?? [])
  const sure = resolved.filter(
    (references, position) => references.length === 1 || confirmed.includes(position),
  )
  const chosen = [...new Set(sure.flat())].filter((reference) => reviewed.has(reference))
  return (chosen.length > 0 ? chosen : [...reviewed]).sort()
}

/** What is searched for in clear text: the request's identifiers in their order, then what the directory knows beside them. */
export async function searchedIdentifiers(
  directory: Find,
  keyset: OrganizationKeyset,
  given: readonly ErasureIdentifier[],
  known: readonly Identifier[],
  subjects: readonly string[],
): Promise<ErasureIdentifier[]> {
  const searched = [...given]
  const names = new Set(given.map(nameOf))
  for (const identifier of known) {
    if (names.has(nameOf(identifier)) || identifier.value.length < minUnconfirmedLength) continue
    const email = identifier.kind === 'email' || looksLikeEmail(identifier.value)
    if (email) {
      // Another person goes by it too: their text is not this one's.
      const shared = await directory.find(keyset, { email: identifier.value })
      if (shared.some((reference) => !subjects.includes(reference))) continue
    }
    names.add(nameOf(identifier))
    searched.push(identifier)
  }
  return searched
}

const nameOf = (identifier: {
  readonly kind: string
  readonly type?: string
  readonly value: string
}): string =>
  identifier.kind === 'email'
    ? `email\0${normaliseEmail(identifier.value)}`
    : `${identifier.kind}\0${identifier.value}`

/** Hits of one identifier. */
export interface HitCount {
  hits: number
  joint: number
  /** In events that do not name the person. */
  elsewhere: number
}

/** May its hits go only where the reviewer said so? */
export function needsConfirmation(
  { value }: ErasureIdentifier,
  { elsewhere }: Pick<HitCount, 'elsewhere'>,
  ambiguous: boolean,
): boolean {
  return value.trim().length < minUnconfirmedLength || elsewhere > maxUnconfirmedHits || ambiguous
}
