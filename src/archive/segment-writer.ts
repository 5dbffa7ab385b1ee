/**
 * Writes a segment: streams leaves and events to a spool on the local disk, and from there to the archive
 * (segment-publish.ts says what a second attempt finds). In memory are the leaves of one tile. What was written is to be
 * verified by segment-verify.ts, from the archive's own bytes, before anything is deleted anywhere.
 *
 *     const writer = createSegmentWriter({ store, keys, spoolFolder })
 *     const evidence = await readEvidence(log, logKeys, range)
 *     const segment = await writer.write(range, leaves, { evidence, previous })
 *     await verifySegment(store, range, { verifiers, revision: segment.content.revision, previous, onLeaves })
 */
import { eventDocumentId } from '../events/store.js'
import { base64 } from '../transparency-log/encoding.js'
import { Frontier } from '../transparency-log/frontier.js'
import { equalHashes } from '../transparency-log/hash.js'
import { nodeHasher } from '../transparency-log/node-crypto.js'
import { tileWidth } from '../transparency-log/tile.js'
import type { SegmentDocument, SegmentRange } from './contract.js'
import { addHotRow } from './hot-row.js'
import { createLeavesRewriter, type LeavesRewriter } from './leaves-rewrite.js'
import { LineBuffer } from './line-buffer.js'
import type { SegmentEvidence } from './segment-evidence.js'
import { SegmentFault } from './segment-fault.js'
import type { ArchiveKeys } from './segment-keys.js'
import { maxLeaf, recordsPath } from './segment-paths.js'
import {
  createSegmentPublisher,
  type ContentStatement,
  type RecordsStatement,
  type WrittenContent,
  type WrittenRecords,
} from './segment-publish.js'
import { deleteObjects } from './segment-removal.js'
import { createContentRewriter, type ContentRewriter } from './segment-rewrite.js'
import { withSpool, type Spool, type SpoolFile } from './segment-spool.js'
import {
  archivable,
  formatContentLine,
  formatRecordLine,
  maxSegmentTiles,
  tileOf,
  type SegmentLeaf,
} from './segment.js'
import type { ArchiveStore } from './stores/contract.js'

export interface SegmentWriterDependencies {
  readonly store: ArchiveStore
  readonly keys: ArchiveKeys
  /** A folder on the local disk; made if it is not there. */
  readonly spoolFolder: string
  /** What one segment may take there, packed. Default 4 GiB. */
  readonly maxSpoolBytes?: number
}

export interface WriteOptions {
  readonly evidence: SegmentEvidence
  /** SHA-256 of the records manifest of the segment that ends at `from`; null where `from` is 0. */
  readonly previous: string | null
  /** Of records and their manifest, where the store can. */
  readonly lockUntil?: Date | undefined
  /** Place in the erasure ledger up to which erasures have been applied to the events. Default 0. */
  readonly ledgerSequence?: number
  /** Asked right before the content is put under a signed manifest; throws where it must not be any more. */
  readonly beforeContent?: () => Promise<void>
  /** Leaves so far. */
  readonly onProgress?: (leaves: number) => void
  /** Checked between tiles; throws its reason. */
  readonly signal?: AbortSignal
}

/** What was written, in the words of `SegmentDocument`. */
export type WrittenSegment = SegmentRange &
  Pick<
    SegmentDocument,
    'sealedFrom' | 'sealedTo' | 'occurredFrom' | 'occurredTo' | 'leaves' | 'damaged' | 'hotBytes'
  > & {
    readonly records: WrittenRecords
    readonly content: WrittenContent
    readonly unlogged?: true
  }

export interface SegmentWriter extends ContentRewriter, LeavesRewriter {
  /**
   * Writes a segment, or finds it written.
   * @param source one batch for each tile that the range touches, with all leaves of the tile that are in the range, in
   *   order. An event that does not make its leaf is not archived, and counted as damaged.
   * @throws SegmentFault `root_differs` where the leaves are not those of the evidence; `manifest_invalid`,
   *   `manifest_foreign` or `chain_broken` where another manifest is there already; SpoolFullError; ArchiveStoreError
   */
  write(
    range: SegmentRange,
    source: AsyncIterable<readonly SegmentLeaf[]>,
    options: WriteOptions,
  ): Promise<WrittenSegment>
  /**
   * Deletes every revision of a segment's content before the recorded one (0: every one), all versions of them. Later
   * ones stay: somebody else may have recorded one by now. @throws ArchiveStoreError
   */
  deleteOtherContent(range: SegmentRange, revision: number): Promise<void>
  /**
   * Deletes every revision but one (0: every one) of what is no segment yet, all versions of them, and what an attempt
   * that died left. @throws ArchiveStoreError
   */
  deleteUnrecordedContent(range: SegmentRange, revision: number): Promise<void>
}

