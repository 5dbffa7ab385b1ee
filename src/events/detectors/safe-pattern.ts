/**
 * Regular expressions that others wrote, run without fear: RE2's engine (the package `re2js`) takes time linear in
 * the text, whatever the pattern. It has no look-around and no back-references; everything else is as in
 * JavaScript with the flag `u`.
 */
import { RE2JS, RE2JSException } from 're2js'

/** Characters of a pattern. */
export const maxPatternLength = 256
/** Instructions of a compiled pattern: the factor before the text's length. */
const maxProgramSize = 512

/**
 * Compiles a pattern.
 * @returns undefined where it is no pattern, needs what RE2 has not, or is over the limits
 */
export function compileSafePattern(pattern: string): RE2JS | undefined {
  if (pattern.length > maxPatternLength) return undefined
  try {
    const compiled = RE2JS.compile(RE2JS.translateRegExp(pattern))
    return compiled.programSize() <= maxProgramSize ? compiled : undefined
  } catch (error) {
    if (error instanceof RE2JSException) return undefined
    throw error
  }
}
