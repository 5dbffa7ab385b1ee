/**
 * Cuts a byte stream into lines, as NDJSON wants them: ended by LF or CRLF, the last one by the end of input.
 *
 * It works on bytes, so a chunk may end anywhere, inside a UTF-8 character too: a line is decoded whole. Lines
 * count from 1 and blank ones count with them, so that a number is the one an editor shows. At most `maxBytes`
 * of an unfinished line are kept; the rest of a longer one is counted and dropped.
 */
import { isUtf8 } from 'node:buffer'

/** Why a line is no JSON text. */
export type LineFault = 'too_large' | 'not_utf8' | 'not_json'

/** A line as bytes. */
export interface RawLine {
  /** From 1. */
  readonly number: number
  /** Bytes without the line end. */
  readonly length: number
  /** Bytes of input up to and with its line end. */
  readonly end: number
  /** Undefined where it is too long. */
  readonly content: Buffer | undefined
}

export type ParsedLine =
  | { readonly ok: true; readonly text: string; readonly value: unknown }
  | { readonly ok: false; readonly fault: LineFault }

const lineFeed = 0x0a
const carriageReturn = 0x0d
const byteOrderMark = Buffer.from('\uFEFF')

export interface LineStart {
  /** Lines before the first chunk. */
  readonly line: number
  /** Bytes before it. */
  readonly offset: number
}

export class LineSplitter {
  #number: number
  #offset: number
  #pieces: Buffer[] = []
  #length = 0

  constructor(
    private readonly maxBytes: number,
    { line, offset }: LineStart = { line: 0, offset: 0 },
  ) {
    this.#number = line
    this.#offset = offset
  }

  /** The lines that this chunk completes, one by one as they are asked for; blank ones are left out. */
  *push(chunk: Buffer): Generator<RawLine> {
    let start = 0
    for (let end = chunk.indexOf(lineFeed); end >= 0; end = chunk.indexOf(lineFeed, start)) {
      this.#keep(chunk.subarray(start, end))
      start = end + 1
      this.#offset += 1
      const line = this.#finish()
      if (line !== undefined) yield line
    }
    this.#keep(chunk.subarray(start))
  }

  /** What the end of input completes. */
  end(): RawLine | undefined {
    return this.#length === 0 ? undefined : this.#finish()
  }

  #keep(piece: Buffer): void {
    if (piece.length === 0) return
    this.#length += piece.length
    this.#offset += piece.length
    // One byte over the limit: a CR that ends the line does not belong to it.
    if (this.#length <= this.maxBytes + 1) this.#pieces.push(piece)
    else this.#pieces = []
  }

  #finish(): RawLine | undefined {
    const [first] = this.#pieces
    let line = this.#pieces.length === 1 && first !== undefined ? first : Buffer.concat(this.#pieces)
    const length = this.#length
    this.#number += 1
    this.#pieces = []
    this.#length = 0
    const place = { number: this.#number, end: this.#offset }
    if (length > this.maxBytes + 1) return { ...place, length, content: undefined }
    if (line.at(-1) === carriageReturn) line = line.subarray(0, -1)
    if (place.number === 1 && line.subarray(0, byteOrderMark.length).equals(byteOrderMark)) {
      line = line.subarray(byteOrderMark.length)
    }
    if (isBlank(line)) return undefined
    return { ...place, length: line.length, content: line.length > this.maxBytes ? undefined : line }
  }
}

/** Nothing but spaces, tabs and stray CRs. */
function isBlank(line: Buffer): boolean {
  for (const byte of line) if (byte !== 0x20 && byte !== 0x09 && byte !== carriageReturn) return false
  return true
}

/** The JSON of a line, or why it is none. */
export function parseLine({ content }: RawLine): ParsedLine {
  if (content === undefined) return { ok: false, fault: 'too_large' }
  if (!isUtf8(content)) return { ok: false, fault: 'not_utf8' }
  const text = content.toString('utf8')
  try {
    return { ok: true, text, value: JSON.parse(text) }
  } catch {
    // The parser's message quotes the text.
    return { ok: false, fault: 'not_json' }
  }
}
