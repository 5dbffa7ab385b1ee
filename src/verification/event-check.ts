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
import type { Sha256 } from '../transparency-log/hash.js'
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

export interface EventRules {
  readonly sha256: Sha256
  /** Strict standard base64; undefined for anything else. */
  readonly fromBase64: (text: string) => Uint8Array | undefined
  /** Whether something sealed accounts for a value that is gone. */
  readonly excuse?: (slot: string, subject: string | undefined) => 'erased' | 'expired' | undefined
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

/**
 * Checks an event against the record that the log has of it.
 * @param event the verifiable form, as parsed from JSON
 * @param record canonical JSON that was found to make the leaf; undefined where it is gone: compare `record` yourself
 */
export function checkEvent(event: unknown, record: string | undefined, rules: EventRules): EventCheck {
  const loose = asObject(event)
  const envelope = loose === undefined ? undefined : envelopeOf(loose)
  const collected =
    loose === undefined || envelope === undefined
      ? undefined
      : collectFields(envelope.id, loose['fields'], rules)
  if (envelope === undefined || collected === undefined)
    return { fields: [], problem: { code: 'event_malformed', detail: 'the event has not the form of one' } }
  const { fields, commitments, differing } = collected
  const made = recordOf({ ...envelope, fields: base64url(rules.sha256(join(commitments))) })
  if (differing.length > 0) {
    const detail = 'the value does not make the commitment that stands beside it'
    return { fields, record: made, problem: { code: 'fields_differ', detail, slots: differing } }
  }
  if (record === undefined || record === made) return { fields, record: made }
  return { fields: fields.map(suspect), record: made, problem: differenceOf(record, made, fields) }
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
  readonly commitments: Uint8Array[]
  /** Slots that have a value and a commitment which do not belong together. */
  readonly differing: string[]
}

function collectFields(eventId: string, list: unknown, rules: EventRules): Collected | undefined {
  if (!Array.isArray(list)) return undefined
  const found: Collected = { fields: [], commitments: [], differing: [] }
  for (const element of list as readonly unknown[]) {
    const field = asObject(element)
    if (field === undefined || !collectField(eventId, field, rules, found)) return undefined
  }
  return found
}

/** False where the element has none of the forms. */
function collectField(
  eventId: string,
  field: Record<string, unknown>,
  rules: EventRules,
  into: Collected,
): boolean {
  const { slot, subject, value } = field
  if (typeof slot !== 'string') return false
  const add = (name: string, commitment: Uint8Array, state: FieldState) => {
    into.commitments.push(commitment)
    into.fields.push({ slot: name, state })
  }
  if (subject !== undefined) {
    const subjectSalt = bytesOf(field['subjectSalt'], saltBytes, rules)
    if (typeof subject !== 'string' || subjectSalt === undefined) return false
    const name = `${slot}/subject`
    add(name, commitmentOf(eventId, name, subjectSalt, JSON.stringify(subject), rules), 'intact')
  }
  const stated = bytesOf(field['commitment'], commitmentBytes, rules)
  const salt = bytesOf(field['salt'], saltBytes, rules)
  if (salt !== undefined && typeof value === 'string') {
    const commitment = commitmentOf(eventId, slot, salt, value, rules)
    const differs = stated !== undefined && !equalBytes(stated, commitment)
    if (differs) into.differing.push(slot)
    add(slot, commitment, differs ? 'missing' : 'intact')
    return true
  }
  if (stated === undefined) return false
  const reference = typeof subject === 'string' ? subject : undefined
  const withheld = reference !== undefined && field['withheld'] === true
  add(slot, stated, withheld ? 'withheld' : (rules.excuse?.(slot, reference) ?? 'missing'))
  return true
}

const encoder = new TextEncoder()
const domain = encoder.encode('annals/field/v1\0')
/** Longer values than nearly all; written over for each, since hashing does not wait for anything. */
const scratch = new Uint8Array(32_768)
scratch.set(domain)

/** SHA-256("annals/field/v1" 00 eventId 00 slot 00 salt value) */
function commitmentOf(
  eventId: string,
  slot: string,
  salt: Uint8Array,
  value: string,
  { sha256 }: EventRules,
): Uint8Array {
  const most = domain.length + 3 * (eventId.length + slot.length + value.length) + 2 + salt.length
  let bytes = scratch
  if (most > scratch.length) {
    bytes = new Uint8Array(most)
    bytes.set(domain)
  }
  let end = domain.length
  end += encoder.encodeInto(`${eventId}\0${slot}\0`, bytes.subarray(end)).written
  bytes.set(salt, end)
  end += salt.length
  end += encoder.encodeInto(value, bytes.subarray(end)).written
  return sha256(bytes.subarray(0, end))
}

function bytesOf(value: unknown, length: number, { fromBase64 }: EventRules): Uint8Array | undefined {
  const bytes = typeof value === 'string' ? fromBase64(value) : undefined
  return bytes?.length === length ? bytes : undefined
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.length * commitmentBytes)
  parts.forEach((part, index) => all.set(part, index * commitmentBytes))
  return all
}

const equalBytes = (a: Uint8Array, b: Uint8Array) => a.every((byte, index) => byte === b[index])

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
