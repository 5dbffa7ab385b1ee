/**
 * Lets the records of one segment expire, once its content has: what remains is the leaf. The steps are those of content
 * (expirer.ts), and **nothing is deleted before what says so is sealed**:
 *
 *     rewrite    decides leaf by leaf, writes the leaves that stand in the place of the records from then on, and verifies
 *                them up to the root; then, in one transaction, they count and `annals.retention.expired` says so, if
 *                nothing that decides about it moved since the decision began (lifecycle.ts)
 *     prove      waits until that event is sealed, and puts its proof beside the segment
 *     remove     every version of the records of before, and their copies in the log's own collection
 *
 * A segment whose records the archive still locks is left alone until the lock has run out: a lock is set when a segment
 * is archived, by the policy of that day, and a policy that is shorter since does not break it.
 */
import type { MongoClient } from 'mongodb'
import type { SegmentDocument } from '../archive/contract.js'
import type { ArchivedProofs } from '../archive/expiry-proof.js'
import type { LeavesRewriter } from '../archive/leaves-rewrite.js'
import { SegmentFault } from '../archive/segment-fault.js'
import type { WrittenLeaves } from '../archive/segment-publish.js'
import { readMembers } from '../archive/segment-reader.js'
import type { SegmentsStore } from '../archive/segments-store.js'
import { parseRecordLines, tileOf } from '../archive/segment.js'
import type { ArchiveStore } from '../archive/stores/contract.js'
import type { SystemEvent, SystemEventWriter } from '../events/contract.js'
import { inTransaction } from '../mongo/transaction.js'
import { entriesDocumentId, type LogCollections } from '../transparency-log/store.js'
import { tileWidth } from '../transparency-log/tile.js'
import type { Hold } from './contract.js'
import type { Expirer, RewriteState } from './expirer.js'
import type { ExpireInput } from './expiry-contract.js'
import { RecordDecision } from './expiry-decision.js'
import {
  expiryDue,
  newestPolicy,
  policyEventIds,
  type ExpiryDue,
  type ExpiryDueDependencies,
} from './expiry-due.js'
import { LifecycleMovedError, type Lifecycle } from './lifecycle.js'
import type { StepOptions } from './read-back.js'

export interface RecordExpirerDependencies extends ExpiryDueDependencies {
  readonly client: MongoClient
  readonly entries: LogCollections['entries']
  readonly store: ArchiveStore
  readonly writer: LeavesRewriter
  readonly segments: SegmentsStore
  readonly proofs: ArchivedProofs
  readonly lifecycle: Lifecycle
  readonly holds: { active(organizationId: string): Promise<Hold[]> }
  readonly systemEvents: Pick<SystemEventWriter, 'writeInTransaction'>
}

type Records = NonNullable<SegmentDocument['records']>

const maxMoves = 20

