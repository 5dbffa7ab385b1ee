/**
 * From the stored form of an event back to its record and leaf hash, whatever was erased of it meanwhile. Sealing
 * and verification stand on this one function: it must give the bytes that intake committed to, or admit that it
 * cannot.
 *
 * The stored form is not trusted: whoever can write to the database can have put anything there. So every member is
 * looked at before it is used, and what has not the form of store.ts rebuilds to nothing.
 */
import {
  fieldCommitment,
  CommitmentList,
  commitmentBytes,
  leafHashOf,
  recordJson,
  saltBytes,
} from './record.js'
import { eventIdOf, type StoredEvent } from './store.js'

export interface RebuiltLeaf {
  /** The record's canonical JSON. */
  readonly record: string
  /** 32 bytes. */
  readonly leafHash: Buffer
}

/** One slot of the record and its commitment. */
export interface SlotCommitment {
  readonly slot: string
  /** 32 bytes. */
  readonly commitment: Buffer
}

/** What rebuilding reads of the stored form. Ciphertexts and search terms are not among it. */
export type RebuildableEvent = Pick<
  StoredEvent,
  | '_id'
  | 'organizationId'
  | 'v'
  | 'action'
  | 'category'
  | 'outcome'
  | 'version'
  | 'occurredAt'
  | 'receivedAt'
  | 'actorType'
  | 'targetTypes'
> & { readonly fields: readonly object[] }

/** Rebuilds record and leaf hash; undefined where the stored form is not one that intake makes. Never throws. */
export function rebuildLeaf(stored: RebuildableEvent): RebuiltLeaf | undefined {
  const id = eventIdOf(stored._id)
  const commitments = new CommitmentList(id)
  if (!hasEnvelope(stored) || !collect(stored.fields, commitments)) return undefined
  const record = recordJson({ ...envelopeOf(stored), id }, commitments.digest())
  return { record, leafHash: leafHashOf(record) }
}

/** Every slot with its commitment, in slot order; undefined as `rebuildLeaf`. */
export function rebuildCommitments(stored: RebuildableEvent): SlotCommitment[] | undefined {
  const id = eventIdOf(stored._id)
  const slots: SlotCommitment[] = []
  const collected = collect(stored.fields, {
    add: (slot, salt, json) => slots.push({ slot, commitment: fieldCommitment(id, slot, salt, json) }),
    addKnown: (commitment, slot) => slots.push({ slot, commitment: Buffer.from(commitment) }),
  })
  return collected ? slots : undefined
}

interface Collector {
  add(slot: string, salt: Uint8Array, json: string): void
  addKnown(commitment: Uint8Array, slot: string): void
}

/** The members that a stored field may have, as unknown as they are. */
interface LooseField {
  readonly slot?: unknown
  readonly salt?: unknown
  readonly value?: unknown
  readonly subject?: unknown
  readonly subjectSalt?: unknown
  readonly commitment?: unknown
}

/** Gives every commitment to `into`, in stored order. False where a field has none of the forms of store.ts. */
function collect(fields: unknown, into: Collector): boolean {
  if (!Array.isArray(fields)) return false
  for (const field of fields as readonly unknown[]) {
    if (typeof field !== 'object' || field === null) return false
    const { slot, salt, value, subject, subjectSalt, commitment }: LooseField = field
    // The terms of the envelope are no field.
    if (slot === undefined) continue
    if (typeof slot !== 'string') return false
    if (subject !== undefined) {
      if (typeof subject !== 'string' || !isBytes(subjectSalt, saltBytes)) return false
      into.add(`${slot}/subject`, subjectSalt, `"${subject}"`)
    }
    if (subject === undefined && typeof value === 'string' && isBytes(salt, saltBytes)) {
      into.add(slot, salt, value)
    } else if (isBytes(commitment, commitmentBytes)) {
      into.addKnown(commitment, slot)
    } else {
      return false
    }
  }
  return true
}

function envelopeOf(stored: RebuildableEvent) {
  const {
    organizationId,
    action,
    category,
    outcome,
    version,
    occurredAt,
    receivedAt,
    actorType,
    targetTypes,
  } = stored
  return {
    organizationId,
    action,
    category,
    outcome,
    version,
    occurredAt,
    receivedAt,
    actorType,
    targetTypes,
  }
}

function hasEnvelope(stored: Readonly<Record<keyof RebuildableEvent, unknown>>): boolean {
  return (
    stored.v === 1 &&
    typeof stored.organizationId === 'string' &&
    typeof stored.action === 'string' &&
    typeof stored.category === 'string' &&
    typeof stored.outcome === 'string' &&
    typeof stored.actorType === 'string' &&
    Number.isSafeInteger(stored.version) &&
    isTime(stored.occurredAt) &&
    isTime(stored.receivedAt) &&
    Array.isArray(stored.targetTypes) &&
    stored.targetTypes.every((type) => typeof type === 'string')
  )
}

const isTime = (value: unknown): boolean => value instanceof Date && !Number.isNaN(value.getTime())

const isBytes = (value: unknown, length: number): value is Uint8Array =>
  value instanceof Uint8Array && value.length === length
