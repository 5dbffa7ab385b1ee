/**
 * Takes an organization out of a deployment, in steps. Each may run any number of times, and after a crash at any line: its
 * intent is recorded before it and its outcome after (store.ts), and work that is repeated finds what it did.
 *
 *     begin             holds looked at; in one transaction: counter moved, intake closed, the log's closing event
 *     stop_workflows    nothing of the organization runs any more
 *     settle            every process has heard that it is closed
 *     seal              what was accepted gets its leaf; the final tree is written into the log of the deployment
 *     destroy_keys      the organization's key goes: from here on nothing encrypted can be read
 *     remove_rows       every collection (collections.ts)
 *     remove_archive    segments, ledger, checkpoint copy: every version; objects under lock wait for their day
 *     remove_workflows  every run that Temporal remembers
 *     verify            counts what is left, everywhere, and fails by name
 *     certify           `annals.organization.offboarded` in the log of the deployment
 *
 * No key goes before its final tree stands in a sealed event of the deployment's own log.
 */
import { hash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Db, MongoClient } from 'mongodb'
import { ArchiveStoreError, type ArchiveStore } from '../archive/stores/contract.js'
import type { ErasureJournal } from '../erasure/journal.js'
import { notFound } from '../errors.js'
import type { SystemEventWriter } from '../events/contract.js'
import { collectionNames } from '../mongo/collections.js'
import { inTransaction } from '../mongo/transaction.js'
import { systemOrganizationId } from '../organizations/contract.js'
import type { OrganizationClosing } from '../organizations/store.js'
import type { HoldService } from '../retention/holds.js'
import { LifecycleMovedError, type Lifecycle } from '../retention/lifecycle.js'
import { copyNameOf, type CheckpointCopies } from '../transparency-log/checkpoint-copies/copies.js'
import type { Sealer } from '../transparency-log/sealer.js'
import type { LogStore } from '../transparency-log/store.js'
import { removeRows, rowsLeft } from './collections.js'
import {
  offboardingTiming,
  offboardingWorkflowId,
  type OffboardingReason,
  type OffboardingReference,
  type OffboardingSnapshot,
  type OffboardingStep,
} from './contract.js'
import type { Executions } from './executions.js'
import type { FinalLog, OffboardingDocument, OffboardingStore } from './store.js'

export interface OffboarderDependencies {
  readonly client: MongoClient
  readonly db: Db
  readonly store: OffboardingStore
  readonly holds: Pick<HoldService, 'active'>
  readonly lifecycle: Lifecycle
  readonly organizations: OrganizationClosing
  readonly systemEvents: SystemEventWriter
  readonly sealer: Sealer
  readonly log: Pick<LogStore, 'head' | 'locate'>
  readonly archive: Pick<ArchiveStore, 'versions' | 'delete'>
  readonly ledger: Pick<ArchiveStore, 'versions' | 'delete'>
  readonly copies: Pick<CheckpointCopies, 'read' | 'remove'>
  /** Did a rotation delete the key of this period? */
  readonly periodIsDeleted: (period: number) => Promise<boolean>
  readonly journal: Pick<ErasureJournal, 'note'>
  readonly executions: Executions
  readonly settleMs?: number
  readonly now?: () => Date
}

export type BeginOutcome = 'begun' | 'held' | 'withdrawn'

export interface Offboarder {
  /** @returns undefined where there is none, or it is not approved yet: the workflow begins before that is written */
  snapshot(reference: OffboardingReference): Promise<OffboardingSnapshot | undefined>
  /** The point of no return, unless a hold is in force. */
  begin(reference: OffboardingReference): Promise<BeginOutcome>
  /** @throws OffboardingResidueError and what databases, archives and Temporal fail with: to be tried again */
  step(reference: OffboardingReference, step: OffboardingStep, beat: () => void): Promise<void>
  /** It stands still until an operator acts. */
  stopped(reference: OffboardingReference, step: OffboardingStep, reason: OffboardingReason): Promise<void>
  /** Looks whether the last residue is gone, and takes what came late. @returns whether it is completed */
  look(reference: OffboardingReference, beat: () => void): Promise<boolean>
}

