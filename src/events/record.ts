/**
 * The record of an event, and the field commitments it rests on.
 *
 * An event's free-form parts are *fields*, each in a *slot*, in this order (absent parts have none):
 *
 *     actor/subject        the reference of a person actor, `sub_…`
 *     actor                the actor's block
 *     target/<i>/subject   the reference of the i-th target, where it is a person (i decimal, from 0)
 *     target/<i>           the i-th target's block
 *     context              what is left of the context
 *     description          the text
 *     metadata/<n>         the pair [key, value] of the n-th key, keys sorted as RFC 8785 sorts
 *
 * A *block* is the sent members except `type`. A person actor's block takes `context: {ip, userAgent,
 * sessionId}` along, and `event`: the metadata pairs that the action's schema marks personal, as an object (each
 * only where it has a member). `context` and `metadata/<n>` then hold what is left over.
 *
 * Each field has a *commitment*, 32 bytes:
 *
 *     SHA-256( "annals/field/v1" 0x00 eventId 0x00 slot 0x00 salt canonicalJson(value) )
 *
 * with 16 fresh random salt bytes, and canonicalJson as in RFC 8785. The *record* is the RFC 8785 JSON of
 *
 *     {v, organizationId, id, action, category, outcome, version, occurredAt, receivedAt, actorType,
 *      targetTypes, fields}
 *
 * where `v` is 1, times are UTC with three digits, `targetTypes` stand in target order and `fields` is unpadded
 * base64url of SHA-256 over all commitments, concatenated in slot order. It holds nothing free-form, so it can
 * outlive every value. The *leaf hash* is SHA-256(0x00 record), as in RFC 6962.
 *
 * A worked example (test/unit/events/record.test.ts checks every byte of it). The event
 *
 *     id evt_01h455vb4pex5vsknk084sn02q, organization org_acme, action team.member.invited, version 1,
 *     occurredAt 2026-11-25T10:00:00.000Z, receivedAt 2026-11-25T10:00:01.000Z, category account,
 *     outcome success, actor {"type":"service","id":"billing"}, no targets, metadata {"plan":"pro"}
 *
 * with the salts 000102…0f for `actor` and 101112…1f for `metadata/0` has the values `{"id":"billing"}` and
 * `["plan","pro"]`, the commitments
 *
 *     actor       5f975370b6fdac057e87758089a0a4c1821c3f8af085ce86fced6629ce7e8f66
 *     metadata/0  bb015839dc82f5a7e4821cf41188171ba6fef1df624d1386fb07b7de9c7e7dd5
 *
 * the record (one line, broken here)
 *
 *     {"action":"team.member.invited","actorType":"service","category":"account","fields":"v9fhnhwpfKD
 *     GMxuZfjbcfCMHVEnLqEtQvYwPKQGwpMA","id":"evt_01h455vb4pex5vsknk084sn02q","occurredAt":"2026-11-25
 *     T10:00:00.000Z","organizationId":"org_acme","outcome":"success","receivedAt":"2026-11-25T10:00:0
 *     1.000Z","targetTypes":[],"v":1,"version":1}
 *
 * and the leaf hash (hex)
 *
 *     4fdb5d7b0cc40e93aa1cf2bb05448a7908a9f7825aac6c8cd52cc3254fe4d8f9
 */
import { hash } from 'node:crypto'

/** Bytes of a salt. */
export const saltBytes = 16

/** The envelope of an event: everything in its record that is not a digest. */
export interface Envelope {
  readonly organizationId: string
  readonly id: string
  readonly action: string
  readonly category: string
  readonly outcome: string
  readonly version: number
  readonly occurredAt: Date
  readonly receivedAt: Date
  readonly actorType: string
  readonly targetTypes: readonly string[]
}

const recordVersion = 1
const domain = 'annals/field/v1\0'
const scratch = Buffer.allocUnsafeSlow(65_536)
scratch.write(domain, 0, 'latin1')

/**
 * The commitment of one field, 32 bytes.
 * @param salt 16 random bytes, never derived from anything
 * @param json canonical JSON of the value
 */
export function fieldCommitment(eventId: string, slot: string, salt: Uint8Array, json: string): Buffer {
  return Buffer.from(commitmentText(eventId, slot, salt, json), 'latin1')
}

/** `fields` of the record: unpadded base64url SHA-256 over the commitments in slot order. */
export function fieldsDigest(commitments: readonly Uint8Array[]): string {
  return hash('sha256', Buffer.concat(commitments), 'base64url')
}

/**
 * The commitments of one event, collected in slot order: `fieldCommitment` and `fieldsDigest` in one pass, without
 * a Buffer for each of the commitments that nobody keeps.
 */
export class CommitmentList {
  #bytes = commitmentScratch
  #length = 0

  constructor(private readonly eventId: string) {}

