/**
 * How the records of a segment expire (expirer.ts), once its content has: what remains is the leaf. The leaves that stand in
 * the place of the records from then on are verified up to the root, and with the archive's records go those that the log's
 * own collection has still.
 *
 * A segment whose records the archive still locks is left alone until the lock has run out: a lock is set when a segment
 * is archived, by the policy of that day, and a policy that is shorter since does not break it.
 */
import type { SegmentDocument } from '../archive/contract.js'
import type { LeavesRewriter, RecordedLeaf } from '../archive/leaves-rewrite.js'
import type { WrittenLeaves } from '../archive/segment-publish.js'
import { readMembers } from '../archive/segment-reader.js'
import type { SegmentsStore } from '../archive/segments-store.js'
import { parseRecordLines, tileOf } from '../archive/segment.js'
import type { ArchiveStore } from '../archive/stores/contract.js'
import { entriesDocumentId, type LogCollections } from '../transparency-log/store.js'
import { tileWidth } from '../transparency-log/tile.js'
import type { KindOfExpiry } from './expirer.js'
import { RecordDecision } from './expiry-decision.js'
import type { StepOptions } from './read-back.js'

export interface RecordExpiryDependencies {
  readonly entries: LogCollections['entries']
  readonly store: ArchiveStore
  readonly writer: Pick<LeavesRewriter, 'rewriteRecords' | 'deleteOtherRecords'>
  readonly segments: Pick<SegmentsStore, 'recordLeaves' | 'noteRecordsLock'>
}

type Records = NonNullable<SegmentDocument['records']>

export function createRecordExpiry(deps: RecordExpiryDependencies): KindOfExpiry {
  const { entries, store, writer, segments } = deps

  /** Until when the archive keeps the records, whoever asks; undefined where it does not (any more). */
  async function lockedUntil({ file, leaves }: Records, now: Date): Promise<Date | undefined> {
    // Leaves are never locked: a hold that is released takes more of them.
    if (leaves !== undefined) return undefined
    const until = (await store.head(file.path))?.lockedUntil
    return until !== undefined && until > now ? until : undefined
  }

  /** @returns undefined where everything stays, `not_due` where there is content that has to go first */
  async function rewritten(
    segment: SegmentDocument,
    decision: RecordDecision,
    options: StepOptions,
  ): Promise<WrittenLeaves | 'not_due' | undefined> {
    const stays = (leaf: RecordedLeaf): boolean => {
      const staying = decision.stays(leaf)
      if (decision.contentIsDue) throw new ContentIsDueError()
      return staying
    }
    try {
      return await writer.rewriteRecords(segment, stays, options)
    } catch (error) {
      if (error instanceof ContentIsDueError) return 'not_due'
      throw error
    }
  }

  /** Copies that the log still has: those of a tile that the segment after this one shares, as a rule. */
  async function removeHot(
    { organizationId, generation, from, to }: SegmentDocument,
    { file }: Records,
    { signal }: StepOptions,
  ): Promise<void> {
    const tiles = Array.from({ length: tileOf(to - 1) - tileOf(from) + 1 }, (_, at) => tileOf(from) + at)
    const ids = tiles.map((tile) => entriesDocumentId(organizationId, generation, tile))
    const there = new Map<number, number>()
    for await (const { index, records: hot } of entries.find({ _id: { $in: ids } }))
      there.set(index, hot.length)
    if (there.size === 0) return
    for await (const { member, lines } of readMembers(store, file)) {
      signal?.throwIfAborted()
      const tile = tileOf(member.first)
      const width = there.get(tile) ?? 0
      const gone = parseRecordLines(lines).flatMap(({ index, record }) =>
        record === undefined && index % tileWidth < width
          ? [[`records.${String(index % tileWidth)}`, '']]
          : [],
      )
      if (gone.length === 0) continue
      const _id = entriesDocumentId(organizationId, generation, tile)
      await entries.updateOne({ _id }, { $set: Object.fromEntries(gone) as Record<string, string> })
    }
  }

  return {
    async rewrite(segment, due, holds, options) {
      const { _id, records, contentExpiry, damaged } = segment
      // Content goes first.
      if (records === null || (contentExpiry ?? null) === null) return 'not_due'
      const until = await lockedUntil(records, due.now)
      if (until !== undefined) {
        await segments.noteRecordsLock(_id, until)
        return 'locked'
      }
      // What was damaged when it was archived was never compared with any hold.
      const since = damaged > 0 ? undefined : contentExpiry?.since
      const decision = new RecordDecision(holds, { ...segment, since })
      const leaves = await rewritten(segment, decision, options)
      if (leaves === 'not_due') return leaves
      const { counts } = decision
      if (leaves === undefined) return { counts, holds: decision.holds, rest: undefined }
      return {
        counts,
        holds: decision.holds,
        rest: {
          revision: leaves.revision,
          bytesBefore: records.file.bytes,
          metadata: { recordDays: due.days, leavesManifest: leaves.manifestSha256 },
          record: (session) => segments.recordLeaves(segment, records.leaves?.revision, leaves, session),
        },
      }
    },

    async remove(segment, revision, options) {
      await writer.deleteOtherRecords(segment, revision)
      if (segment.records !== null) await removeHot(segment, segment.records, options)
    },
  }
}

/** There is content that nothing holds any more: it goes first. */
class ContentIsDueError extends Error {
  override readonly name = 'ContentIsDueError'
}
