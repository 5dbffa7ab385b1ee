/**
 * The detector: all kinds over one text, or over a JSON value at any depth. Pure.
 *
 * Detection flags; it never clears. What it does not find may still be personal.
 */
import type { JsonValue } from '../contract.js'
import { findCards } from './card.js'
import { findEmails } from './email.js'
import type { Finding } from './finding.js'
import { hint, hintsOf } from './hints.js'
import { findIbans } from './iban.js'
import { findIps } from './ip.js'
import { compilePatterns, PatternSearch, type DetectionPattern } from './patterns.js'
import { createPhoneJudge, findPhones, type PhoneJudge } from './phone.js'

/** What the finders of one event share. */
interface EventState {
  judge: PhoneJudge | undefined
}

type Finder = (text: string, state: EventState) => Finding[]

/** All of them take time linear in the text's length, whatever the text. */
const finders: readonly (readonly [bit: number, find: Finder])[] = [
  [hint.email, findEmails],
  [hint.iban, findIbans],
  [hint.card, findCards],
  [hint.phone, (text, state) => findPhones(text, (state.judge ??= createPhoneJudge()))],
  [hint.ip, findIps],
]

/** Looks through the texts of one event. */
export interface EventSearch {
  /** What is found in a text: in order, without overlaps. */
  find(text: string): readonly Finding[]
  /**
   * The kinds found in a JSON value: its texts, the keys of its objects, and its numbers where they are cards.
   * @param json the value's JSON, which is looked through first and mostly only
   */
  kindsIn(value: JsonValue, json: string): readonly string[]
}

export interface Detector {
  /** A search of one event. */
  begin(): EventSearch
}

const nothing: readonly never[] = []

/** A detector of the built-in kinds and an organization's patterns. */
export function createDetector(patterns: readonly DetectionPattern[] = []): Detector {
  if (patterns.length === 0) return { begin: () => createSearch(undefined) }
  const compiled = compilePatterns(patterns)
  return { begin: () => createSearch(new PatternSearch(compiled)) }
}

function createSearch(patterns: PatternSearch | undefined): EventSearch {
  const state: EventState = { judge: undefined }
  function find(text: string): readonly Finding[] {
    const hints = hintsOf(text)
    if (hints === 0 && patterns === undefined) return nothing
    const findings = patterns?.find(text) ?? []
    for (const [bit, finder] of finders) if ((hints & bit) !== 0) findings.push(...finder(text, state))
    return findings.length < 2 ? findings : withoutOverlaps(findings)
  }
  return {
    find,
    kindsIn(value, json) {
      if (patterns === undefined && hintsOf(json) === 0) return nothing
      const kinds = new Set<string>()
      eachText(value, (text) => {
        for (const { kind } of find(text)) kinds.add(kind)
      })
      return kinds.size === 0 ? nothing : [...kinds].sort()
    },
  }
}

/** The earlier finding wins, of two that begin together the longer one. */
function withoutOverlaps(findings: readonly Finding[]): Finding[] {
  const kept: Finding[] = []
  let end = 0
  for (const finding of [...findings].sort((a, b) => a.start - b.start || b.end - a.end)) {
    if (finding.start < end) {
      // A pattern's finding may reach further than the one it begins inside of: what is left of it counts too.
      if (finding.end <= end) continue
      kept.push({ ...finding, start: end })
    } else {
      kept.push(finding)
    }
    end = finding.end
  }
  return kept
}

function eachText(value: JsonValue, visit: (text: string) => void): void {
  if (typeof value === 'string') {
    visit(value)
  } else if (typeof value === 'number') {
    const text = numberText(value)
    if (text !== undefined) visit(text)
  } else if (Array.isArray(value)) {
    for (const item of value) eachText(item, visit)
  } else if (typeof value === 'object' && value !== null) {
    for (const key of Object.keys(value)) {
      visit(key)
      eachText(value[key] ?? null, visit)
    }
  }
}

/** The digits of a number that is long enough to be something; shorter ones are left alone. */
export function numberText(value: number): string | undefined {
  return Number.isInteger(value) && value >= 1_000_000 ? String(value) : undefined
}

/** The text with each finding replaced by `[redacted:<kind>]`. */
export function redactText(text: string, findings: readonly Finding[]): string {
  let redacted = ''
  let from = 0
  for (const { kind, start, end } of findings) {
    redacted += `${text.slice(from, start)}[redacted:${kind}]`
    from = end
  }
  return redacted + text.slice(from)
}
