/**
 * From a row of the hot store, as its BSON came over the wire, to its line of a content file and its leaf, in one pass: no
 * object is made of it, and no text that is only written again. This is a short cut of
 *
 *     archivable(…, BSON.deserialize(row)) and formatContentLine(…)     (segment.ts, which says the format)
 *
 * and never another rule: whatever is not exactly as intake writes it (another member of a field, an integer of another
 * width, text that JSON spells with an escape) is left to them, and a property test holds both to the same bytes.
 */
import { isUtf8 } from 'node:buffer'
import { CommitmentList, commitmentBytes, leafHashOf, recordJson, saltBytes } from '../events/record.js'
import type { RebuiltLeaf } from '../events/rebuild.js'
import { afterElement, ascii, bson, findMembers, leave, nameEndOf, unusual } from './bson-members.js'
import type { LineBuffer } from './line-buffer.js'

/** What the line says; its `leafHash` is the one that the event makes. */
export interface HotRowLine extends RebuiltLeaf {
  readonly occurredAt: Date
}

/**
 * Adds the line of a row. What it says is the row's own word: compare the leaf hash.
 * @param documentId what `_id` has to be
 * @returns undefined, and nothing is added, where the row is not as intake writes it: take the long way
 */
export function addHotRow(
  into: LineBuffer,
  index: number,
  documentId: string,
  row: Buffer,
): HotRowLine | undefined {
  // No part of a row takes more than twice its bytes in a line, but for the names of members.
  const out = into.reserve(row.length * reserveFactor + reserveBytes)
  const writing = new RowWriting(row, out, into.length)
  const line = writing.line(index, documentId)
  if (line !== undefined) into.advanceTo(writing.end)
  return line
}

/** `_id` comes first in what MongoDB stored: type, name and NUL, length, text, NUL. */
export const idOfRow = (row: Buffer): string =>
  row.toString('utf8', idTextAt, idTextAt + row.readInt32LE(idTextAt - 4) - 1)
const idTextAt = 13

const reserveFactor = 6
const reserveBytes = 1_024

/** Members of a row that its line or its leaf has. */
const rowMembers = [
  ...['_id', 'organizationId', 'v', 'action', 'category', 'outcome', 'version', 'occurredAt', 'receivedAt'],
  ...['actorType', 'targetTypes', 'fields'],
].map(ascii)
const [idAt, organizationAt, vAt, actionAt, categoryAt, outcomeAt, versionAt, occurredAtAt, receivedAtAt] = [
  0, 1, 2, 3, 4, 5, 6, 7, 8,
] as const
const [actorTypeAt, targetTypesAt, fieldsAt] = [9, 10, 11] as const

const fieldMembers = [
  ...['slot', 'salt', 'value', 'subject', 'subjectSalt', 'sealed', 'commitment', 'terms', 'restricted'],
].map(ascii)
const [slotAt, saltAt, valueAt, subjectAt, subjectSaltAt, sealedAt, commitmentAt, termsAt, restrictedAt] = [
  0, 1, 2, 3, 4, 5, 6, 7, 8,
] as const

const words = {
  slot: ascii('{"slot":"'),
  salt: ascii('","salt":"'),
  value: ascii('","value":"'),
  subject: ascii('","subject":"'),
  subjectSalt: ascii('","subjectSalt":"'),
  sealed: ascii('","sealed":"'),
  commitment: ascii('","commitment":"'),
  terms: ascii('","terms":"'),
  restricted: ascii('","restricted":"'),
  onlyTerms: ascii('{"terms":"'),
  end: ascii('"}'),
  endOfLine: ascii(']}\n'),
}

const hexDigits = ascii('0123456789abcdef')
const base64Digits = ascii('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/')
const quote = 0x22
const backslash = 0x5c
const comma = 0x2c
const padding = 0x3d
const space = 0x20
const firstBeyondAscii = 0x80
/** A byte order mark is ef bb bf. */
const firstOfMark = 0xef
const termBytes = 8

