/**
 * May bytes hold what a text matcher would find? Pure, and quick: most events of an organization say nothing of a person,
 * and what the sieve says no to is never decoded.
 *
 * A no is sure, a yes is not. A text with a character beyond ASCII is a yes, and so is one with an escape that may stand
 * for a character of an anchor, or for the beginning of another escape: it may read otherwise than it stands. The escapes
 * that may not (`\n`, `\"`, `%20`, an ampersand without its semicolon) leave everything around them as it is. In such a text
 * an identifier stands as it is, without regard to case, or in base64; so that some anchor of it (its longest run without
 * blanks, quotes and slashes, a core of its base64) stands there too. All anchors are looked for at once, by Wu and
 * Manber: a pair of bytes that is in none of them skips as many bytes as the shortest anchor is long. The digits of a phone
 * number may be set apart, by an escape too: a text with one, and as many digits as the number has, is a yes. Numbers are
 * written as canonical JSON writes them: what is read back from one reads the same.
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
const [backslash, percent, ampersand] = [92, 37, 38]
/** 1 for a digit, 2 for what may read otherwise than it stands: one number to count by, and to look no closer by. */
const classes = new Uint8Array(256).map((_, byte) => {
  if (byte >= 48 && byte <= 57) return 1
  return byte === backslash || byte === percent || byte === ampersand || byte > 127 ? 2 : 0
})

const [letterU, letterX, slash, semicolon] = [117, 120, 47, 59]
/** `&`, at most six letters or `#` and eight more, `;`. */
const maxEntityBytes = 10

/** May the escape that begins here stand for a character of an anchor, or begin another escape once it is decoded? */
function mayYield(text: Uint8Array, at: number, end: number, slashes: boolean): boolean {
  switch (text[at]) {
    case backslash: {
      let next = at + 1
      while (next < end && text[next] === backslash) next += 1
      const letter = lower[text[next] ?? 0]
      // `\u`, `\x`; any other letter stands for a control character, a blank, a quote or a slash.
      return next < end && (letter === letterU || letter === letterX || (letter === slash && slashes))
    }
    case percent: {
      const byte = at + 2 < end ? hexByte(text[at + 1] ?? 0, text[at + 2] ?? 0) : undefined
      return byte !== undefined && !(byte <= 32 || byte === 34 || (byte === slash && !slashes))
    }
    case ampersand:
      for (let next = at + 1; next < end && next <= at + maxEntityBytes; next += 1)
        if (text[next] === semicolon) return true
      return false
    default:
      return true
  }
}

function hexByte(high: number, low: number): number | undefined {
  const [upper, lowest] = [hexDigit(high), hexDigit(low)]
  return upper === undefined || lowest === undefined ? undefined : upper * 16 + lowest
}

function hexDigit(byte: number): number | undefined {
  if (byte >= 48 && byte <= 57) return byte - 48
  const letter = lower[byte] ?? 0
  return letter >= 97 && letter <= 102 ? letter - 87 : undefined
}

/** Makes the sieve that belongs to the matcher of the same identifiers. */
export function createTextSieve(
  identifiers: readonly Pick<ErasureIdentifier, 'kind' | 'value'>[],
): TextSieve {
  const anchors: Uint8Array[] = []
  const phones: RegExp[] = []
  let fewestDigits = Infinity
  for (const { kind, value } of identifiers) {
    const digits = value.replace(/\D/g, '')
    if (kind === 'phone' && digits.length >= minAnchorLength) {
      // As the matcher has it, and `+`, which may be a blank.
      fewestDigits = Math.min(fewestDigits, digits.length)
      phones.push(new RegExp(Array.from(digits).join('[\\s().\\/+-]{0,3}')))
    } else {
      const anchor = longestRun(value)
      if (anchor === undefined || anchor.length < minAnchorLength) return { mayHold: () => true }
      anchors.push(bytesOf(anchor))
    }
    anchors.push(...base64Cores(kind, value).map(bytesOf))
  }
  const holdsAnchor = searchAll(anchors)
  const slashes = anchors.some((anchor) => anchor.includes(slash))
  return {
    mayHold(text, start, end) {
      let digits = 0
      let seen = 0
      // Without a branch: what stands where cannot be foreseen.
      for (let at = start; at < end; at += 1) {
        const kind = classes[text[at] ?? 0] ?? 0
        digits += kind & 1
        seen |= kind
      }
      const escaped = (seen & 2) !== 0
      if (escaped)
        for (let at = start; at < end; at += 1)
          if (classes[text[at] ?? 0] === 2 && mayYield(text, at, end, slashes)) return true
      if (holdsAnchor(text, start, end)) return true
      if (digits < fewestDigits) return false
      if (escaped) return true
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
