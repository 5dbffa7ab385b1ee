/**
 * Asks an S3 service for what the store relies on and cannot see in its daily work: that a second write under a path is
 * refused by the service itself, and other bytes than were announced; which versions it keeps; that a lock holds, and
 * against whom. Everything is tried on objects of its own, which are deleted again.
 */
import {
  DeleteObjectCommand,
  ListObjectVersionsCommand,
  type PutObjectCommandInput,
  type S3Client,
} from '@aws-sdk/client-s3'
import { hash, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { S3Address } from './address.js'
import { isDenied, isTaken, s3Failure, statusOf } from './s3-errors.js'
import { s3Limits } from './s3-limits.js'
import { createClient } from './s3.js'
import { withDigest } from './s3-upload.js'

/** What was found, in words for the one who set the bucket up; each method throws ArchiveStoreError where nobody answers. */
export type ProbeAnswer = string | { readonly warning: string } | { readonly failed: string }

export interface S3Probe {
  /** Is a second write refused, and are bytes that are not those announced? */
  readonly writesOnce: () => Promise<ProbeAnswer>
  /** Are versions kept, as the address wants them, and may each be deleted? */
  readonly versions: () => Promise<ProbeAnswer>
  /** Is what is not under lock free, and what is under lock not? */
  readonly lock: () => Promise<ProbeAnswer>
  /** Removes what is left. */
  readonly close: () => Promise<void>
}

/** How long the object lies under lock that shows that a lock holds. */
const lockMs = 4_000
/** Clocks may differ by so much. */
const slackMs = 20_000

/** @param path of the objects; the store's prefix comes before it */
export function createS3Probe(address: S3Address, path: string): S3Probe {
  const { bucket: Bucket, prefix, sse, kmsKeyId, objectLock } = address
  const client: S3Client = createClient(address, s3Limits)
  const keyOf = (name: string) => `${prefix === '' ? '' : `${prefix}/`}${path}-${name}`
  const inTime = () => ({ abortSignal: AbortSignal.timeout(s3Limits.stallMs) })

  /** @returns the version, where the service keeps any */
  async function write(
    name: string,
    rest: Partial<PutObjectCommandInput> = {},
    announced?: Uint8Array,
  ): Promise<string | undefined> {
    const Body = randomBytes(64)
    const digest = announced ?? Buffer.from(hash('sha256', Body), 'hex')
    const input = {
      ...{ Bucket, Key: keyOf(name), Body },
      ...(sse === undefined ? {} : { ServerSideEncryption: sse }),
      ...(kmsKeyId === undefined ? {} : { SSEKMSKeyId: kmsKeyId }),
      ...rest,
    }
    const { VersionId } = await client.send(withDigest(input, digest), inTime())
    return VersionId === 'null' ? undefined : VersionId
  }

  /** @returns why it was refused; undefined where it was done */
  async function refusalOf(work: Promise<unknown>): Promise<unknown> {
    try {
      await work
      return undefined
    } catch (error) {
      // No answer is no refusal.
      if (statusOf(error) === undefined || (statusOf(error) ?? 0) >= 500) throw s3Failure(error, 'writing')
      return error
    }
  }

  const remove = (name: string, VersionId?: string, bypass = false) =>
    client.send(
      new DeleteObjectCommand({
        ...{ Bucket, Key: keyOf(name) },
        ...(VersionId === undefined ? {} : { VersionId }),
        ...(bypass ? { BypassGovernanceRetention: true } : {}),
      }),
      inTime(),
    )

  async function versionsOf(name: string): Promise<string[]> {
    const page = await client.send(new ListObjectVersionsCommand({ Bucket, Prefix: keyOf(name) }), inTime())
    return [...(page.Versions ?? []), ...(page.DeleteMarkers ?? [])].map(
      ({ VersionId = 'null' }) => VersionId,
    )
  }

  const explained = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      throw s3Failure(error, 'writing')
    }
  }

  return {
    writesOnce: () =>
      explained(async () => {
        await write('once')
        const second = await refusalOf(write('once', { IfNoneMatch: '*' }))
        if (second === undefined)
          return {
            failed:
              'a second write under the same path was taken: the service does not know If-None-Match, and two workers may overwrite each other',
          }
        if (!isTaken(second))
          return { failed: `a second write was refused otherwise than by 412: ${codeOf(second)}` }
        const other = await refusalOf(write('other', {}, randomBytes(32)))
        if (other === undefined)
          return { failed: 'bytes that were not those announced were taken: the service compares no SHA-256' }
        return 'a second write is refused, and so are bytes that were not announced'
      }),

    versions: () =>
      explained(async () => {
        const first = await write('versions')
        const second = await write('versions')
        if (first === undefined || second === undefined) {
          return objectLock
            ? { failed: 'objectLock=true, and the bucket keeps no versions: it has no lock either' }
            : { warning: 'the bucket keeps no versions: what is deleted by mistake is gone' }
        }
        for (const version of [first, second]) {
          const refused = await refusalOf(remove('versions', version))
          if (refused !== undefined) return { failed: undeletable(refused) }
        }
        const left = await versionsOf('versions')
        return left.length === 0
          ? 'versions are kept, and each can be deleted'
          : { failed: 'versions that were deleted are still listed: an erasure would never end' }
      }),

    lock: () =>
      explained(async () => {
        const free = await refusalOf(remove('free', await write('free')))
        if (free !== undefined)
          return {
            failed:
              'what was not put under lock could not be deleted: a default retention of the bucket, which would keep everything from being erased, or no s3:DeleteObjectVersion',
          }
        if (!objectLock) return 'none, as the address says'
        const until = new Date(Date.now() + lockMs)
        const locked = { ObjectLockMode: 'GOVERNANCE', ObjectLockRetainUntilDate: until } as const
        let version: string | undefined
        const refused = await refusalOf(write('locked', locked).then((made) => (version = made)))
        if (refused !== undefined)
          return { failed: `objectLock=true, and no object can be put under lock: ${codeOf(refused)}` }
        if ((await refusalOf(remove('locked', version))) === undefined)
          return { failed: 'objectLock=true, and an object under lock could be deleted' }
        if ((await refusalOf(remove('locked', version, true))) === undefined)
          return {
            warning:
              'a lock holds, but not against these credentials: take s3:BypassGovernanceRetention from them',
          }
        await gone(until, version)
        return 'a lock holds until it ends, against these credentials too'
      }),

    close: async () => {
      for (const name of ['once', 'other', 'versions', 'free', 'locked'])
        for (const version of await versionsOf(name).catch(() => []))
          await remove(name, version === 'null' ? undefined : version).catch(() => undefined)
      client.destroy()
    },
  }

  /** Deletes what was under lock once its time has come, by the service's clock. */
  async function gone(until: Date, version: string | undefined): Promise<void> {
    for (let waitMs = until.getTime() - Date.now() + 500; ; waitMs = 1_000) {
      await sleep(Math.max(0, waitMs))
      const refused = await refusalOf(remove('locked', version))
      if (refused === undefined || Date.now() > until.getTime() + slackMs) return
    }
  }
}

const codeOf = (error: unknown): string => {
  const name = error instanceof Error && /^[A-Za-z0-9]{1,64}$/.test(error.name) ? error.name : 'Error'
  return `${name} ${String(statusOf(error) ?? '')}`.trim()
}

const undeletable = (refused: unknown): string =>
  isDenied(refused)
    ? `a version could not be deleted, and so nothing could be erased: s3:DeleteObjectVersion is needed, and no default retention (${codeOf(refused)})`
    : `a version could not be deleted: ${codeOf(refused)}`
