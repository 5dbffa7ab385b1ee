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
import type { SegmentDocument, SegmentRange } from '../archive/contract.js'
import { readEvidence } from '../archive/segment-evidence.js'
import { SegmentFault } from '../archive/segment-fault.js'
import { segmentId } from '../archive/segment-paths.js'
import type { SegmentClaim, SegmentsStore } from '../archive/segments-store.js'
import type { SegmentWriter } from '../archive/segment-writer.js'
import type { SegmentLeaf } from '../archive/segment.js'
import { idOfRow } from '../archive/hot-row.js'
import type { ErasureLedger } from '../erasure/ledger.js'
import { eventDocumentId, eventIdOf } from '../events/store.js'
import { inTransaction } from '../mongo/transaction.js'
import { isDuplicateKey } from '../mongo/unavailable.js'
import type { LogKeys } from '../transparency-log/log-keys.js'
import type { LogLeaf, LogStore } from '../transparency-log/store.js'
import { tileWidth } from '../transparency-log/tile.js'
import { createHotRemoval, type HotRemovalDependencies, type RemoveHot } from './hot-removal.js'
import { LifecycleMovedError, type Lifecycle } from './lifecycle.js'
import type { PolicyService } from './policies.js'
import { expiryDays, isOfArchiving, recordsLock } from './policy.js'
import { maxSegmentHotBytes } from './planning.js'
import { readBack, tileLeaves, tilesAhead, type StepOptions } from './read-back.js'

/** What an export came to. */
export type ExportState = 'written' | 'recorded' | 'taken' | 'shortened'

export interface Archiver {
  /**
   * Writes the range. `recorded`: it is a segment already. `taken`: another range that begins at this leaf is on its
   * way, or was quicker, or the leaves before are not archived yet: nothing is to be done here. `shortened`: its events are
   * too large for one segment; the range that begins at this leaf ends earlier now, and is to be planned anew.
   */
  write(range: SegmentRange, options?: StepOptions): Promise<ExportState>
  /** Reads back what was written. @throws SegmentFault, ArchiveStoreError */
  verify(range: SegmentRange, options?: StepOptions): Promise<void>
  /** @throws LifecycleMovedError: write again */
  record(range: SegmentRange): Promise<void>
  /** Deletes from the hot store what was read back, and logs it. */
  readonly remove: RemoveHot
}

export interface ArchiverDependencies extends HotRemovalDependencies {
  readonly log: LogStore
  readonly logKeys: LogKeys
  readonly writer: SegmentWriter
  readonly lifecycle: Lifecycle
  readonly policies: Pick<PolicyService, 'counting'>
  readonly ledger: Pick<ErasureLedger, 'newest'>
  /** Bytes of a segment's events in the hot store. Default `maxSegmentHotBytes`. */
  readonly maxHotBytes?: number
}

