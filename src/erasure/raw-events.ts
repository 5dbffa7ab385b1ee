/**
 * Looks into the BSON of stored events without decoding them: where their texts and sealed blocks lie. The form is that of
 * `events/store.ts`; what does not look like it is for the ordinary decoder to judge.
 *
 * BSON (https://bsonspec.org): a document is its length (4 bytes, little-endian), then elements of a type byte, a name
 * that ends with NUL, and a value, then a NUL.
 */

/** A person's block: plain positions in the document's bytes. */
export interface RawBlock {
  readonly slot: string
  /** `sub_…` */
  readonly subject: string
  /** Null where it is gone. */
  readonly sealed: Buffer | null
  readonly restricted: boolean
}

export interface RawEvent {
  /** `<organizationId>/<event id>` */
  readonly id: string
  readonly blocks: readonly RawBlock[]
  /** Starts and ends of the clear values, in turns. */
  readonly values: readonly number[]
}

const types = { string: 2, document: 3, array: 4, binary: 5 } as const
/** Bytes of values whose type alone says it: double, ObjectId, boolean, date, null, int32, timestamp, int64, decimal. */
const fixed: Readonly<Partial<Record<number, number>>> = {
  1: 8,
  7: 12,
  8: 1,
  9: 8,
  10: 0,
  16: 4,
  17: 8,
  18: 8,
  19: 16,
}

/** @returns undefined where it is not as events are stored */
export function readRawEvent(bytes: Buffer): RawEvent | undefined {
  let id: string | undefined
  const blocks: RawBlock[] = []
  const values: number[] = []
  const end = bytes.length - 1
  let at = 4
  while (at < end) {
    const type = bytes[at] ?? 0
    const nameEnd = endOfName(bytes, at + 1)
    const value = nameEnd + 1
    const length = lengthOf(bytes, type, value)
    if (length === undefined) return undefined
    if (type === types.string && named(bytes, at + 1, nameEnd, idName))
      id = bytes.toString('utf8', value + 4, value + length - 1)
    else if (type === types.array && named(bytes, at + 1, nameEnd, fieldsName)) {
      if (!readFields(bytes, value + 4, value + length - 1, blocks, values)) return undefined
    }
    at = value + length
  }
  return id === undefined ? undefined : { id, blocks, values }
}

const idName = Buffer.from('_id')
const fieldsName = Buffer.from('fields')

const named = (bytes: Buffer, start: number, end: number, name: Buffer) =>
  end - start === name.length && bytes.compare(name, 0, name.length, start, end) === 0

function readFields(
  bytes: Buffer,
  start: number,
  end: number,
  blocks: RawBlock[],
  values: number[],
): boolean {
  let at = start
  while (at < end) {
    if (bytes[at] !== types.document) return false
    const value = endOfName(bytes, at + 1) + 1
    const length = int32(bytes, value)
    if (!readField(bytes, value + 4, value + length - 1, blocks, values)) return false
    at = value + length
  }
  return true
}

function readField(bytes: Buffer, start: number, end: number, blocks: RawBlock[], values: number[]): boolean {
  // Where they stand: most fields have no subject, and nobody asks for the slot of those.
  let slotAt = 0
  let slotEnd = 0
  let subject: string | undefined
  let sealed: Buffer | null = null
  let restricted = false
  let at = start
  while (at < end) {
    const type = bytes[at] ?? 0
    const nameEnd = endOfName(bytes, at + 1)
    const value = nameEnd + 1
    const length = lengthOf(bytes, type, value)
    if (length === undefined) return false
    // Names of fields differ by their first bytes and lengths: slot, salt, value, terms, subject, subjectSalt, sealed, …
    const nameLength = nameEnd - at - 1
    const first = bytes[at + 1]
    if (type === types.string) {
      if (nameLength === 5 && first === 118) values.push(value + 4, value + length - 1)
      else if (nameLength === 4 && first === 115) {
        slotAt = value + 4
        slotEnd = value + length - 1
      } else if (nameLength === 7 && first === 115)
        subject = bytes.toString('latin1', value + 4, value + length - 1)
      else if (nameLength === 10 && first === 114) restricted = true
      else return false
    } else if (type === types.binary && nameLength === 6 && first === 115)
      sealed = bytes.subarray(value + 5, value + length)
    at = value + length
  }
  if (subject !== undefined && slotEnd > 0)
    blocks.push({ slot: bytes.toString('latin1', slotAt, slotEnd), subject, sealed, restricted })
  return true
}

/** Names are a few bytes long: a loop is over before a call of the runtime has begun. */
function endOfName(bytes: Buffer, from: number): number {
  let at = from
  while (at < bytes.length && bytes[at] !== 0) at += 1
  return at
}

const int32 = (bytes: Buffer, at: number): number =>
  (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24)

/** Bytes of a value, its own length included; undefined for a type that no event has. */
function lengthOf(bytes: Buffer, type: number, at: number): number | undefined {
  switch (type) {
    case types.string:
      return 4 + int32(bytes, at)
    case types.document:
    case types.array:
      return int32(bytes, at)
    case types.binary:
      return 5 + int32(bytes, at)
    default:
      return fixed[type]
  }
}
