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

export interface Line {
  /** From 1. */
  readonly number: number
  /** Bytes without the line end. */
  readonly bytes: number
  readonly content:
    { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly fault: LineFault }
}

const lineFeed = 0x0a
const carriageReturn = 0x0d
const byteOrderMark = Buffer.from('\uFEFF')

export class LineSplitter {
  #number = 0
  #pieces: Buffer[] = []
  #bytes = 0

  constructor(private readonly maxBytes: number) {}

  /** Lines begun so far. */
  get lines(): number {
    return this.#number + (this.#bytes > 0 ? 1 : 0)
  }

  /** The lines that this chunk completes, parsed one by one as they are asked for; blank ones are left out. */
  *push(chunk: Buffer): Generator<Line> {
    let start = 0
    for (let end = chunk.indexOf(lineFeed); end >= 0; end = chunk.indexOf(lineFeed, start)) {
      this.#keep(chunk.subarray(start, end))
      start = end + 1
      const line = this.#finish()
      if (line !== undefined) yield line
    }
    this.#keep(chunk.subarray(start))
  }

  /** What the end of input completes. */
  end(): Line | undefined {
    return this.#bytes === 0 ? undefined : this.#finish()
  }

  #keep(piece: Buffer): void {
    if (piece.length === 0) return
    this.#bytes += piece.length
    // One byte over the limit: a CR that ends the line does not belong to it.
    if (this.#bytes <= this.maxBytes + 1) this.#pieces.push(piece)
    else this.#pieces = []
  }

  #finish(): Line | undefined {
    const [first] = this.#pieces
    let line = this.#pieces.length === 1 && first !== undefined ? first : Buffer.concat(this.#pieces)
    let bytes = this.#bytes
    this.#number += 1
    this.#pieces = []
    this.#bytes = 0
    const number = this.#number
    if (bytes > this.maxBytes + 1) return { number, bytes, content: { ok: false, fault: 'too_large' } }
    if (line.at(-1) === carriageReturn) line = line.subarray(0, -1)
    if (number === 1 && line.subarray(0, byteOrderMark.length).equals(byteOrderMark)) {
      line = line.subarray(byteOrderMark.length)
    }
    bytes = line.length
    if (isBlank(line)) return undefined
    if (bytes > this.maxBytes) return { number, bytes, content: { ok: false, fault: 'too_large' } }
    return { number, bytes, content: parse(line) }
  }
}

/** Nothing but spaces, tabs and stray CRs. */
function isBlank(line: Buffer): boolean {
  for (const byte of line) if (byte !== 0x20 && byte !== 0x09 && byte !== carriageReturn) return false
  return true
}

function parse(line: Buffer): Line['content'] {
  if (!isUtf8(line)) return { ok: false, fault: 'not_utf8' }
  try {
    return { ok: true, value: JSON.parse(line.toString('utf8')) }
  } catch {
    // The parser's message quotes the text.
    return { ok: false, fault: 'not_json' }
  }
}
