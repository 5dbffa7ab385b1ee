/**
 * One member of a segment's data file: the leaves of one tile, read by one ranged read, opened and verified against the
 * tile. Tiles stay in MongoDB for ever, so the archive's bytes have to fit what was sealed: an event that does not make
 * its leaf, or is not where it was, is damage, and is never given out.
 */
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import type { Readable } from 'node:stream'
import { AnnalsError } from '../errors.js'
import { leafHashOf } from '../events/record.js'
import { rebuildLeaf } from '../events/rebuild.js'
import { eventIdOf, type StoredEvent } from '../events/store.js'
import type { LogLeaf } from '../transparency-log/store.js'
import { tileWidth } from '../transparency-log/tile.js'
import type { ContentState, SegmentFile, SegmentMember } from './contract.js'
import { ArchiveStoreError, type ArchiveStore } from './stores/contract.js'

/** What the lines of a member say; it rejects with any error where they are none. */
export interface MemberFormat {
  /** Events by leaf; undefined for a leaf whose event was damaged, or gone, when it was archived. */
  content(organizationId: string, lines: Buffer): ReadonlyMap<number, StoredEvent | undefined>
  /** Records by leaf; '' where there is none. */
  records(lines: Buffer): ReadonlyMap<number, string>
}

export interface Opened<Value> {
  readonly value: Value
  /** What it takes up in memory, about. */
  readonly bytes: number
}

export interface MemberReader {
  /** The events of these leaves of a tile. @throws MemberGoneError; AnnalsError `archive_damaged` | `unavailable` */
  content(
    content: { readonly file: SegmentFile; readonly state: ContentState },
    leaves: readonly LogLeaf[],
    tile: number,
  ): Promise<Opened<ReadonlyMap<number, StoredEvent>>>
  /** The records of these leaves of a tile, '' where there is none. Errors as `content`. */
  records(
    records: { readonly file: SegmentFile },
    leaves: readonly LogLeaf[],
    tile: number,
  ): Promise<Opened<ReadonlyMap<number, string>>>
}

/** The object is not there (any more). */
export class MemberGoneError extends Error {
  override readonly name = 'MemberGoneError'
  constructor(readonly path: string) {
    super('an object of the archive is not there')
  }
}

/** The refusal of an object by its name; its path holds no personal value. */
export const damaged = (path: string, what: string): AnnalsError =>
  new AnnalsError('archive_damaged', `The archive's object ${path} is damaged: ${what}.`)

const unzip = promisify(gunzip)
/** 256 events of the largest size, and their salts; what unpacks to more is no member. */
const maxOpenedBytes = 256 * 512 * 1_024
/** Objects in memory take more than their text. */
const memoryFactor = 3
const retryAfterSeconds = 5

export function createMemberReader(store: Pick<ArchiveStore, 'get'>, format: MemberFormat): MemberReader {
  /** The lines of a member, as they were before they were packed. */
  async function linesOf({ path }: SegmentFile, member: SegmentMember): Promise<Buffer> {
    let packed: Buffer
    try {
      const bytes = await store.get(path, { offset: member.offset, length: member.bytes })
      if (bytes === undefined) throw new MemberGoneError(path)
      packed = await collect(bytes, member.bytes)
    } catch (error) {
      throw error instanceof ArchiveStoreError ? unavailable(error) : error
    }
    if (packed.length !== member.bytes) throw damaged(path, 'it is cut short')
    try {
      return await unzip(packed, { maxOutputLength: maxOpenedBytes })
    } catch {
      throw damaged(path, `the bytes from ${String(member.offset)} on do not unpack`)
    }
  }

  async function open<Value>(
    file: SegmentFile,
    tile: number,
    read: (lines: Buffer) => ReadonlyMap<number, Value>,
  ): Promise<Opened<ReadonlyMap<number, Value>>> {
    const member = file.members.find(({ first }) => Math.floor(first / tileWidth) === tile)
    if (member === undefined) return { value: new Map(), bytes: 0 }
    const lines = await linesOf(file, member)
    try {
      return { value: read(lines), bytes: lines.length * memoryFactor }
    } catch {
      throw damaged(file.path, `the lines from leaf ${String(member.first)} on are not what was written`)
    }
  }

  return {
    async content({ file, state }, leaves, tile) {
      const organizationId = file.path.slice(0, file.path.indexOf('/'))
      const { value, bytes } = await open(file, tile, (lines) => format.content(organizationId, lines))
      const found = new Map<number, StoredEvent>()
      for (const leaf of leaves) {
        const event = value.get(leaf.index)
        if (event !== undefined) {
          if (!makesLeaf(event, leaf)) throw altered(file, leaf)
          found.set(leaf.index, event)
        } else if (state === 'kept' && !value.has(leaf.index)) {
          throw damaged(file.path, `leaf ${String(leaf.index)} is missing in it`)
        }
      }
      if (value.size > leaves.length) throw damaged(file.path, 'it holds more than was archived')
      return { value: found, bytes }
    },
    async records({ file }, leaves, tile) {
      const { value, bytes } = await open(file, tile, (lines) => format.records(lines))
      for (const leaf of leaves) {
        const record = value.get(leaf.index)
        if (record === undefined) throw damaged(file.path, `leaf ${String(leaf.index)} is missing in it`)
        if (record !== '' && !leafHashOf(record).equals(leaf.leafHash)) throw altered(file, leaf)
      }
      return { value, bytes }
    },
  }
}

function makesLeaf(event: StoredEvent, { eventId, leafHash }: LogLeaf): boolean {
  const rebuilt = rebuildLeaf(event)
  return rebuilt !== undefined && eventIdOf(event._id) === eventId && rebuilt.leafHash.equals(leafHash)
}

const altered = (file: SegmentFile, { index }: LogLeaf) =>
  damaged(file.path, `leaf ${String(index)} is not the one that was sealed`)

const unavailable = (error: ArchiveStoreError) =>
  new AnnalsError('unavailable', 'The archive cannot be read at the moment.', {
    retryAfterSeconds,
    cause: error,
  })

/** At most `maxBytes` and one more: a store that sends more than was asked for is not read to its end. */
async function collect(stream: Readable, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    length += chunk.length
    if (length > maxBytes) break
  }
  return Buffer.concat(chunks)
}
