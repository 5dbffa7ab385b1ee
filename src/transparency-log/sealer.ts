/**
 * The sealer: gives the pending events of one organization their places in its log, batch by batch.
 *
 * Pending rows are read in the order of receipt, each is examined (examine.ts), and what may be sealed is committed
 * in one transaction a batch (seal-batch.ts). The sealer keeps nothing between two drains: after any crash the next
 * one begins with what the database says. It may run in any number of processes at once.
 */
import type { Collection } from 'mongodb'
import { AnnalsError } from '../errors.js'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import { eventIdOf, type EventCollection, type SetAsideReason } from '../events/store.js'
import { isDuplicateKey, isWriteConflict } from '../mongo/unavailable.js'
import { subjectDocumentId, type SubjectDocument } from '../subjects/store.js'
import type { Alarms } from './alarms.js'
import { copyNameOf } from './checkpoint-copies/copies.js'
import type { RollbackGuard } from './checkpoint-copies/guard.js'
import { LogError } from './errors.js'
import { newLeafOf, pendingProjection, subjectsOf, type NewLeaf, type PendingEvent } from './examine.js'
import {
  EdgeRefusedError,
  openLog,
  sealBatch,
  StaleBatchError,
  type OpenLog,
  type SealBatchDependencies,
} from './seal-batch.js'
import type { LogStore } from './store.js'

export interface DrainOptions {
  /** An erasure's own drain: these subjects' events are sealed although the subject is fenced. */
  readonly alsoSubjects?: ReadonlySet<string>
  /** Batches after which others have their turn. Default 8. */
  readonly maxBatches?: number
  readonly signal?: AbortSignal
  /** Called after every batch, with its leaves. */
  readonly onBatch?: (leaves: readonly NewLeaf[]) => void
}

export interface DrainResult {
  readonly sealed: number
  /** Left pending: a subject of theirs is fenced. */
  readonly skipped: number
  /** Rows that will never be sealed, and no longer wait. */
  readonly setAside: number
  /** Nothing more was pending when it ended, but for the skipped. */
  readonly drained: boolean
}

export interface Sealer {
  /**
   * Seals what is pending for one organization.
   * @throws LogError `tile_mismatch` where the stored log does not fit together; RolledBackError where it is behind
   *   what was published; MongoDB's errors
   */
  drainOrganization(organizationId: string, options?: DrainOptions): Promise<DrainResult>
}

export interface SealerDependencies extends SealBatchDependencies {
  readonly store: LogStore
  readonly subjects: Collection<SubjectDocument>
  /** The organization's keys. @throws AnnalsError `not_found` where it was never provisioned */
  readonly keysetOf: (organizationId: string) => Promise<OrganizationKeyset>
  readonly alarms: Alarms
  readonly guard: Pick<RollbackGuard, 'check' | 'grown'>
}

export const maxBatchEvents = 1_024
const defaultMaxBatches = 8
/** After so many lost races in a row the organization waits for the next round. */
const maxStale = 5
/** A row of an erased subject that nobody relies on goes after this long; intake has looked at it again by then. */
const abandonedAfterMs = 60_000

interface DrainCounts {
  sealed: number
  skipped: number
  setAside: number
}

