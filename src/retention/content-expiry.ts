/**
 * How the content of a segment expires (expirer.ts): event by event, and with the archive's content go the copies that were
 * restored.
 */
import type { Collection } from 'mongodb'
import type { SegmentDocument } from '../archive/contract.js'
import { readMembers } from '../archive/segment-reader.js'
import type { SegmentsStore } from '../archive/segments-store.js'
import type { SegmentWriter } from '../archive/segment-writer.js'
import { parseContentLines, tileOf, verifiedEventOf } from '../archive/segment.js'
import type { ArchiveStore } from '../archive/stores/contract.js'
import { eventDocumentId, type StoredEvent } from '../events/store.js'
import type { LogStore } from '../transparency-log/store.js'
import { tileWidth } from '../transparency-log/tile.js'
import type { KindOfExpiry } from './expirer.js'
import { ExpiryDecision } from './expiry-decision.js'
import { tileLeaves, type StepOptions } from './read-back.js'

export interface ContentExpiryDependencies {
  readonly log: Pick<LogStore, 'leaves'>
  readonly store: ArchiveStore
  readonly writer: Pick<SegmentWriter, 'rewriteContent' | 'deleteOtherContent'>
  readonly segments: Pick<SegmentsStore, 'recordContent'>
  readonly restored: Collection<StoredEvent>
}

type Content = NonNullable<SegmentDocument['content']>

export function createContentExpiry(deps: ContentExpiryDependencies): KindOfExpiry {
  const { log, store, writer, segments, restored } = deps

  /** What would stay, of all that is there. */
  async function survey(
    { organizationId, content }: SegmentDocument & { readonly content: Content },
    decision: ExpiryDecision,
    { signal }: StepOptions,
  ): Promise<void> {
    for await (const { lines } of readMembers(store, content.file)) {
      signal?.throwIfAborted()
      for (const line of parseContentLines(lines)) {
        const event = verifiedEventOf(organizationId, line)
        if (event !== undefined) decision.stays(event)
      }
    }
  }

  /** Leaves whose content is still in the archive. */
  async function leavesThatStay({ content }: SegmentDocument): Promise<ReadonlySet<number>> {
    const stay = new Set<number>()
    if (content === null) return stay
    for await (const { lines } of readMembers(store, content.file))
      for (const { index } of parseContentLines(lines)) stay.add(index)
    return stay
  }

  /** Copies that were restored do not outlive what they are copies of. */
  async function removeRestored(
    segment: SegmentDocument,
    { onProgress, signal }: StepOptions,
  ): Promise<void> {
    const { organizationId, from, to } = segment
    const stay = await leavesThatStay(segment)
    for (let tile = tileOf(from); tile <= tileOf(to - 1); tile += 1) {
      signal?.throwIfAborted()
      const gone = (await tileLeaves(log, segment, tile))
        .filter(({ index }) => !stay.has(index))
        .map(({ eventId }) => eventDocumentId(organizationId, eventId))
      if (gone.length > 0) await restored.deleteMany({ _id: { $in: gone } })
      onProgress?.(Math.min(to, (tile + 1) * tileWidth) - from)
    }
  }

  return {
    async rewrite(segment, due, holds, options) {
      const { content, contentExpiry, damaged } = segment
      if (content === null || content.state === 'expired') return 'not_due'
      const surveyed = new ExpiryDecision(holds, segment)
      const isLookedAtAgain = (contentExpiry ?? null) !== null
      // Where a hold may keep everything, nothing is written to find that out.
      if (surveyed.mayHold || isLookedAtAgain) await survey({ ...segment, content }, surveyed, options)
      const { counts: found } = surveyed
      if (found.held + found.kept > 0 && found.expired === 0)
        return { counts: found, holds: surveyed.holds, rest: undefined }
      const decision = new ExpiryDecision(holds, segment)
      const written = await writer.rewriteContent(
        segment,
        (leaves) => leaves.map(({ event }) => (decision.stays(event) ? event : undefined)),
        options,
      )
      const { counts } = decision
      if (counts.expired === 0) return { counts, holds: decision.holds, rest: undefined }
      const { revision, state, manifestSha256 } = written.content
      return {
        counts,
        holds: decision.holds,
        rest: {
          revision,
          bytesBefore: content.file.bytes,
          metadata: {
            // Leaves without content already when the range was archived; the first expiry of it takes their lines too.
            damaged: (contentExpiry?.expired ?? 0) === 0 ? damaged : 0,
            archiveDays: due.days,
            state,
            contentManifest: manifestSha256,
          },
          record: (session) => segments.recordContent(segment, content.revision, written.content, session),
        },
      }
    },

    async remove(segment, revision, options) {
      // What counts now may be a later one: an erasure may have written it.
      await writer.deleteOtherContent(segment, segment.content?.revision ?? revision)
      await removeRestored(segment, options)
    },
  }
}
