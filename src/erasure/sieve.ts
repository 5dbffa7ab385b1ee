/**
 * May bytes hold what a text matcher would find? Pure, and quick: most events of an organization say nothing of a person,
 * and what the sieve says no to is never decoded.
 *
 * A no is sure, a yes is not. A text with an escape, a percent sign, an ampersand or a character beyond ASCII is a yes: it
 * may read otherwise than it stands. In any other text an identifier stands as it is, without regard to case, or in
 * base64; so that some anchor of it (its longest run without blanks, a core of its base64) stands there too. All anchors
 * are looked for at once, by Wu and Manber: a pair of bytes that is in none of them skips as many bytes as the shortest
 * anchor is long.
 */
import { base64Cores } from './base64-cores.js'
import type { ErasureIdentifier } from './contract.js'

export interface TextSieve {
  /** @param text UTF-8 of a JSON text, from `start` to before `end` */
  mayHold(text: Uint8Array, start: number, end: number): boolean
}

/** An identifier whose anchor is shorter stands, so to say, in everything. */
const minAnchorLength = 4

const lower = new Uint8Array(256).map((_, byte) => (byte >= 65 && byte <= 90 ? byte + 32 : byte))
/** `%`, `&`, `\` and what is beyond ASCII. */
const special = new Uint8Array(256).map((_, byte) =>
  byte === 37 || byte === 38 || byte === 92 || byte > 127 ? 1 : 0,
)

/** Makes the sieve that belongs to the matcher of the same identifiers. */
export function createTextSieve(
  identifiers: readonly Pick<ErasureIdentifier, 'kind' | 'value'>[],
): TextSieve {
  const anchors: Uint8Array[] = []
  const phones: RegExp[] = []
  for (const { kind, value } of identifiers) {
    const digits = value.replace(/\D/g, '')
    if (kind === 'phone' && digits.length >= minAnchorLength) {
      // As the matcher has it, and `+`, which may be a blank.
      phones.push(new RegExp(Array.from(digits).join('[\\s().\\/+-]{0,3}')))
    } else {
      const anchor = longestRun(value)
      if (anchor === undefined || anchor.length < minAnchorLength) return { mayHold: () => true }
      anchors.push(bytesOf(anchor))
    }
    anchors.push(...base64Cores(kind, value).map(bytesOf))
  }
  const holdsAnchor = searchAll(anchors)
  return {
    mayHold(text, start, end) {
      for (let at = start; at < end; at += 1) if (special[text[at] ?? 0] === 1) return true
      if (holdsAnchor(text, start, end)) return true
      if (phones.length === 0) return false
      const ascii = Buffer.from(text.buffer, text.byteOffset, text.byteLength).toString('latin1', start, end)
      return phones.some((phone) => phone.test(ascii))
    },
  }
}

/** Of printable ASCII without blanks, escapes and slashes. */
const longestRun = (value: string): string | undefined =>
  (value.match(/[!#-.0-[\]-~]+/g) ?? []).toSorted((a, b) => b.length - a.length)[0]

const bytesOf = (text: string) => new TextEncoder().encode(text.toLowerCase())

/** Does one of the anchors stand in it? */
function searchAll(
  anchors: readonly Uint8Array[],
): (text: Uint8Array, start: number, end: number) => boolean {
  if (anchors.length === 0) return () => false
  const width = Math.min(255, ...anchors.map(({ length }) => length))
  const pairOf = (bytes: Uint8Array, at: number) =>
    ((lower[bytes[at - 1] ?? 0] ?? 0) << 8) | (lower[bytes[at] ?? 0] ?? 0)
  const shifts = new Uint8Array(65_536).fill(width - 1)
  const byLastPair = new Map<number, Uint8Array[]>()
  for (const anchor of anchors) {
    for (let at = 1; at < width; at += 1) {
      const pair = pairOf(anchor, at)
      shifts[pair] = Math.min(shifts[pair] ?? 0, width - 1 - at)
    }
    const last = pairOf(anchor, width - 1)
    byLastPair.set(last, [...(byLastPair.get(last) ?? []), anchor])
  }
  const standsAt = (text: Uint8Array, from: number, end: number, anchor: Uint8Array) => {
    if (from + anchor.length > end) return false
    for (let at = 0; at < anchor.length; at += 1) {
      if (lower[text[from + at] ?? 0] !== anchor[at]) return false
    }
    return true
  }
  return (text, start, end) => {
    let at = start + width - 1
    while (at < end) {
      const pair = ((lower[text[at - 1] ?? 0] ?? 0) << 8) | (lower[text[at] ?? 0] ?? 0)
      const shift = shifts[pair] ?? 0
      if (shift > 0) {
        at += shift
        continue
      }
      const from = at - width + 1
      for (const anchor of byLastPair.get(pair) ?? []) if (standsAt(text, from, end, anchor)) return true
      at += 1
    }
    return false
  }
}