export function createSealer(dependencies: SealerDependencies): Sealer {
  const { store, events, subjects, alarms, guard } = dependencies

  async function drainOrganization(organizationId: string, options: DrainOptions = {}): Promise<DrainResult> {
    const counts: DrainCounts = { sealed: 0, skipped: 0, setAside: 0 }
    let unexplained = 0
    for (let stale = 0; stale <= maxStale; stale += 1) {
      try {
        counts.skipped = 0
        const drained = await drain(organizationId, options, counts)
        return { ...counts, drained }
      } catch (error) {
        if (isDuplicateKey(error) || error instanceof EdgeRefusedError) {
          // The head was in order: an event of the batch stands in the log already, or a tile that the head does not
          // know. Another sealer may have settled the first meanwhile, but not twice in a row.
          if ((await setAsideSealed(organizationId, counts)) > 0) unexplained = 0
          else if (++unexplained > 1) throw edgeMismatch()
        } else if (isWriteConflict(error)) break
        else if (!(error instanceof StaleBatchError)) throw error
      }
    }
    return { ...counts, drained: false }
  }

  /** @returns whether all was looked at */
  async function drain(organizationId: string, options: DrainOptions, counts: DrainCounts): Promise<boolean> {
    const keyset = await keysetOf(organizationId)
    const { maxBatches = defaultMaxBatches, signal } = options
    // Before the pending rows: whatever is sealed after them moves the head, and this drain's batch is refused.
    let log: OpenLog = await openLog(store, organizationId)
    // Without a key nothing is sealed: of an organization that was offboarded there is no log, and no copy either.
    if (keyset !== undefined) await guard.check(copyNameOf(organizationId), log.head)
    let leaves: NewLeaf[] = []
    let batches = 0
    const seal = async () => {
      log = await sealBatch(log, leaves, dependencies)
      if (log.head !== undefined) guard.grown(copyNameOf(organizationId), log.head)
      counts.sealed += leaves.length
      batches += 1
      for (const { record, eventId } of leaves) {
        if (record === '') alarms.raise('event_damaged', { organizationId, eventId })
      }
      options.onBatch?.(leaves)
      leaves = []
    }
    const cursor = pendingEvents(events, organizationId)
    try {
      for await (const page of pagesOf(cursor)) {
        // Rows of an organization that was provisioned since it was asked for are accepted events: the next drain's.
        if (keyset === undefined && (await keysetOf(organizationId)) !== undefined) return false
        const inactive = await inactiveSubjects(organizationId, page, options.alsoSubjects)
        const refused: PendingEvent[] = []
        for (const event of page) {
          const leaf = keyset === undefined ? undefined : newLeafOf(event, keyset)
          if (leaf === undefined) refused.push(event)
          else if (inactive.size > 0 && subjectsOf(event).some((reference) => inactive.has(reference)))
            counts.skipped += 1
          else leaves.push(leaf)
          if (leaves.length === maxBatchEvents) await seal()
        }
        if (refused.length > 0) {
          counts.setAside += refused.length
          await setAside(
            organizationId,
            refused,
            keyset === undefined ? 'unknown_organization' : 'invalid_mac',
          )
        }
        if (inactive.size > 0) await removeAbandoned(organizationId, page, inactive)
        if (batches >= maxBatches || signal?.aborted === true) return false
      }
      if (leaves.length > 0) await seal()
      return true
    } finally {
      await cursor.close()
    }
  }

  async function keysetOf(organizationId: string): Promise<OrganizationKeyset | undefined> {
    try {
      return await dependencies.keysetOf(organizationId)
    } catch (error) {
      // No event of an organization that was never provisioned here can have been accepted.
      const unknown =
        error instanceof AnnalsError && ['not_found', 'wrong_region', 'offboarded'].includes(error.code)
      if (unknown) return undefined
      throw error
    }
  }

  /**
   * The subjects of these events that are fenced or erased, with their states. Nearly always there are none in the
   * whole organization, and one look into an index says so.
   */
  async function inactiveSubjects(
    organizationId: string,
    page: readonly PendingEvent[],
    also: ReadonlySet<string> = new Set(),
  ): Promise<ReadonlyMap<string, SubjectDocument['state']>> {
    const inactive = { state: { $in: ['fenced', 'erased'] as const } }
    const any = await subjects.findOne({ organizationId, ...inactive }, { projection: { _id: 1 } })
    if (any === null) return new Map()
    const references = [...new Set(page.flatMap(subjectsOf))].filter((reference) => !also.has(reference))
    const ids = references.map((reference) => subjectDocumentId(organizationId, reference))
    const found = await subjects
      .find({ _id: { $in: ids }, ...inactive }, { projection: { state: 1 } })
      .toArray()
    return new Map(found.map(({ _id, state }) => [_id.slice(organizationId.length + 1), state]))
  }

  /** Nothing waits for these rows any more, and an operator hears of each. */
  async function setAside(
    organizationId: string,
    rows: readonly PendingEvent[],
    reason: SetAsideReason,
  ): Promise<void> {
    await events.updateMany(
      { _id: { $in: rows.map(({ _id }) => _id) }, pending: true },
      { $unset: { pending: '' }, $set: { setAside: reason } },
    )
    for (const { _id } of rows) alarms.raise(reason, { organizationId, eventId: eventIdOf(_id) })
  }

  /**
   * A batch was refused because an event of it stands in the log already: its row was made pending again, or put
   * back. One that is the sealed event goes on as that; another under its id is set aside.
   */
  async function setAsideSealed(organizationId: string, counts: DrainCounts): Promise<number> {
    let found = 0
    for await (const page of pagesOf(pendingEvents(events, organizationId))) {
      const located = await store.locateAll(
        organizationId,
        page.map(({ _id }) => eventIdOf(_id)),
      )
      const foreign: PendingEvent[] = []
      for (const event of page) {
        const leaf = located.get(eventIdOf(event._id))
        if (leaf === undefined) continue
        found += 1
        if (Buffer.isBuffer(event.leafHash) && event.leafHash.equals(leaf.leafHash)) {
          await events.updateOne({ _id: event._id, pending: true }, { $unset: { pending: '', answered: '' } })
          alarms.raise('already_sealed', { organizationId, eventId: eventIdOf(event._id) })
        } else foreign.push(event)
      }
      if (foreign.length === 0) continue
      counts.setAside += foreign.length
      await setAside(organizationId, foreign, 'already_sealed')
    }
    return found
  }

  /** What a process left behind that died between its commit and its look at the lease: never acknowledged. */
  async function removeAbandoned(
    organizationId: string,
    page: readonly PendingEvent[],
    inactive: ReadonlyMap<string, SubjectDocument['state']>,
  ): Promise<void> {
    const erased = page.filter((event) =>
      subjectsOf(event).some((reference) => inactive.get(reference) === 'erased'),
    )
    if (erased.length === 0) return
    await events.deleteMany({
      organizationId,
      _id: { $in: erased.map(({ _id }) => _id) },
      pending: true,
      answered: { $exists: false },
      receivedAt: { $lt: new Date(dependencies.now().getTime() - abandonedAfterMs) },
    })
  }

  return { drainOrganization }
}

function pendingEvents(events: EventCollection, organizationId: string) {
  return events
    .find({ pending: true, organizationId }, { hint: 'pending_received' })
    .sort({ receivedAt: 1 })
    .batchSize(maxBatchEvents)
    .project<PendingEvent>(pendingProjection)
}

const edgeMismatch = () =>
  new LogError('tile_mismatch', 'the tiles and records on the right edge are not as wide as the head says')

/** The documents of a cursor as they come over the wire, a page of at most 1,024 at a time. */
async function* pagesOf(cursor: ReturnType<typeof pendingEvents>): AsyncGenerator<PendingEvent[]> {
  while (await cursor.hasNext()) yield cursor.readBufferedDocuments()
}
