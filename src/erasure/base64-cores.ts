/** How a value stands in base64. Pure. */
import type { ErasureIdentifier } from './contract.js'

/** In bytes; shorter ones stand by accident in any base64. */
const minBase64Length = 8

/**
 * What of a value's base64 is the same wherever it begins in what was encoded: one core for each of the three
 * alignments. Its first and last characters also depend on the neighbours, and are cut off.
 */
export function base64Cores(kind: ErasureIdentifier['kind'], given: string): string[] {
  const spellings = kind === 'id' ? [given] : [given, given.toLowerCase()]
  const cores = new Set<string>()
  for (const spelling of spellings) {
    const bytes = new TextEncoder().encode(spelling.trim())
    if (bytes.length < minBase64Length) continue
    for (let shift = 0; shift < 3; shift += 1) {
      const padded = new Uint8Array(shift + bytes.length)
      padded.set(bytes, shift)
      const core = encoded(padded).slice(shift === 0 ? 0 : shift + 1, Math.floor((padded.length * 8) / 6))
      cores.add(core)
      cores.add(core.replaceAll('+', '-').replaceAll('/', '_'))
    }
  }
  return [...cores]
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'

/** Base64 without padding. */
function encoded(bytes: Uint8Array): string {
  let text = ''
  for (let at = 0; at < bytes.length; at += 3) {
    const quad = ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0)
    const digits = Math.min(bytes.length - at, 3) + 1
    for (let digit = 0; digit < digits; digit += 1) text += alphabet.charAt((quad >> (18 - 6 * digit)) & 63)
  }
  return text
}
