/**
 * What a request holds of a person, encrypted: identifiers, requester, recipients, and the words of whoever decided.
 *
 * Each request has a random key of its own, wrapped as a subject's is (organization key and period key): MongoDB's oplog
 * and backups keep documents that were deleted, so only a period key that is gone puts a request's identifiers out of
 * reach for good. A rotation re-wraps the keys of open requests beside those of subjects. When a request ends its key
 * and everything under it is removed.
 */
import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import type { PeriodKey, PeriodKeys } from '../keys/period-keys.js'
import { openSeal, seal } from '../keys/wrapping.js'
import type { ErasureIdentifier, ErasureReference, Recipient } from './contract.js'

export interface WrappedRequestKey {
  readonly period: number
  readonly wrapped: Buffer
}

/** What only officers with the personal grant, and the erasing steps, may see. */
export interface PrivatePart {
  readonly identifiers: readonly ErasureIdentifier[]
  readonly requester: string
  readonly channel: string
  readonly recipients: readonly Recipient[]
}

const privatePartSchema: z.ZodType<PrivatePart> = z.object({
  identifiers: z.array(
    z.union([
      z.object({ kind: z.literal('id'), type: z.string(), value: z.string() }),
      z.object({ kind: z.enum(['email', 'phone', 'other']), value: z.string() }),
    ]),
  ),
  requester: z.string(),
  channel: z.string(),
  recipients: z.array(z.object({ name: z.string(), url: z.string() })),
})

const nameOf = ({ organizationId, requestId }: ErasureReference) => `${organizationId}/${requestId}`
const keyPurpose = (request: ErasureReference, period: number) =>
  `annals/erasure/v1/key/${nameOf(request)}/${String(period)}`
const partPurpose = (request: ErasureReference) => `annals/erasure/v1/request/${nameOf(request)}`
const wordsPurpose = (request: ErasureReference, actionId: string) =>
  `annals/erasure/v1/words/${nameOf(request)}/${actionId}`

/** A fresh key for a new request: open, and wrapped for its document. */
export function createRequestKey(
  keyset: OrganizationKeyset,
  { current }: PeriodKeys,
  request: ErasureReference,
): { readonly key: Buffer; readonly wrapped: WrappedRequestKey } {
  const key = randomBytes(32)
  return { key, wrapped: wrapRequestKey(keyset, current, request, key) }
}

/** Wraps a request's key under the key of a period. */
export function wrapRequestKey(
  keyset: OrganizationKeyset,
  under: PeriodKey,
  request: ErasureReference,
  key: Buffer,
): WrappedRequestKey {
  const { period } = under
  return { period, wrapped: seal(keyset.subjectWrappingKey(under), key, keyPurpose(request, period)) }
}

/** The name under which a request's key for what it keeps is wrapped. */
export const restrictedName = ({ organizationId, requestId }: ErasureReference): ErasureReference => ({
  organizationId,
  requestId: `${requestId}/restricted`,
})

/** The name under which the key of the identifiers that an erasure works with is wrapped. */
export const workName = ({ organizationId, requestId }: ErasureReference): ErasureReference => ({
  organizationId,
  requestId: `${requestId}/work`,
})

/** @throws KeyError `period_key_missing` | `cannot_open` */
export function openRequestKey(
  keyset: OrganizationKeyset,
  periods: PeriodKeys,
  request: ErasureReference,
  { period, wrapped }: WrappedRequestKey,
): Buffer {
  return openSeal(keyset.subjectWrappingKey(periods.get(period)), wrapped, keyPurpose(request, period))
}

export function sealPrivatePart(key: Buffer, request: ErasureReference, part: PrivatePart): Buffer {
  return seal(key, Buffer.from(JSON.stringify(part)), partPurpose(request))
}

/** @throws KeyError `cannot_open` */
export function openPrivatePart(key: Buffer, request: ErasureReference, sealed: Buffer): PrivatePart {
  return privatePartSchema.parse(JSON.parse(openSeal(key, sealed, partPurpose(request)).toString('utf8')))
}

/** A note, a reason, a statement: whatever an officer wrote in words of their own. */
export type Words = Readonly<Record<string, string>>

const wordsSchema: z.ZodType<Words> = z.record(z.string(), z.string())

export function sealWords(key: Buffer, request: ErasureReference, actionId: string, words: Words): Buffer {
  return seal(key, Buffer.from(JSON.stringify(words)), wordsPurpose(request, actionId))
}

/** @throws KeyError `cannot_open` */
export function openWords(key: Buffer, request: ErasureReference, actionId: string, sealed: Buffer): Words {
  const opened = openSeal(key, sealed, wordsPurpose(request, actionId))
  return wordsSchema.parse(JSON.parse(opened.toString('utf8')))
}
