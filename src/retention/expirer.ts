/**
 * Lets the content of one segment expire. **Nothing is deleted before what says so is sealed.**
 *
 *     rewrite    decides event by event, writes what stays as the next revision and verifies it; then, in one transaction,
 *                the revision counts and `annals.retention.expired` says so, if nothing that decides about content moved
 *                since the decision began: holds, policies, erasures, another expiry (lifecycle.ts)
 *     prove      waits until that event is sealed, and puts its proof beside the segment
 *     remove     every version of every older revision, and copies that were restored; then it is finished
 *
 * Each step may run any number of times, twice at once, and after a crash at any point. A segment that was recorded and not
 * finished is the first thing that the next sweep finds (expiry-planning.ts). Who loses the transaction reads the
 * counter, the policy and the holds again and decides again.
 */
import type { Collection, MongoClient } from 'mongodb'
import type { SegmentDocument, SegmentRange } from '../archive/contract.js'
import type { ArchivedProofs } from '../archive/expiry-proof.js'
import { readMembers } from '../archive/segment-reader.js'
import type { RewrittenContent } from '../archive/segment-rewrite.js'
import type { SegmentsStore } from '../archive/segments-store.js'
import type { SegmentWriter } from '../archive/segment-writer.js'
import { isEmptyLine, parseContentLines, storedEventOf } from '../archive/segment.js'
import type { ArchiveStore } from '../archive/stores/contract.js'
import type { SystemEvent, SystemEventWriter } from '../events/contract.js'
import { eventDocumentId, type StoredEvent } from '../events/store.js'
import { inTransaction } from '../mongo/transaction.js'
import type { LogStore } from '../transparency-log/store.js'
import { tileWidth } from '../transparency-log/tile.js'
import type { Hold, RunBytes, RunCounts } from './contract.js'
import { ExpiryDecision } from './expiry-decision.js'
import {
  expiryDue,
  newestPolicy,
  policyEventIds,
  type ExpiryDue,
  type ExpiryDueDependencies,
} from './expiry-due.js'
import { LifecycleMovedError, type Lifecycle } from './lifecycle.js'
import type { StepOptions } from './read-back.js'

export interface Expired {
  readonly counts: RunCounts
  readonly bytes: RunBytes
}

export type RewriteState = 'recorded' | 'kept' | 'not_due' | 'locked'

export interface Expirer<Range extends SegmentRange = SegmentRange> {
  /**
   * @returns `not_due` where it is not (any more); `kept` where all that is left is held, or never expires; `locked` where
   *   the archive lets nobody delete it yet
   * @throws SegmentFault, ArchiveStoreError; LifecycleMovedError where things move all the time
   */
  rewrite(range: Range, options?: StepOptions): Promise<RewriteState>
  /** @returns false while what was recorded is not sealed yet @throws ArchiveStoreError */
  prove(range: Range): Promise<boolean>
  /** @throws ArchiveStoreError `locked` … */
  remove(range: Range, options?: StepOptions): Promise<Expired>
}

export interface ExpirerDependencies extends ExpiryDueDependencies {
  readonly client: MongoClient
  readonly log: Pick<LogStore, 'leaves'>
  readonly store: ArchiveStore
  readonly writer: Pick<SegmentWriter, 'rewriteContent' | 'deleteOtherContent'>
  readonly segments: SegmentsStore
  readonly proofs: ArchivedProofs
  readonly restored: Collection<StoredEvent>
  readonly lifecycle: Lifecycle
  readonly holds: { active(organizationId: string): Promise<Hold[]> }
  readonly systemEvents: Pick<SystemEventWriter, 'writeInTransaction'>
}

const maxMoves = 20

