/**
 * An archive in an S3 bucket, with or without versions and object lock. What the service must know: conditional writes
 * (`If-None-Match: *`), SHA-256 checksums, ListObjectsV2 and ListObjectVersions in the order of keys.
 */
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutObjectRetentionCommand,
  S3Client,
  type GetObjectCommandOutput,
  type HeadObjectCommandOutput,
  type S3ClientConfig,
} from '@aws-sdk/client-s3'
import { hash } from 'node:crypto'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { S3Address } from './address.js'
import { checkPath, checkPrefix, checkPut, checkRange, isPath } from './checks.js'
import {
  ArchiveStoreError,
  type ArchiveStore,
  type ByteRange,
  type PutOptions,
  type StoredObject,
  type StoredVersion,
} from './contract.js'
import { isAbsent, isBeyondEnd, isDenied, isTaken, s3Failure, statusOf } from './s3-errors.js'
import { s3Limits, type S3Limits } from './s3-limits.js'
import { upload, withDigest } from './s3-upload.js'
import { guarded, matches, SourceFailure } from './streams.js'

export interface S3StoreOptions extends Omit<S3Address, 'kind'> {
  readonly limits?: Partial<S3Limits>
  /** Absent = the SDK's standard chain. */
  readonly credentials?: S3ClientConfig['credentials']
  /** Of the SDK's configuration: whose credentials are taken; absent = what the chain finds. */
  readonly profile?: string | undefined
}

/** A version, or a deletion marker, as the service lists it. */
interface ListedVersion {
  readonly path: string
  readonly version: string
  /** undefined for a deletion marker. */
  readonly bytes: number | undefined
}

const nameOf = ({ path, version }: ListedVersion): string => `${path} ${version}`

/** A writer that keeps adding versions while they are deleted is not waited for. */
const maxDeletionRounds = 5

