/**
 * What an exception had kept is erased by itself when the exception ends: when no hold covers an event any more, and no
 * class that the approval exempted.
 *
 *     look      what is kept still, and what nothing keeps: none = nothing is done
 *     intend    the manifest of what goes is kept in the ledger ─ one transaction: no hold was placed meanwhile, and the
 *               release is noted in the progress. There is no way back
 *     say       journal ─ `annals.subject.erased` names the manifest, with the principals of the request, and is sealed:
 *               they wanted all of it gone. Its proof is put beside the manifest
 *     remove    from hot, restored and archived events, and looked for again
 *     destroy   the request's key, once nothing is kept under it
 *     certify   a further certificate, which replaces the one before; and `annals.erasure.completed` says so
 *
 * Every step may run again at any moment: a release that has begun is finished by the next attempt.
 *
 * The key stays while it keeps anything: what was released before lies encrypted under it in oplogs and backups. Certificates
 * say so, as a period whose key is not gone.
 */
import type { MongoClient } from 'mongodb'
import { inTransaction } from '../mongo/transaction.js'
import type { HoldService } from '../retention/holds.js'
import { LifecycleMovedError, whileItMoves, type Lifecycle } from '../retention/lifecycle.js'
import { principalsOf } from './begun.js'
import type { Completing, HistoryDays } from './completing.js'
import type { ErasureReference, ReleaseOutcome } from './contract.js'
import { sealEvent, type LeavesDependencies } from './erasure-leaves.js'
import type { ErasureJournal } from './journal.js'
import { keptBy, type KeptDependencies } from './kept.js'
import type { ErasureLedger } from './ledger.js'
import { releasedManifest, releasedManifestPath } from './manifests.js'
import { readReleased, type RemovedRow } from './named-manifests.js'
import type { ErasureProgress, ErasureProgressDocument, KeptRelease } from './progress.js'
import { releasedLeft, removeReleased, type ReleasedRemovalDependencies } from './released-removal.js'
import type { SealedProofs } from './sealed-proof.js'
import type { ErasureRequestDocument, ErasureStore } from './store.js'
import { isExempt } from './text-search.js'

export interface ReleasingDependencies
  extends KeptDependencies, LeavesDependencies, ReleasedRemovalDependencies {
  readonly client: MongoClient
  readonly requests: Pick<ErasureStore, 'find'>
  readonly progress: ErasureProgress
  readonly holds: Pick<HoldService, 'active'>
  readonly lifecycle: Lifecycle
  readonly ledger: ErasureLedger
  readonly journal: Pick<ErasureJournal, 'note'>
  readonly proofs: SealedProofs
  readonly completing: Pick<Completing, 'certifyRelease'>
  readonly log: LeavesDependencies['log']
}

export interface Releasing {
  /** Requests of which something may go, by id; of one organization, or of all. */
  keeping(organizationId: string | undefined, after: string): Promise<readonly ErasureReference[]>
  /** @throws LedgerError; TargetError; ArchiveStoreError; AnnalsError; ReleasedLeftError */
  release(request: ErasureReference, historyDays: HistoryDays, beat: () => void): Promise<ReleaseOutcome>
}

/** Something that was to go is there still; `places` are names of collections and stores. */
export class ReleasedLeftError extends Error {
  override readonly name = 'ReleasedLeftError'

  constructor(readonly places: readonly string[]) {
    super('something that an exception had kept is left')
  }
}

/** Requests that are looked at in one go. */
export const releasesAtOnce = 100
interface Numbered {
  /** From 1. */
  readonly number: number
  readonly release: KeptRelease
}

