/**
 * A new event's stored form as BSON: byte for byte what the driver's serialiser makes of it (a property test holds them
 * equal), for half its cost. Serialising is a sixth of what intake does for an event (docs/decisions/intake-cost.md).
 */
import { ArrayHeads, BsonWriter, elementHead } from '../mongo/bson-writer.js'
import type { StoredEvent, StoredField } from './store.js'

const heads = {
  id: elementHead('string', '_id'),
  v: elementHead('int32', 'v'),
  organizationId: elementHead('string', 'organizationId'),
  action: elementHead('string', 'action'),
  category: elementHead('string', 'category'),
  outcome: elementHead('string', 'outcome'),
  version: elementHead('int32', 'version'),
  occurredAt: elementHead('date', 'occurredAt'),
  receivedAt: elementHead('date', 'receivedAt'),
  actorType: elementHead('string', 'actorType'),
  targetTypes: elementHead('array', 'targetTypes'),
  fields: elementHead('array', 'fields'),
  leafHash: elementHead('binary', 'leafHash'),
  mac: elementHead('binary', 'mac'),
  fingerprint: elementHead('binary', 'fingerprint'),
  pending: elementHead('boolean', 'pending'),
  slot: elementHead('string', 'slot'),
  salt: elementHead('binary', 'salt'),
  value: elementHead('string', 'value'),
  subject: elementHead('string', 'subject'),
  subjectSalt: elementHead('binary', 'subjectSalt'),
  sealed: elementHead('binary', 'sealed'),
  commitment: elementHead('binary', 'commitment'),
  terms: elementHead('array', 'terms'),
} as const
const strings = new ArrayHeads('string')
const documents = new ArrayHeads('document')
const int64s = new ArrayHeads('int64')

/** Shared: an event is written without waiting, so no two are under way. */
const writer = new BsonWriter()

/** @param event as protect.ts makes it: pending, with all its values, its members in that order */
export function storedBson(event: StoredEvent): Buffer {
  writer.begin()
  writer.string(heads.id, event._id)
  writer.int32(heads.v, event.v)
  writer.string(heads.organizationId, event.organizationId)
  writer.string(heads.action, event.action)
  writer.string(heads.category, event.category)
  writer.string(heads.outcome, event.outcome)
  writer.int32(heads.version, event.version)
  writer.date(heads.occurredAt, event.occurredAt)
  writer.date(heads.receivedAt, event.receivedAt)
  writer.string(heads.actorType, event.actorType)
  const types = writer.open(heads.targetTypes)
  event.targetTypes.forEach((type, index) => writer.string(strings.at(index), type))
  writer.close(types)
  const fields = writer.open(heads.fields)
  event.fields.forEach((field, index) => {
    const start = writer.open(documents.at(index))
    writeField(field)
    writer.close(start)
  })
  writer.close(fields)
  writer.binary(heads.leafHash, event.leafHash)
  writer.binary(heads.mac, event.mac)
  if (event.fingerprint !== undefined) writer.binary(heads.fingerprint, event.fingerprint)
  writer.boolean(heads.pending, true)
  return writer.end()
}

function writeField(field: StoredField): void {
  if ('slot' in field) {
    writer.string(heads.slot, field.slot)
    if ('subject' in field) {
      writer.string(heads.subject, field.subject)
      writer.binary(heads.subjectSalt, field.subjectSalt)
      if (field.sealed !== undefined) writer.binary(heads.sealed, field.sealed)
      writer.binary(heads.commitment, field.commitment)
    } else if ('value' in field) {
      writer.binary(heads.salt, field.salt)
      writer.string(heads.value, field.value)
    }
  }
  if (!('terms' in field)) return
  const terms = writer.open(heads.terms)
  field.terms.forEach((term, index) => writer.int64(int64s.at(index), term))
  writer.close(terms)
}
