/**
 * One random key per subject. Destroying it makes everything encrypted under it unreadable, so it exists in
 * clear only in a process's memory, under a lease, and otherwise wrapped (keys/organization-keys.ts).
 */
import { randomBytes } from 'node:crypto'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import type { PeriodKey, PeriodKeys } from '../keys/period-keys.js'
import { KeyError, openSeal, seal } from '../keys/wrapping.js'
import type { SubjectDocument } from './store.js'

const purpose = (organizationId: string, reference: string, period: number) =>
  `annals/subject/v1/${organizationId}/${reference}/${String(period)}`

export type WrappedSubjectKey = NonNullable<SubjectDocument['key']>

/** A fresh key for a new subject: open, and wrapped for its document. */
export function createSubjectKey(
  keyset: OrganizationKeyset,
  under: PeriodKey,
  reference: string,
): { key: Buffer; wrapped: WrappedSubjectKey } {
  const key = randomBytes(32)
  return { key, wrapped: wrapSubjectKey(keyset, under, reference, key) }
}

/** Wraps a subject's key under the key of a period. */
export function wrapSubjectKey(
  keyset: OrganizationKeyset,
  under: PeriodKey,
  reference: string,
  key: Buffer,
): WrappedSubjectKey {
  const { period } = under
  const wrappingKey = keyset.subjectWrappingKey(under)
  return { period, wrapped: seal(wrappingKey, key, purpose(keyset.organizationId, reference, period)) }
}

/**
 * Opens the key of a subject that is not erased.
 * @throws KeyError `malformed_key` where the document lacks its key, `period_key_missing`, `cannot_open`
 */
export function openSubjectKey(
  keyset: OrganizationKeyset,
  periods: PeriodKeys,
  reference: string,
  document: SubjectDocument,
): Buffer {
  if (document.key === undefined)
    throw new KeyError('malformed_key', 'a subject that is not erased has no key')
  const { period, wrapped } = document.key
  const wrappingKey = keyset.subjectWrappingKey(periods.get(period))
  return openSeal(wrappingKey, wrapped, purpose(keyset.organizationId, reference, period))
}