export function createExpirer(deps: ExpirerDependencies): Expirer {
  const { client, log, store, writer, segments, proofs, restored, lifecycle, systemEvents } = deps

  /** What would stay, of all that is there. */
  async function survey(segment: SegmentDocument, decision: ExpiryDecision, options: StepOptions) {
    if (segment.content === null) return
    for await (const { lines } of readMembers(store, segment.content.file)) {
      options.signal?.throwIfAborted()
      for (const line of parseContentLines(lines)) {
        if (isEmptyLine(line)) continue
        const event = storedEventOf(segment.organizationId, line)
        if (event !== undefined) decision.stays(event)
      }
    }
  }

  async function rewriteOnce(
    segment: SegmentDocument & { content: NonNullable<SegmentDocument['content']> },
    options: StepOptions,
  ): Promise<RewriteState> {
    const { _id, organizationId, content } = segment
    // Before everything that the decision rests on.
    const seen = await lifecycle.current(organizationId)
    const due = await expiryDue(deps, segment, 'content')
    if (due === undefined) return 'not_due'
    const holds = await deps.holds.active(organizationId)
    const surveyed = new ExpiryDecision(holds, segment)
    const isLookedAtAgain = (segment.contentExpiry ?? null) !== null
    // Where a hold may keep everything, nothing is written to find that out.
    if (surveyed.mayHold || isLookedAtAgain) await survey(segment, surveyed, options)
    const staying = surveyed.counts.held + surveyed.counts.kept > 0 && surveyed.counts.expired === 0
    const before = segment.contentExpiry?.expired ?? 0
    const decision = staying ? surveyed : new ExpiryDecision(holds, segment)
    const written = staying ? undefined : await rewritten(segment, decision, options)
    const { counts, holds: covering } = decision
    const since = before > 0 ? segment.contentExpiry?.since : counts.expired > 0 ? due.now : undefined
    const look = {
      ...{ at: due.now, held: counts.held, kept: counts.kept, holds: covering },
      ...(since === undefined ? {} : { since }),
    }
    await inTransaction(client, async (session) => {
      await lifecycle.advanceFrom(organizationId, seen, session)
      if (written === undefined || counts.expired === 0) {
        await segments.noteExpiry(_id, { ...look, expired: before }, undefined, session)
        return
      }
      const said = expiredEvent(segment, written, decision, due)
      const { id: eventId } = await systemEvents.writeInTransaction(said, session)
      const recorded = await segments.recordContent(segment, content.revision, written.content, session)
      if (!recorded) throw new LifecycleMovedError()
      const expiring = {
        kind: 'content' as const,
        revision: written.content.revision,
        eventId,
        policyEventIds: policyEventIds(due),
        expired: counts.expired,
        bytesBefore: content.file.bytes,
        at: due.now,
      }
      await segments.noteExpiry(_id, { ...look, expired: before + counts.expired }, expiring, session)
    })
    return written === undefined || counts.expired === 0 ? 'kept' : 'recorded'
  }

  const rewritten = (
    segment: SegmentDocument,
    decision: ExpiryDecision,
    { onProgress, signal }: StepOptions,
  ): Promise<RewrittenContent> =>
    writer.rewriteContent(
      segment,
      (leaves) => leaves.map(({ event }) => (decision.stays(event) ? event : undefined)),
      {
        ...(onProgress === undefined ? {} : { onProgress }),
        ...(signal === undefined ? {} : { signal }),
      },
    )

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
    const { organizationId, generation, from, to } = segment
    const stay = await leavesThatStay(segment)
    for (let tile = Math.floor(from / tileWidth); tile * tileWidth < to; tile += 1) {
      signal?.throwIfAborted()
      const leaves = (await log.leaves(organizationId, generation, tile)) ?? []
      const gone = leaves
        .filter(({ index }) => index >= from && index < to && !stay.has(index))
        .map(({ eventId }) => eventDocumentId(organizationId, eventId))
      if (gone.length > 0) await restored.deleteMany({ _id: { $in: gone } })
      onProgress?.(Math.min(to, (tile + 1) * tileWidth) - from)
    }
  }

  return {
    async rewrite(range, options = {}) {
      for (let attempt = 0; ; attempt += 1) {
        const segment = await segments.find(range)
        if (segment?.to !== range.to || segment.hotDeletedAt === null) return 'not_due'
        if (segment.expiring !== undefined)
          return segment.expiring.kind === 'content' ? 'recorded' : 'not_due'
        const { content } = segment
        if (content === null || content.state === 'expired') return 'not_due'
        try {
          return await rewriteOnce({ ...segment, content }, options)
        } catch (error) {
          if (!(error instanceof LifecycleMovedError) || attempt === maxMoves) throw error
        }
      }
    },

    async prove(range) {
      const segment = await segments.find(range)
      if (segment?.expiring?.kind !== 'content') return true
      return proofs.put(segment, segment.expiring)
    },

    async remove(range, options = {}) {
      const segment = await segments.find(range)
      if (segment?.expiring?.kind !== 'content') return { counts: {}, bytes: {} }
      const { expiring, content, leaves, contentExpiry } = segment
      if (!(await proofs.isThere(segment, expiring)))
        throw new Error('nothing is deleted before what says so is sealed')
      // What counts now may be a later one: an erasure may have written it.
      await writer.deleteOtherContent(range, content?.revision ?? expiring.revision)
      await removeRestored(segment, options)
      await segments.finishExpiry(segment._id, expiring.eventId)
      return {
        counts: {
          leaves,
          deleted: expiring.expired,
          held: contentExpiry?.held ?? 0,
          kept: contentExpiry?.kept ?? 0,
        },
        bytes: { archived: Math.max(0, expiring.bytesBefore - (content?.file.bytes ?? 0)) },
      }
    },
  }
}

/** Metadata is what a verifier goes by (docs/formats.md): numbers and hashes, and nothing of anybody. */
function expiredEvent(
  segment: SegmentDocument,
  { content }: RewrittenContent,
  { counts }: ExpiryDecision,
  due: ExpiryDue,
): SystemEvent {
  const { _id, organizationId, generation, from, to, damaged, sealedTo, records, contentExpiry } = segment
  return {
    organizationId,
    action: 'annals.retention.expired',
    occurredAt: new Date(),
    actor: { type: 'system', id: 'annals' },
    targets: [{ type: 'organization', id: organizationId }],
    metadata: {
      ...{ kind: 'content', generation, from, to, ...counts },
      // Leaves without content already when the range was archived; the first expiry of it takes their lines too.
      damaged: (contentExpiry?.expired ?? 0) === 0 ? damaged : 0,
      sealedTo: sealedTo.toISOString(),
      policy: newestPolicy(due),
      archiveDays: due.days,
      state: content.state,
      revision: content.revision,
      contentManifest: content.manifestSha256,
      recordsManifest: records?.manifestSha256 ?? '',
    },
    onceKey: `retention.expired/${_id}/content/${String(content.revision)}`,
  }
}