export function createReleasing(deps: ReleasingDependencies): Releasing {
  const { progress, lifecycle, ledger } = deps

  /** What nothing keeps any more, and what stays. */
  async function look(
    document: ErasureProgressDocument,
    { exempt }: Pick<ErasureRequestDocument, 'exempt'>,
    beat: () => void,
  ) {
    const holds = await deps.holds.active(document.organizationId)
    const going: RemovedRow[] = []
    let events = 0
    let held = 0
    let blocks = 0
    for await (const { event, fields } of keptBy(deps, document, beat)) {
      const isOfClass = isExempt(event, exempt, [])
      if (isOfClass || isExempt(event, [], holds)) {
        if (!isOfClass) held += fields.length
        blocks += fields.filter(({ block }) => block).length
        continue
      }
      events += 1
      for (const { eventId, slot, commitment } of fields) going.push({ eventId, slot, commitment })
    }
    return { going, events, held, blocks }
  }

  /** @returns the release that is to be carried out; undefined = there is none */
  async function intend(
    document: ErasureProgressDocument,
    request: ErasureRequestDocument,
    beat: () => void,
  ): Promise<Numbered | undefined> {
    return whileItMoves(async () => {
      const { releases = [] } = await progress.read(document)
      const open = releases.findIndex(({ doneAt }) => doneAt === undefined)
      const begun = releases[open]
      if (begun !== undefined) return { number: open + 1, release: begun }
      const seen = await lifecycle.current(document.organizationId)
      const { going, events, held, blocks } = await look(document, request, beat)
      await progress.set(document, { held })
      if (going.length === 0) {
        // What was applied again after a backup was restored (reapplying.ts) is gone without a release of its own.
        if (blocks === 0) await progress.destroyRestrictedKey(document)
        return undefined
      }
      const manifest = releasedManifest(document, going)
      // If the process dies here, the manifest lies there and nothing names it.
      await ledger.putManifest(manifest)
      const release = { intendedAt: new Date(), manifest: manifest.sha256, events, fields: going.length }
      const number = releases.length + 1
      await inTransaction(deps.client, async (session) => {
        await lifecycle.advanceFrom(document.organizationId, seen, session)
        if (!(await progress.beginRelease(document, number, release, session)))
          throw new LifecycleMovedError()
      })
      return { number, release }
    })
  }

  async function carryOut(
    document: ErasureProgressDocument,
    request: ErasureRequestDocument,
    { number, release }: Numbered,
    beat: () => void,
  ): Promise<void> {
    const { organizationId, requestId } = document
    const by = principalsOf(request)
    const path = releasedManifestPath(document, release.manifest)
    const rows = await readReleased(ledger, document, release.manifest)
    // Before anything goes: a backup that is restored from now on is found by it.
    const manifests = { released: release.manifest }
    await deps.journal.note({ kind: 'released', organizationId, requestId, ...by, manifests })
    const { manifest, events } = release
    const metadata = { manifest, ...by, events, release: number }
    const which = `/${String(number)}`
    const { id } = await sealEvent(deps, document, 'annals.subject.erased', metadata, beat, which)
    await deps.proofs.put(organizationId, path, id)
    await progress.setRelease(document, number, { eventId: id })
    await removeReleased(deps, document, rows, beat)
    const left = await releasedLeft(deps, document, rows, beat)
    if (left.length > 0) throw new ReleasedLeftError(left)
    if ((await look(document, { exempt: request.exempt }, beat)).blocks === 0)
      await progress.destroyRestrictedKey(document)
    await progress.setRelease(document, number, { doneAt: new Date() })
  }

  return {
    async keeping(organizationId, after) {
      const found = await progress.keeping(organizationId, after, releasesAtOnce)
      return found.map(({ organizationId: id, requestId }) => ({ organizationId: id, requestId }))
    },

    async release(reference, historyDays, beat) {
      const document = await progress.find(reference)
      const request = await deps.requests.find(reference)
      if (document === null || request === null) return { result: 'nothing' }
      const { state } = request
      // One that is on its way comes to its first certificate, and is looked at again.
      const isPast = state === 'awaiting_expiry' || state === 'completed_with_exceptions'
      if (!isPast || document.steps.ledger?.doneAt === undefined) return { result: 'nothing' }
      const found = await intend(document, request, beat)
      if (found !== undefined) await carryOut(document, request, found, beat)
      if (state === 'awaiting_expiry') return { result: found === undefined ? 'nothing' : 'released' }
      const certified = await deps.completing.certifyRelease(reference, historyDays)
      return certified.result === 'nothing' && found !== undefined ? { result: 'released' } : certified
    },
  }
}