/** Of the row that is being written: where its members, and those of a field, begin, and their types; 0 = not there. */
const rowAt = new Int32Array(rowMembers.length)
const rowType = new Uint8Array(rowMembers.length)
const fieldAt = new Int32Array(fieldMembers.length)
const fieldType = new Uint8Array(fieldMembers.length)

class RowWriting {
  end: number

  constructor(
    private readonly row: Buffer,
    private readonly out: Buffer,
    start: number,
  ) {
    this.end = start
  }

  line(index: number, documentId: string): HotRowLine | undefined {
    try {
      return this.#line(index, documentId)
    } catch (error) {
      if (error !== unusual) throw error
      return undefined
    }
  }

  #line(index: number, documentId: string): HotRowLine {
    const { row } = this
    findMembers(row, 0, row.length, rowMembers, rowAt, rowType, true)
    if (this.#text(idAt) !== documentId) leave()
    if (rowType[vAt] !== bson.int32 || row.readInt32LE(rowAt[vAt]) !== 1) leave()
    if (rowType[versionAt] !== bson.int32) leave()
    const id = documentId.slice(documentId.indexOf('/') + 1)
    const envelope = {
      organizationId: this.#text(organizationAt),
      id,
      action: this.#text(actionAt),
      category: this.#text(categoryAt),
      outcome: this.#text(outcomeAt),
      version: row.readInt32LE(rowAt[versionAt]),
      occurredAt: this.#time(occurredAtAt),
      receivedAt: this.#time(receivedAtAt),
      actorType: this.#text(actorTypeAt),
      targetTypes: this.#texts(targetTypesAt),
    }
    const { action, category, outcome, version, occurredAt, receivedAt, actorType, targetTypes } = envelope
    const types = targetTypes.length === 0 ? '' : `"${targetTypes.join('","')}"`
    this.end += this.out.write(
      `{"index":${String(index)},"id":"${id}","v":1,"action":"${action}","category":"${category}",` +
        `"outcome":"${outcome}","version":${String(version)},"occurredAt":"${occurredAt.toISOString()}",` +
        `"receivedAt":"${receivedAt.toISOString()}","actorType":"${actorType}","targetTypes":[${types}],"fields":[`,
      this.end,
      'latin1',
    )
    const commitments = new CommitmentList(id)
    this.#fields(commitments)
    this.#put(words.endOfLine)
    const record = recordJson(envelope, commitments.digest())
    return { record, leafHash: leafHashOf(record), occurredAt }
  }

