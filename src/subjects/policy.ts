/**
 * Which parties of an event are persons, and how a person is recognised again. Pure.
 *
 * A wrong "thing" leaves a person in clear, a wrong "person" only hides a thing from readers without the
 * grant: so every actor is a person unless its type is on the short list of things.
 */
import type { Party } from '../events/contract.js'

const thingActorTypes: ReadonlySet<string> = new Set([
  'system',
  'service',
  'api_key',
  'engine',
  'integration',
  'principal',
])

/** Is the actor a natural person? Types are compared without case. */
export function isPersonActor(type: string): boolean {
  return !thingActorTypes.has(type.toLowerCase())
}

/** Is the target a natural person? `personTypes` are the organization's, in lower case. */
export function isPersonTarget(type: string, personTypes: readonly string[]): boolean {
  return personTypes.includes(type.toLowerCase())
}

/** What a person is recognised by: the exact id within the type, or an e-mail where no id was sent. */
export type Identifier =
  | { readonly kind: 'id'; readonly type: string; readonly value: string }
  | { readonly kind: 'email'; readonly value: string }

/** An e-mail as compared: trimmed, lower case. */
export function normaliseEmail(email: string): string {
  return email.trim().toLowerCase()
}

/** Has the value the form of an e-mail address? Ids often are one, and are then found by both. */
export function looksLikeEmail(value: string): boolean {
  return value.length <= 320 && /^[^\s@]+@[^\s@]+\.[^\s@]+$/.test(value.trim())
}

/** The identifier a person resolves by. The schema has made sure that there is an id or an e-mail. */
export function resolvingIdentifier(party: Party): Identifier | undefined {
  if (party.id !== undefined) return { kind: 'id', type: party.type.toLowerCase(), value: party.id }
  if (party.email !== undefined) return { kind: 'email', value: normaliseEmail(party.email) }
  return undefined
}

/** Every e-mail a person can be searched by: the sent one, and an id that is one. They index, and never choose. */
export function searchableEmails(party: Party): string[] {
  const emails = new Set<string>()
  if (party.email !== undefined) emails.add(normaliseEmail(party.email))
  if (party.id !== undefined && looksLikeEmail(party.id)) emails.add(normaliseEmail(party.id))
  return [...emails]
}
