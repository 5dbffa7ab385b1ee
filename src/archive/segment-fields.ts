/** The fields of an event in a line of a content file (segment.ts says their forms), and back. */
import type { RebuildableEvent } from '../events/rebuild.js'
import type { StoredField } from '../events/store.js'

function base64(bytes: unknown): string {
  if (!(bytes instanceof Uint8Array)) throw new TypeError('an event that makes its leaf has bytes there')
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64')
}

/**
 * Members in the order of the format, absent where there are none. What is not committed to may have been edited to
 * anything, and is left out where it is no form of its own.
 */
export function plainField(field: StoredField): Record<string, unknown> {
  const { slot, salt, value, subject, subjectSalt, sealed, commitment, terms, restricted }: LooseField = field
  const withTerms = Array.isArray(terms) ? { terms: termsText(terms) } : {}
  if (slot === undefined) return { terms: termsText(Array.isArray(terms) ? terms : []) }
  if (subject !== undefined) {
    const isThere = sealed instanceof Uint8Array
    return {
      slot,
      subject,
      subjectSalt: base64(subjectSalt),
      ...(isThere ? { sealed: base64(sealed) } : {}),
      commitment: base64(commitment),
      ...(isThere ? withTerms : {}),
      ...(isThere && typeof restricted === 'string' ? { restricted } : {}),
    }
  }
  if (typeof value === 'string' && salt instanceof Uint8Array)
    return { slot, salt: base64(salt), value, ...withTerms }
  return { slot, commitment: base64(commitment) }
}

const termBytes = 8

/** Terms are no part of what is committed to: one that is none, in a row that was edited, is left out. */
function termsText(terms: readonly unknown[]): string {
  const numbers = terms.flatMap((term) => {
    const number = bigintOf(term)
    return number === undefined ? [] : [number]
  })
  const bytes = Buffer.allocUnsafe(numbers.length * termBytes)
  numbers.forEach((number, index) => bytes.writeBigInt64BE(BigInt.asIntN(64, number), index * termBytes))
  return bytes.toString('hex')
}

function bigintOf(term: unknown): bigint | undefined {
  if (typeof term === 'bigint') return term
  if (typeof term === 'number') return Number.isSafeInteger(term) ? BigInt(term) : undefined
  // MongoDB's own long integer, where the row was read without `useBigInt64`.
  if (typeof term !== 'object' || term === null || !('toBigInt' in term)) return undefined
  return typeof term.toBigInt === 'function' ? (term as { toBigInt(): bigint }).toBigInt() : undefined
}

function termsOf(text: string): bigint[] | undefined {
  const bytes = Buffer.from(text, 'hex')
  if (bytes.length * 2 !== text.length || bytes.length % termBytes !== 0) return undefined
  return Array.from({ length: bytes.length / termBytes }, (_, index) =>
    bytes.readBigInt64BE(index * termBytes),
  )
}

interface LooseField {
  readonly slot?: unknown
  readonly salt?: unknown
  readonly value?: unknown
  readonly subject?: unknown
  readonly subjectSalt?: unknown
  readonly sealed?: unknown
  readonly commitment?: unknown
  readonly terms?: unknown
  readonly restricted?: unknown
}

/** undefined where it has none of the forms above. */
export function storedField(field: unknown): StoredField | undefined {
  if (typeof field !== 'object' || field === null) return undefined
  const { slot, salt, value, subject, subjectSalt, sealed, commitment, terms, restricted }: LooseField = field
  const numbers = typeof terms === 'string' ? termsOf(terms) : undefined
  if ((terms === undefined) !== (numbers === undefined)) return undefined
  const withTerms = numbers === undefined ? {} : { terms: numbers }
  if (slot === undefined) return numbers === undefined ? undefined : { terms: numbers }
  if (typeof slot !== 'string') return undefined
  if (typeof value === 'string') {
    return typeof salt === 'string' ? { slot, salt: bytesOf(salt), value, ...withTerms } : undefined
  }
  if (typeof commitment !== 'string') return undefined
  if (subject === undefined) return { slot, commitment: bytesOf(commitment) }
  if (typeof subject !== 'string' || typeof subjectSalt !== 'string') return undefined
  return {
    slot,
    subject,
    subjectSalt: bytesOf(subjectSalt),
    ...(typeof sealed === 'string' ? { sealed: bytesOf(sealed) } : {}),
    commitment: bytesOf(commitment),
    ...withTerms,
    ...(typeof restricted === 'string' ? { restricted } : {}),
  }
}

const termsPattern = /^(?:[0-9a-f]{16})*$/i

/** As `storedField`, without what no commitment is over. */
export function committedField(field: unknown): RebuildableEvent['fields'][number] | undefined {
  if (typeof field !== 'object' || field === null) return undefined
  const { slot, salt, value, subject, subjectSalt, commitment, terms }: LooseField = field
  if (terms !== undefined && (typeof terms !== 'string' || !termsPattern.test(terms))) return undefined
  if (slot === undefined) return terms === undefined ? undefined : field
  if (typeof slot !== 'string') return undefined
  if (typeof value === 'string')
    return typeof salt === 'string' ? { slot, salt: bytesOf(salt), value } : undefined
  if (typeof commitment !== 'string') return undefined
  if (subject === undefined) return { slot, commitment: bytesOf(commitment) }
  if (typeof subject !== 'string' || typeof subjectSalt !== 'string') return undefined
  return { slot, subject, subjectSalt: bytesOf(subjectSalt), commitment: bytesOf(commitment) }
}

const bytesOf = (text: string): Buffer => Buffer.from(text, 'base64')
