/**
 * Brings events back from the archive, and takes them away again. Every step may run any number of times: a process may
 * die between any two lines here, and the next attempt goes on from the position that was stored.
 *
 * An erasure, or an expiry, may run at the same time. It looks for what is restored, and a restore looks for what is erased, and each
 * might do so before the other writes. So a restore counts as restored only in a transaction that moves the lifecycle
 * counter from where it stood before the first leaf was read; where something else has moved it meanwhile, all that was
 * copied is stripped again first.
 */
import type { MongoClient } from 'mongodb'
import { AnnalsError } from '../../errors.js'
import { archiveStart, type ArchivedEvents } from '../../events/archived.js'
import { eventIdOf } from '../../events/store.js'
import type { SystemEvent, SystemEventWriter } from '../../events/contract.js'
import { inTransaction } from '../../mongo/transaction.js'
import { LifecycleMovedError, type Lifecycle } from '../../retention/lifecycle.js'
import type { RestoreFailure, RestoreReference } from './contract.js'
import type { ErasedContent } from './erased-content.js'
import type { RestoredRows } from './rows.js'
import type { RestoreDocument, RestoreStore } from './store.js'

export interface RestorerDependencies {
  readonly store: RestoreStore
  readonly rows: RestoredRows
  readonly archived: ArchivedEvents
  readonly erased: ErasedContent
  readonly lifecycle: Lifecycle
  readonly events: SystemEventWriter
  readonly client: MongoClient
  readonly now?: () => Date
  /** Of a day of a restore. For tests. */
  readonly dayMs?: number
}

export interface CopyOptions {
  /** Called at each stretch, with what was looked at so far, and the bytes of what was copied. */
  readonly beat: (leaves: number, bytes: number) => void
  /** Checked between stretches: the copy stops, and is to be called again. */
  readonly signal: AbortSignal
}

export interface Restorer {
  /** Has the request been written? The workflow begins before it. */
  known(reference: RestoreReference): Promise<boolean>
  /** @throws AnnalsError `not_found` */
  find(reference: RestoreReference): Promise<RestoreDocument>
  /**
   * Copies what is not there yet.
   * @returns false where the signal stopped it
   * @throws AnnalsError `archive_damaged` | `unavailable`
   */
  copy(reference: RestoreReference, options: CopyOptions): Promise<boolean>
  /** Makes a copied restore count, and writes `annals.archive.restored`. @returns when it goes again */
  activate(reference: RestoreReference): Promise<Date>
  /** Removes what was restored, and writes `annals.archive.restore_expired`. */
  expire(reference: RestoreReference): Promise<void>
  /** Gives a restore up that was never restored: nothing of it stays. */
  fail(reference: RestoreReference, failure: RestoreFailure): Promise<void>
}

const defaultDayMs = 86_400_000
/** Stretches (of at most 256 leaves) after which the position is stored. */
const stretchesAStep = 16
const maxActivations = 10

