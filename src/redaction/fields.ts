/** Which field of an event a request names, and an event without it. Pure. */
import type { RemovedField } from '../erasure/manifests.js'
import { rebuildCommitments, rebuildLeaf } from '../events/rebuild.js'
import { eventIdOf, type StoredEvent, type StoredField } from '../events/store.js'
import { redactableSlot } from './contract.js'

/** A field as a request names it: by its slot, or by where readers see it. */
export type NamedField =
  { readonly eventId: string; readonly slot: string } | { readonly eventId: string; readonly path: string }

const fieldAt = (event: StoredEvent, slot: string): StoredField | undefined =>
  event.fields.find((field) => 'slot' in field && field.slot === slot)

/** Is there something in it that could go? Not where it went already, or waits under the key of an erasure. */
export function hasValue(event: StoredEvent, slot: string): boolean {
  const field = fieldAt(event, slot)
  if (field === undefined) return false
  if ('subject' in field) return field.sealed !== undefined && field.restricted === undefined
  return 'value' in field
}

/** The slot of a field of this event; undefined where it has no such field, or none that can go. */
export function slotOf(event: StoredEvent, named: NamedField): string | undefined {
  const slot = 'slot' in named ? named.slot : slotAt(event, named.path)
  return slot !== undefined && redactableSlot.test(slot) && fieldAt(event, slot) !== undefined
    ? slot
    : undefined
}

/** `targets[0]` → `target/0`, `metadata.plan` → the slot of that pair; the others are called as their slots are. */
function slotAt(event: StoredEvent, path: string): string | undefined {
  const [, target] = /^targets\[(\d{1,5})\]$/.exec(path) ?? []
  if (target !== undefined) return `target/${String(Number(target))}`
  if (!path.startsWith('metadata.')) return path
  const key = path.slice('metadata.'.length)
  for (const field of event.fields) {
    if (!('slot' in field) || !('value' in field) || !field.slot.startsWith('metadata/')) continue
    const pair: unknown = JSON.parse(field.value)
    if (Array.isArray(pair) && pair[0] === key) return field.slot
  }
  return undefined
}

/** The commitment of a slot; undefined where the event does not make its leaf. */
export function commitmentIn(event: StoredEvent, leafHash: Uint8Array, slot: string): Buffer | undefined {
  if (rebuildLeaf(event)?.leafHash.equals(leafHash) !== true) return undefined
  return rebuildCommitments(event)?.find((one) => one.slot === slot)?.commitment
}

/** The event without the values of these fields; the same object where it has none of them. */
export function withoutFields(event: StoredEvent, removed: readonly RemovedField[]): StoredEvent {
  const eventId = eventIdOf(event._id)
  const bySlot = new Map(removed.filter((one) => one.eventId === eventId).map((one) => [one.slot, one]))
  if (![...bySlot.keys()].some((slot) => hasValue(event, slot))) return event
  return { ...event, fields: event.fields.map((field) => stripped(field, bySlot)) }
}

function stripped(field: StoredField, bySlot: ReadonlyMap<string, RemovedField>): StoredField {
  const removed = 'slot' in field ? bySlot.get(field.slot) : undefined
  if (removed === undefined || !('slot' in field)) return field
  const { slot } = field
  if (!('subject' in field)) return { slot, commitment: Buffer.from(removed.commitment) }
  const { subject, subjectSalt, commitment } = field
  return { slot, subject, subjectSalt, commitment }
}
