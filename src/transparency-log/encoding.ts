/**
 * The small encodings that C2SP formats are made of: UTF-8, standard base64 with padding, decimals without
 * leading zeros. Every reader here is strict, so that a text has one spelling: what is read and written again
 * is the same, byte for byte. A reader answers `undefined` for what is malformed; its caller knows the code.
 */
const encoder = new TextEncoder()
// `ignoreBOM` keeps a byte order mark as a character: dropping it would change what was signed.
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export function utf8(text: string): Uint8Array {
  return encoder.encode(text)
}

/** The text of `bytes`, or undefined where they are not valid UTF-8. */
export function utf8Text(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}

/** Holds half of a surrogate pair, which UTF-8 cannot say? */
export function hasLoneSurrogate(text: string): boolean {
  return /\p{Surrogate}/u.test(text)
}

/** RFC 4648 section 4, with padding. */
export function base64(bytes: Uint8Array): string {
  let binary = ''
  for (const byte of bytes) binary += String.fromCharCode(byte)
  return btoa(binary)
}

/** The bytes of canonical base64 (padded, no line breaks, unused bits zero), or undefined. */
export function base64Bytes(text: string): Uint8Array | undefined {
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)) return undefined
  const binary = atob(text)
  const bytes = new Uint8Array(binary.length)
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i)
  // Bits that the last character has too many of must be zero, else two texts would mean the same bytes.
  return base64(bytes) === text ? bytes : undefined
}

/** The number of an ASCII decimal without sign or leading zeros, up to 2^53 - 1, or undefined. */
export function decimal(text: string): number | undefined {
  if (!/^(?:0|[1-9][0-9]{0,15})$/.test(text)) return undefined
  const value = Number(text)
  return Number.isSafeInteger(value) ? value : undefined
}

export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  const all = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}
