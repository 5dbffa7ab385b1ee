/**
 * Writes BSON documents whose members and their order are known beforehand: an element's type and name are copied as they
 * were made once, and nothing is asked about a value. For the one place where the driver's serialiser is a noticeable part
 * of the work (events/stored-bson.ts).
 *
 * https://bsonspec.org/spec.html: a document is its length (int32, little endian), its elements and a zero; an element is a
 * type, a name that ends in zero, and a value. An array is a document whose names are "0", "1", …
 */

/** Type and name of an element, as they stand before its value. */
export type ElementHead = Uint8Array

const typeBytes = {
  string: 0x02,
  document: 0x03,
  array: 0x04,
  binary: 0x05,
  boolean: 0x08,
  date: 0x09,
  int32: 0x10,
  int64: 0x12,
} as const

export type ElementType = keyof typeof typeBytes

/** @param name without a zero character, of ASCII */
export function elementHead(type: ElementType, name: string): ElementHead {
  return Buffer.from(`${String.fromCharCode(typeBytes[type])}${name}\0`, 'latin1')
}

/** The heads of an array's elements, made when they are first needed. */
export class ArrayHeads {
  readonly #heads: ElementHead[] = []

  constructor(private readonly type: ElementType) {}

  at(index: number): ElementHead {
    return (this.#heads[index] ??= elementHead(this.type, String(index)))
  }
}

/** Up to so many characters a loop is faster than a call into C++. */
const shortText = 48
/** Up to so many bytes, too. */
const shortBytes = 32
/** Head, length and end of any element but what is as long as its value. */
const smallBytes = 160

/** One document at a time: `begin`, its elements in order, `end`. What is nested is opened and closed in turn. */
export class BsonWriter {
  #bytes = Buffer.allocUnsafeSlow(65_536)
  #at = 0

  begin(): void {
    this.#at = 4
  }

  /** @returns the document, a copy that is the caller's */
  end(): Buffer {
    this.close(0)
    const document = Buffer.allocUnsafe(this.#at)
    this.#bytes.copy(document, 0, 0, this.#at)
    return document
  }

  /** Begins a document or an array as an element. @returns what `close` wants */
  open(head: ElementHead): number {
    this.#head(head, 0)
    const start = this.#at
    this.#at += 4
    return start
  }

  close(start: number): void {
    this.#reserve(1)
    this.#bytes[this.#at++] = 0
    this.#setInt32(start, this.#at - start)
  }

  string(head: ElementHead, text: string): void {
    // A UTF-16 unit is at most three bytes of UTF-8.
    this.#head(head, text.length * 3)
    const bytes = this.#bytes
    const start = this.#at
    const at = start + 4
    let length = text.length <= shortText ? 0 : -1
    while (length >= 0 && length < text.length) {
      const unit = text.charCodeAt(length)
      if (unit > 0x7f) length = -1
      else bytes[at + length++] = unit
    }
    if (length < 0) length = bytes.write(text, at, 'utf8')
    bytes[at + length] = 0
    this.#setInt32(start, length + 1)
    this.#at = at + length + 1
  }

  /** Binary data of subtype 0. */
  binary(head: ElementHead, data: Uint8Array): void {
    this.#head(head, data.length)
    const bytes = this.#bytes
    const { length } = data
    this.#setInt32(this.#at, length)
    bytes[this.#at + 4] = 0
    const at = this.#at + 5
    if (length > shortBytes) bytes.set(data, at)
    else for (let index = 0; index < length; index += 1) bytes[at + index] = data[index] ?? 0
    this.#at = at + length
  }

  boolean(head: ElementHead, value: boolean): void {
    this.#head(head, 0)
    this.#bytes[this.#at++] = value ? 1 : 0
  }

  date(head: ElementHead, value: Date): void {
    this.#head(head, 0)
    const milliseconds = value.getTime()
    const high = Math.floor(milliseconds / 0x1_0000_0000)
    this.#setInt32(this.#at, milliseconds - high * 0x1_0000_0000)
    this.#setInt32(this.#at + 4, high)
    this.#at += 8
  }

  int32(head: ElementHead, value: number): void {
    this.#head(head, 0)
    this.#setInt32(this.#at, value)
    this.#at += 4
  }

  int64(head: ElementHead, value: bigint): void {
    this.#head(head, 0)
    this.#bytes.writeBigInt64LE(value, this.#at)
    this.#at += 8
  }

  #head(head: ElementHead, valueBytes: number): void {
    this.#reserve(valueBytes + smallBytes)
    const bytes = this.#bytes
    const at = this.#at
    const { length } = head
    for (let index = 0; index < length; index += 1) bytes[at + index] = head[index] ?? 0
    this.#at = at + length
  }

  #setInt32(at: number, value: number): void {
    const bytes = this.#bytes
    bytes[at] = value
    bytes[at + 1] = value >>> 8
    bytes[at + 2] = value >>> 16
    bytes[at + 3] = value >>> 24
  }

  #reserve(count: number): void {
    if (this.#at + count <= this.#bytes.length) return
    const larger = Buffer.allocUnsafeSlow((this.#at + count) * 2)
    this.#bytes.copy(larger, 0, 0, this.#at)
    this.#bytes = larger
  }
}