/** Something of the organization is left; `places` are names of collections and stores. */
export class OffboardingResidueError extends Error {
  override readonly name = 'OffboardingResidueError'

  constructor(readonly places: readonly string[]) {
    super('something of an offboarded organization is left')
  }
}

/** Visibility, or a sealer, is a moment behind: to be tried again. */
export class OffboardingWaitsError extends Error {
  override readonly name = 'OffboardingWaitsError'
}

const maxMoved = 20
const maxSealRounds = 600
const pauseMs = 50
const annals = { type: 'system', id: 'annals' } as const
const standing = ['offboarding', 'needs_operator'] as const

export function createOffboarder(deps: OffboarderDependencies): Offboarder {
  const { client, db, store, lifecycle, organizations, systemEvents, log, sealer, executions } = deps
  const now = deps.now ?? (() => new Date())
  const settleMs = deps.settleMs ?? offboardingTiming.settleMs
  const prefixOf = ({ organizationId }: OffboardingReference) => `${organizationId}/`

  async function read(reference: OffboardingReference): Promise<OffboardingDocument> {
    const document = await store.find(reference)
    if (document === undefined) throw notFound()
    return document
  }

  /** Writes one into the log of the deployment, and waits for its leaf. */
  async function sealInSystem(
    { offboardingId, organizationId }: OffboardingReference,
    what: 'offboarding_started' | 'offboarded',
    metadata: Readonly<Record<string, string | number>>,
    beat: () => void,
  ): Promise<string> {
    const { id } = await systemEvents.write({
      organizationId: systemOrganizationId,
      action: `annals.organization.${what}`,
      occurredAt: now(),
      actor: annals,
      targets: [
        { type: 'organization', id: organizationId },
        { type: 'offboarding', id: offboardingId },
      ],
      metadata,
      onceKey: `offboarding/${offboardingId}/${what}`,
    })
    await untilSealed(systemOrganizationId, id, beat)
    return id
  }

  async function untilSealed(organizationId: string, eventId: string, beat: () => void): Promise<void> {
    for (let round = 0; round < maxSealRounds; round += 1) {
      beat()
      if ((await log.locate(organizationId, eventId)) !== undefined) return
      await sealer.drainOrganization(organizationId)
      if (round > 0) await sleep(pauseMs)
    }
    throw new OffboardingWaitsError('an event is not sealed yet')
  }

  /** Everything that was acknowledged gets its leaf; what waits for a fenced person was acknowledged to nobody. */
  async function drain(organizationId: string, beat: () => void): Promise<void> {
    for (let round = 0; round < maxSealRounds; round += 1) {
      beat()
      const { drained } = await sealer.drainOrganization(organizationId)
      if (drained) return
      await sleep(pauseMs)
    }
    throw new OffboardingWaitsError('what is pending could not be sealed')
  }

  async function finalLog(organizationId: string): Promise<FinalLog | null> {
    const head = await log.head(organizationId)
    if (head === undefined) return null
    const { generation, size, root, checkpoint } = head
    return { generation, size, root: root.toString('hex'), checkpointSha256: hash('sha256', checkpoint) }
  }

  /** Under which periods keys of the organization are, or were, wrapped: of subjects and of erasure requests. */
  async function periodsOf(organizationId: string): Promise<number[]> {
    const periods = new Set<unknown>()
    const places = [
      [collectionNames.subjects, 'key.period'],
      [collectionNames.erasureRequests, 'key.period'],
      [collectionNames.erasureProgress, 'workKey.period'],
      [collectionNames.erasureProgress, 'restrictedKey.period'],
      [collectionNames.erasureProgress, 'keyPeriods'],
      [collectionNames.erasureProgress, 'restrictedPeriods'],
    ] as const
    for (const [name, field] of places)
      for (const period of await db.collection(name).distinct(field, { organizationId })) periods.add(period)
    return [...periods].filter((period) => typeof period === 'number').sort((a, b) => a - b)
  }

  /** Deletes what lies under a prefix, every version. @returns how many objects are under lock */
  async function clear(
    place: Pick<ArchiveStore, 'versions' | 'delete'>,
    prefix: string,
    beat: () => void,
  ): Promise<number> {
    const paths = new Set<string>()
    for await (const { path } of place.versions(prefix)) paths.add(path)
    let locked = 0
    for (const path of paths) {
      beat()
      try {
        await place.delete(path)
      } catch (error) {
        if (!(error instanceof ArchiveStoreError) || error.code !== 'locked') throw error
        locked += 1
      }
    }
    return locked
  }

  async function clearArchive(reference: OffboardingReference, beat: () => void): Promise<number> {
    const locked = await clear(deps.archive, prefixOf(reference), beat)
    await deps.copies.remove(copyNameOf(reference.organizationId))
    return locked + (await clear(deps.ledger, prefixOf(reference), beat))
  }

  async function countObjects(place: Pick<ArchiveStore, 'versions'>, prefix: string): Promise<number> {
    const paths = new Set<string>()
    for await (const { path } of place.versions(prefix)) paths.add(path)
    return paths.size
  }

  /** @throws OffboardingResidueError */
  async function requireNothing(
    reference: OffboardingReference,
    locked: number,
    beat: () => void,
  ): Promise<void> {
    const { organizationId } = reference
    const places = Object.keys(await rowsLeft(db, organizationId, beat))
    const objects =
      (await countObjects(deps.archive, prefixOf(reference))) +
      (await countObjects(deps.ledger, prefixOf(reference)))
    if (objects > locked) places.push('archive')
    if ((await deps.copies.read(copyNameOf(organizationId))) !== undefined) places.push('checkpoint_copies')
    if ((await executions.remove(organizationId, offboardingWorkflowId(reference))) > 0)
      places.push('temporal')
    if (places.length > 0) throw new OffboardingResidueError(places)
  }

  type Changes = Parameters<OffboardingStore['change']>[2]

  const steps: Readonly<
    Record<OffboardingStep, (document: OffboardingDocument, beat: () => void) => Promise<Changes>>
  > = {
    async stop_workflows(document) {
      if ((await executions.stop(document.organizationId, offboardingWorkflowId(document))) > 0)
        throw new OffboardingWaitsError('workflows of the organization were just stopped')
      return {}
    },
    async settle({ closedAt }, beat) {
      const until = (closedAt?.getTime() ?? now().getTime()) + settleMs
      for (let left = until - now().getTime(); left > 0; left = until - now().getTime()) {
        beat()
        await sleep(Math.min(left, 1_000))
      }
      return {}
    },
    async seal(document, beat) {
      const { organizationId } = document
      await drain(organizationId, beat)
      const final = await finalLog(organizationId)
      await sealInSystem(document, 'offboarding_started', aboutOf(document, final), beat)
      // Counted while it is all there: an attempt that dies while it removes would lose count.
      const removed = await rowsLeft(db, organizationId, beat)
      return { final, removed, keyPeriods: await periodsOf(organizationId) }
    },
    async destroy_keys(document) {
      const { organizationId, offboardingId } = document
      // Before anything goes: a backup that is restored from now on is found by it.
      await deps.journal.note({
        kind: 'offboarded',
        organizationId,
        requestId: offboardingId,
        ...principalsOf(document),
        manifests: {},
      })
      await organizations.destroyKey(document)
      return {}
    },
    async remove_rows({ organizationId }, beat) {
      await removeRows(db, organizationId, beat)
      return {}
    },
    remove_archive: async (document, beat) => ({ locked: await clearArchive(document, beat) }),
    async remove_workflows(document) {
      if ((await executions.remove(document.organizationId, offboardingWorkflowId(document))) > 0)
        throw new OffboardingWaitsError('executions are just being deleted')
      return {}
    },
    async verify(document, beat) {
      // What a process wrote that slept through all of it goes now; what comes after this is an error.
      await removeRows(db, document.organizationId, beat)
      const locked = await clearArchive(document, beat)
      await requireNothing(document, locked, beat)
      return { locked }
    },
    async certify(document, beat) {
      const { final, removed, locked, keyPeriods } = document
      const about = aboutOf(document, final)
      const rows = Object.values(removed ?? {}).reduce((sum, count) => sum + count, 0)
      const eventId = await sealInSystem(
        document,
        'offboarded',
        { ...about, rows, events: removed?.[collectionNames.events] ?? 0, lockedObjects: locked },
        beat,
      )
      const done = locked === 0 && (await allDeleted(keyPeriods))
      return {
        eventId,
        state: done ? ('completed' as const) : ('awaiting_expiry' as const),
        ...(done ? { endedAt: now() } : {}),
      }
    },
  }

  async function allDeleted(periods: readonly number[]): Promise<boolean> {
    for (const period of periods) if (!(await deps.periodIsDeleted(period))) return false
    return true
  }

  async function close(document: OffboardingDocument): Promise<BeginOutcome> {
    const { organizationId } = document
    const seen = await lifecycle.current(organizationId)
    if ((await deps.holds.active(organizationId)).length > 0) {
      await store.change(document, ['cooling_off'], { state: 'on_hold' })
      return 'held'
    }
    const closedAt = now()
    await inTransaction(client, async (session) => {
      await lifecycle.advanceFrom(organizationId, seen, session)
      const change = { state: 'offboarding' as const, closedAt }
      if (!(await store.change(document, ['cooling_off', 'on_hold'], change, session)))
        throw new LifecycleMovedError()
      await organizations.close(document, closedAt, session)
      // The last words of the log itself: whoever holds its final checkpoint can prove how it ended.
      await systemEvents.writeInTransaction(
        {
          organizationId,
          action: 'annals.organization.offboarding_started',
          occurredAt: closedAt,
          actor: annals,
          targets: [{ type: 'organization', id: organizationId }],
          metadata: principalsOf(document),
          onceKey: `offboarding/${document.offboardingId}/closed`,
        },
        session,
      )
    })
    return 'begun'
  }

  return {
    async snapshot(reference) {
      const document = await store.find(reference)
      if (document === undefined || document.state === 'requested') return undefined
      return { state: document.state, coolingOffEndsMs: document.coolingOffEndsAt?.getTime() ?? null }
    },

    async begin(reference) {
      for (let moved = 0; ; moved += 1) {
        const document = await read(reference)
        if (document.state === 'withdrawn') return 'withdrawn'
        if (document.closedAt !== null) return 'begun'
        try {
          return await close(document)
        } catch (error) {
          // A hold was placed, content moved, or it was withdrawn since: look again.
          if (!(error instanceof LifecycleMovedError) || moved === maxMoved) throw error
        }
      }
    },

    async step(reference, step, beat) {
      const { closedAt } = await read(reference)
      if (closedAt === null) throw new Error('an organization was to be taken apart that is not closed')
      await store.once(reference, step, (document) => steps[step](document, beat))
    },

    async stopped(reference, step, reason) {
      const operator = { reason, step, at: now() }
      await store.change(reference, standing, { state: 'needs_operator', operator })
    },

    async look(reference, beat) {
      const document = await read(reference)
      if (document.state === 'completed') return true
      await removeRows(db, reference.organizationId, beat)
      const locked = await clearArchive(document, beat)
      await executions.remove(reference.organizationId, offboardingWorkflowId(reference))
      const done = locked === 0 && (await allDeleted(document.keyPeriods))
      await store.change(reference, ['awaiting_expiry'], {
        locked,
        ...(done ? { state: 'completed' as const, endedAt: now() } : {}),
      })
      return done
    },
  }
}

function principalsOf({ submitter, approver }: OffboardingDocument) {
  if (approver === null || approver === submitter)
    throw new Error('an organization is to go that no second principal has approved')
  return { submitter, approver }
}

/** What the log of the deployment says of it. */
const aboutOf = (document: OffboardingDocument, final: FinalLog | null) => ({
  ...principalsOf(document),
  ...(final === null
    ? { leaves: 0 }
    : {
        generation: final.generation,
        leaves: final.size,
        root: final.root,
        checkpoint: final.checkpointSha256,
      }),
})
