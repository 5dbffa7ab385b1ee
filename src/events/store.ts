/**
 * The stored form of an event, and the one collection it lies in while hot.
 *
 * `fields` mirrors the record's slots (record.ts). Each element is one of
 *
 *     a clear field      {slot, salt, value, terms?}            value = canonical JSON text
 *     ... once removed   {slot, commitment}                     written in the update that removes value and salt
 *     a person's block   {slot, subject, subjectSalt, sealed, commitment, terms?}
 *     ... once erased    {slot, subject, subjectSalt, commitment}
 *
 * so that the leaf can be rebuilt whatever went. A person's element stands for two slots: `<slot>/subject`, the
 * committed reference, and `<slot>`. Values are JSON text and not BSON: the text is what the commitment covers,
 * it survives any key (`$`, dots) and any depth, and nothing is converted on the way in or out.
 *
 * The first element has no slot and only `terms`, those of the envelope: one index over `fields.terms` then
 * serves every filter, and a field's own terms still go with it.
 */
import type { Collection, Db } from 'mongodb'
import { collectionNames } from '../mongo/collections.js'

export interface StoredEnvelopeTerms {
  readonly terms: readonly bigint[]
}

export interface StoredClearField {
  readonly slot: string
  /** 16 bytes. */
  readonly salt: Buffer
  /** Canonical JSON. */
  readonly value: string
  readonly terms?: readonly bigint[]
}

export interface StoredRemovedField {
  readonly slot: string
  readonly commitment: Buffer
}

export interface StoredPerson {
  readonly slot: string
  /** `sub_…` */
  readonly subject: string
  readonly subjectSalt: Buffer
  /** AES-256-GCM under the subject's key over salt ‖ canonical JSON; gone once erased. */
  readonly sealed?: Buffer
  readonly commitment: Buffer
  readonly terms?: readonly bigint[]
  /** `erasure_…` of the request under whose key `sealed` is, where it may not go yet: out of ordinary reading. */
  readonly restricted?: string
}

export type StoredField = StoredEnvelopeTerms | StoredClearField | StoredRemovedField | StoredPerson

export interface StoredEvent {
  /** `<organizationId>/<event id>` */
  readonly _id: string
  readonly organizationId: string
  /** Version of the record's format. */
  readonly v: 1
  readonly action: string
  readonly category: string
  readonly outcome: string
  /** The event's own version: of the action's schema. */
  readonly version: number
  readonly occurredAt: Date
  readonly receivedAt: Date
  readonly actorType: string
  readonly targetTypes: readonly string[]
  readonly fields: readonly StoredField[]
  /** 32 bytes. */
  readonly leafHash: Buffer
  /** HMAC under the organization's intake key: a row slipped into the database has none that fits. */
  readonly mac: Buffer
  /** HMAC over the body, where the post was idempotent; goes with the content. */
  readonly fingerprint?: Buffer
  /** True until sealed, or set aside. */
  readonly pending?: true
  /** Why a pending row is never sealed (transparency-log/examine.ts): nothing waits for it any more. */
  readonly setAside?: SetAsideReason
  /** A repeat was answered from this event while it was pending (subjects/leases.ts). */
  readonly answered?: true
}

/**
 * `invalid_mac`: no row of intake's. `unknown_organization`: of an organization that was never provisioned.
 * `already_sealed`: another leaf stands in the log under its id.
 */
export type SetAsideReason = 'invalid_mac' | 'unknown_organization' | 'already_sealed'

export type EventCollection = Collection<StoredEvent>

export const eventCollection = (db: Db): EventCollection => db.collection(collectionNames.events)

export const eventDocumentId = (organizationId: string, eventId: string) => `${organizationId}/${eventId}`

/** The event id inside a document id. */
export const eventIdOf = (documentId: string) => documentId.slice(documentId.indexOf('/') + 1)

/** The indexes that lists and searches are led by; a query names the one it takes. */
export const eventIndexes = {
  time: 'organization_time',
  terms: 'organization_terms_time',
  setAside: 'set_aside',
} as const

/** Makes the indexes of the hot store; changes nothing where they are there. */
export async function ensureEventIndexes(events: EventCollection): Promise<void> {
  await events.createIndexes([
    { key: { organizationId: 1, occurredAt: -1, _id: -1 }, name: eventIndexes.time },
    {
      key: { organizationId: 1, 'fields.terms': 1, occurredAt: -1, _id: -1 },
      name: eventIndexes.terms,
    },
    {
      // What sealing waits for, by organization and then in the order of receipt: nothing that was accepted earlier
      // is overtaken. `pending` is part of the key so that "which organizations" is a skip scan, and needs no document.
      key: { pending: 1, organizationId: 1, receivedAt: 1 },
      name: 'pending_received',
      partialFilterExpression: { pending: true },
    },
    {
      // Hardly any: no other row has a key in it.
      key: { organizationId: 1, setAside: 1 },
      name: eventIndexes.setAside,
      partialFilterExpression: { setAside: { $exists: true } },
    },
  ])
}
