/**
 * Up to the point where nothing is lost yet: the fence, and what stays.
 *
 *     fence      every target is reached ─ intent ─ directory entries go and the subjects are fenced, in one transaction
 *     prepare    every target is reached ─ leases run out ─ drain ─ what stays is encrypted anew, hot and archived, and
 *                read back ─ subject manifest ─ `annals.subject.erasure_started` sealed: its leaf is the cut-off
 */
import type { Db } from 'mongodb'
import { eventCollection } from '../events/store.js'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import { KeyError } from '../keys/wrapping.js'
import { inTransaction } from '../mongo/transaction.js'
import type { HoldService } from '../retention/holds.js'
import { whileItMoves, type Lifecycle } from '../retention/lifecycle.js'
import { archiveTarget } from './archive-failure.js'
import type { ArchivedContent } from './archived-content.js'
import { begin, fencedBy, principalsOf, type BegunDependencies } from './begun.js'
import type { ErasureReference, ErasureRequests, FenceOutcome } from './contract.js'
import { drainSubjects, sealEvent, type LeavesDependencies } from './erasure-leaves.js'
import { allHeld, keep, readKept } from './keeping.js'
import { allArchivedHeld, keepArchived, readArchivedKept } from './keeping-archived.js'
import type { ErasureJournal } from './journal.js'
import type { ErasureLedger } from './ledger.js'
import { manifestPath, subjectManifest, type FieldName } from './manifests.js'
import { openRequestKey, restrictedName } from './sealed.js'
import type { SealedProofs } from './sealed-proof.js'
import type { ErasureTarget } from './targets/contract.js'
import { reachAll, targetsOf } from './targets/reach.js'

export interface PreparingDependencies extends BegunDependencies, LeavesDependencies {
  readonly db: Db
  readonly requests: ErasureRequests
  readonly holds: Pick<HoldService, 'active'>
  readonly lifecycle: Lifecycle
  readonly ledger: ErasureLedger
  readonly proofs: SealedProofs
  readonly journal: Pick<ErasureJournal, 'note'>
  readonly targets: readonly ErasureTarget[]
  readonly archived: ArchivedContent
  readonly keysetOf: (organizationId: string) => Promise<OrganizationKeyset>
}

export interface Preparing {
  fence(request: ErasureReference, beat: () => void): Promise<FenceOutcome>
  prepare(request: ErasureReference, beat: () => void): Promise<void>
}

export function createPreparing(deps: PreparingDependencies): Preparing {
  const { db, requests, progress, fence, periods, lifecycle, ledger, archived, targets } = deps
  const events = eventCollection(db)

  return {
    async fence(request, beat) {
      const opened = await requests.open(request)
      principalsOf(opened)
      const keyset = await deps.keysetOf(request.organizationId)
      const begun = await begin(deps, opened, keyset)
      const by = fencedBy(keyset, begun)
      if (begun.steps.fence?.doneAt !== undefined) return { result: 'fenced' }
      // Before anything changes: every key is there and right, and every target can be reached.
      await fence.openAll(by)
      await reachAll(targets, opened)
      const { retired } = await targetsOf(targets, opened)
      return whileItMoves(async (): Promise<FenceOutcome> => {
        const seen = await lifecycle.current(request.organizationId)
        const holds = await deps.holds.active(request.organizationId)
        const held = { organizationId: request.organizationId, subjects: begun.subjects, holds }
        // All there is: what is archived counts as what is hot.
        const verdicts = [
          await allHeld(events, held),
          ...(retired.has(archiveTarget) ? [] : [await allArchivedHeld(archived, held, beat)]),
        ]
        if (verdicts.includes(true) && !verdicts.includes(false)) {
          await progress.giveUp(request)
          return { result: 'held' }
        }
        await progress.once(request, 'fence', async () => {
          const detached = await inTransaction(deps.client, async (session) => {
            await lifecycle.advanceFrom(request.organizationId, seen, session)
            return fence.raise(by, session)
          })
          if (detached > 0) await progress.set(request, { detached })
        })
        return { result: 'fenced' }
      })
    },

    async prepare(request, beat) {
      const opened = await requests.open(request)
      const keyset = await deps.keysetOf(request.organizationId)
      const { organizationId } = request
      const begun = await progress.read(request)
      const { subjects, restrictedKey } = begun
      const by = fencedBy(keyset, begun)
      if (restrictedKey === undefined)
        throw new KeyError('malformed_key', 'a request has no key for what it keeps')
      const restricted = openRequestKey(keyset, periods, restrictedName(request), restrictedKey)
      if (begun.steps.erasure_started?.doneAt === undefined) await reachAll(targets, opened)
      const { retired } = await targetsOf(targets, opened)
      const hasArchive = !retired.has(archiveTarget)
      await progress.once(request, 'leases', () => fence.waitOutLeases(beat))
      await progress.once(request, 'drain', async () => {
        await drainSubjects(deps.sealer, events, { organizationId, subjects }, beat)
      })
      await progress.once(request, 'restrict', async () => {
        const holds = await deps.holds.active(organizationId)
        const keys = await fence.openAll(by)
        const keeping = {
          ...request,
          opened: keys,
          restrictedKey: restricted,
          exempt: opened.exempt,
          holds,
          beat,
        }
        // Where nothing is exempt nobody has to look for it, however many events there are.
        if (opened.exempt.length === 0 && holds.length === 0) return
        await progress.set(request, { keeps: true })
        await keep(events, keeping)
        if (hasArchive) await keepArchived(archived, keeping)
      })
      await progress.once(request, 'subject_manifest', async () => {
        const reading = { ...request, restrictedKey: restricted, beat }
        const { keeps } = await progress.read(request)
        const kept =
          keeps === undefined
            ? []
            : distinct([
                ...(await readKept(events, reading, subjects)),
                ...(hasArchive ? await readArchivedKept(archived, reading) : []),
              ])
        const manifest = subjectManifest(request, subjects, kept)
        await ledger.putManifest(manifest)
        const exempt = new Set(kept.map(({ eventId }) => eventId)).size
        await progress.set(request, { exempt, manifests: { subjects: manifest.sha256 } })
      })
      await progress.once(request, 'erasure_started', async () => {
        const { manifests } = await progress.read(request)
        const manifest = manifests?.subjects
        if (manifest === undefined) throw new Error('an erasure was to start without its manifest')
        const by = principalsOf(opened)
        const { requestId } = request
        // Before a key can go: a backup that is restored from now on is found by it.
        await deps.journal.note({
          kind: 'begun',
          organizationId,
          requestId,
          ...by,
          manifests: { subjects: manifest },
        })
        const metadata = { manifest, ...by, subjects: subjects.length }
        const { id, leaf } = await sealEvent(deps, request, 'annals.subject.erasure_started', metadata, beat)
        // Before anything of an archive can go: it says by itself why.
        await deps.proofs.put(organizationId, manifestPath(request, 'subjects'), id)
        const cutOff = { generation: leaf.generation, index: leaf.index }
        await progress.set(request, { startedEventId: id, cutOff })
      })
    },
  }
}

/** An event that is hot still, and archived already, has a kept block in each. */
const distinct = (fields: readonly FieldName[]): FieldName[] => [
  ...new Map(fields.map((field) => [`${field.eventId}/${field.slot}`, field])).values(),
]
