/**
 * How many bytes an event takes in BSON: never fewer than the server will count, since a write is one command of at
 * most 16 MB. The JSON a client sent says little about it: a pair of two short words is stored with slot, salt and terms.
 */
import type { StoredEvent, StoredField } from './store.js'

/** Everything of an event but its fields; ids, types and actions are bounded by the schema. */
const envelopeBytes = 1_024
/** Names, type bytes and lengths of one element of `fields`, its salts and commitment included. */
const fieldBytes = 192
const termBytes = 16

/** An upper bound of the event's BSON, in bytes. */
export function storedBytes(event: StoredEvent): number {
  let bytes = envelopeBytes
  for (const type of event.targetTypes) bytes += type.length + 8
  for (const field of event.fields) bytes += bytesOf(field)
  return bytes
}

function bytesOf(field: StoredField): number {
  let bytes = fieldBytes
  if ('terms' in field) bytes += field.terms.length * termBytes
  if ('value' in field) bytes += Buffer.byteLength(field.value)
  if ('sealed' in field) bytes += field.sealed.length
  return bytes
}
