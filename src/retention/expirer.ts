/**
 * Lets what a segment has of one kind expire: its content, or its records. What is particular of each is in
 * content-expiry.ts and record-expiry.ts. **Nothing is deleted before what says so is sealed.**
 *
 *     rewrite    decides leaf by leaf, writes what stays as the next revision and verifies it; then, in one transaction,
 *                the revision counts and `annals.retention.expired` says so, if nothing that decides about it moved since
 *                the decision began: holds, policies, erasures, another expiry (lifecycle.ts)
 *     prove      waits until that event is sealed, and puts its proof beside the segment
 *     remove     every version of what was before, and the copies of it elsewhere; then it is finished
 *
 * Each step may run any number of times, twice at once, and after a crash at any point. A segment that was recorded and not
 * finished is the first thing that the next sweep finds (expiry-planning.ts). Who loses the transaction reads the
 * counter, the policy and the holds again and decides again.
 */
import type { ClientSession, MongoClient } from 'mongodb'
import type { SegmentDocument } from '../archive/contract.js'
import type { ArchivedProofs } from '../archive/expiry-proof.js'
import { SegmentFault } from '../archive/segment-fault.js'
import { lookMember, type SegmentsStore } from '../archive/segments-store.js'
import type { JsonObject, SystemEvent, SystemEventWriter } from '../events/contract.js'
import { inTransaction } from '../mongo/transaction.js'
import type { Hold, RunBytes, RunCounts } from './contract.js'
import type { ExpireInput, ExpiryKind } from './expiry-contract.js'
import type { ExpiryCounts } from './expiry-decision.js'
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

export interface Expirer {
  /**
   * @returns `not_due` where it is not (any more); `kept` where all that is left is held, or never expires; `locked` where
   *   the archive lets nobody delete it yet
   * @throws SegmentFault, ArchiveStoreError; LifecycleMovedError where things move all the time
   */
  rewrite(input: ExpireInput, options?: StepOptions): Promise<RewriteState>
  /** @returns false while what was recorded is not sealed yet @throws ArchiveStoreError */
  prove(input: ExpireInput): Promise<boolean>
  /** @throws ArchiveStoreError `locked` … */
  remove(input: ExpireInput, options?: StepOptions): Promise<Expired>
}

/** What stays of a segment, as it was written. */
export interface WrittenRest {
  readonly revision: number
  /** Bytes of what it was made of. */
  readonly bytesBefore: number
  /** What the event says of it beside what every such event says (docs/formats.md): numbers and hashes alone. */
  readonly metadata: JsonObject
  /** Has it count, in the caller's transaction. @returns false where something else was written meanwhile */
  readonly record: (session: ClientSession) => Promise<boolean>
}

/** What was decided of a segment. */
export interface Rewritten {
  readonly counts: ExpiryCounts
  /** Ids of the holds that covered something. */
  readonly holds: readonly string[]
  /** undefined where everything stays. */
  readonly rest: WrittenRest | undefined
}

/** What is particular of one kind. */
export interface KindOfExpiry {
  /**
   * Decides, and writes what stays. By then it is due, by policy.
   * @param holds those in force
   */
  rewrite(
    segment: SegmentDocument,
    due: ExpiryDue,
    holds: readonly Hold[],
    options: StepOptions,
  ): Promise<Rewritten | 'not_due' | 'locked'>
  /** Deletes what was before the revision that was recorded, wherever it is. */
  remove(segment: SegmentDocument, revision: number, options: StepOptions): Promise<void>
}

export interface ExpirerDependencies extends ExpiryDueDependencies {
  readonly client: MongoClient
  readonly segments: SegmentsStore
  readonly proofs: ArchivedProofs
  readonly lifecycle: Lifecycle
  readonly holds: { active(organizationId: string): Promise<Hold[]> }
  readonly systemEvents: Pick<SystemEventWriter, 'writeInTransaction'>
}

const maxMoves = 20

