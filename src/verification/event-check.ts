/**
 * From an event in its verifiable form to its record: the second implementation of the rules in events/record.ts. It
 * shares no code with the one that intake and sealing use, and runs anywhere: the hash function comes in.
 *
 *     commitment = SHA-256("annals/field/v1" 0x00 eventId 0x00 slot 0x00 salt value)     value: canonical JSON text
 *     fields     = base64url(SHA-256(commitments in slot order)), unpadded
 *     record     = {"action":…,"actorType":…,"category":…,"fields":…,"id":…,"occurredAt":…,"organizationId":…,
 *                   "outcome":…,"receivedAt":…,"targetTypes":[…],"v":1,"version":…}
 *
 * A person's element stands for two slots, `<slot>/subject` (the reference) and `<slot>` (the block). What is read is
 * nobody's word for anything: a form that is not one of docs/formats.md is `event_malformed`.
 */
import type { FieldReport, FieldState, FindingCode } from './contract.js'

export interface EventProblem {
  readonly code: Extract<
    FindingCode,
    'event_malformed' | 'event_misplaced' | 'envelope_differs' | 'fields_differ' | 'record_differs'
  >
  readonly detail: string
  readonly slots?: readonly string[]
}

export interface EventCheck {
  readonly fields: readonly FieldReport[]
  /** Absent where the event makes its record. */
  readonly problem?: EventProblem
  /** The record that the event makes; absent where its form is none. */
  readonly record?: string
}

/** Says whether something sealed accounts for a value of this event that is gone. */
export type FieldExcuse = (slot: string, subject: string | undefined) => 'erased' | 'expired' | undefined

/**
 * Checks an event against the record that the log has of it.
 * @param event the verifiable form, as parsed from JSON
 * @param record canonical JSON that was found to make the leaf; undefined where it is gone: compare `record` yourself
 */
export type CheckEvent = (event: unknown, record: string | undefined, excuse?: FieldExcuse) => EventCheck

/** What a platform has for bytes. They are written in place: a dozen small arrays an event would cost more than the hashing. */
export interface ByteTools<Bytes extends Uint8Array> {
  alloc(length: number): Bytes
  /** Writes the SHA-256 of `data`, 32 bytes. */
  hashInto(data: Uint8Array, into: Bytes, at: number): void
  /** Writes the bytes of standard base64, and says how many; as many as it likes, but not those, for what is none. */
  base64Into(text: string, into: Bytes, at: number): number
}

const saltBytes = 16
const commitmentBytes = 32
const envelopeTexts = [
  'action',
  'actorType',
  'category',
  'id',
  'occurredAt',
  'organizationId',
  'outcome',
  'receivedAt',
] as const

type EnvelopeText = (typeof envelopeTexts)[number]
/** The members of a record, whose names stand in the order in which it is written. */
type RecordMembers = Record<EnvelopeText, string> & {
  readonly fields: string
  readonly targetTypes: readonly string[]
  readonly version: number
}

export function createCheckEvent<Bytes extends Uint8Array>(tools: ByteTools<Bytes>): CheckEvent {
  const commitments = new Commitments(tools)
  return (event, record, excuse) => {
    const loose = asObject(event)
    const envelope = loose === undefined ? undefined : envelopeOf(loose)
    const collected =
      loose === undefined || envelope === undefined
        ? undefined
        : collectFields(envelope.id, loose['fields'], commitments, excuse)
    if (envelope === undefined || collected === undefined)
      return { fields: [], problem: { code: 'event_malformed', detail: 'the event has not the form of one' } }
    const { fields, differing } = collected
    const made = recordOf({ ...envelope, fields: commitments.digest() })
    if (differing.length > 0) {
      const detail = 'the value does not make the commitment that stands beside it'
      return { fields, record: made, problem: { code: 'fields_differ', detail, slots: differing } }
    }
    if (record === undefined || record === made) return { fields, record: made }
    return { fields: fields.map(suspect), record: made, problem: differenceOf(record, made, fields) }
  }
}

/** Nothing can be said of the fields of an event that does not make its record. */
const suspect = ({ slot }: FieldReport): FieldReport => ({ slot, state: 'missing' })