export function createSegmentWriter(deps: SegmentWriterDependencies): SegmentWriter {
  const { store, keys, spoolFolder, maxSpoolBytes } = deps
  const publisher = createSegmentPublisher(store, keys)
  const rewriting = { store, publisher, spoolFolder, maxSpoolBytes }

  const deleteContent = (range: SegmentRange, goes: (revision: number) => boolean): Promise<void> =>
    deleteObjects(
      store,
      range,
      ({ kind, revision }) => (kind === 'content' || kind === 'contentManifest') && goes(revision),
    )

  return {
    ...createContentRewriter(rewriting),
    ...createLeavesRewriter(rewriting),
    async write(range, source, options) {
      requireWritable(range, options.previous)
      const { evidence, previous, lockUntil, ledgerSequence = 0 } = options
      const signing = await publisher.signing()
      const use = async (spool: Spool): Promise<WrittenSegment> => {
        const packing = new Packing(range, await spool.file('records'), await spool.file('content'))
        await packing.all(source, options)
        const { sealed, occurred, events, damaged, withoutRecord, hotBytes } = packing
        const statement: RecordsStatement = {
          format: 'annals/segment-records/v1',
          leaves: range.to - range.from,
          damaged: withoutRecord,
          sealedFrom: sealed.from.toISOString(),
          sealedTo: sealed.to.toISOString(),
          frontier: evidence.frontier.map(base64),
          root: base64(evidence.root),
          consistency: evidence.consistency.map(base64),
          checkpoint: evidence.checkpoint,
          logKeys: [...evidence.logKeys],
          previous,
        }
        const records = await publisher.records(range, packing.recordsFile, statement, signing, lockUntil)
        const contentStatement: ContentStatement = {
          format: 'annals/segment-content/v1',
          events,
          damaged,
          state: 'kept',
          ledgerSequence,
          records: records.manifestSha256,
        }
        await options.beforeContent?.()
        const content = await publisher.content(range, packing.contentFile, 1, contentStatement, signing)
        return {
          ...range,
          sealedFrom: sealed.from,
          sealedTo: sealed.to,
          occurredFrom: occurred?.from ?? sealed.from,
          occurredTo: occurred?.to ?? sealed.to,
          leaves: range.to - range.from,
          damaged,
          hotBytes,
          records,
          content,
        }
      }
      const written = await withSpool(spoolFolder, use, maxSpoolBytes)
      await publisher.keys()
      return written
    },
    deleteOtherContent: (range, revision) =>
      deleteContent(range, (other) => revision === 0 || other < revision),
    deleteUnrecordedContent: (range, revision) => deleteContent(range, (other) => other !== revision),
  }
}

function requireWritable({ from, to }: SegmentRange, previous: string | null): void {
  const tiles = tileOf(to - 1) - tileOf(from) + 1
  if (!Number.isSafeInteger(from) || from < 0 || !(from < to) || to > maxLeaf || tiles > maxSegmentTiles)
    throw new RangeError(`a segment has leaves under 1 to ${String(maxSegmentTiles)} tiles`)
  if ((from === 0) !== (previous === null))
    throw new RangeError('every segment but the first names the one before it')
}

interface Times {
  readonly from: Date
  readonly to: Date
}

/** From the leaves of a range to two data files, and what they add up to. */
class Packing {
  events = 0
  damaged = 0
  withoutRecord = 0
  hotBytes = 0
  #sealed: Times | undefined
  #occurred: Times | undefined
  #next: number

  constructor(
    private readonly range: SegmentRange,
    readonly recordsFile: SpoolFile,
    readonly contentFile: SpoolFile,
  ) {
    this.#next = range.from
  }

