/**
 * Moves one range of leaves to the archive. **Nothing hot is ever deleted unless its bytes were read back right.**
 *
 *     write     the range is claimed; leaves, records and events are exported            (hot store untouched)
 *     verify    every byte is read back from the archive, and every leaf is the tiles'   (hot store untouched)
 *     record    the segment, if nothing that decides about content moved since `write` began reading
 *     remove    exactly the ids that were read back, sealed, by their leaf; then the segment says so, with the event
 *
 * Each step may run any number of times, twice at once, and after a crash at any point: what is there is found there.
 * A hold does not stop the move. An erasure that came in between is seen by the counter: before `record` the range is
 * exported again, and after it the segment is there for the erasure to find.
 */
import type { MongoClient } from 'mongodb'
import type { SegmentDocument, SegmentRange } from '../archive/contract.js'
import { readEvidence } from '../archive/segment-evidence.js'
import { SegmentFault } from '../archive/segment-fault.js'
import type { ArchiveKeys } from '../archive/segment-keys.js'
import { recordsPath, segmentId } from '../archive/segment-paths.js'
import type { SegmentClaim, SegmentsStore } from '../archive/segments-store.js'
import { verifySegment } from '../archive/segment-verify.js'
import type { SegmentWriter } from '../archive/segment-writer.js'
import type { SegmentLeaf } from '../archive/segment.js'
import { hashSegment } from '../archive/segment-hashes.js'
import type { ArchiveStore } from '../archive/stores/contract.js'
import type { ErasureLedger } from '../erasure/ledger.js'
import type { SystemEventWriter } from '../events/contract.js'
import { eventDocumentId, eventIdOf, type EventCollection } from '../events/store.js'
import { inTransaction } from '../mongo/transaction.js'
import { isDuplicateKey } from '../mongo/unavailable.js'
import type { LogKeys } from '../transparency-log/log-keys.js'
import {
  entriesDocumentId,
  type LogCollections,
  type LogLeaf,
  type LogStore,
} from '../transparency-log/store.js'
import { tileWidth } from '../transparency-log/tile.js'
import type { RunBytes, RunCounts } from './contract.js'
import { LifecycleMovedError, type Lifecycle } from './lifecycle.js'
import type { PolicyService } from './policies.js'
import { expiryDays, isOfArchiving, recordsLock } from './policy.js'

export interface StepOptions {
  /** Leaves so far. */
  readonly onProgress?: (leaves: number) => void
  /** Checked between tiles; throws its reason. */
  readonly signal?: AbortSignal
}

export interface Archiver {
  /**
   * Writes the range. `recorded`: it is a segment already. `taken`: another range that begins at this leaf is on its
   * way, or was quicker, or the leaves before are not archived yet: nothing is to be done here.
   */
  write(range: SegmentRange, options?: StepOptions): Promise<'written' | 'recorded' | 'taken'>
  /** Reads back what was written. @throws SegmentFault, ArchiveStoreError */
  verify(range: SegmentRange, options?: StepOptions): Promise<void>
  /** @throws LifecycleMovedError: write again */
  record(range: SegmentRange): Promise<void>
  /** Deletes from the hot store what was read back, and logs it. */
  remove(range: SegmentRange, options?: StepOptions): Promise<{ counts: RunCounts; bytes: RunBytes }>
}

export interface ArchiverDependencies {
  readonly client: MongoClient
  readonly events: EventCollection
  readonly log: LogStore
  readonly entries: LogCollections['entries']
  readonly logKeys: LogKeys
  readonly store: ArchiveStore
  readonly keys: ArchiveKeys
  readonly writer: SegmentWriter
  readonly segments: SegmentsStore
  readonly lifecycle: Lifecycle
  readonly policies: Pick<PolicyService, 'counting'>
  readonly ledger: Pick<ErasureLedger, 'newest'>
  readonly systemEvents: Pick<SystemEventWriter, 'writeInTransaction'>
  readonly now?: () => Date
}

/** Events of one deletion: a transaction of some tens of milliseconds. */
const deletedAtOnce = 1_024