export function createExpirer(
  deps: ExpirerDependencies,
  kinds: Readonly<Record<ExpiryKind, KindOfExpiry>>,
): Expirer {
  const { client, segments, proofs, lifecycle, systemEvents } = deps

  async function rewriteOnce(
    segment: SegmentDocument,
    kind: ExpiryKind,
    options: StepOptions,
  ): Promise<RewriteState> {
    const { _id, organizationId } = segment
    // Before everything that the decision rests on.
    const seen = await lifecycle.current(organizationId)
    const due = await expiryDue(deps, segment, kind)
    if (due === undefined) return 'not_due'
    const rewritten = await kinds[kind].rewrite(
      segment,
      due,
      await deps.holds.active(organizationId),
      options,
    )
    if (typeof rewritten === 'string') return rewritten
    const { counts, holds, rest } = rewritten
    const before = segment[lookMember[kind]]
    const expired = (before?.expired ?? 0) + counts.expired
    const since = (before?.expired ?? 0) > 0 ? before?.since : expired > 0 ? due.now : undefined
    const look = {
      ...{ at: due.now, held: counts.held, kept: counts.kept, expired, holds },
      ...(since === undefined ? {} : { since }),
    }
    await inTransaction(client, async (session) => {
      await lifecycle.advanceFrom(organizationId, seen, session)
      if (rest === undefined) {
        await segments.noteExpiry(_id, kind, look, undefined, session)
        return
      }
      const said = expiredEvent(segment, kind, counts, rest, due)
      const { id: eventId } = await systemEvents.writeInTransaction(said, session)
      if (!(await rest.record(session))) throw new LifecycleMovedError()
      const expiring = {
        kind,
        revision: rest.revision,
        eventId,
        policyEventIds: policyEventIds(due),
        expired: counts.expired,
        bytesBefore: rest.bytesBefore,
        at: due.now,
      }
      await segments.noteExpiry(_id, kind, look, expiring, session)
    })
    return rest === undefined ? 'kept' : 'recorded'
  }

  /** Whoever writes a segment anew deletes what was before: what is not there may have gone that way. */
  async function hasMoved(segment: SegmentDocument, error: unknown): Promise<boolean> {
    if (error instanceof LifecycleMovedError) return true
    if (!(error instanceof SegmentFault)) return false
    const now = await segments.find(segment)
    return (
      now?.content?.revision !== segment.content?.revision ||
      now?.records?.leaves?.revision !== segment.records?.leaves?.revision
    )
  }

  return {
    async rewrite(input, options = {}) {
      const { kind } = input
      for (let attempt = 0; ; attempt += 1) {
        const segment = await segments.find(input)
        if (segment?.to !== input.to || segment.hotDeletedAt === null) return 'not_due'
        if (segment.expiring !== undefined) return segment.expiring.kind === kind ? 'recorded' : 'not_due'
        try {
          return await rewriteOnce(segment, kind, options)
        } catch (error) {
          if (!(await hasMoved(segment, error)) || attempt === maxMoves) throw error
        }
      }
    },

    async prove(input) {
      const segment = await segments.find(input)
      if (segment?.expiring?.kind !== input.kind) return true
      return proofs.put(segment, segment.expiring)
    },

    async remove(input, options = {}) {
      const { kind } = input
      const segment = await segments.find(input)
      if (segment?.expiring?.kind !== kind) return { counts: {}, bytes: {} }
      const { expiring, leaves } = segment
      if (!(await proofs.isThere(segment, expiring)))
        throw new Error('nothing is deleted before what says so is sealed')
      await kinds[kind].remove(segment, expiring.revision, options)
      await segments.finishExpiry(segment._id, expiring.eventId)
      const look = segment[lookMember[kind]]
      return {
        counts: { leaves, deleted: expiring.expired, held: look?.held ?? 0, kept: look?.kept ?? 0 },
        bytes: { archived: Math.max(0, expiring.bytesBefore - (segment[kind]?.file.bytes ?? 0)) },
      }
    },
  }
}

/** Metadata is what a verifier goes by (docs/formats.md): numbers and hashes, and nothing of anybody. */
function expiredEvent(
  { _id, organizationId, generation, from, to, sealedTo, records }: SegmentDocument,
  kind: ExpiryKind,
  counts: ExpiryCounts,
  { revision, metadata }: WrittenRest,
  due: ExpiryDue,
): SystemEvent {
  return {
    organizationId,
    action: 'annals.retention.expired',
    occurredAt: new Date(),
    actor: { type: 'system', id: 'annals' },
    targets: [{ type: 'organization', id: organizationId }],
    metadata: {
      ...{ kind, generation, from, to, ...counts, revision },
      sealedTo: sealedTo.toISOString(),
      policy: newestPolicy(due),
      recordsManifest: records?.manifestSha256 ?? '',
      ...metadata,
    },
    onceKey: `retention.expired/${_id}/${kind}/${String(revision)}`,
  }
}
