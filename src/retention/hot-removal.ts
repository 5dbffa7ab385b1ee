/**
 * Deletes from the hot store what lies in the archive: **exactly the ids that were read back**, sealed, by their leaf; then
 * the segment says so, with the event. Any number of times, twice at once, and after a crash at any point.
 */
import type { MongoClient } from 'mongodb'
import type { SegmentDocument, SegmentRange } from '../archive/contract.js'
import { SegmentFault } from '../archive/segment-fault.js'
import { hashSegment } from '../archive/segment-hashes.js'
import type { SegmentsStore } from '../archive/segments-store.js'
import type { SystemEventWriter } from '../events/contract.js'
import { eventDocumentId, type EventCollection } from '../events/store.js'
import { inTransaction } from '../mongo/transaction.js'
import { entriesDocumentId, type LogCollections, type LogLeaf } from '../transparency-log/store.js'
import { tileWidth } from '../transparency-log/tile.js'
import type { RunBytes, RunCounts } from './contract.js'
import type { Lifecycle } from './lifecycle.js'
import {
  readBack,
  tileLeaves,
  tilesAhead,
  type ReadBack,
  type ReadBackDependencies,
  type StepOptions,
} from './read-back.js'

export interface HotRemovalDependencies extends ReadBackDependencies {
  readonly client: MongoClient
  readonly events: EventCollection
  readonly entries: LogCollections['entries']
  readonly segments: SegmentsStore
  readonly lifecycle: Pick<Lifecycle, 'advance'>
  readonly systemEvents: Pick<SystemEventWriter, 'writeInTransaction'>
  readonly now?: () => Date
}

/** Reads a segment back, deletes it from the hot store and logs it. @throws SegmentFault, ArchiveStoreError */
export type RemoveHot = (
  range: SegmentRange,
  options?: StepOptions,
) => Promise<{ counts: RunCounts; bytes: RunBytes }>

/** Events of one deletion: a transaction of some tens of milliseconds. */
const deletedAtOnce = 1_024
/** So often may the content be written anew while it is read back. */
const maxMoves = 5

