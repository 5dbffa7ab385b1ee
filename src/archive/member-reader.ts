/**
 * One member of a segment's data file: the leaves of one tile, read by one ranged read, opened and verified against the
 * tile. Tiles stay in MongoDB for ever, so the archive's bytes have to fit what was sealed: an event that does not make
 * its leaf, or is not where it was, is damage, and is never given out.
 */
import type { Readable } from 'node:stream'
import { AnnalsError } from '../errors.js'
import { leafHashOf } from '../events/record.js'
import type { StoredEvent } from '../events/store.js'
import type { LogLeaf } from '../transparency-log/store.js'
import type { SegmentDocument, SegmentFile, SegmentMember } from './contract.js'
import { unpackMember } from './member-packing.js'
import {
  isEmptyLine,
  parseContentLines,
  parseRecordLines,
  storedEventOf,
  tileOf,
  type ContentLine,
} from './segment.js'
import { ArchiveStoreError, type ArchiveStore } from './stores/contract.js'

export interface Opened<Value> {
  readonly value: Value
  /** What it takes up in memory, about. */
  readonly bytes: number
}

export interface MemberReader {
  /** The events of these leaves of a tile. @throws MemberGoneError; AnnalsError `archive_damaged` | `unavailable` */
  content(
    segment: SegmentDocument,
    content: NonNullable<SegmentDocument['content']>,
    leaves: readonly LogLeaf[],
    tile: number,
  ): Promise<Opened<ReadonlyMap<number, StoredEvent>>>
  /** The records of these leaves of a tile, '' where there is none (any more). Errors as `content`. */
  records(
    records: Pick<NonNullable<SegmentDocument['records']>, 'file' | 'leaves'>,
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

/** Objects in memory take more than their text. */
const memoryFactor = 3
const retryAfterSeconds = 5

export function createMemberReader(store: Pick<ArchiveStore, 'get'>): MemberReader {
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
      return await unpackMember(packed)
    } catch {
      throw damaged(path, `the bytes from ${String(member.offset)} on do not unpack`)
    }
  }

  async function open<Line extends { readonly index: number }>(
    file: SegmentFile,
    tile: number,
    parse: (lines: Buffer) => readonly Line[],
  ): Promise<Opened<ReadonlyMap<number, Line>>> {
    const member = file.members.find(({ first }) => tileOf(first) === tile)
    if (member === undefined) return { value: new Map(), bytes: 0 }
    const lines = await linesOf(file, member)
    try {
      const value = new Map(parse(lines).map((line) => [line.index, line]))
      return { value, bytes: lines.length * memoryFactor }
    } catch {
      throw damaged(file.path, `the lines from leaf ${String(member.first)} on are not what was written`)
    }
  }

  return {
    async content({ organizationId, damaged: damagedLeaves }, { file, state }, leaves, tile) {
      const { value, bytes } = await open(file, tile, parseContentLines)
      if (value.size > leaves.length) throw damaged(file.path, 'it holds more than was archived')
      const found = new Map<number, StoredEvent>()
      for (const leaf of leaves) {
        const line = value.get(leaf.index)
        if (line === undefined) {
          // Only what expired has no line, and only where nothing was damaged is an empty one none of ours.
          if (state === 'kept') throw missing(file, leaf)
        } else if (!isEmptyLine(line)) {
          found.set(leaf.index, verified(organizationId, line, leaf, file))
        } else if (damagedLeaves === 0) {
          throw missing(file, leaf)
        }
      }
      return { value: found, bytes }
    },
    async records({ file, leaves: remains }, leaves, tile) {
      const { value, bytes } = await open(file, tile, parseRecordLines)
      const found = new Map<number, string>()
      for (const leaf of leaves) {
        const line = value.get(leaf.index)
        // Only in the place of records that expired is a line without one.
        const record = line?.record ?? (remains === undefined ? undefined : '')
        if (line === undefined || record === undefined) throw missing(file, leaf)
        const makesLeaf = record === '' ? line.leafHash : leafHashOf(record)
        if (!makesLeaf.equals(leaf.leafHash)) throw altered(file, leaf)
        found.set(leaf.index, record)
      }
      return { value: found, bytes }
    },
  }
}

/** The event of a line, which has to make its leaf. */
function verified(organizationId: string, line: ContentLine, leaf: LogLeaf, file: SegmentFile): StoredEvent {
  const event = line.id === leaf.eventId ? storedEventOf(organizationId, line) : undefined
  if (event?.leafHash.equals(leaf.leafHash) === true) return event
  throw altered(file, leaf)
}

const missing = (file: SegmentFile, { index }: LogLeaf) =>
  damaged(file.path, `leaf ${String(index)} is missing in it`)

const altered = (file: SegmentFile, { index }: LogLeaf) =>
  damaged(file.path, `leaf ${String(index)} is not the one that was sealed`)

/** The archive as a whole cannot be read. */
export const unavailable = (error?: ArchiveStoreError) =>
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
