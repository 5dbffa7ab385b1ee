/** The bytes that pass through an archive store, in either direction. */
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { ArchiveStoreError, type PutOptions } from './contract.js'

type Announced = Pick<PutOptions, 'sha256' | 'bytes'>

/** What the source of an object failed with: not the store's failure, and thrown to the caller as it is. */
export class SourceFailure extends Error {
  override readonly name = 'SourceFailure'

  constructor(override readonly cause: unknown) {
    super('the source of an object failed')
  }
}

/**
 * The bytes of a source, as long as they are what was announced. The last chunk is held back until the source has ended
 * and all of them were hashed: whoever writes these bytes never has them whole unless they are right.
 * @throws ArchiveStoreError `mismatch`; SourceFailure
 */
export async function* announcedBytes(
  source: Readable,
  { sha256, bytes }: Announced,
): AsyncGenerator<Uint8Array, void, undefined> {
  const hash = createHash('sha256')
  let total = 0
  let held: Uint8Array | undefined
  try {
    for await (const chunk of chunksOf(source, (error) => new SourceFailure(error))) {
      total += chunk.length
      if (total > bytes) break
      hash.update(chunk)
      if (held !== undefined) yield held
      held = chunk
    }
  } finally {
    source.destroy()
  }
  if (total !== bytes || !hash.digest().equals(sha256)) {
    throw new ArchiveStoreError('mismatch', 'the bytes to keep are not those that were announced')
  }
  if (held !== undefined) yield held
}

/** Are the bytes of a stream those announced? Reads it to its end, or until there are too many. */
export async function matches(stream: Readable, { sha256, bytes }: Announced): Promise<boolean> {
  const hash = createHash('sha256')
  let total = 0
  for await (const chunk of chunksOf(stream, (error) => error)) {
    total += chunk.length
    if (total > bytes) return false
    hash.update(chunk)
  }
  return total === bytes && hash.digest().equals(sha256)
}

export interface GuardOptions {
  /** How many bytes there must be; undefined where nobody knows. */
  readonly bytes: number | undefined
  /** How long one chunk may take to come, once it was asked for. */
  readonly stallMs: number
  readonly explain: (error: unknown) => ArchiveStoreError
}

/** A stream that ends only where all its bytes came, each in time; else it is destroyed with an ArchiveStoreError. */
export function guarded(inner: Readable, { bytes, stallMs, explain }: GuardOptions): Readable {
  async function* chunks(): AsyncGenerator<Uint8Array> {
    let total = 0
    for await (const chunk of chunksOf(inner, explain, stallMs)) {
      total += chunk.length
      yield chunk
    }
    if (bytes !== undefined && total !== bytes) {
      throw new ArchiveStoreError('unavailable', 'the bytes of an object broke off')
    }
  }
  const outer = Readable.from(chunks(), { objectMode: false })
  // A reader that never began closes what was opened too.
  outer.once('close', () => inner.destroy())
  inner.once('error', () => undefined)
  return outer
}

async function* chunksOf(
  stream: Readable,
  explain: (error: unknown) => unknown,
  stallMs?: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  const iterator: AsyncIterator<unknown> = stream[Symbol.asyncIterator]()
  try {
    for (;;) {
      const step = await inTime(iterator.next(), stallMs).catch((error: unknown) => {
        throw explain(error)
      })
      if (step.done === true) return
      if (!(step.value instanceof Uint8Array)) throw new TypeError('an object is made of bytes')
      yield step.value
    }
  } finally {
    stream.destroy()
  }
}

async function inTime<T>(promise: Promise<T>, timeoutMs: number | undefined): Promise<T> {
  if (timeoutMs === undefined) return promise
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('no bytes came in time')), timeoutMs)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
