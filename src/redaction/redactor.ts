/**
 * Carries an approved redaction out. Each step may run any number of times, and after a crash at any line:
 *
 *     prepare   events sealed ─ commitments looked up ─ manifest kept in the ledger
 *     decide    holds looked at; in one transaction: counter moved, `annals.field.redacted` written, state `redacting`
 *     remove    the event sealed ─ hot ─ restored ─ archived ─ looked at again ─ state `redacted`
 *
 * A value goes only after a sealed event says so: a verifier that comes in between finds it intact, never missing.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { MongoClient } from 'mongodb'
import { notFound } from '../errors.js'
import type { ErasureJournal } from '../erasure/journal.js'
import type { ErasureLedger } from '../erasure/ledger.js'
import type { RemovedField } from '../erasure/manifests.js'
import type { SealedProofs } from '../erasure/sealed-proof.js'
import type { SystemEventWriter } from '../events/contract.js'
import type { EventFinder } from '../events/finding.js'
import type { StoredEvent } from '../events/store.js'
import { subjectsIn } from '../events/view.js'
import { inTransaction } from '../mongo/transaction.js'
import type { HoldService } from '../retention/holds.js'
import { LifecycleMovedError, whileItMoves, type Lifecycle } from '../retention/lifecycle.js'
import { isHeld } from '../retention/policy.js'
import type { Sealer } from '../transparency-log/sealer.js'
import type { LogStore } from '../transparency-log/store.js'
import type { RedactionFailure, RedactionReference } from './contract.js'
import { commitmentIn, hasValue } from './fields.js'
import { redactionManifest, redactionManifestPath } from './manifest.js'
import type { FieldRemoval } from './removal.js'
import type { RedactionDocument, RedactionStore } from './store.js'

export interface RedactorDependencies {
  readonly client: MongoClient
  readonly store: RedactionStore
  readonly finder: EventFinder
  readonly log: Pick<LogStore, 'locate' | 'locateAll'>
  readonly sealer: Sealer
  readonly ledger: Pick<ErasureLedger, 'putManifest'>
  readonly proofs: SealedProofs
  readonly journal: Pick<ErasureJournal, 'note'>
  readonly holds: Pick<HoldService, 'active'>
  readonly lifecycle: Lifecycle
  readonly systemEvents: Pick<SystemEventWriter, 'writeInTransaction'>
  readonly removal: FieldRemoval
  readonly now?: () => Date
}

export interface Redactor {
  /** Has it been approved? The workflow begins before that is written. */
  approved(reference: RedactionReference): Promise<boolean>
  prepare(reference: RedactionReference, beat: () => void): Promise<'prepared' | 'failed'>
  decide(reference: RedactionReference): Promise<'decided' | 'held'>
  remove(reference: RedactionReference, beat: () => void): Promise<void>
}

/** An event waits to be sealed, or a value is left where others are at work: to be tried again in a while. */
export class RedactionWaitsError extends Error {
  override readonly name = 'RedactionWaitsError'
}

const maxSealRounds = 100
const sealPauseMs = 50
const maxRemovals = 5