export function createArchiver(deps: ArchiverDependencies): Archiver {
  const { client, events, log, writer, segments, lifecycle } = deps
  const now = deps.now ?? (() => new Date())

  /** A batch for each tile: what the log says, and the hot rows as they lie there. The next is on its way meanwhile. */
  async function* leavesOf(range: SegmentRange, signal?: AbortSignal): AsyncGenerator<SegmentLeaf[]> {
    const { from, to } = range
    const batches = tilesAhead(range, (tile) => batchOf(range, tile))
    for (let tile = Math.floor(from / tileWidth); tile * tileWidth < to; tile += 1) {
      signal?.throwIfAborted()
      yield await batches(tile)
    }
  }

  async function batchOf(range: SegmentRange, tile: number): Promise<SegmentLeaf[]> {
    const { organizationId, generation } = range
    const [leaves, records = []] = await Promise.all([
      tileLeaves(log, range, tile),
      log.records(organizationId, generation, tile),
    ])
    const rows = await hotRows(organizationId, leaves)
    // Another was quicker, and deletes already: what is missing was archived, and is not gone.
    if (rows.size < leaves.length) await requireUnrecorded(range)
    return leaves.map((leaf) => {
      const record = records[leaf.index % tileWidth] ?? ''
      return { ...leaf, record, row: rows.get(leaf.eventId) }
    })
  }

  /** @throws TakenOverError */
  async function requireUnrecorded(range: SegmentRange): Promise<void> {
    if ((await segments.find(range)) !== undefined) throw new TakenOverError()
  }

  /** Their BSON as it lies there, by event id. */
  async function hotRows(organizationId: string, leaves: readonly LogLeaf[]): Promise<Map<string, Buffer>> {
    const ids = leaves.map(({ eventId }) => eventDocumentId(organizationId, eventId))
    const found = await events.find({ _id: { $in: ids } }, { raw: true, batchSize: ids.length }).toArray()
    // With `raw` the driver gives a document's bytes.
    const rows = found as unknown as readonly Buffer[]
    return new Map(rows.map((row) => [eventIdOf(idOfRow(row)), row]))
  }

  /** The lock of the records, by the longest policy that counts for their expiry. */
  async function lockOf(range: SegmentRange): Promise<Date | undefined> {
    const last = (await tileLeaves(log, range, Math.floor((range.to - 1) / tileWidth))).at(-1)
    if (last === undefined) return undefined
    const versions = await deps.policies.counting(range.organizationId, now())
    return recordsLock(last.sealedAt, expiryDays(versions, now()))
  }

  async function previousOf(range: SegmentRange): Promise<string | null | undefined> {
    if (range.from === 0) return null
    return (await segments.before(range))?.records?.manifestSha256
  }

  return {
    async write(range, options = {}) {
      const there = await segments.find(range)
      if (there !== undefined) return there.to === range.to ? 'recorded' : 'taken'
      const previous = await previousOf(range)
      if (previous === undefined) return 'taken'
      const claim = await segments.claim(range, now())
      if (claim.to !== range.to) return 'taken'
      const seen = await lifecycle.current(range.organizationId)
      // Before the first event is read: what is in the ledger by now is gone from the events.
      const ledgerSequence = await deps.ledger.newest(range.organizationId)
      const evidence = await readEvidence(log, deps.logKeys, range)
      const seenLeaves = { allOfArchiving: true, hotBytes: 0 }
      // What was written under another bound stays as long as it is.
      const maxBytes = claim.written === null ? (deps.maxHotBytes ?? maxSegmentHotBytes) : Infinity
      const written = await writer
        .write(range, noting(leavesOf(range, options.signal), seenLeaves, maxBytes), {
          evidence,
          previous,
          ledgerSequence,
          lockUntil: await lockOf(range),
          beforeContent: () => requireUnrecorded(range),
          ...options,
          onProgress: (leaves) => options.onProgress?.(leaves, seenLeaves.hotBytes),
        })
        .catch((error: unknown) => {
          if (error instanceof TooLargeError) return error
          if (!(error instanceof TakenOverError)) throw error
          return undefined
        })
      if (written instanceof TooLargeError)
        return (await segments.shorten(range, written.to)) ? 'shortened' : 'taken'
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
      const { manifest } = await readBack(deps, range, written.content.revision, previous, options).catch(
        async (error: unknown) => {
          if (!(error instanceof SegmentFault) || (await hasWritten(segments, range, written))) throw error
          return { manifest: undefined }
        },
      )
      if (manifest === undefined) return
      if (manifest !== written.content.manifestSha256)
        throw new SegmentFault('manifest_foreign', written.content.manifestPath, 'it is not what was written')
      options.onProgress?.(range.to - range.from, written.records.file.bytes + written.content.file.bytes)
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

    remove: createHotRemoval(deps),
  }
}

/**
 * Gives the leaves on, and notes whether all of them are events that archiving wrote of itself, and their bytes.
 * @throws TooLargeError where they are too many bytes; one tile never is
 */
async function* noting(
  batches: AsyncIterable<SegmentLeaf[]>,
  seen: { allOfArchiving: boolean; hotBytes: number },
  maxBytes: number,
): AsyncGenerator<SegmentLeaf[]> {
  let isFirst = true
  for await (const leaves of batches) {
    seen.allOfArchiving &&= leaves.every(({ record }) => isOfArchiving(record))
    for (const { row } of leaves) seen.hotBytes += row?.length ?? 0
    const [first] = leaves
    if (seen.hotBytes > maxBytes && first !== undefined && !isFirst) throw new TooLargeError(first.index)
    isFirst = false
    yield leaves
  }
}

/** The events are more than a segment may hold. */
class TooLargeError extends Error {
  override readonly name = 'TooLargeError'

  /** @param to where a segment may end: the tile before is the last that fits */
  constructor(readonly to: number) {
    super('the events of the range are too large for one segment')
  }
}

/** The range became a segment while it was exported here: another export took over. */
class TakenOverError extends Error {
  override readonly name = 'TakenOverError'
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

async function claimOf(segments: SegmentsStore, range: SegmentRange): Promise<SegmentClaim> {
  const claim = await segments.claimOf(range)
  if (claim?.to !== range.to) throw new Error('a range is claimed before it is written')
  return claim
}
