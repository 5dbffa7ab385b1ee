/**
 * An organization's own patterns: what it counts as personal beside the built-in kinds (staff numbers, patient
 * numbers). Their text comes from outside, so everything about them is bounded: how many, how long, how much text
 * of one event they see, and how often each is looked for.
 */
import type { RE2JS } from 're2js'
import { builtInKinds, type Finding } from './finding.js'
import { compileSafePattern, maxPatternLength } from './safe-pattern.js'

export interface DetectionPattern {
  /** The kind of its findings, `[a-z][a-z0-9-]{0,31}`. */
  readonly name: string
  readonly pattern: string
}

export const patternLimits = {
  maxPatterns: 16,
  maxLength: maxPatternLength,
  /** Characters of one text that are searched. */
  maxTextLength: 4_096,
  /** Characters of one event that are searched, for all patterns together. */
  maxEventLength: 262_144,
  /** Findings of one pattern in one text; the last of them reaches to the end of the searched text. */
  maxFindings: 16,
} as const

export const patternNamePattern = /^[a-z][a-z0-9-]{0,31}$/

interface CompiledPattern {
  readonly name: string
  readonly expression: RE2JS
}

/** Why a pattern cannot be taken; undefined where it can. */
export function patternProblem({ name, pattern }: DetectionPattern): string | undefined {
  if (builtInKinds.some((kind) => kind === name)) return 'has the name of a built-in kind'
  const expression = compileSafePattern(pattern)
  if (expression === undefined)
    return 'is no regular expression of the kind taken here (RE2: no look-around, no back-references), or too large'
  return expression.test('') ? 'matches the empty text' : undefined
}

/** Compiles patterns that passed `patternProblem`; one that no longer does is an error of ours. */
export function compilePatterns(patterns: readonly DetectionPattern[]): CompiledPattern[] {
  return patterns.map(({ name, pattern }) => {
    const expression = compileSafePattern(pattern)
    if (expression === undefined) throw new Error('a stored detection pattern does not compile')
    return { name, expression }
  })
}

/** Searches the texts of one event. */
export class PatternSearch {
  #left: number = patternLimits.maxEventLength

  constructor(private readonly patterns: readonly CompiledPattern[]) {}

  find(text: string): Finding[] {
    const searched = text.slice(0, patternLimits.maxTextLength)
    return this.patterns.flatMap(({ name, expression }) => {
      if (!this.#spend(searched.length) || !expression.test(searched)) return []
      return this.#findAll(name, expression, searched)
    })
  }

  #findAll(kind: string, expression: RE2JS, text: string): Finding[] {
    const findings: Finding[] = []
    const matcher = expression.matcher(text)
    let from = 0
    while (this.#spend(text.length - from)) {
      if (!matcher.find()) return findings
      const start = matcher.start()
      const end = matcher.end()
      from = Math.max(end, from + 1)
      if (end > start) findings.push({ kind, start, end })
      if (findings.length === patternLimits.maxFindings) break
    }
    // Each look for the next may read on to the end of the text. Enough: the rest counts as found.
    const last = findings.pop()
    return [...findings, { kind, start: last?.start ?? 0, end: text.length }]
  }

  #spend(characters: number): boolean {
    if (this.#left < characters) return false
    this.#left -= characters
    return true
  }
}