function differenceOf(record: string, made: string, fields: readonly FieldReport[]): EventProblem {
  const expected = parsedRecord(record)
  const actual = parsedRecord(made)
  if (expected === undefined || actual === undefined)
    return { code: 'record_differs', detail: 'the record is no JSON object' }
  const names = Object.keys(actual).filter(
    (name) => JSON.stringify(actual[name]) !== JSON.stringify(expected[name]),
  )
  if (names.includes('id')) {
    return { code: 'event_misplaced', detail: 'the record there is of another event' }
  }
  const envelope = names.filter((name) => name !== 'fields')
  if (envelope.length > 0) {
    return { code: 'envelope_differs', detail: `the record has another ${envelope.join(', ')}` }
  }
  if (names.length === 0) return { code: 'record_differs', detail: 'the record has members that none has' }
  return {
    code: 'fields_differ',
    detail: 'a value, a salt or a commitment is not what was committed to',
    slots: fields.map(({ slot }) => slot),
  }
}

const parsedRecord = (text: string): Record<string, unknown> | undefined => {
  try {
    return asObject(JSON.parse(text))
  } catch {
    return undefined
  }
}

function envelopeOf(event: Record<string, unknown>): Omit<RecordMembers, 'fields'> | undefined {
  const { version, targetTypes, v } = event
  const isEnvelope =
    v === 1 &&
    envelopeTexts.every((name) => typeof event[name] === 'string') &&
    Number.isSafeInteger(version) &&
    Array.isArray(targetTypes) &&
    targetTypes.every((type) => typeof type === 'string')
  // Each member was looked at just now.
  return isEnvelope ? (event as Omit<RecordMembers, 'fields'>) : undefined
}

/** RFC 8785: the names stand in order, and the values are texts, integers and lists of texts. */
function recordOf(members: RecordMembers): string {
  const { action, actorType, category, fields, id, occurredAt } = members
  const { organizationId, outcome, receivedAt, targetTypes, version } = members
  return JSON.stringify({
    action,
    actorType,
    category,
    fields,
    id,
    occurredAt,
    organizationId,
    outcome,
    receivedAt,
    targetTypes,
    v: 1,
    version,
  })
}

interface Collected {
  readonly fields: FieldReport[]
  /** Slots that have a value and a commitment which do not belong together. */
  readonly differing: string[]
}

function collectFields(
  eventId: string,
  list: unknown,
  commitments: FieldCommitments,
  excuse: FieldExcuse | undefined,
): Collected | undefined {
  if (!Array.isArray(list)) return undefined
  const found: Collected = { fields: [], differing: [] }
  commitments.begin(eventId)
  for (const element of list as readonly unknown[]) {
    const field = asObject(element)
    if (field === undefined || !collectField(field, commitments, excuse, found)) return undefined
  }
  return found
}

/** False where the element has none of the forms. */
function collectField(
  field: Record<string, unknown>,
  commitments: FieldCommitments,
  excuse: FieldExcuse | undefined,
  { fields, differing }: Collected,
): boolean {
  const { slot, subject, subjectSalt, salt, value, commitment } = field
  if (typeof slot !== 'string') return false
  if (subject !== undefined) {
    const name = `${slot}/subject`
    if (typeof subject !== 'string' || !commitments.add(name, subjectSalt, JSON.stringify(subject)))
      return false
    fields.push({ slot: name, state: 'intact' })
  }
  if (typeof value === 'string' && commitments.add(slot, salt, value)) {
    const differs = commitment !== undefined && !commitments.lastIs(commitment)
    if (differs) differing.push(slot)
    fields.push({ slot, state: differs ? 'missing' : 'intact' })
    return true
  }
  if (!commitments.addKnown(commitment)) return false
  fields.push({ slot, state: stateWithoutValue(slot, subject, field['withheld'], excuse) })
  return true
}

function stateWithoutValue(
  slot: string,
  subject: unknown,
  withheld: unknown,
  excuse: FieldExcuse | undefined,
): FieldState {
  const reference = typeof subject === 'string' ? subject : undefined
  if (reference !== undefined && withheld === true) return 'withheld'
  return excuse?.(slot, reference) ?? 'missing'
}

/** The commitments of one event, in slot order; salts and commitments come as they stand in it. */
type FieldCommitments = Pick<Commitments<Uint8Array>, 'begin' | 'add' | 'addKnown' | 'lastIs' | 'digest'>