export function createRecordExpirer(deps: RecordExpirerDependencies): Expirer {
  const { client, entries, store, writer, segments, proofs, lifecycle, systemEvents } = deps

  const decisionOf = (holds: readonly Hold[], segment: SegmentDocument): RecordDecision =>
    new RecordDecision(holds, {
      ...segment,
      // What was damaged when it was archived was never compared with any hold.
      since: segment.damaged > 0 ? undefined : segment.contentExpiry?.since,
    })

  /** Until when the archive keeps the records, whoever asks; undefined where it does not (any more). */
  async function lockedUntil({ file, leaves }: Records, now: Date): Promise<Date | undefined> {
    // Leaves are never locked: a hold that is released takes more of them.
    if (leaves !== undefined) return undefined
    const until = (await store.head(file.path))?.lockedUntil
    return until !== undefined && until > now ? until : undefined
  }

  async function survey(segment: SegmentDocument, decision: RecordDecision, options: StepOptions) {
    for await (const leaf of writer.recordedLeaves(segment, options.signal)) decision.stays(leaf)
  }

  async function rewriteOnce(
    segment: SegmentDocument & { readonly records: Records },
    { onProgress, signal }: StepOptions,
  ): Promise<RewriteState> {
    const { _id, organizationId, records } = segment
    // Before everything that the decision rests on.
    const seen = await lifecycle.current(organizationId)
    const due = await expiryDue(deps, segment, 'records')
    if (due === undefined) return 'not_due'
    const until = await lockedUntil(records, due.now)
    if (until !== undefined) {
      await segments.noteRecordsLock(_id, until)
      return 'locked'
    }
    const holds = await deps.holds.active(organizationId)
    // Nothing is written to find out that everything stays.
    const surveyed = decisionOf(holds, segment)
    await survey(segment, surveyed, signal === undefined ? {} : { signal })
    if (surveyed.contentIsDue) return 'not_due'
    const { counts } = surveyed
    const written =
      counts.expired === 0
        ? undefined
        : await writer.rewriteRecords(segment, stayingOf(decisionOf(holds, segment)), {
            ...(onProgress === undefined ? {} : { onProgress }),
            ...(signal === undefined ? {} : { signal }),
          })
    const before = records.leaves?.expired ?? 0
    if ((written?.expired ?? before) - before !== counts.expired)
      throw new Error('the same records are decided on in the same way')
    const look = { at: due.now, held: counts.held, kept: counts.kept, holds: surveyed.holds }
    await inTransaction(client, async (session) => {
      await lifecycle.advanceFrom(organizationId, seen, session)
      if (written === undefined) {
        await segments.noteRecordExpiry(_id, { ...look, expired: before }, undefined, session)
        return
      }
      const said = expiredEvent(segment, written, surveyed, due)
      const { id: eventId } = await systemEvents.writeInTransaction(said, session)
      const recorded = await segments.recordLeaves(segment, records.leaves?.revision, written, session)
      if (!recorded) throw new LifecycleMovedError()
      const expiring = {
        kind: 'records' as const,
        revision: written.revision,
        eventId,
        policyEventIds: policyEventIds(due),
        expired: counts.expired,
        bytesBefore: records.file.bytes,
        at: due.now,
      }
      await segments.noteRecordExpiry(_id, { ...look, expired: before + counts.expired }, expiring, session)
    })
    return written === undefined ? 'kept' : 'recorded'
  }

  /** Copies that the log still has: those of a tile that the segment after this one shares, as a rule. */
  async function removeHot(
    segment: SegmentDocument & { readonly records: Records },
    { signal }: StepOptions,
  ) {
    const { organizationId, generation, from, to, records } = segment
    const tiles = Array.from({ length: tileOf(to - 1) - tileOf(from) + 1 }, (_, at) => tileOf(from) + at)
    const ids = tiles.map((tile) => entriesDocumentId(organizationId, generation, tile))
    const there = new Map<number, number>()
    for await (const { index, records: hot } of entries.find({ _id: { $in: ids } }))
      there.set(index, hot.length)
    if (there.size === 0) return
    for await (const { member, lines } of readMembers(store, records.file)) {
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

  /** Whoever writes content anew deletes what was before: what is not there may have gone that way. */
  async function hasMoved(segment: SegmentDocument, error: unknown): Promise<boolean> {
    if (!(error instanceof SegmentFault)) return false
    const now = await segments.find(segment)
    return now?.content?.manifestSha256 !== segment.content?.manifestSha256
  }

  return {
    async rewrite(range, options = {}) {
      for (let attempt = 0; ; attempt += 1) {
        const segment = await segments.find(range)
        if (segment?.to !== range.to || segment.hotDeletedAt === null) return 'not_due'
        if (segment.expiring !== undefined)
          return segment.expiring.kind === 'records' ? 'recorded' : 'not_due'
        const { records, contentExpiry } = segment
        // Content goes first.
        if (records === null || (contentExpiry ?? null) === null) return 'not_due'
        try {
          return await rewriteOnce({ ...segment, records }, options)
        } catch (error) {
          const moved = error instanceof LifecycleMovedError || (await hasMoved(segment, error))
          if (!moved || attempt === maxMoves) throw error
        }
      }
    },

    async prove(range) {
      const segment = await segments.find(range)
      if (segment?.expiring?.kind !== 'records') return true
      return proofs.put(segment, segment.expiring)
    },

    async remove(range, options = {}) {
      const segment = await segments.find(range)
      if (segment?.expiring?.kind !== 'records' || segment.records === null) return { counts: {}, bytes: {} }
      const { expiring, records, leaves, recordExpiry } = segment
      if (!(await proofs.isThere(segment, expiring)))
        throw new Error('nothing is deleted before what says so is sealed')
      await writer.deleteOtherRecords(range, expiring.revision)
      await removeHot({ ...segment, records }, options)
      await segments.finishExpiry(segment._id, expiring.eventId)
      return {
        counts: {
          leaves,
          deleted: expiring.expired,
          held: recordExpiry?.held ?? 0,
          kept: recordExpiry?.kept ?? 0,
        },
        bytes: { archived: Math.max(0, expiring.bytesBefore - records.file.bytes) },
      }
    },
  }
}

/** One expirer for both kinds. */
export function byKind(expirers: Readonly<Record<ExpireInput['kind'], Expirer>>): Expirer<ExpireInput> {
  return {
    rewrite: (input, options) => expirers[input.kind].rewrite(input, options),
    prove: (input) => expirers[input.kind].prove(input),
    remove: (input, options) => expirers[input.kind].remove(input, options),
  }
}

const stayingOf = (decision: RecordDecision) => (leaf: Parameters<RecordDecision['stays']>[0]) =>
  decision.stays(leaf)

/** Metadata is what a verifier goes by (docs/formats.md): numbers and hashes, and nothing of anybody. */
function expiredEvent(
  { _id, organizationId, generation, from, to, sealedTo, records }: SegmentDocument,
  written: WrittenLeaves,
  { counts }: RecordDecision,
  due: ExpiryDue,
): SystemEvent {
  return {
    organizationId,
    action: 'annals.retention.expired',
    occurredAt: new Date(),
    actor: { type: 'system', id: 'annals' },
    targets: [{ type: 'organization', id: organizationId }],
    metadata: {
      ...{ kind: 'records', generation, from, to, ...counts },
      sealedTo: sealedTo.toISOString(),
      policy: newestPolicy(due),
      recordDays: due.days,
      revision: written.revision,
      leavesManifest: written.manifestSha256,
      recordsManifest: records?.manifestSha256 ?? '',
    },
    onceKey: `retention.expired/${_id}/records/${String(written.revision)}`,
  }
}