  get sealed(): Times {
    if (this.#sealed === undefined) throw new Error('a segment has a leaf')
    return this.#sealed
  }

  /** By `occurredAt`; undefined where no leaf has a record. */
  get occurred(): Times | undefined {
    return this.#occurred
  }

  async all(
    source: AsyncIterable<readonly SegmentLeaf[]>,
    { evidence, onProgress, signal }: WriteOptions,
  ): Promise<void> {
    const { from, to } = this.range
    const tree = Frontier.resume(from, evidence.frontier, nodeHasher)
    // The lines of one tile are made while those of the tile before are packed: two tiles' memory, in turns.
    let lines: TileLines = { records: new LineBuffer(), content: new LineBuffer() }
    let packed: TileLines = { records: new LineBuffer(), content: new LineBuffer() }
    let packing: Promise<unknown> = Promise.resolve()
    for await (const leaves of source) {
      signal?.throwIfAborted()
      this.#requireTile(leaves)
      for (const { leafHash } of leaves) tree.append(leafHash)
      const first = this.#next
      this.#lines(leaves, lines)
      this.#next += leaves.length
      await packing
      packing = Promise.all([
        this.recordsFile.add(first, lines.records.written),
        this.contentFile.add(first, lines.content.written),
      ])
      ;[lines, packed] = [packed, lines]
      // It is met with the next tile, or at the end.
      packing.catch(() => undefined)
      onProgress?.(this.#next - from)
    }
    await packing
    if (this.#next !== to) throw new Error('the source of a segment ended before its last leaf')
    if (!equalHashes(tree.root(), evidence.root)) {
      const detail = 'the leaves that were to be archived do not hash to the root of the log'
      throw new SegmentFault('root_differs', recordsPath(this.range), detail)
    }
  }

  #requireTile(leaves: readonly SegmentLeaf[]): void {
    const end = Math.min(this.range.to, (tileOf(this.#next) + 1) * tileWidth)
    const isTile =
      this.#next + leaves.length === end && leaves.every(({ index }, at) => index === this.#next + at)
    if (!isTile) throw new Error('the source of a segment gives the leaves of a tile at a time, in order')
  }

  #lines(leaves: readonly SegmentLeaf[], { records, content }: TileLines): void {
    records.clear()
    content.clear()
    for (const leaf of leaves) {
      const { record, occurredAt, isThere } = this.#leaf(leaf, content)
      records.add(formatRecordLine({ ...leaf, record }))
      if (isThere) this.events += 1
      else this.damaged += 1
      if (record === '') this.withoutRecord += 1
      this.hotBytes += leaf.row?.length ?? 0
      this.#sealed = { from: this.#sealed?.from ?? leaf.sealedAt, to: leaf.sealedAt }
      this.#occurred = widened(this.#occurred, occurredAt)
    }
  }

  /** Adds the line of a leaf to the content. */
  #leaf(leaf: SegmentLeaf, content: LineBuffer): PackedLeaf {
    const { organizationId } = this.range
    const { index, eventId, leafHash, row } = leaf
    if (row !== undefined) {
      const before = content.length
      const made = addHotRow(content, index, eventDocumentId(organizationId, eventId), row)
      if (made?.leafHash.equals(leafHash) === true) return { ...made, isThere: true }
      content.advanceTo(before)
    }
    const { record, event } = archivable(organizationId, leaf)
    content.add(formatContentLine(index, eventId, event))
    return { record, occurredAt: event?.occurredAt ?? occurredAtOf(record), isThere: event !== undefined }
  }
}

/** The lines of one tile, for both files. */
interface TileLines {
  readonly records: LineBuffer
  readonly content: LineBuffer
}

interface PackedLeaf {
  /** '' where there is none. */
  readonly record: string
  readonly occurredAt: Date | undefined
  /** Is its event archived? */
  readonly isThere: boolean
}

function widened(times: Times | undefined, time: Date | undefined): Times | undefined {
  if (time === undefined) return times
  if (times === undefined) return { from: time, to: time }
  return { from: time < times.from ? time : times.from, to: time > times.to ? time : times.to }
}

/** Of a record that makes its leaf: its times are what intake wrote. */
function occurredAtOf(record: string): Date | undefined {
  const [, time] = /"occurredAt":"([^"]+)"/.exec(record) ?? []
  return time === undefined ? undefined : new Date(time)
}