const encoder = new TextEncoder()
const domain = encoder.encode('annals/field/v1\0')
/** Longer than nearly all fields. */
const usualFieldBytes = 32_768
const usualFields = 256
/** Up to this length a loop is quicker than the encoder. */
const shortText = 48

class Commitments<Bytes extends Uint8Array> {
  #input: Bytes
  #list: Bytes
  #length = 0
  /** Where the input goes on after `domain 00 eventId 00`. */
  #start = 0
  readonly #one: Bytes

  constructor(private readonly tools: ByteTools<Bytes>) {
    this.#input = tools.alloc(usualFieldBytes)
    this.#input.set(domain)
    this.#list = tools.alloc(usualFields * commitmentBytes)
    this.#one = tools.alloc(commitmentBytes)
  }

  begin(eventId: string): void {
    this.#length = 0
    this.#reserveInput(domain.length + 3 * eventId.length + 1)
    this.#start = writeText(this.#input, domain.length, eventId)
    this.#input[this.#start++] = 0
  }

  /** SHA-256("annals/field/v1" 00 eventId 00 slot 00 salt value); false where the salt is none. */
  add(slot: string, salt: unknown, value: string): boolean {
    this.#reserveInput(this.#start + 3 * (slot.length + value.length) + 1 + saltBytes)
    let end = writeText(this.#input, this.#start, slot)
    this.#input[end++] = 0
    if (!this.#decode(salt, saltBytes, this.#input, end)) return false
    end = writeText(this.#input, end + saltBytes, value)
    this.#reserveList()
    this.tools.hashInto(this.#input.subarray(0, end), this.#list, this.#length)
    this.#length += commitmentBytes
    return true
  }

  /** One whose value is not here; false where it is none. */
  addKnown(commitment: unknown): boolean {
    this.#reserveList()
    if (!this.#decode(commitment, commitmentBytes, this.#list, this.#length)) return false
    this.#length += commitmentBytes
    return true
  }

  /** Is the one that was added last this one? */
  lastIs(commitment: unknown): boolean {
    if (!this.#decode(commitment, commitmentBytes, this.#one, 0)) return false
    const last = this.#length - commitmentBytes
    return this.#one.every((byte, index) => byte === this.#list[last + index])
  }

  /** `fields` of the record. */
  digest(): string {
    this.tools.hashInto(this.#list.subarray(0, this.#length), this.#one, 0)
    return base64url(this.#one)
  }

  #decode(text: unknown, length: number, into: Bytes, at: number): boolean {
    // With its padding, base64 of so many bytes has this many characters.
    if (typeof text !== 'string' || text.length !== 4 * Math.ceil(length / 3)) return false
    return this.tools.base64Into(text, into, at) === length
  }

  #reserveInput(length: number): void {
    if (length <= this.#input.length) return
    const larger = this.tools.alloc(length)
    larger.set(this.#input.subarray(0, this.#start))
    this.#input = larger
  }

  #reserveList(): void {
    // Decoding may write a byte or two more than it should before it says so.
    if (this.#length + 2 * commitmentBytes <= this.#list.length) return
    const larger = this.tools.alloc(2 * this.#list.length)
    larger.set(this.#list)
    this.#list = larger
  }
}

/** Writes UTF-8. @returns where it ends */
function writeText(bytes: Uint8Array, at: number, text: string): number {
  if (text.length <= shortText) {
    let end = at
    for (let index = 0; index < text.length; index += 1) {
      const unit = text.charCodeAt(index)
      if (unit > 127) return at + encoder.encodeInto(text, bytes.subarray(at)).written
      bytes[end++] = unit
    }
    return end
  }
  return at + encoder.encodeInto(text, bytes.subarray(at)).written
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/** RFC 4648 section 5, without padding. */
function base64url(bytes: Uint8Array): string {
  let text = ''
  for (let at = 0; at < bytes.length; at += 3) {
    const [a = 0, b = 0, c = 0] = bytes.subarray(at, at + 3)
    const quad = (a << 16) | (b << 8) | c
    const digits = Math.min(4, bytes.length - at + 1)
    for (let digit = 0; digit < digits; digit += 1) text += alphabet.charAt((quad >> (18 - 6 * digit)) & 63)
  }
  return text
}

function asObject(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined
}