export function createArchiver(deps: ArchiverDependencies): Archiver {
  const { client, events, log, entries, store, keys, writer, segments, lifecycle, systemEvents } = deps
  const now = deps.now ?? (() => new Date())

  async function tileLeaves({ organizationId, generation, from, to }: SegmentRange, tile: number) {
    const leaves = (await log.leaves(organizationId, generation, tile)) ?? []
    return leaves.filter(({ index }) => index >= from && index < to)
  }

  /** A batch for each tile: what the log says, and the hot rows as they lie there. */
  async function* leavesOf(range: SegmentRange, signal?: AbortSignal): AsyncGenerator<SegmentLeaf[]> {
    const { organizationId, generation, from, to } = range
    for (let tile = Math.floor(from / tileWidth); tile * tileWidth < to; tile += 1) {
      signal?.throwIfAborted()
      const leaves = await tileLeaves(range, tile)
      const records = (await log.records(organizationId, generation, tile)) ?? []
      const rows = await hotRows(organizationId, leaves)
      // Another was quicker, and deletes already: what is missing was archived, and is not gone.
      if (rows.size < leaves.length) await requireUnrecorded(range)
      yield leaves.map((leaf) => {
        const row = rows.get(leaf.eventId)
        return {
          ...leaf,
          record: records[leaf.index % tileWidth] ?? '',
          event: row?.event,
          ...(row === undefined ? {} : { hotBytes: row.hotBytes }),
        }
      })
    }
  }

  /** @throws TakenOverError */
  async function requireUnrecorded(range: SegmentRange): Promise<void> {
    if ((await segments.find(range)) !== undefined) throw new TakenOverError()
  }

  async function hotRows(organizationId: string, leaves: readonly LogLeaf[]) {
    const ids = leaves.map(({ eventId }) => eventDocumentId(organizationId, eventId))
    const found = await events
      .aggregate<{ event: NonNullable<SegmentLeaf['event']>; hotBytes: number }>(
        [
          { $match: { _id: { $in: ids } } },
          { $project: { _id: 0, event: '$$ROOT', hotBytes: { $bsonSize: '$$ROOT' } } },
        ],
        { useBigInt64: true },
      )
      .toArray()
    return new Map(found.map(({ event, hotBytes }) => [eventIdOf(event._id), { event, hotBytes }]))
  }

  /**
   * Reads a segment back: what it says of each leaf must be what the tiles say.
   * @returns indexes of leaves whose event is not in the archive (it was damaged or gone)
   */
  async function readBack(
    range: SegmentRange,
    revision: number,
    previous: string | null,
    { onProgress, signal }: StepOptions,
  ): Promise<{ manifest: string; missing: ReadonlySet<number> }> {
    const missing = new Set<number>()
    const verified = await verifySegment(store, range, {
      verifiers: await keys.verifiers(),
      revision,
      previous,
      async onLeaves(found) {
        const [first] = found
        if (first === undefined) return
        const known = await tileLeaves(range, Math.floor(first.index / tileWidth))
        const ids = new Map(known.map(({ index, eventId }) => [index, eventId]))
        for (const { index, eventId, content } of found) {
          if (ids.get(index) !== eventId)
            throw new SegmentFault('event_misplaced', recordsPath(range), 'the log has another event there', {
              index,
            })
          if (content !== 'archived') missing.add(index)
        }
      },
      ...(onProgress === undefined ? {} : { onProgress }),
      ...(signal === undefined ? {} : { signal }),
    })
    if (verified.content === undefined || verified.leaves !== range.to - range.from)
      throw new SegmentFault('counts_differ', recordsPath(range), 'not every leaf was read back')
    return { manifest: verified.content.sha256, missing }
  }

  /**
   * Days may lie between recording and deleting: the bytes are read again, right before. Where they are those that were
   * read back in full, and every event was there, their hashes say all of it again; else they are read in full.
   */
  async function readAgain(
    segment: SegmentDocument,
    previous: string | null,
    options: StepOptions,
  ): Promise<{ manifest: string; missing: ReadonlySet<number> }> {
    const { content, damaged, readBack: verified } = segment
    if (content === null) throw new Error('a segment that was just recorded has its content')
    if (damaged > 0 || verified !== content.manifestSha256)
      return readBack(segment, content.revision, previous, options)
    await hashSegment(store, segment, options.signal)
    return { manifest: verified, missing: new Set() }
  }

  /** The lock of the records, by the longest policy that counts for their expiry. */
  async function lockOf(range: SegmentRange): Promise<Date | undefined> {
    const last = (await tileLeaves(range, Math.floor((range.to - 1) / tileWidth))).at(-1)
    if (last === undefined) return undefined
    const versions = await deps.policies.counting(range.organizationId, now())
    return recordsLock(last.sealedAt, expiryDays(versions, now()))
  }

  async function previousOf(range: SegmentRange): Promise<string | null | undefined> {
    if (range.from === 0) return null
    return (await segments.before(range))?.records?.manifestSha256
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
    for (let tile = Math.floor(from / tileWidth); tile * tileWidth < to; tile += 1) {
      options.signal?.throwIfAborted()
      chunk.push(...(await tileLeaves(segment, tile)).filter(({ index }) => !missing.has(index)))
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
    const { _id, organizationId, generation, from, to, leaves, damaged, records, content } = segment
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
            ...{ generation, from, to, leaves, damaged },
            recordsManifest: records?.manifestSha256 ?? '',
            contentManifest: content?.manifestSha256 ?? '',
          },
          onceKey: `retention.archived/${_id}`,
        },
        session,
      )
    })
  }

  return {
    async write(range, options = {}) {
      const there = await segments.find(range)
      if (there !== undefined) return there.to === range.to ? 'recorded' : 'taken'
      const previous = await previousOf(range)
      if (previous === undefined) return 'taken'
      if ((await segments.claim(range, now())).to !== range.to) return 'taken'
      const seen = await lifecycle.current(range.organizationId)
      // Before the first event is read: what is in the ledger by now is gone from the events.
      const ledgerSequence = await deps.ledger.newest(range.organizationId)
      const evidence = await readEvidence(log, deps.logKeys, range)
      const seenLeaves = { allOfArchiving: true }
      const written = await writer
        .write(range, noting(leavesOf(range, options.signal), seenLeaves), {
          evidence,
          previous,
          ledgerSequence,
          lockUntil: await lockOf(range),
          beforeContent: () => requireUnrecorded(range),
          ...options,
        })
        .catch((error: unknown) => {
          if (!(error instanceof TakenOverError)) throw error
          return undefined
        })
      // Another was quicker: what was read may be half deleted, and must become no revision of a recorded segment.
      if (written === undefined || (await segments.find(range)) !== undefined) {
        await segments.dropClaim(range)
        return 'recorded'
      }
      const isUnlogged = seenLeaves.allOfArchiving
      await segments.keepWritten(range, { ...written, ...(isUnlogged ? { unlogged: true } : {}) }, seen)
      return 'written'
    },

    async verify(range, options = {}) {
      if ((await segments.find(range)) !== undefined) return
      const { written } = await claimOf(segments, range)
      // An erasure took it away: `record` has it written again.
      if (written === null) return
      const previous = await previousOf(range)
      if (previous === undefined) throw new Error('what is verified was written before')
      const { manifest } = await readBack(range, written.content.revision, previous, options).catch(
        async (error: unknown) => {
          if (!(error instanceof SegmentFault) || (await hasWritten(segments, range, written))) throw error
          return { manifest: undefined }
        },
      )
      if (manifest === undefined) return
      if (manifest !== written.content.manifestSha256)
        throw new SegmentFault('manifest_foreign', written.content.manifestPath, 'it is not what was written')
      await segments.keepVerified(range, manifest)
    },

    async record(range) {
      if ((await segments.find(range)) !== undefined) return
      const { written, verified, seen } = await claimOf(segments, range)
      if (written === null || seen === null) throw new LifecycleMovedError()
      if (verified !== written.content.manifestSha256)
        throw new Error('only what was read back becomes a segment')
      // Written under an earlier counter, it may hold what was erased since; no one reads it before it is recorded.
      await writer.deleteUnrecordedContent(range, written.content.revision)
      const segment: SegmentDocument = {
        ...written,
        _id: segmentId(range),
        archivedAt: now(),
        readBack: verified,
        hotDeletedAt: null,
      }
      try {
        await inTransaction(client, async (session) => {
          await lifecycle.advanceFrom(range.organizationId, seen, session)
          await segments.insert(segment, session)
        })
      } catch (error) {
        // Another attempt recorded it.
        if (!isDuplicateKey(error)) throw error
      }
    },

    async remove(range, options = {}) {
      for (let attempt = 0; ; attempt += 1) {
        const segment = await segments.find(range)
        if (segment?.to !== range.to || segment.content === null || segment.records === null)
          throw new Error('only a segment is removed from the hot store')
        const bytes = {
          hot: segment.hotBytes,
          archived: segment.records.file.bytes + segment.content.file.bytes,
        }
        const counts = {
          leaves: segment.leaves,
          events: segment.leaves - segment.damaged,
          damaged: segment.damaged,
        }
        if (segment.hotDeletedAt !== null) return { counts, bytes }
        const previous = (await previousOf(range)) ?? null
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
    },
  }
}

