/**
 * What sealing looks at before it commits the log to a pending row: was it accepted (its MAC), is it still what was
 * accepted (its leaf), may it be sealed now (its subjects)?
 */
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import { intakeMac } from '../events/protect.js'
import { rebuildLeaf, type RebuildableEvent } from '../events/rebuild.js'
import { eventIdOf, type StoredEvent } from '../events/store.js'

/** A pending event as sealing reads it: no ciphertext, no terms. */
export type PendingEvent = RebuildableEvent & Pick<StoredEvent, 'leafHash' | 'mac' | 'answered'>

export const pendingProjection = { 'fields.sealed': 0, 'fields.terms': 0, fingerprint: 0 } as const

/** A leaf to be. */
export interface NewLeaf {
  /** Of the event's document. */
  readonly documentId: string
  readonly eventId: string
  /** 32 bytes: the acknowledged one. */
  readonly leafHash: Buffer
  /** '' where the stored form no longer makes that leaf: its event is damaged. */
  readonly record: string
  readonly receivedAt: Date
}

/**
 * The leaf of a pending row; undefined where intake never accepted it.
 *
 * A damaged event has a leaf all the same. It was acknowledged by that leaf, and the log never stops.
 */
export function newLeafOf(event: PendingEvent, keyset: OrganizationKeyset): NewLeaf | undefined {
  const { _id, leafHash, receivedAt } = event
  const eventId = eventIdOf(_id)
  if (!isAccepted(event, eventId, keyset)) return undefined
  const rebuilt = rebuildLeaf(event)
  const record = rebuilt?.leafHash.equals(leafHash) === true ? rebuilt.record : ''
  return { documentId: _id, eventId, leafHash, record, receivedAt }
}

/** Holds the row the MAC that only intake can make, over its organization, its id and its leaf? */
function isAccepted(
  { _id, leafHash, mac }: PendingEvent,
  eventId: string,
  keyset: OrganizationKeyset,
): boolean {
  const wellFormed =
    Buffer.isBuffer(leafHash) &&
    leafHash.length === 32 &&
    Buffer.isBuffer(mac) &&
    _id === `${keyset.organizationId}/${eventId}`
  return wellFormed && intakeMac(keyset, eventId, leafHash).equals(mac)
}

/** Every subject reference in a pending row. */
export function subjectsOf(event: PendingEvent): string[] {
  if (!Array.isArray(event.fields)) return []
  return event.fields.flatMap((field: unknown) =>
    typeof field === 'object' && field !== null && 'subject' in field && typeof field.subject === 'string'
      ? [field.subject]
      : [],
  )
}