export function createHotRemoval(deps: HotRemovalDependencies): RemoveHot {
  const { client, events, log, entries, store, segments, lifecycle, systemEvents } = deps
  const now = deps.now ?? (() => new Date())

  /**
   * Days may lie between recording and deleting: the bytes are read again, right before. Where they are those that were
   * read back in full, and every event was there, their hashes say all of it again; else they are read in full.
   */
  async function readAgain(
    segment: SegmentDocument,
    previous: string | null,
    options: StepOptions,
  ): Promise<ReadBack> {
    const { content, damaged, readBack: verified } = segment
    if (content === null) throw new Error('a segment that was just recorded has its content')
    if (damaged > 0 || verified !== content.manifestSha256)
      return readBack(deps, segment, content.revision, previous, options)
    await hashSegment(store, segment, options.signal)
    return { manifest: verified, missing: new Set() }
  }

  /** Deletes the events of some leaves, if the segment still has the content that was read back. */
  async function deleteSome(
    segment: SegmentDocument,
    manifest: string,
    leaves: readonly LogLeaf[],
  ): Promise<number> {
    const { organizationId } = segment
    return inTransaction(client, async (session) => {
      const current = await segments.read(segment._id, session)
      if (current?.content?.manifestSha256 !== manifest) throw new ContentMovedError()
      await lifecycle.advance(organizationId, session)
      const { deletedCount } = await events.deleteMany(
        {
          _id: { $in: leaves.map(({ eventId }) => eventDocumentId(organizationId, eventId)) },
          leafHash: { $in: leaves.map(({ leafHash }) => Buffer.from(leafHash)) },
          pending: { $ne: true },
        },
        { session },
      )
      return deletedCount
    })
  }

  async function deleteRange(
    segment: SegmentDocument,
    manifest: string,
    missing: ReadonlySet<number>,
    options: StepOptions,
  ): Promise<number> {
    const { organizationId, generation, from, to } = segment
    let deleted = 0
    let chunk: LogLeaf[] = []
    const leavesOf = tilesAhead(segment, (tile) => tileLeaves(log, segment, tile))
    for (let tile = Math.floor(from / tileWidth); tile * tileWidth < to; tile += 1) {
      options.signal?.throwIfAborted()
      chunk.push(...(await leavesOf(tile)).filter(({ index }) => !missing.has(index)))
      const isLast = (tile + 1) * tileWidth >= to
      if (chunk.length < deletedAtOnce && !isLast) continue
      if (chunk.length > 0) deleted += await deleteSome(segment, manifest, chunk)
      chunk = []
      options.onProgress?.(Math.min(to, (tile + 1) * tileWidth) - from)
    }
    // Bundles that lie in the archive whole: all leaves before `to` are archived. The one at the edge stays.
    const bundles: string[] = []
    for (let tile = Math.floor(from / tileWidth); (tile + 1) * tileWidth <= to; tile += 1)
      bundles.push(entriesDocumentId(organizationId, generation, tile))
    await entries.deleteMany({ _id: { $in: bundles } })
    return deleted
  }

  /** Says that the hot rows are gone, once, together with the event that says it. */
  async function finish(segment: SegmentDocument): Promise<void> {
    const { _id, organizationId, generation, from, to, leaves, damaged, sealedTo, records, content } = segment
    await inTransaction(client, async (session) => {
      if (!(await segments.markHotDeleted(_id, now(), session)) || segment.unlogged === true) return
      await systemEvents.writeInTransaction(
        {
          organizationId,
          action: 'annals.retention.archived',
          occurredAt: new Date(),
          actor: { type: 'system', id: 'annals' },
          targets: [{ type: 'organization', id: organizationId }],
          metadata: {
            ...{ generation, from, to, leaves, damaged, sealedTo: sealedTo.toISOString() },
            recordsManifest: records?.manifestSha256 ?? '',
            contentManifest: content?.manifestSha256 ?? '',
          },
          onceKey: `retention.archived/${_id}`,
        },
        session,
      )
    })
  }

  return async (range, options = {}) => {
    for (let attempt = 0; ; attempt += 1) {
      const segment = await segments.find(range)
      if (segment?.to !== range.to || segment.content === null || segment.records === null)
        throw new Error('only a segment is removed from the hot store')
      const archived = segment.records.file.bytes + segment.content.file.bytes
      // Nothing is deleted before all of it was read back once more, right before.
      const bytes = { hot: segment.hotBytes, archived, verified: archived }
      const counts = {
        leaves: segment.leaves,
        events: segment.leaves - segment.damaged,
        damaged: segment.damaged,
      }
      if (segment.hotDeletedAt !== null) return { counts, bytes }
      const previous =
        range.from === 0 ? null : ((await segments.before(range))?.records?.manifestSha256 ?? null)
      try {
        // Days may lie between recording and here: the bytes are read again, from the archive, right before.
        const { manifest, missing } = await readAgain(segment, previous, options)
        const deleted = await deleteRange(segment, manifest, missing, options)
        await finish(segment)
        return { counts: { ...counts, deleted }, bytes }
      } catch (error) {
        const moved =
          error instanceof ContentMovedError ||
          (error instanceof SegmentFault && (await hasOtherContent(segments, segment)))
        if (!moved || attempt === maxMoves) throw error
      }
    }
  }
}

/** The content was written anew while it was read back: read it again. */
class ContentMovedError extends Error {
  override readonly name = 'ContentMovedError'
}

/** Whoever writes content anew deletes what was before: what is not there may have gone that way. */
async function hasOtherContent(segments: SegmentsStore, segment: SegmentDocument): Promise<boolean> {
  const now = await segments.find(segment)
  return now?.content?.manifestSha256 !== segment.content?.manifestSha256
}
