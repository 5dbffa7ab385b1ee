/**
 * What may not go yet (exempt by Art. 17(3), or under a legal hold): the person's blocks of such events are encrypted anew
 * under the request's `restricted` key, read back, and are out of ordinary reading. Their search terms go.
 */
import type { Hold } from '../retention/contract.js'
import { saltBytes, fieldCommitment } from '../events/record.js'
import { personSealPurpose } from '../events/protect.js'
import {
  eventIdOf,
  eventIndexes,
  type EventCollection,
  type StoredEvent,
  type StoredField,
  type StoredPerson,
} from '../events/store.js'
import { openSeal, seal } from '../keys/wrapping.js'
import type { OpenedSubject } from '../subjects/fence.js'
import type { ErasureReference, Exemption } from './contract.js'
import type { FieldName } from './manifests.js'
import { eventsOf } from './targets/events.js'
import { isExempt } from './text-search.js'

export interface Keeping extends ErasureReference {
  readonly opened: readonly OpenedSubject[]
  readonly restrictedKey: Buffer
  readonly exempt: readonly Exemption[]
  readonly holds: readonly Hold[]
  readonly beat: () => void
}

/** A kept block does not read back: nothing may be destroyed. */
export class NotKeptError extends Error {
  override readonly name = 'NotKeptError'
}

const pageSize = 500
const projection = { 'fields.value': 0 } as const

export const restrictedPurpose = (organizationId: string, eventId: string, slot: string) =>
  `annals/restricted/v1/${organizationId}/${eventId}/${slot}`

/** Is everything held that names these subjects in the hot store? undefined where nothing names them. */
export async function allHeld(
  events: EventCollection,
  {
    organizationId,
    subjects,
    holds,
  }: { organizationId: string; subjects: readonly string[]; holds: readonly Hold[] },
): Promise<boolean | undefined> {
  if (holds.length === 0 || subjects.length === 0) return undefined
  let any: true | undefined
  const found = events.find(eventsOf({ organizationId, subjects }), { projection, hint: eventIndexes.terms })
  for await (const event of found) {
    any = true
    if (!isExempt(event, [], holds)) return false
  }
  return any
}

/** Encrypts anew what is kept. @throws KeyError; NotKeptError */
export async function keep(events: EventCollection, keeping: Keeping): Promise<void> {
  const { organizationId, requestId, opened, exempt, holds, beat } = keeping
  if (exempt.length === 0 && holds.length === 0) return
  const subjects = opened.map(({ reference }) => reference)
  if (subjects.length === 0) return
  const found = events
    .find(eventsOf({ organizationId, subjects }), { projection, hint: eventIndexes.terms })
    .batchSize(pageSize)
  let page: StoredEvent[] = []
  const flush = async () => {
    beat()
    const writes = page.flatMap((event) => {
      const eventId = eventIdOf(event._id)
      return event.fields.flatMap((field, index) => {
        const kept = resealed(keeping, eventId, field)
        if (kept === undefined || !('subject' in field)) return []
        const { slot } = field
        const at = `fields.${String(index)}`
        return [
          {
            updateOne: {
              filter: { _id: event._id, [`${at}.slot`]: slot, [`${at}.restricted`]: { $exists: false } },
              update: {
                $set: { [`${at}.sealed`]: kept, [`${at}.restricted`]: requestId },
                $unset: { [`${at}.terms`]: '' as const },
              },
            },
          },
        ]
      })
    })
    page = []
    if (writes.length > 0)
      await events.bulkWrite(writes, { ordered: false, writeConcern: { w: 'majority', journal: true } })
  }
  for await (const event of found) {
    if (!isExempt(event, exempt, holds)) continue
    page.push(event)
    if (page.length === pageSize) await flush()
  }
  await flush()
}

/** The block of one of the subjects under the request's key; undefined where there is none that could be kept. */
export function resealed(
  { organizationId, opened, restrictedKey }: Pick<Keeping, 'organizationId' | 'opened' | 'restrictedKey'>,
  eventId: string,
  field: StoredField,
): Buffer | undefined {
  if (!('subject' in field) || field.sealed === undefined || field.restricted !== undefined) return undefined
  const key = opened.find(({ reference }) => reference === field.subject)?.key
  if (key === undefined) return undefined
  const plaintext = openSeal(key, field.sealed, personSealPurpose(organizationId, eventId, field.slot))
  return seal(restrictedKey, plaintext, restrictedPurpose(organizationId, eventId, field.slot))
}

/** Every block that is kept, each opened and held against its commitment. @throws NotKeptError */
export async function readKept(
  events: EventCollection,
  {
    organizationId,
    requestId,
    restrictedKey,
    beat,
  }: Pick<Keeping, 'organizationId' | 'requestId' | 'restrictedKey' | 'beat'>,
  subjects: readonly string[],
): Promise<FieldName[]> {
  const kept: FieldName[] = []
  if (subjects.length === 0) return kept
  const filter = { $and: [eventsOf({ organizationId, subjects }), { 'fields.restricted': requestId }] }
  for await (const event of events.find(filter, { projection, hint: eventIndexes.terms })) {
    if (kept.length % pageSize === 0) beat()
    const eventId = eventIdOf(event._id)
    for (const field of event.fields) {
      if (!('subject' in field) || field.restricted !== requestId) continue
      if (!opensKept(field, restrictedKey, organizationId, eventId)) {
        throw new NotKeptError('a block that is kept does not read back')
      }
      kept.push({ eventId, slot: field.slot })
    }
  }
  return kept
}

/** Does a kept block open, and to what was committed to? @throws KeyError */
export function opensKept(
  field: StoredPerson,
  key: Buffer,
  organizationId: string,
  eventId: string,
): boolean {
  if (field.sealed === undefined) return false
  const plaintext = openSeal(key, field.sealed, restrictedPurpose(organizationId, eventId, field.slot))
  const json = plaintext.toString('utf8', saltBytes)
  return fieldCommitment(eventId, field.slot, plaintext.subarray(0, saltBytes), json).equals(field.commitment)
}
