/** What an S3 service, or the way to it, fails with, by the codes of contract.ts. */
import { S3ServiceException } from '@aws-sdk/client-s3'
import { ArchiveStoreError } from './contract.js'
import { SourceFailure } from './streams.js'

/** Services differ in how they say that nothing more fits. */
const fullNames = /QuotaExceeded|StorageFull|InsufficientStorage|NoSpace/
const insufficientStorage = 507
const digestNames = new Set([
  'BadDigest',
  'InvalidDigest',
  'XAmzContentSHA256Mismatch',
  'XAmzContentChecksumMismatch',
])

const ours = [ArchiveStoreError, SourceFailure, TypeError, RangeError]

/** @param what decides what a refusal for lack of rights means */
export function s3Failure(cause: unknown, what: 'writing' | 'reading'): unknown {
  // Our own, and mistakes in this code: the SDK fails with errors of its own and of the network.
  if (ours.some((kind) => cause instanceof kind)) return cause
  const name = cause instanceof Error && /^[A-Za-z0-9]{1,64}$/.test(cause.name) ? cause.name : 'Error'
  const status = statusOf(cause)
  const of = (code: ArchiveStoreError['code'], message: string) =>
    new ArchiveStoreError(code, `${message} (${name}${status === undefined ? '' : ` ${String(status)}`})`, {
      cause,
    })
  if (status === insufficientStorage || fullNames.test(name)) return of('full', 'the bucket takes no more')
  if (digestNames.has(name)) return of('mismatch', 'the bytes that arrived are not those that were announced')
  if (what === 'writing' && (status === 403 || status === 405)) {
    return of('read_only', 'the bucket may not be written to')
  }
  return of('unavailable', 'the bucket could not be reached or did not answer right')
}

export const statusOf = (error: unknown): number | undefined =>
  error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined

/** Absent, and not the whole bucket: a bucket that is gone is no answer about an object. */
export const isAbsent = (error: unknown): boolean =>
  statusOf(error) === 404 && error instanceof Error && error.name !== 'NoSuchBucket'

/** Another object was there first, or is being written: looking again tells which. */
export const isTaken = (error: unknown): boolean => statusOf(error) === 412 || statusOf(error) === 409

export const isDenied = (error: unknown): boolean => {
  const status = statusOf(error)
  return status === 400 || status === 403 || status === 409
}

export const isBeyondEnd = (error: unknown): boolean => statusOf(error) === 416