export function createS3Store(options: S3StoreOptions): ArchiveStore {
  const { bucket: Bucket, prefix, sse, kmsKeyId } = options
  const limits = { ...s3Limits, ...options.limits }
  const { stallMs, attempts, pageObjects: MaxKeys } = limits
  const client = createClient(options, limits)
  const encryption = {
    ...(sse === undefined ? {} : { ServerSideEncryption: sse }),
    ...(kmsKeyId === undefined ? {} : { SSEKMSKeyId: kmsKeyId }),
  }
  const before = prefix === '' ? '' : `${prefix}/`
  let bucketSeen = false

  /** One answer, retries by the SDK included, in bounded time. */
  const inTime = () => ({ abortSignal: AbortSignal.timeout(stallMs * attempts) })

  const at = (path: string) => {
    checkPath(path)
    return { Bucket, Key: before + path }
  }

  /** A 404 to a HEAD says nothing about what is missing. */
  async function requireBucket(): Promise<void> {
    if (bucketSeen) return
    await client.send(new HeadBucketCommand({ Bucket }), inTime())
    bucketSeen = true
  }

  async function headOf(path: string, VersionId?: string): Promise<HeadObjectCommandOutput | undefined> {
    try {
      const input = { ...at(path), ...(VersionId === undefined ? {} : { VersionId }) }
      return await client.send(new HeadObjectCommand(input), inTime())
    } catch (error) {
      if (!isAbsent(error)) throw error
      await requireBucket()
      return undefined
    }
  }

  /** Is what lies there what was announced? undefined where nothing does. */
  async function compare(path: string, announced: PutOptions): Promise<boolean | undefined> {
    const found = await headOf(path)
    if (found === undefined) return undefined
    if (found.ContentLength !== announced.bytes) return false
    // The bytes themselves: the checksum that a service keeps is of those that once arrived.
    const stream = await bytesOf(path)
    return stream === undefined ? undefined : matches(stream, announced)
  }

  async function bytesOf(path: string, range?: ByteRange, VersionId?: string): Promise<Readable | undefined> {
    if (range !== undefined) checkRange(range)
    if (range?.length === 0) {
      return (await headOf(path, VersionId)) === undefined ? undefined : noBytes()
    }
    const abort = new AbortController()
    const timer = setTimeout(() => abort.abort(), stallMs * attempts)
    let answer: GetObjectCommandOutput
    try {
      const Range = range === undefined ? undefined : rangeHeader(range)
      answer = await client.send(
        new GetObjectCommand({
          ...at(path),
          ...(VersionId === undefined ? {} : { VersionId }),
          ...(Range === undefined ? {} : { Range }),
        }),
        { abortSignal: abort.signal },
      )
    } catch (error) {
      if (isAbsent(error)) return undefined
      if (isBeyondEnd(error)) return noBytes()
      throw error
    } finally {
      clearTimeout(timer)
    }
    const { Body, ContentLength, ContentRange } = answer
    if (!(Body instanceof Readable)) throw new TypeError('on Node.js a body is a stream')
    if (range !== undefined && ContentRange?.startsWith(`bytes ${String(range.offset)}-`) !== true) {
      Body.destroy()
      throw new ArchiveStoreError('unavailable', 'the bucket answered another range than was asked for')
    }
    const explain = (error: unknown) => asStoreError(s3Failure(error, 'reading'))
    return guarded(Body, { bytes: ContentLength, stallMs, explain })
  }

  async function putOnce(path: string, source: () => Readable, announced: PutOptions): Promise<void> {
    const { lockUntil } = announced
    const locked = options.objectLock && lockUntil !== undefined && lockUntil.getTime() > Date.now()
    const lock = { ObjectLockMode: 'GOVERNANCE', ObjectLockRetainUntilDate: lockUntil } as const
    const target = { ...at(path), ...encryption, ...(locked ? lock : {}), IfNoneMatch: '*' }
    await upload(client, target, source(), announced, limits)
  }

  /** Versions and deletion markers of what begins with a key, in the order of keys, page by page. */
  async function* listedVersions(Prefix: string): AsyncGenerator<ListedVersion[]> {
    let KeyMarker: string | undefined
    let VersionIdMarker: string | undefined
    let known = new Set<string>()
    do {
      const input = { Bucket, Prefix, KeyMarker, VersionIdMarker, MaxKeys }
      const page = await client.send(new ListObjectVersionsCommand(input), inTime())
      const { Versions = [], DeleteMarkers = [] } = page
      const found = [
        ...Versions.map(({ Key, VersionId, Size = 0 }) => listed(Key, VersionId, Size)),
        ...DeleteMarkers.map(({ Key, VersionId }) => listed(Key, VersionId, undefined)),
      ]
      // Some services begin a page with what the one before ended with.
      const fresh = found.filter((each) => !known.has(nameOf(each)))
      if (fresh.length === 0 && page.IsTruncated === true) {
        throw new ArchiveStoreError('unavailable', 'the bucket lists the same page again and again')
      }
      known = new Set(found.map(nameOf))
      yield fresh
      KeyMarker = page.IsTruncated === true ? page.NextKeyMarker : undefined
      VersionIdMarker = KeyMarker === undefined ? undefined : page.NextVersionIdMarker
    } while (KeyMarker !== undefined)
  }

  const listed = (key = '', version = 'null', bytes: number | undefined): ListedVersion => ({
    path: key.slice(before.length),
    version,
    bytes,
  })

  /** All versions of one object, newest first, and its deletion markers. */
  async function versionsOf(path: string): Promise<ListedVersion[]> {
    const found: ListedVersion[] = []
    for await (const page of listedVersions(at(path).Key)) {
      const own = page.filter((each) => each.path === path)
      found.push(...own)
      // The key itself is the first of those that begin with it.
      if (own.length < page.length) break
    }
    return found
  }

  async function deleteVersion({ path, version }: ListedVersion): Promise<void> {
    try {
      await client.send(new DeleteObjectCommand({ ...at(path), VersionId: version }), inTime())
    } catch (error) {
      if (isAbsent(error)) return
      if (isDenied(error) && (await isLocked(path, version))) {
        throw new ArchiveStoreError('locked', 'the object is under lock', { cause: error })
      }
      // Of two that delete one version, the later may be told that its id is invalid: whether it is gone, the list says.
      if (statusOf(error) === 400 && !(await isListed(path, version))) return
      throw error
    }
  }

  const isListed = async (path: string, version: string): Promise<boolean> =>
    (await versionsOf(path)).some((found) => found.version === version)

  async function isLocked(path: string, version: string): Promise<boolean> {
    const found = await headOf(path, version).catch(() => undefined)
    const until = found?.ObjectLockRetainUntilDate?.getTime() ?? 0
    return until > Date.now() || found?.ObjectLockLegalHoldStatus === 'ON'
  }

  return {
    put: (path, source, announced) =>
      writing(async () => {
        checkPut(path, announced)
        for (let attempt = 1; ; attempt += 1) {
          try {
            // Looking first spares sending all of it again after a crash, or after an answer that was lost.
            const same = await compare(path, announced)
            if (same === true) return 'already'
            if (same === false) {
              throw new ArchiveStoreError('exists', 'another object lies under this path already')
            }
            await putOnce(path, source, announced)
            return 'written'
          } catch (error) {
            const again = isTaken(error) || isTransient(s3Failure(error, 'writing'))
            if (!again || attempt >= attempts) throw error
            await sleep(limits.backoffMs * 2 ** (attempt - 1) * (0.5 + Math.random()))
          }
        }
      }),

    get: (path, range) => reading(() => bytesOf(path, range)),

    head: (path) =>
      reading(async () => {
        const found = await headOf(path)
        if (found === undefined) return undefined
        const { ContentLength: bytes = 0, ObjectLockRetainUntilDate: lockedUntil } = found
        return { path, bytes, ...(lockedUntil === undefined ? {} : { lockedUntil }) }
      }),

    async *list(wanted) {
      checkPrefix(wanted)
      let ContinuationToken: string | undefined
      do {
        const input = { Bucket, Prefix: before + wanted, ContinuationToken, MaxKeys }
        const page = await reading(() => client.send(new ListObjectsV2Command(input), inTime()))
        for (const { Key = '', Size = 0 } of page.Contents ?? []) {
          const path = Key.slice(before.length)
          // What no store writes is somebody else's: the folders that consoles make.
          if (isPath(path)) yield { path, bytes: Size } satisfies StoredObject
        }
        ContinuationToken = page.IsTruncated === true ? page.NextContinuationToken : undefined
      } while (ContinuationToken !== undefined)
    },

    delete: (path) =>
      writing(async () => {
        for (let round = 1; round <= maxDeletionRounds; round += 1) {
          const found = await versionsOf(path)
          if (found.length === 0) return
          // The oldest first, so that no old version becomes the current one; markers, which hide them, last.
          const versions = found.filter(({ bytes }) => bytes !== undefined).reverse()
          const markers = found.filter(({ bytes }) => bytes === undefined)
          for (const each of [...versions, ...markers]) await deleteVersion(each)
        }
        throw new ArchiveStoreError('unavailable', 'new versions came while the object was deleted')
      }),

    async *versions(wanted) {
      checkPrefix(wanted)
      const pages = listedVersions(before + wanted)
      for (;;) {
        const page = await reading(() => pages.next())
        if (page.done === true) return
        for (const { path, version, bytes } of page.value) {
          // What no store writes is somebody else's.
          if (bytes !== undefined && isPath(path)) yield { path, bytes, version } satisfies StoredVersion
        }
      }
    },

    getVersion: ({ path, version }) =>
      reading(() => bytesOf(path, undefined, version === '' ? undefined : version)),

    lock: (path, until) =>
      writing(async () => {
        if (!options.objectLock || until.getTime() <= Date.now()) return
        const found = await headOf(path)
        if ((found?.ObjectLockRetainUntilDate?.getTime() ?? 0) >= until.getTime()) return
        const Retention = { Mode: 'GOVERNANCE', RetainUntilDate: until } as const
        await client.send(new PutObjectRetentionCommand({ ...at(path), Retention }), inTime())
      }),

    replace: (path, bytes) =>
      writing(async () => {
        const digest = Buffer.from(hash('sha256', bytes), 'hex')
        const put = withDigest({ ...at(path), ...encryption, Body: Buffer.from(bytes) }, digest)
        const { VersionId } = await client.send(put, inTime())
        if (VersionId === undefined || VersionId === 'null') return
        const found = await versionsOf(path)
        const own = found.findIndex(({ version }) => version === VersionId)
        // Where it is no longer listed, a later replacement has removed it, and removes what is older.
        if (own < 0) return
        for (const older of found.slice(own + 1).reverse()) await deleteVersion(older)
      }),
  }
}