const maxMoves = 5

/** Gives the leaves on, and notes whether all of them are events that archiving wrote of itself. */
async function* noting(
  batches: AsyncIterable<SegmentLeaf[]>,
  seen: { allOfArchiving: boolean },
): AsyncGenerator<SegmentLeaf[]> {
  for await (const leaves of batches) {
    seen.allOfArchiving &&= leaves.every(({ record }) => isOfArchiving(record))
    yield leaves
  }
}

/** The range became a segment while it was exported here: another export took over. */
class TakenOverError extends Error {
  override readonly name = 'TakenOverError'
}

/** The content was written anew while it was read back: read it again. */
class ContentMovedError extends Error {
  override readonly name = 'ContentMovedError'
}

/** Is what was written still what the claim has? */
async function hasWritten(
  segments: SegmentsStore,
  range: SegmentRange,
  { content }: NonNullable<SegmentClaim['written']>,
): Promise<boolean> {
  const claim = await segments.claimOf(range)
  return claim?.written?.content.manifestSha256 === content.manifestSha256
}

/** Whoever writes content anew deletes what was before: what is not there may have gone that way. */
async function hasOtherContent(segments: SegmentsStore, segment: SegmentDocument): Promise<boolean> {
  const now = await segments.find(segment)
  return now?.content?.manifestSha256 !== segment.content?.manifestSha256
}

async function claimOf(segments: SegmentsStore, range: SegmentRange): Promise<SegmentClaim> {
  const claim = await segments.claimOf(range)
  if (claim?.to !== range.to) throw new Error('a range is claimed before it is written')
  return claim
}
