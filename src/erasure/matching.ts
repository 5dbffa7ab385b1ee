/**
 * Does a text name a person? Pure.
 *
 * What is searched is JSON text: the value of a clear field, or the opened block of another person. An identifier is
 * looked for
 *
 *   - at token boundaries: `u_17` is not in `u_171`, and `jane@acme.example` neither in `mary.jane@acme.example` nor in
 *     `jane@acme.example.org`;
 *   - an id exactly as it is (ids differ by case), everything else without regard to case, a phone number without regard
 *     to how its digits are set apart, a name without regard to how many blanks stand in it;
 *   - as it stands, and as it stands in what such texts hold: JSON inside of strings, URLs (percent-encoding, `+` for a
 *     blank), HTML entities, base64 at any alignment; one inside the other, up to `maxDepth`.
 *
 * A text that holds no backslash, `%`, `&` or run of base64 is looked through once, as it is.
 */
import { base64Cores } from './base64-cores.js'
import type { ErasureIdentifier } from './contract.js'
import { createTextSieve, type TextSieve } from './sieve.js'

/** An identifier that is shorter than this counts only where a reviewer confirmed it: `ann` stands in too much. */
export const minUnconfirmedLength = 6
/** One that hits more often than this in events that are not the person's own counts only where it was confirmed. */
export const maxUnconfirmedHits = 1_000

const maxDepth = 3

export interface TextMatcher extends TextSieve {
  /** Positions, in the list that the matcher was made of, of the identifiers that stand in a JSON text. */
  find(json: string): readonly number[]
}

interface Pattern {
  readonly position: number
  readonly expression: RegExp
  readonly base64: readonly string[]
}

/** Makes the matcher of identifiers; those that are blank match nothing. */
export function createTextMatcher(
  identifiers: readonly Pick<ErasureIdentifier, 'kind' | 'value'>[],
): TextMatcher {
  const patterns = identifiers.flatMap(({ kind, value }, position): Pattern[] => {
    const source = sourceOf(kind, value)
    if (source === undefined) return []
    const flags = kind === 'id' ? 'u' : 'iu'
    return [{ position, expression: new RegExp(source, flags), base64: base64Cores(kind, value) }]
  })
  return {
    ...createTextSieve(identifiers),
    find(json) {
      const found = new Set<number>()
      for (const text of textsOf(json)) look(text, 0, patterns, found)
      return found.size === 0 ? none : [...found].sort((a, b) => a - b)
    },
  }
}

const none: readonly number[] = []

function look(text: string, depth: number, patterns: readonly Pattern[], found: Set<number>): void {
  for (const { position, expression, base64 } of patterns) {
    if (found.has(position)) continue
    if (expression.test(text) || base64.some((core) => text.includes(core))) found.add(position)
  }
  if (depth === maxDepth || found.size === patterns.length) return
  for (const decoded of decodingsOf(text)) look(decoded, depth + 1, patterns, found)
}

/**
 * The texts in a JSON text: itself, where no escape stands in it (its quotes are boundaries as good as any), else every
 * string, number and key of it, for an escape's letter would stand before a token as if it belonged to it.
 */
function textsOf(json: string): readonly string[] {
  if (!json.includes('\\')) return [normal(json)]
  let parsed: unknown
  try {
    parsed = JSON.parse(json)
  } catch {
    return [normal(json)]
  }
  const texts: string[] = []
  collect(parsed, texts)
  return texts
}

function collect(value: unknown, texts: string[]): void {
  if (typeof value === 'string') texts.push(normal(value))
  else if (typeof value === 'number') texts.push(String(value))
  else if (Array.isArray(value)) for (const member of value) collect(member, texts)
  else if (typeof value === 'object' && value !== null) {
    for (const [key, member] of Object.entries(value)) {
      texts.push(normal(key))
      collect(member, texts)
    }
  }
}

const beyondAscii = /[^\0-\x7f]/
/** `é` is one character or two: both are the same name. */
const normal = (text: string) => (beyondAscii.test(text) ? text.normalize('NFC') : text)

function decodingsOf(text: string): string[] {
  const decodings: string[] = []
  const add = (decoded: string) => {
    if (decoded !== text) decodings.push(normal(decoded))
  }
  if (text.includes('%')) {
    add(percentDecoded(text))
    if (text.includes('+')) add(percentDecoded(text.replaceAll('+', ' ')))
  } else if (text.includes('=') && text.includes('+')) add(text.replaceAll('+', ' '))
  if (text.includes('\\')) add(unescaped(text))
  if (text.includes('&')) add(entitiesDecoded(text))
  return decodings
}

/** Whatever cannot be decoded stays as it is. */
function percentDecoded(text: string): string {
  return text.replace(/(?:%[0-9a-f]{2})+/gi, (run) => {
    try {
      return decodeURIComponent(run)
    } catch {
      return run.replace(/%([0-7][0-9a-f])/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))
    }
  })
}

function unescaped(text: string): string {
  return text.replace(
    /\\(?:u([0-9a-f]{4})|x([0-9a-f]{2})|(.))/gi,
    (_, u?: string, x?: string, other?: string) => {
      const hex = u ?? x
      if (hex !== undefined) return String.fromCharCode(parseInt(hex, 16))
      return other !== undefined && /["\\/]/.test(other) ? other : ' '
    },
  )
}

const entities: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  nbsp: ' ',
  commat: '@',
}

function entitiesDecoded(text: string): string {
  return text.replace(
    /&(?:#x([0-9a-f]{1,6})|#([0-9]{1,7})|([a-z]{2,6}));/gi,
    (whole, hex?: string, decimal?: string, name?: string) => {
      if (name !== undefined) return entities[name.toLowerCase()] ?? whole
      const point = hex === undefined ? Number(decimal) : parseInt(hex, 16)
      return point <= 0x10ffff ? String.fromCodePoint(point) : whole
    },
  )
}

/** The pattern of an identifier with its boundaries; undefined for one that is blank. */
function sourceOf(kind: ErasureIdentifier['kind'], given: string): string | undefined {
  const value = normal(given.trim())
  if (value === '') return undefined
  switch (kind) {
    case 'email':
      // What stands next to an address may belong to a longer one.
      return `(?<![\\p{L}\\p{N}_.%+-])${escaped(value)}(?![\\p{L}\\p{N}_-]|\\.[\\p{L}\\p{N}])`
    case 'phone': {
      const digits = value.replace(/\D/g, '')
      if (digits.length < 4) return word(escaped(value))
      return `(?<!\\p{N})(?:\\+|00)?${Array.from(digits).join('[\\s().\\/-]{0,3}')}(?!\\p{N})`
    }
    case 'id':
      return word(escaped(value))
    case 'other':
      return word(value.split(/\s+/u).map(escaped).join('\\s+'))
  }
}

const word = (source: string) => `(?<![\\p{L}\\p{N}_])${source}(?![\\p{L}\\p{N}_])`

const escaped = (text: string) => text.replace(/[\\^$.*+?()[\]{}|/]/g, (character) => `\\${character}`)