/** As the store itself has it. */
export function createClient(options: S3StoreOptions, { connectMs, stallMs, attempts }: S3Limits): S3Client {
  const { endpoint, region, pathStyle, credentials, profile } = options
  return new S3Client({
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
    ...(credentials === undefined ? {} : { credentials }),
    ...(profile === undefined ? {} : { profile }),
    forcePathStyle: pathStyle,
    maxAttempts: attempts,
    // It would write to the console, and names objects: whoever handles the error logs its code.
    logger: { trace: silent, debug: silent, info: silent, warn: silent, error: silent },
    // Every write carries its SHA-256, and whoever reads hashes: no other checksum is needed, nor known everywhere.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: { connectionTimeout: connectMs, socketTimeout: stallMs },
  })
}

const silent = (): undefined => undefined

function rangeHeader({ offset, length }: ByteRange): string {
  return `bytes=${String(offset)}-${length === undefined ? '' : String(offset + length - 1)}`
}

const noBytes = (): Readable => Readable.from([], { objectMode: false })

const isTransient = (error: unknown): boolean =>
  error instanceof ArchiveStoreError && error.code === 'unavailable'

const asStoreError = (error: unknown): ArchiveStoreError =>
  error instanceof ArchiveStoreError
    ? error
    : new ArchiveStoreError('unavailable', 'the bytes of an object broke off', { cause: error })

const writing = <T>(work: () => Promise<T>): Promise<T> => explained(work, 'writing')
const reading = <T>(work: () => Promise<T>): Promise<T> => explained(work, 'reading')

async function explained<T>(work: () => Promise<T>, what: 'writing' | 'reading'): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof SourceFailure) throw error.cause
    throw s3Failure(error, what)
  }
}
