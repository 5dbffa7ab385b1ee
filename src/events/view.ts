/**
 * From the stored form back to what a reader sees: whole with the personal grant, masked without it.
 *
 * What is shown is text that passed its commitment's canonical form; nothing is guessed. A person whose key is
 * gone for another reason than an erasure is an error (subjects/readers.ts), and never shown as erased.
 */
import { openSeal } from '../keys/wrapping.js'
import type { ReadableSubject } from '../subjects/readers.js'
import type { JsonObject, JsonValue } from './contract.js'
import { personSealPurpose } from './protect.js'
import { saltBytes } from './record.js'
import { eventIdOf, type StoredEvent, type StoredField } from './store.js'

/** An event as an answer carries it. */
export interface EventView {
  readonly id: string
  readonly organizationId: string
  readonly action: string
  readonly category: string
  readonly outcome: string
  readonly version: number
  readonly occurredAt: string
  readonly receivedAt: string
  readonly actor: JsonObject
  readonly targets: readonly JsonObject[]
  readonly context: JsonObject
  readonly description?: string
  readonly metadata: JsonObject
  /** Standard base64. */
  readonly leafHash: string
}

/** Every subject reference in an event. */
export function subjectsIn(event: StoredEvent): string[] {
  return event.fields.flatMap((field) => ('subject' in field ? [field.subject] : []))
}

/**
 * Builds the view of an event.
 * @param subjects states of the event's subjects; where a key is there, the person is shown whole
 */
export function viewOf(event: StoredEvent, subjects: ReadonlyMap<string, ReadableSubject>): EventView {
  const id = eventIdOf(event._id)
  const fields = new Map<string, StoredField>()
  const metadata: JsonObject = {}
  for (const field of event.fields) {
    if (!('slot' in field)) continue
    fields.set(field.slot, field)
    if (field.slot.startsWith('metadata/')) addPair(metadata, clearValue(field))
  }
  const actor = partyView(event, id, 'actor', event.actorType, fields.get('actor'), subjects)
  const { context: personContext, event: personMetadata, ...actorMembers } = actor
  const context = { ...asObject(personContext), ...asObject(clearValue(fields.get('context'))) }
  const description = clearValue(fields.get('description'))
  return {
    id,
    organizationId: event.organizationId,
    action: event.action,
    category: event.category,
    outcome: event.outcome,
    version: event.version,
    occurredAt: event.occurredAt.toISOString(),
    receivedAt: event.receivedAt.toISOString(),
    actor: actorMembers,
    targets: event.targetTypes.map((type, index) => {
      const slot = `target/${String(index)}`
      return partyView(event, id, slot, type, fields.get(slot), subjects)
    }),
    context,
    ...(typeof description === 'string' ? { description } : {}),
    metadata: { ...metadata, ...asObject(personMetadata) },
    leafHash: event.leafHash.toString('base64'),
  }
}

function partyView(
  event: StoredEvent,
  id: string,
  slot: string,
  type: string,
  field: StoredField | undefined,
  subjects: ReadonlyMap<string, ReadableSubject>,
): JsonObject {
  if (field === undefined || !('subject' in field)) return { type, ...asObject(clearValue(field)) }
  const subject = subjects.get(field.subject)
  if (field.restricted !== undefined) return { type, subject: field.subject, restricted: true }
  if (subject?.state === 'erased') return { type, subject: field.subject, erased: true }
  // Removed alone, the person is as they are elsewhere.
  if (field.sealed === undefined) return { type, subject: field.subject, redacted: true }
  if (subject?.key === undefined) return { type, subject: field.subject, masked: true }
  return { type, subject: field.subject, ...openBlock(event, id, slot, field.sealed, subject.key) }
}

function openBlock(event: StoredEvent, id: string, slot: string, sealed: Buffer, key: Buffer): JsonObject {
  const plaintext = openSeal(key, sealed, personSealPurpose(event.organizationId, id, slot))
  return asObject(parse(plaintext.toString('utf8', saltBytes)))
}

function clearValue(field: StoredField | undefined): JsonValue | undefined {
  return field !== undefined && 'value' in field ? parse(field.value) : undefined
}

const parse = (json: string) => JSON.parse(json) as JsonValue

function asObject(value: JsonValue | undefined): JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {}
}

function addPair(metadata: JsonObject, pair: JsonValue | undefined): void {
  if (!Array.isArray(pair)) return
  const [key, value] = pair
  if (typeof key === 'string') metadata[key] = value ?? null
}
