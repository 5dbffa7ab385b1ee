/** What a detector finds in a text. Pure. */

/** The kinds that Annals knows by itself; an organization's patterns add kinds of their own names. */
export const builtInKinds = ['email', 'phone', 'card', 'iban', 'ip'] as const

/** A place in a text, in UTF-16 units: `text.slice(start, end)` is what was found. */
export interface Finding {
  /** One of `builtInKinds`, or the name of an organization's pattern. */
  readonly kind: string
  readonly start: number
  readonly end: number
}

/** Is there an ASCII letter or digit at this place? False beyond either end. */
export function isAlphanumericAt(text: string, index: number): boolean {
  const code = text.charCodeAt(index)
  return (code >= 48 && code <= 57) || (code >= 65 && code <= 90) || (code >= 97 && code <= 122)
}

export function isDigitAt(text: string, index: number): boolean {
  const code = text.charCodeAt(index)
  return code >= 48 && code <= 57
}
