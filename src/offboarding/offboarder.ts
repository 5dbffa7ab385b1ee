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
import { setTimeout as sleep } from 'node:timers/promises'
import type { Db, MongoClient } from 'mongodb'
import type { ErasureJournal } from '../erasure/journal.js'
import { notFound } from '../errors.js'
import { collectionNames } from '../mongo/collections.js'
import { inTransaction } from '../mongo/transaction.js'
import type { OrganizationClosing } from '../organizations/store.js'
import type { HoldService } from '../retention/holds.js'
import { LifecycleMovedError, whileItMoves, type Lifecycle } from '../retention/lifecycle.js'
import { nothingRemains } from './certificate.js'
import type { OffboardingCertificates } from './certificates.js'
import { removeRows, rowsLeft } from './collections.js'
import {
  offboardingTiming,
  offboardingWorkflowId,
  type OffboardingReason,
  type OffboardingReference,
  type OffboardingSnapshot,
  type OffboardingStep,
} from './contract.js'
import { createLastLeaves, OffboardingWaitsError, type LastLeavesDependencies } from './last-leaves.js'
import { createPlaces, type PlacesDependencies } from './places.js'
import type { FinalLog, OffboardingDocument, OffboardingStore } from './store.js'

export interface OffboarderDependencies extends LastLeavesDependencies, PlacesDependencies {
  readonly client: MongoClient
  readonly db: Db
  readonly store: OffboardingStore
  readonly holds: Pick<HoldService, 'active'>
  readonly lifecycle: Lifecycle
  readonly organizations: OrganizationClosing
  /** Did a rotation delete the key of this period? */
  readonly periodIsDeleted: (period: number) => Promise<boolean>
  readonly journal: Pick<ErasureJournal, 'note'>
  readonly certificates: Pick<OffboardingCertificates, 'issue'>
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

const annals = { type: 'system', id: 'annals' } as const
const standing = ['offboarding', 'needs_operator'] as const

export function createOffboarder(deps: OffboarderDependencies): Offboarder {
  const { client, db, store, lifecycle, organizations, systemEvents, executions, certificates } = deps
  const now = deps.now ?? (() => new Date())
  const settleMs = deps.settleMs ?? offboardingTiming.settleMs
  const leaves = createLastLeaves(deps, now)
  const places = createPlaces(deps)

  async function read(reference: OffboardingReference): Promise<OffboardingDocument> {
    const document = await store.find(reference)
    if (document === undefined) throw notFound()
    return document
  }

  /** Under which periods keys of the organization are, or were, wrapped: of subjects and of erasure requests. */
  async function periodsOf(organizationId: string): Promise<number[]> {
    const periods = new Set<unknown>()
    const holders = [
      [collectionNames.subjects, 'key.period'],
      [collectionNames.erasureRequests, 'key.period'],
      [collectionNames.erasureProgress, 'workKey.period'],
      [collectionNames.erasureProgress, 'restrictedKey.period'],
      [collectionNames.erasureProgress, 'keyPeriods'],
      [collectionNames.erasureProgress, 'restrictedPeriods'],
    ] as const
    for (const [name, field] of holders)
      for (const period of await db.collection(name).distinct(field, { organizationId })) periods.add(period)
    return [...periods].filter((period) => typeof period === 'number').sort((a, b) => a - b)
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
      await leaves.drain(organizationId, beat)
      const final = await leaves.last(organizationId)
      const startedEventId = await leaves.say(document, 'offboarding_started', aboutOf(document, final), beat)
      // Counted while it is all there: an attempt that dies while it removes would lose count.
      const removed = await rowsLeft(db, organizationId, beat)
      return { final, startedEventId, removed, keyPeriods: await periodsOf(organizationId) }
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
    remove_archive: async (document, beat) => ({ locked: await places.clear(document, beat) }),
    async remove_workflows(document) {
      if ((await executions.remove(document.organizationId, offboardingWorkflowId(document))) > 0)
        throw new OffboardingWaitsError('executions are just being deleted')
      return {}
    },
    async verify(document, beat) {
      // What a process wrote that slept through all of it goes now; what comes after this is an error.
      await removeRows(db, document.organizationId, beat)
      const locked = await places.clear(document, beat)
      await places.requireNothing(document, locked, beat)
      return { locked }
    },
    async certify(document, beat) {
      const { final, removed, locked } = document
      const about = aboutOf(document, final)
      const rows = Object.values(removed ?? {}).reduce((sum, count) => sum + count, 0)
      const eventId = await leaves.say(
        document,
        'offboarded',
        { ...about, rows, events: removed?.[collectionNames.events] ?? 0, lockedObjects: locked },
        beat,
      )
      const done = await certify({ ...document, eventId }, locked)
      return {
        eventId,
        state: done ? ('completed' as const) : ('awaiting_expiry' as const),
        ...(done ? { endedAt: now() } : {}),
      }
    },
  }

  /** @returns whether nothing remains */
  async function certify(document: OffboardingDocument, locked: number): Promise<boolean> {
    const looked = document.keyPeriods.map(async (period) => ({
      period,
      deleted: await deps.periodIsDeleted(period),
    }))
    const remains = { locked, periods: await Promise.all(looked) }
    // One that an earlier version began has no checkpoint to certify.
    if (document.startedEventId !== undefined) await certificates.issue(document, remains)
    return nothingRemains(remains)
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

    begin(reference) {
      return whileItMoves(async () => {
        const document = await read(reference)
        if (document.state === 'withdrawn') return 'withdrawn'
        if (document.closedAt !== null) return 'begun'
        return close(document)
      })
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
      const locked = await places.clear(document, beat)
      await executions.remove(reference.organizationId, offboardingWorkflowId(reference))
      const done = await certify(document, locked)
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
        // As it was signed: it stays where the log of the organization does not.
        ...(final.checkpoint === undefined ? {} : { note: final.checkpoint }),
      }),
})