  add(slot: string, salt: Uint8Array, json: string): void {
    this.#reserve()
    this.#bytes.write(commitmentText(this.eventId, slot, salt, json), this.#length, 'latin1')
    this.#length += commitmentBytes
  }

  /** As `add`, of parts that are in UTF-8 already: `from` is read, and not kept. */
  addEncoded(from: Buffer, { slotAt, slotEnd, saltAt, jsonAt, jsonEnd }: EncodedField): void {
    this.#reserve()
    const enough = domain.length + this.eventId.length + slotEnd - slotAt + 2 + saltBytes + jsonEnd - jsonAt
    let bytes = scratch
    if (enough > scratch.length) {
      bytes = Buffer.allocUnsafe(enough)
      bytes.write(domain, 0, 'latin1')
    }
    let end = domain.length
    end += bytes.write(this.eventId, end, 'latin1')
    bytes[end++] = 0
    end += from.copy(bytes, end, slotAt, slotEnd)
    bytes[end++] = 0
    end += from.copy(bytes, end, saltAt, saltAt + saltBytes)
    end += from.copy(bytes, end, jsonAt, jsonEnd)
    this.#bytes.write(hash('sha256', bytes.subarray(0, end), 'binary'), this.#length, 'latin1')
    this.#length += commitmentBytes
  }

  /** Adds a commitment that is known (32 bytes): its value is encrypted, or went. */
  addKnown(commitment: Uint8Array): void {
    this.#reserve()
    this.#bytes.set(commitment, this.#length)
    this.#length += commitmentBytes
  }

  /** A copy of the one added last. */
  last(): Buffer {
    return Buffer.from(this.#bytes.subarray(this.#length - commitmentBytes, this.#length))
  }

  /** `fields` of the record. */
  digest(): string {
    return hash('sha256', this.#bytes.subarray(0, this.#length), 'base64url')
  }

  #reserve(): void {
    if (this.#length + commitmentBytes > this.#bytes.length) {
      this.#bytes = Buffer.concat([this.#bytes, Buffer.allocUnsafe(this.#bytes.length)])
    }
  }
}

/** Where the parts of a field lie; the salt has `saltBytes`. Ends are exclusive. */
export interface EncodedField {
  readonly slotAt: number
  readonly slotEnd: number
  readonly saltAt: number
  readonly jsonAt: number
  readonly jsonEnd: number
}

/** Bytes of a commitment. */
export const commitmentBytes = 32
/** Shared by all lists: an event is protected without waiting, so no two are under way. */
const commitmentScratch = Buffer.allocUnsafeSlow(commitmentBytes * 512)

/** A commitment, one byte a character. */
function commitmentText(eventId: string, slot: string, salt: Uint8Array, json: string): string {
  const headBytes = domain.length + eventId.length + slot.length + 2 + salt.length
  // A UTF-16 unit is at most three bytes of UTF-8; the common short field needs no buffer of its own.
  const enough = headBytes + json.length * 3
  let bytes = scratch
  if (enough > scratch.length) {
    bytes = Buffer.allocUnsafe(enough)
    bytes.write(domain, 0, 'latin1')
  }
  let end = domain.length
  end += bytes.write(eventId, end, 'latin1')
  bytes[end++] = 0
  end += bytes.write(slot, end, 'latin1')
  bytes[end++] = 0
  bytes.set(salt, end)
  end += salt.length
  end += bytes.write(json, end, 'utf8')
  return hash('sha256', bytes.subarray(0, end), 'binary')
}

/**
 * The record's canonical JSON. Every string in it has passed a pattern without quotes, backslashes, control
 * characters or characters beyond ASCII, so that it stands for itself; a property test holds the result equal to
 * the general `canonicalJson`.
 */
export function recordJson(envelope: Envelope, fields: string): string {
  const { targetTypes } = envelope
  const types = targetTypes.length === 0 ? '[]' : `["${targetTypes.join('","')}"]`
  return (
    `{"action":"${envelope.action}","actorType":"${envelope.actorType}","category":"${envelope.category}",` +
    `"fields":"${fields}","id":"${envelope.id}","occurredAt":"${envelope.occurredAt.toISOString()}",` +
    `"organizationId":"${envelope.organizationId}","outcome":"${envelope.outcome}",` +
    `"receivedAt":"${envelope.receivedAt.toISOString()}","targetTypes":${types},` +
    `"v":${String(recordVersion)},"version":${String(envelope.version)}}`
  )
}

/** SHA-256(0x00 record), 32 bytes: RFC 6962's leaf hash. */
export function leafHashOf(record: string): Buffer {
  const bytes = Buffer.allocUnsafe(1 + record.length * 3)
  bytes[0] = 0
  const end = 1 + bytes.write(record, 1, 'utf8')
  return hash('sha256', bytes.subarray(0, end), 'buffer')
}
