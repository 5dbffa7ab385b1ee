/**
 * One write of a whole object: a single PutObject, not a multipart upload. It appears whole or not at all, takes
 * `If-None-Match` everywhere, is checked by the service against one SHA-256 before it is kept, and an attempt that
 * breaks off leaves no parts to clean up. What it costs, sending all of it again, is little for segments under 200 MB.
 */
import { PutObjectCommand, type PutObjectCommandInput, type S3Client } from '@aws-sdk/client-s3'
import { Readable } from 'node:stream'
import type { PutOptions } from './contract.js'
import type { S3Limits } from './s3-limits.js'
import { announcedBytes } from './streams.js'

/** A slower way than that is none. */
const leastBytesPerSecond = 64 * 1024

/** @throws ArchiveStoreError `mismatch`; SourceFailure; what the SDK fails with */
export async function upload(
  client: S3Client,
  target: Pick<PutObjectCommandInput, 'Bucket' | 'Key'> & Partial<PutObjectCommandInput>,
  input: Readable,
  announced: PutOptions,
  { stallMs }: S3Limits,
): Promise<void> {
  const abort = new AbortController()
  const end = () => abort.abort()
  const overall = setTimeout(end, stallMs + (announced.bytes / leastBytesPerSecond) * 1_000)
  const stalled = setTimeout(end, stallMs)
  async function* watched(): AsyncGenerator<Uint8Array> {
    for await (const chunk of announcedBytes(input, announced)) {
      stalled.refresh()
      yield chunk
    }
    stalled.refresh()
  }
  const body = Readable.from(watched(), { objectMode: false })
  let broken: { readonly error: unknown } | undefined
  body.once('error', (error: unknown) => {
    broken = { error }
    // The SDK does not look at a body that fails, and would wait for the rest.
    end()
  })
  try {
    await client.send(
      withDigest({ ...target, Body: body, ContentLength: announced.bytes }, announced.sha256),
      {
        abortSignal: abort.signal,
      },
    )
  } catch (error) {
    throw broken === undefined ? error : broken.error
  } finally {
    clearTimeout(overall)
    clearTimeout(stalled)
    body.destroy()
    input.destroy()
  }
}

/**
 * A PutObject whose SHA-256 is known: it is kept as the object's checksum, and it is what is signed, so that also over
 * plain HTTP the service refuses other bytes (the SDK would leave a stream unsigned).
 */
export function withDigest(input: PutObjectCommandInput, sha256: Uint8Array): PutObjectCommand {
  const digest = Buffer.from(sha256)
  const command = new PutObjectCommand({ ...input, ChecksumSHA256: digest.toString('base64') })
  command.middlewareStack.add(
    (next) => (args) => {
      if (hasHeaders(args.request)) args.request.headers['x-amz-content-sha256'] = digest.toString('hex')
      return next(args)
    },
    { step: 'build', name: 'knownDigest' },
  )
  return command
}

function hasHeaders(request: unknown): request is { headers: Record<string, string> } {
  return typeof request === 'object' && request !== null && 'headers' in request
}
