/**
 * The verifiable form of an event: everything that a reader may have of what its leaf commits to, so that he can hash
 * it himself. docs/formats.md has it for those who write a verifier; src/verification/ reads it.
 *
 *     {v, organizationId, id, action, category, outcome, version, occurredAt, receivedAt, actorType, targetTypes,
 *      fields: [ {slot, salt, value}                                          a clear field
 *                {slot, commitment}                                           one whose value is gone
 *                {slot, subject, subjectSalt, commitment, withheld: true}     a person, for who may not see it
 *                {slot, subject, subjectSalt, commitment, salt, value}        the same for who may
 *                {slot, subject, subjectSalt, commitment}                     one whose ciphertext is gone, or does not open
 *              ]}
 *
 * Salts and commitments are standard base64, `value` is the canonical JSON text that the commitment covers. The salt
 * of a person's block stands in it only beside the block: alone it would let guesses be tested.
 *
 * It is built from rows that nobody has to trust, so nothing is mended here: a member of another type than intake
 * writes goes out as it is, or as null, and whoever hashes it finds that out.
 */
import { KeyError, openSeal } from '../keys/wrapping.js'
import type { ReadableSubject } from '../subjects/readers.js'
import type { JsonObject, JsonValue } from './contract.js'
import { personSealPurpose } from './protect.js'
import { saltBytes } from './record.js'
import { eventIdOf, type StoredEvent } from './store.js'

/** The form above; loose, because its rows are. */
export type VerifiableEvent = JsonObject

/**
 * @param subjects states of the event's subjects; where a key is there, the person's block is given
 */
export function verifiableEvent(
  event: StoredEvent,
  subjects: ReadonlyMap<string, ReadableSubject>,
): VerifiableEvent {
  const { organizationId } = event
  const id = eventIdOf(event._id)
  const fields: readonly unknown[] = Array.isArray(event.fields) ? event.fields : []
  return {
    v: plain(event.v),
    organizationId: plain(organizationId),
    id,
    action: plain(event.action),
    category: plain(event.category),
    outcome: plain(event.outcome),
    version: plain(event.version),
    occurredAt: plain(event.occurredAt),
    receivedAt: plain(event.receivedAt),
    actorType: plain(event.actorType),
    targetTypes: plain(event.targetTypes),
    fields: fields.flatMap((field) => {
      const shown = fieldOf(field, organizationId, id, subjects)
      return shown === undefined ? [] : [shown]
    }),
  }
}

interface LooseField {
  readonly slot?: unknown
  readonly subject?: unknown
  readonly sealed?: unknown
  readonly restricted?: unknown
}

const shownMembers = ['slot', 'subject', 'subjectSalt', 'salt', 'value', 'commitment'] as const

/** undefined for the terms of the envelope, which are no field. */
function fieldOf(
  field: unknown,
  organizationId: string,
  id: string,
  subjects: ReadonlyMap<string, ReadableSubject>,
): JsonValue | undefined {
  if (typeof field !== 'object' || field === null) return null
  const loose: LooseField = field
  if (loose.slot === undefined) return undefined
  const shown: JsonObject = {}
  for (const member of shownMembers) {
    const value: unknown = Reflect.get(field, member)
    if (value !== undefined) shown[member] = plain(value)
  }
  if (typeof loose.subject !== 'string' || typeof loose.slot !== 'string') return shown
  // Whether the block is there is said by the ciphertext, and by who holds a key to it; never by a flag in the row.
  const subject = subjects.get(loose.subject)
  if (!Buffer.isBuffer(loose.sealed) || subject === undefined) return shown
  // Kept for a request, under its key, which no reader has.
  if (loose.restricted !== undefined) return { ...shown, withheld: true }
  if (subject.state === 'erased') return shown
  if (subject.key === undefined) return { ...shown, withheld: true }
  const block = openBlock(subject.key, loose.sealed, personSealPurpose(organizationId, id, loose.slot))
  return block === undefined ? shown : { ...shown, ...block }
}

/** The salt and text of a person's block; undefined where its ciphertext was edited. */
function openBlock(key: Buffer, sealed: Buffer, purpose: string): JsonObject | undefined {
  try {
    const plaintext = openSeal(key, sealed, purpose)
    return {
      salt: plaintext.toString('base64', 0, saltBytes),
      value: plaintext.toString('utf8', saltBytes),
    }
  } catch (error) {
    if (error instanceof KeyError) return undefined
    throw error
  }
}

/** A stored value as JSON says it; null where JSON has no word for it. */
function plain(value: unknown): JsonValue {
  if (typeof value === 'string' || typeof value === 'boolean') return value
  if (typeof value === 'number') return Number.isFinite(value) ? value : null
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString()
  if (Buffer.isBuffer(value)) return value.toString('base64')
  if (Array.isArray(value)) return value.map(plain)
  return null
}