export function createRestorer(deps: RestorerDependencies): Restorer {
  const { store, rows, archived, erased, lifecycle, events, client } = deps
  const now = deps.now ?? (() => new Date())

  async function read(reference: RestoreReference): Promise<RestoreDocument> {
    const document = await store.find(reference)
    if (document === undefined) throw new AnnalsError('not_found', 'There is no such restore.')
    return document
  }

  /** The document with the counter that it began at: read before the first leaf. */
  async function begun(document: RestoreDocument): Promise<RestoreDocument & { lifecycleSeen: number }> {
    const { lifecycleSeen } = document
    if (lifecycleSeen !== null) return { ...document, lifecycleSeen }
    const seen = await lifecycle.current(document.organizationId)
    await store.change(document, 'copying', { lifecycleSeen: seen })
    return { ...document, lifecycleSeen: seen }
  }

  /** Takes out what was erased while the copy was made, and what has expired in the archive since it was read. */
  async function stripAgain(document: RestoreDocument): Promise<void> {
    for await (const batch of rows.batches(document)) {
      const ids = batch.map(({ _id }) => eventIdOf(_id))
      const there = await archived.find(document.organizationId, ids)
      await rows.drop(batch.filter((_, index) => !there.has(ids[index] ?? '')))
      const stripped = await erased.strip(document.organizationId, batch)
      await rows.replaceFields(stripped.filter((event, index) => event !== batch[index]))
    }
  }

  return {
    known: async (reference) => (await store.find(reference)) !== undefined,
    find: read,

    async copy(reference, { beat, signal }) {
      const document = await begun(await read(reference))
      const { organizationId, from, to } = document
      if (document.state !== 'copying') return true
      let { leaves, bytes } = document.counts
      let position = document.position ?? archiveStart
      let stretches = 0
      const keep = () =>
        store.change(reference, 'copying', { position, counts: { leaves, events: 0, bytes } })
      for await (const stretch of archived.walk(organizationId, { after: position, from, to })) {
        const wanted = stretch.events
          .map(({ event }) => event)
          .filter(({ occurredAt }) => occurredAt >= from && occurredAt < to)
        bytes += await rows.put(reference, await erased.strip(organizationId, wanted))
        leaves += stretch.leaves
        position = stretch.end
        stretches += 1
        if (stretches % stretchesAStep === 0) await keep()
        beat(leaves, bytes)
        if (signal.aborted) {
          await keep()
          return false
        }
      }
      await keep()
      return true
    },

    async activate(reference) {
      const document = await begun(await read(reference))
      if (document.expiresAt !== null) return document.expiresAt
      const restoredAt = now()
      const expiresAt = new Date(restoredAt.getTime() + document.days * (deps.dayMs ?? defaultDayMs))
      let seen = document.lifecycleSeen
      for (let attempt = 0; attempt < maxActivations; attempt += 1) {
        const counts = { ...document.counts, events: await rows.count(reference) }
        try {
          await inTransaction(client, async (session) => {
            await lifecycle.advanceFrom(document.organizationId, seen, session)
            const change = { state: 'restored', restoredAt, expiresAt, counts } as const
            // Somebody else has activated it: the same event and the same end are there.
            if (!(await store.change(reference, 'copying', change, session))) return
            await events.writeInTransaction(restoredEvent({ ...document, ...change }), session)
          })
          return (await read(reference)).expiresAt ?? expiresAt
        } catch (error) {
          if (!(error instanceof LifecycleMovedError)) throw error
        }
        seen = await lifecycle.current(document.organizationId)
        await stripAgain(document)
      }
      throw new AnnalsError('unavailable', 'What may be restored changes all the time.', {
        retryAfterSeconds: 5,
      })
    },

    async expire(reference) {
      const document = await read(reference)
      if (document.state !== 'restored') return
      await rows.remove(reference)
      const endedAt = now()
      await inTransaction(client, async (session) => {
        await lifecycle.advance(document.organizationId, session)
        if (!(await store.change(reference, 'restored', { state: 'expired', endedAt }, session))) return
        await events.writeInTransaction(
          { ...about(document, 'annals.archive.restore_expired', endedAt), actor: annals },
          session,
        )
      })
    },

    async fail(reference, failure) {
      const document = await read(reference)
      if (document.state !== 'copying') return
      await rows.remove(reference)
      const endedAt = now()
      const change = { state: 'failed', failure, endedAt, counts: { ...document.counts, events: 0 } } as const
      await inTransaction(client, async (session) => {
        if (!(await store.change(reference, 'copying', change, session))) return
        const event = about(document, 'annals.archive.restored', endedAt)
        const metadata = { ...event.metadata, failure }
        await events.writeInTransaction({ ...event, outcome: 'failure', metadata }, session)
      })
    },
  }
}

const annals = { type: 'system', id: 'annals' } as const

/** The reason is an officer's own words and stays in the request: events of the archive hold no free text. */
function about(
  { organizationId, restoreId, principal, from, to, days, counts }: RestoreDocument,
  action: SystemEvent['action'],
  occurredAt: Date,
): SystemEvent {
  return {
    organizationId,
    action,
    occurredAt,
    actor: { type: 'principal', id: principal },
    targets: [{ type: 'restore', id: restoreId }],
    metadata: { from: from.toISOString(), to: to.toISOString(), days, events: counts.events },
    onceKey: `restore/${restoreId}/${action}`,
  }
}

function restoredEvent(document: RestoreDocument & { restoredAt: Date; expiresAt: Date }): SystemEvent {
  const event = about(document, 'annals.archive.restored', document.restoredAt)
  return { ...event, metadata: { ...event.metadata, expiresAt: document.expiresAt.toISOString() } }
}
