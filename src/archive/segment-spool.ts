/**
 * A data file of a segment on its way to the archive: packed member by member onto the local disk, since a store wants
 * to know hash and size before the first byte. In memory is one member at a time, however large the segment.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, mkdtemp, open, rm, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type { SegmentFile, SegmentMember } from './contract.js'
import { packMember } from './member-packing.js'

/** What the spool may take of the local disk, both files of a segment together. */
export const defaultMaxSpoolBytes = 4 * 1_024 ** 3

/** The segment is too large for the spool: archive fewer leaves at once. */
export class SpoolFullError extends Error {
  override readonly name = 'SpoolFullError'
}

/** A folder for the files of one segment; gone when `use` ends, however it ends. */
export async function withSpool<Value>(
  parent: string,
  use: (spool: Spool) => Promise<Value>,
  maxBytes = defaultMaxSpoolBytes,
): Promise<Value> {
  await mkdir(parent, { recursive: true })
  const folder = await mkdtemp(join(parent, 'segment-'))
  const spool = new Spool(folder, maxBytes)
  try {
    return await use(spool)
  } finally {
    await spool.close()
    await rm(folder, { recursive: true, force: true })
  }
}

export class Spool {
  readonly #files: SpoolFile[] = []
  #bytes = 0

  constructor(
    private readonly folder: string,
    private readonly maxBytes: number,
  ) {}

  async file(name: string): Promise<SpoolFile> {
    const path = join(this.folder, name)
    const file = new SpoolFile(path, await open(path, 'wx'), (bytes) => {
      this.#bytes += bytes
      if (this.#bytes > this.maxBytes) throw new SpoolFullError('the segment is too large for its spool')
    })
    this.#files.push(file)
    return file
  }

  async close(): Promise<void> {
    await Promise.all(this.#files.map((file) => file.close()))
  }
}

export class SpoolFile {
  readonly #hash = createHash('sha256')
  readonly #members: SegmentMember[] = []
  #bytes = 0
  #sha256: string | undefined

  constructor(
    private readonly path: string,
    private readonly handle: FileHandle,
    private readonly take: (bytes: number) => void,
  ) {}

  /** Packs the lines of one tile and appends them; one call at a time. @throws SpoolFullError */
  async add(first: number, lines: string | Uint8Array): Promise<void> {
    const packed = await packMember(typeof lines === 'string' ? Buffer.from(lines, 'utf8') : lines)
    this.take(packed.length)
    await this.handle.write(packed)
    this.#hash.update(packed)
    this.#members.push({ first, offset: this.#bytes, bytes: packed.length })
    this.#bytes += packed.length
  }

  /** What it holds, any number of times; nothing may be added after it. */
  async finish(): Promise<Omit<SegmentFile, 'path'>> {
    await this.close()
    this.#sha256 ??= this.#hash.digest('hex')
    return { bytes: this.#bytes, sha256: this.#sha256, members: this.#members }
  }

  /** The bytes, from the first on. */
  read(): Readable {
    return createReadStream(this.path)
  }

  /** Any number of times. */
  async close(): Promise<void> {
    if (this.handle.fd !== -1) await this.handle.close()
  }
}