export function createRedactor(deps: RedactorDependencies): Redactor {
  const { client, store, finder, log, sealer, lifecycle, removal } = deps
  const now = deps.now ?? (() => new Date())

  async function read(reference: RedactionReference): Promise<RedactionDocument> {
    const document = await store.find(reference)
    if (document === undefined) throw notFound()
    return document
  }

  async function untilSealed(
    organizationId: string,
    eventIds: readonly string[],
    beat: () => void,
  ): Promise<ReadonlyMap<string, { readonly leafHash: Uint8Array }>> {
    for (let round = 0; round < maxSealRounds; round += 1) {
      beat()
      const leaves = await log.locateAll(organizationId, eventIds)
      if (leaves.size === new Set(eventIds).size) return leaves
      await sealer.drainOrganization(organizationId)
      if (round > 0) await sleep(sealPauseMs)
    }
    throw new RedactionWaitsError('an event is not sealed yet')
  }

  async function fail(document: RedactionDocument, failure: RedactionFailure): Promise<'failed'> {
    await store.change(document, ['approved'], { state: 'failed', failure, endedAt: now() })
    return 'failed'
  }

  async function removedOf(
    document: RedactionDocument,
    beat: () => void,
  ): Promise<RemovedField[] | RedactionFailure> {
    const { organizationId, fields } = document
    const eventIds = [...new Set(fields.map(({ eventId }) => eventId))]
    const leaves = await untilSealed(organizationId, eventIds, beat)
    const events = await finder.find(organizationId, eventIds)
    const removed: RemovedField[] = []
    for (const { eventId, slot } of fields) {
      const event = events.get(eventId)
      const leaf = leaves.get(eventId)
      if (event === undefined || leaf === undefined || !hasValue(event, slot)) return 'field_gone'
      const commitment = commitmentIn(event, leaf.leafHash, slot)
      if (commitment === undefined) return 'event_damaged'
      removed.push({ eventId, slot, commitment })
    }
    return removed
  }

  async function held({ organizationId, fields }: RedactionDocument): Promise<boolean> {
    const holds = await deps.holds.active(organizationId)
    if (holds.length === 0) return false
    const events = await finder.find(
      organizationId,
      fields.map(({ eventId }) => eventId),
    )
    return [...events.values()].some((event) => isHeld(heldEventOf(event), holds))
  }

  return {
    approved: async (reference) => ((await store.find(reference))?.state ?? 'requested') !== 'requested',

    async prepare(reference, beat) {
      const document = await read(reference)
      if (document.state === 'failed') return 'failed'
      if (document.manifest !== null) return 'prepared'
      const removed = await removedOf(document, beat)
      if (typeof removed === 'string') return fail(document, removed)
      const manifest = redactionManifest(reference, removed)
      // If the process dies here, the manifest lies there and nothing names it; the next attempt writes the same bytes.
      await deps.ledger.putManifest(manifest)
      const rows = removed.map((row) => ({ ...row, commitment: Buffer.from(row.commitment) }))
      await store.change(reference, ['approved'], { removed: rows, manifest: manifest.sha256 })
      return 'prepared'
    },

    decide(reference) {
      return whileItMoves(async () => {
        const document = await read(reference)
        if (document.state === 'redacting' || document.state === 'redacted') return 'decided'
        const seen = await lifecycle.current(reference.organizationId)
        if (await held(document)) {
          await store.change(reference, ['approved'], { state: 'on_hold' })
          return 'held'
        }
        await inTransaction(client, async (session) => {
          await lifecycle.advanceFrom(reference.organizationId, seen, session)
          const { id } = await deps.systemEvents.writeInTransaction(redactedEvent(document, now()), session)
          const change = { state: 'redacting' as const, eventId: id }
          if (!(await store.change(reference, ['approved', 'on_hold'], change, session)))
            throw new LifecycleMovedError()
        })
        return 'decided'
      })
    },

    async remove(reference, beat) {
      const { organizationId } = reference
      const { state, eventId, removed, manifest, submitter, approver } = await read(reference)
      if (state === 'redacted') return
      if (
        state !== 'redacting' ||
        eventId === null ||
        removed === null ||
        manifest === null ||
        approver === null
      )
        throw new Error('a field was to be removed before an event said so')
      // Before anything goes: a backup that is restored from now on is found by it.
      await deps.journal.note({
        kind: 'redacted',
        organizationId,
        requestId: reference.redactionId,
        submitter,
        approver,
        manifests: { fields: manifest },
      })
      await untilSealed(organizationId, [eventId], beat)
      // Before anything of an archive goes: it says by itself why.
      await deps.proofs.put(organizationId, redactionManifestPath(reference), eventId)
      for (let round = 0; ; round += 1) {
        beat()
        await removal.fromHot(organizationId, removed)
        await removal.fromRestored(organizationId, removed)
        await removal.fromArchive(organizationId, removed, beat)
        // An event that moved between two places meanwhile is met in the next round.
        if ((await removal.left(organizationId, removed)) === 0) break
        if (round === maxRemovals) throw new RedactionWaitsError('a value is still somewhere')
      }
      await store.change(reference, ['redacting'], { state: 'redacted', endedAt: now() })
    },
  }
}

export const heldEventOf = (event: StoredEvent) => ({
  action: event.action,
  occurredAt: event.occurredAt,
  subjects: subjectsIn(event),
})

function redactedEvent(document: RedactionDocument, occurredAt: Date) {
  const { organizationId, redactionId, manifest, submitter, approver, fields } = document
  if (manifest === null || approver === null || approver === submitter)
    throw new Error('a redaction is to begin that no second principal has approved')
  return {
    organizationId,
    action: 'annals.field.redacted' as const,
    occurredAt,
    actor: { type: 'system' as const, id: 'annals' },
    targets: [{ type: 'redaction', id: redactionId }],
    metadata: { manifest, submitter, approver, fields: fields.length },
    onceKey: `redaction/${redactionId}`,
  }
}
