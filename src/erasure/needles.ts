/**
 * What the second reader looks for: an identifier as it stands, as JSON, URLs and base64 would have it, in bytes of whatever
 * kind. Its own: it shares no code with the matcher by which an erasure finds what it removes.
 */
import type { ErasureIdentifier } from './contract.js'

export type Searched = Pick<ErasureIdentifier, 'kind' | 'value'>

export interface Needle {
  /** Bytes as Latin-1, in lower case unless `exact`. */
  readonly text: string
  readonly exact: boolean
  /** An encoding without boundaries: base64. */
  readonly anywhere: boolean
  readonly email: boolean
}

/** Does one of them stand in bytes that were read as Latin-1? */
export function findsAny(needles: readonly Needle[], latin1: string): boolean {
  const lower = latin1.toLowerCase()
  return needles.some((needle) => stands(needle, needle.exact ? latin1 : lower))
}

export function needlesOf({ kind, value }: Searched): Needle[] {
  const exact = kind === 'id'
  const trimmed = value.trim()
  const spellings = new Set<string>()
  for (const spelling of [trimmed, trimmed.normalize('NFC'), trimmed.normalize('NFD')]) {
    spellings.add(spelling)
    spellings.add(JSON.stringify(spelling).slice(1, -1))
    spellings.add(encodeURIComponent(spelling))
    spellings.add(encodeURIComponent(spelling).replaceAll('%20', '+'))
  }
  const bytesOf = (text: string) => Buffer.from(text).toString('latin1')
  const plain = [...spellings]
    .filter((text) => text !== '')
    .map((text) => ({
      text: exact ? bytesOf(text) : bytesOf(text).toLowerCase(),
      exact,
      anywhere: false,
      email: kind === 'email',
    }))
  return [...plain, ...base64Needles(trimmed), ...(exact ? [] : base64Needles(trimmed.toLowerCase()))]
}

function base64Needles(value: string): Needle[] {
  const bytes = Buffer.from(value)
  if (bytes.length < 8) return []
  return [0, 1, 2].flatMap((shift) => {
    const whole = Buffer.concat([Buffer.alloc(shift), bytes])
    const sure = whole
      .toString('base64')
      .slice(shift === 0 ? 0 : shift + 1, Math.floor((whole.length * 4) / 3))
    const spellings = [sure, sure.replaceAll('+', '-').replaceAll('/', '_')]
    return [...new Set(spellings)].map((text) => ({ text, exact: true, anywhere: true, email: false }))
  })
}

const inWord = /[A-Za-z0-9_\x80-\xff]/
const inAddress = /[A-Za-z0-9_.%+\x80-\xff-]/

function stands({ text: needle, anywhere, email }: Needle, bytes: string): boolean {
  for (let at = bytes.indexOf(needle); at !== -1; at = bytes.indexOf(needle, at + 1)) {
    if (anywhere) return true
    const after = bytes.slice(at + needle.length, at + needle.length + 2)
    const before = email ? inAddress : inWord
    const goesOn =
      inWord.test(after.charAt(0)) || (email && (after.startsWith('-') || /^\.[A-Za-z0-9]/.test(after)))
    if (!goesOn && (!before.test(bytes.charAt(at - 1)) || endsEscape(bytes.slice(Math.max(0, at - 8), at))))
      return true
  }
  return false
}

/** `\n`, `\u000a`, `%20`: its last letter is no letter of the text. A BSON string begins after its length. */
const endsEscape = (before: string): boolean =>
  /(?:^|[^\\])(?:\\\\)*\\(?:[nrtbf]|u[0-9a-fA-F]{4})$/.test(before) || /%[0-9a-fA-F]{2}$/.test(before)