  /** A text of the envelope that stands for itself in JSON. */
  #text(member: number): string {
    if (rowType[member] !== bson.string) leave()
    return this.#plainText(rowAt[member] ?? 0)
  }

  #plainText(at: number): string {
    const { row } = this
    const end = at + 4 + row.readInt32LE(at) - 1
    for (let position = at + 4; position < end; position += 1) if (!isPlain(row[position] ?? 0)) leave()
    return row.toString('latin1', at + 4, end)
  }

  #texts(member: number): string[] {
    const { row } = this
    if (rowType[member] !== bson.array) leave()
    const start = rowAt[member] ?? 0
    const last = start + row.readInt32LE(start) - 1
    const texts: string[] = []
    for (let position = start + 4; position < last;) {
      if (row[position] !== bson.string) leave()
      const at = nameEndOf(row, position + 1) + 1
      position = afterElement(row, bson.string, at)
      if (position > last) leave()
      texts.push(this.#plainText(at))
    }
    return texts
  }

  #time(member: number): Date {
    if (rowType[member] !== bson.date) leave()
    const time = new Date(Number(this.row.readBigInt64LE(rowAt[member])))
    return Number.isNaN(time.getTime()) ? leave() : time
  }

  #fields(commitments: CommitmentList): void {
    const { row } = this
    if (rowType[fieldsAt] !== bson.array) leave()
    const start = rowAt[fieldsAt] ?? 0
    const last = start + row.readInt32LE(start) - 1
    for (let position = start + 4; position < last;) {
      if (position !== start + 4) this.out[this.end++] = comma
      if (row[position] !== bson.document) leave()
      const at = nameEndOf(row, position + 1) + 1
      const end = afterElement(row, bson.document, at)
      if (end > last) leave()
      findMembers(row, at, end, fieldMembers, fieldAt, fieldType, false)
      this.#field(commitments)
      position = end
    }
  }

  #field(commitments: CommitmentList): void {
    if (fieldAt[slotAt] === 0) {
      this.#require(1 << termsAt)
      this.#put(words.onlyTerms)
      this.#terms()
      this.#put(words.end)
      return
    }
    this.#put(words.slot)
    this.#plain(slotAt)
    if (fieldAt[subjectAt] !== 0) this.#person(commitments)
    else if (fieldAt[valueAt] !== 0) this.#clear(commitments)
    else {
      this.#require((1 << slotAt) | (1 << commitmentAt))
      this.#known(commitments)
    }
    this.#put(words.end)
  }

  #clear(commitments: CommitmentList): void {
    this.#require((1 << slotAt) | (1 << saltAt) | (1 << valueAt), 1 << termsAt)
    this.#put(words.salt)
    const salt = this.#bytes(saltAt, saltBytes)
    this.#put(words.value)
    const slot = fieldAt[slotAt] ?? 0
    const value = fieldAt[valueAt] ?? 0
    this.#quoted(valueAt)
    commitments.addEncoded(this.row, {
      slotAt: slot + 4,
      slotEnd: this.#textEnd(slot),
      saltAt: salt,
      jsonAt: value + 4,
      jsonEnd: this.#textEnd(value),
    })
    this.#termsIfAny()
  }

  #person(commitments: CommitmentList): void {
    this.#require(
      (1 << slotAt) | (1 << subjectAt) | (1 << subjectSaltAt) | (1 << commitmentAt),
      (1 << sealedAt) | (1 << termsAt) | (1 << restrictedAt),
    )
    const { row } = this
    this.#put(words.subject)
    this.#plain(subjectAt)
    const subject = fieldAt[subjectAt] ?? 0
    this.#put(words.subjectSalt)
    const salt = this.#bytes(subjectSaltAt, saltBytes)
    const slot = row.toString('latin1', (fieldAt[slotAt] ?? 0) + 4, this.#textEnd(fieldAt[slotAt] ?? 0))
    const reference = row.toString('latin1', subject + 4, this.#textEnd(subject))
    commitments.add(`${slot}/subject`, row.subarray(salt, salt + saltBytes), `"${reference}"`)
    const isThere = fieldAt[sealedAt] !== 0
    if (isThere) {
      this.#put(words.sealed)
      this.#bytes(sealedAt)
    }
    this.#known(commitments)
    // Without a ciphertext neither is written.
    if (!isThere && (fieldAt[termsAt] !== 0 || fieldAt[restrictedAt] !== 0)) leave()
    this.#termsIfAny()
    if (fieldAt[restrictedAt] !== 0) {
      this.#put(words.restricted)
      this.#plain(restrictedAt)
    }
  }

  #known(commitments: CommitmentList): void {
    this.#put(words.commitment)
    const at = this.#bytes(commitmentAt, commitmentBytes)
    commitments.addKnown(this.row.subarray(at, at + commitmentBytes))
  }

  /** A field has these members, and of the others at most those that it may have. */
  #require(needed: number, allowed = 0): void {
    let there = 0
    for (let member = 0; member < fieldMembers.length; member += 1)
      if (fieldAt[member] !== 0) there |= 1 << member
    if ((there & needed) !== needed || (there & ~(needed | allowed)) !== 0) leave()
  }

  #put(word: Uint8Array): void {
    const { out } = this
    let { end } = this
    for (const byte of word) out[end++] = byte
    this.end = end
  }

  /** Where the text ends whose length stands at `at`. */
  #textEnd(at: number): number {
    return at + 4 + this.row.readInt32LE(at) - 1
  }

  #plain(member: number): void {
    if (fieldType[member] !== bson.string) leave()
    const { row, out } = this
    const at = fieldAt[member] ?? 0
    const stop = this.#textEnd(at)
    let { end } = this
    for (let position = at + 4; position < stop; position += 1) {
      const byte = row[position] ?? 0
      if (!isPlain(byte)) leave()
      out[end++] = byte
    }
    this.end = end
  }

  /** A text inside quotes, as JSON.stringify writes it where it has no control character. */
  #quoted(member: number): void {
    if (fieldType[member] !== bson.string) leave()
    const { row, out } = this
    const at = fieldAt[member] ?? 0
    const stop = this.#textEnd(at)
    let { end } = this
    let isAscii = true
    // What decodes UTF-8 drops a byte order mark.
    if (row[at + 4] === firstOfMark) leave()
    for (let position = at + 4; position < stop; position += 1) {
      const byte = row[position] ?? 0
      if (byte === quote || byte === backslash) out[end++] = backslash
      else if (byte < space) leave()
      else if (byte >= firstBeyondAscii) isAscii = false
      out[end++] = byte
    }
    if (!isAscii && !isUtf8(row.subarray(at + 4, stop))) leave()
    this.end = end
  }

  /** Bytes in base64. @returns where they begin in the row */
  #bytes(member: number, length?: number): number {
    const { row, out } = this
    const at = fieldAt[member] ?? 0
    if (fieldType[member] !== bson.binary || row[at + 4] !== 0) leave()
    const bytes = row.readInt32LE(at)
    if (length !== undefined && bytes !== length) leave()
    const start = at + 5
    const stop = start + bytes
    let { end } = this
    let position = start
    for (; position + 3 <= stop; position += 3) {
      const three = ((row[position] ?? 0) << 16) | ((row[position + 1] ?? 0) << 8) | (row[position + 2] ?? 0)
      out[end++] = base64Digits[three >>> 18] ?? 0
      out[end++] = base64Digits[(three >>> 12) & 63] ?? 0
      out[end++] = base64Digits[(three >>> 6) & 63] ?? 0
      out[end++] = base64Digits[three & 63] ?? 0
    }
    if (position < stop) {
      const isTwo = position + 2 === stop
      const left = ((row[position] ?? 0) << 16) | (isTwo ? (row[position + 1] ?? 0) << 8 : 0)
      out[end++] = base64Digits[left >>> 18] ?? 0
      out[end++] = base64Digits[(left >>> 12) & 63] ?? 0
      out[end++] = isTwo ? (base64Digits[(left >>> 6) & 63] ?? 0) : padding
      out[end++] = padding
    }
    this.end = end
    return start
  }

  #termsIfAny(): void {
    if (fieldAt[termsAt] === 0) return
    this.#put(words.terms)
    this.#terms()
  }

  /** 64-bit numbers, in hex digits, the highest first. */
  #terms(): void {
    const { row, out } = this
    if (fieldType[termsAt] !== bson.array) leave()
    const start = fieldAt[termsAt] ?? 0
    const last = start + row.readInt32LE(start) - 1
    let { end } = this
    for (let position = start + 4; position < last;) {
      if (row[position] !== bson.int64) leave()
      position = nameEndOf(row, position + 1)
      if (position + termBytes >= last) leave()
      for (let byte = position + termBytes; byte > position; byte -= 1) {
        const value = row[byte] ?? 0
        out[end++] = hexDigits[value >>> 4] ?? 0
        out[end++] = hexDigits[value & 15] ?? 0
      }
      position += 1 + termBytes
    }
    this.end = end
  }
}

/** ASCII that JSON writes as it is. */
const isPlain = (byte: number): boolean =>
  byte >= space && byte < firstBeyondAscii && byte !== quote && byte !== backslash
