/**
 * RFC 8785 canonical JSON of a value that came out of `JSON.parse` and passed the schema: no `undefined`, no
 * lone surrogate, no number that is not finite. ECMAScript's own number and string forms are the RFC's, so only
 * the order of keys (by UTF-16 code units, JavaScript's own) is left to do. Written here, and not taken from a
 * library, because it runs a dozen times an event; a property test holds it equal to the `canonicalize` package.
 */
import type { JsonValue } from './contract.js'

export function canonicalJson(value: JsonValue): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  if (Array.isArray(value)) {
    let text = '['
    for (let index = 0; index < value.length; index += 1) {
      if (index > 0) text += ','
      text += canonicalJson(value[index] ?? null)
    }
    return `${text}]`
  }
  const keys = Object.keys(value)
  if (keys.length > 1) keys.sort()
  let text = '{'
  for (const key of keys) {
    const member = value[key]
    if (member === undefined) continue
    if (text.length > 1) text += ','
    text += `${JSON.stringify(key)}:${canonicalJson(member)}`
  }
  return `${text}}`
}
