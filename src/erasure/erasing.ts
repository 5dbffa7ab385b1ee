/**
 * The erasing steps of a request, in DESIGN's order:
 *
 *     fence      intent ─ directory entries go and the subjects are fenced, in one transaction
 *     prepare    leases run out ─ drain ─ what stays is encrypted anew and read back ─ subject manifest
 *                ─ `annals.subject.erasure_started` sealed: its leaf is the cut-off
 *     erase      keys destroyed ─ every target ─ free text searched, listed, removed ─ text manifest
 *                ─ `annals.subject.erased` sealed
 *     verify     the targets' own look, then the second reader ─ ledger
 *     complete   completing.ts
 *
 * Every step may be run again at any moment (progress.ts). If the process dies before a step's outcome is recorded, the
 * step finds what it did; no key is destroyed without a recorded intent, a kept manifest and a sealed event.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Db, MongoClient } from 'mongodb'
import { eventCollection } from '../events/store.js'
import type { SystemEventWriter } from '../events/contract.js'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import type { PeriodKeys } from '../keys/period-keys.js'
import { KeyError, openSeal, seal } from '../keys/wrapping.js'
import { inTransaction } from '../mongo/transaction.js'
import type { HoldService } from '../retention/holds.js'
import { LifecycleMovedError, type Lifecycle } from '../retention/lifecycle.js'
import type { SubjectDirectory } from '../subjects/directory.js'
import type { Fence, FencedBy } from '../subjects/fence.js'
import type { SubjectReader } from '../subjects/readers.js'
import type { Sealer } from '../transparency-log/sealer.js'
import type { LogStore } from '../transparency-log/store.js'
import type {
  ErasureIdentifier,
  ErasureReference,
  ErasureRequests,
  FenceOutcome,
  OpenedErasureRequest,
  VerifyOutcome,
} from './contract.js'
import { allHeld, keep, readKept } from './keeping.js'
import type { ErasureLedger } from './ledger.js'
import { enterInLedger } from './completing.js'
import { subjectManifest, textManifest } from './manifests.js'
import { createTextMatcher } from './matching.js'
import type { ErasureProgress, ErasureProgressDocument } from './progress.js'
import { residueOf } from './residue.js'
import { createRequestKey, openRequestKey, restrictedName, workName } from './sealed.js'
import type { ReadPlace } from './second-reader.js'
import type { ErasureTarget, ErasureWork } from './targets/contract.js'
import { eventsOf } from './targets/events.js'
import { chosenPositions, countHit, removeTexts, rowOf, splitTexts, type Removal } from './text-removal.js'
import { searchText } from './text-search.js'
import { ambiguousIn, fencedSubjects, resolveAll, searchedIdentifiers, type HitCount } from './whom.js'

export interface ErasingDependencies {
  readonly client: MongoClient
  readonly db: Db
  readonly requests: ErasureRequests
  readonly progress: ErasureProgress
  readonly fence: Fence
  readonly directory: Pick<SubjectDirectory, 'find'>
  readonly subjects: SubjectReader
  readonly periods: PeriodKeys
  readonly holds: Pick<HoldService, 'active'>
  readonly lifecycle: Lifecycle
  readonly sealer: Sealer
  readonly log: LogStore
  readonly systemEvents: SystemEventWriter
  readonly ledger: ErasureLedger
  readonly targets: readonly ErasureTarget[]
  readonly keysetOf: (organizationId: string) => Promise<OrganizationKeyset>
}

export interface Erasing {
  fence(request: ErasureReference, beat: () => void): Promise<FenceOutcome>
  prepare(request: ErasureReference, beat: () => void): Promise<void>
  erase(request: ErasureReference, beat: () => void): Promise<void>
  verify(request: ErasureReference, beat: () => void): Promise<VerifyOutcome>
}

/** Nobody but who submitted the request has approved it: trying again cannot help. */
export class NotApprovedError extends Error {
  override readonly name = 'NotApprovedError'

  constructor() {
    super('an erasure is to begin that no second principal has approved')
  }
}

/** After so many lost races with holds and deletions the step is tried again later. */
const maxMoved = 20
const drainPauseMs = 50
const maxDrainRounds = 1_200
const annals = { type: 'system', id: 'annals' } as const

const identifiersPurpose = ({ organizationId, requestId }: ErasureReference) =>
  `annals/erasure/v1/identifiers/${organizationId}/${requestId}`

export function createErasing(deps: ErasingDependencies): Erasing {
  const { db, requests, progress, fence, directory, periods, lifecycle, systemEvents, ledger } = deps
  const events = eventCollection(db)

  const byOf = (
    keyset: OrganizationKeyset,
    { requestId, subjects }: Pick<ErasureProgressDocument, 'requestId' | 'subjects'>,
  ): FencedBy => ({ keyset, requestId, references: subjects })

  /** Fixes whom it is about, and writes it down with the intent; a request that has begun goes on with what it began with. */
  async function begin(
    opened: OpenedErasureRequest,
    keyset: OrganizationKeyset,
  ): Promise<ErasureProgressDocument> {
    const begun = await progress.find(opened)
    if (begun !== null) return begun
    const resolved = await resolveAll(directory, keyset, opened.identifiers)
    const subjects = fencedSubjects(opened, resolved)
    const by = byOf(keyset, { requestId: opened.requestId, subjects })
    const keys = await fence.openAll(by)
    const known = await fence.identifiersOf(by, keys)
    const searched = await searchedIdentifiers(directory, keyset, opened.identifiers, known, subjects)
    const ambiguous = ambiguousIn(resolved).filter((position) =>
      (resolved[position] ?? []).some((reference) => !subjects.includes(reference)),
    )
    await beginPinned(opened, keyset, {
      subjects,
      periods: keys.map(({ period }) => period),
      identifiers: Buffer.from(JSON.stringify({ searched, ambiguous })),
    })
    return progress.read(opened)
  }

  /** Makes the request's keys and stores them, while no rotation can leave the period that they are wrapped under. */
  async function beginPinned(
    request: ErasureReference,
    keyset: OrganizationKeyset,
    {
      subjects,
      periods: wrappedUnder,
      identifiers,
    }: {
      readonly subjects: readonly string[]
      readonly periods: readonly number[]
      readonly identifiers: Buffer
    },
  ): Promise<void> {
    await periods.refresh()
    const { period } = periods.current
    const work = createRequestKey(keyset, periods, workName(request))
    const started = {
      subjects,
      workKey: work.wrapped,
      sealedIdentifiers: seal(work.key, identifiers, identifiersPurpose(request)),
      restrictedKey: createRequestKey(keyset, periods, restrictedName(request)).wrapped,
      keyPeriods: [...new Set([period, ...wrappedUnder])].sort((a, b) => a - b),
    }
    await inTransaction(deps.client, async (session) => {
      await periods.pin(period, session)
      await progress.begin(request, started, session)
    })
  }

  function identifiersOf(
    request: ErasureReference,
    keyset: OrganizationKeyset,
    { workKey, sealedIdentifiers }: ErasureProgressDocument,
  ): { readonly searched: readonly ErasureIdentifier[]; readonly ambiguous: readonly number[] } {
    if (workKey === undefined || sealedIdentifiers === undefined)
      throw new KeyError('malformed_key', 'the identifiers of an erasure that goes on are gone')
    const key = openRequestKey(keyset, periods, workName(request), workKey)
    // Sealed by this very file: what opens is what it wrote.
    return JSON.parse(openSeal(key, sealedIdentifiers, identifiersPurpose(request)).toString('utf8')) as {
      searched: ErasureIdentifier[]
      ambiguous: number[]
    }
  }

  /** Every pending event of the subjects gets its leaf, although they are fenced. */
  async function drain(organizationId: string, subjects: readonly string[], beat: () => void): Promise<void> {
    const also = new Set(subjects)
    for (let round = 0; round < maxDrainRounds; round += 1) {
      beat()
      const waiting = { pending: true as const, organizationId, 'fields.subject': { $in: [...also] } }
      const left = await events.countDocuments(waiting, { hint: 'pending_received' })
      if (left === 0) return
      const { drained } = await deps.sealer.drainOrganization(organizationId, { alsoSubjects: also })
      if (!drained) await sleep(drainPauseMs)
    }
    throw new Error('the pending events of a subject could not be sealed')
  }

  /** Writes one of Annals' own and waits for its leaf. */
  async function sealEvent(
    { organizationId, requestId }: ErasureReference,
    action: 'annals.subject.erasure_started' | 'annals.subject.erased',
    metadata: Record<string, string | number>,
    beat: () => void,
  ) {
    const { id } = await systemEvents.write({
      organizationId,
      action,
      occurredAt: new Date(),
      actor: annals,
      targets: [{ type: 'erasure', id: requestId }],
      metadata,
      onceKey: `erasure/${requestId}/${action}`,
    })
    for (let round = 0; round < maxDrainRounds; round += 1) {
      beat()
      const leaf = await deps.log.locate(organizationId, id)
      if (leaf !== undefined) return { id, leaf }
      await deps.sealer.drainOrganization(organizationId)
      if (round > 0) await sleep(drainPauseMs)
    }
    throw new Error('an event of an erasure was not sealed')
  }

  const principals = ({ submitter, approver }: OpenedErasureRequest) => {
    if (approver === null || approver === submitter) throw new NotApprovedError()
    return { submitter, approver }
  }

  function workOf(
    opened: ErasureReference,
    keyset: OrganizationKeyset,
    { subjects, steps }: ErasureProgressDocument,
    searched: readonly ErasureIdentifier[],
    beat: () => void,
  ): ErasureWork {
    return {
      organizationId: opened.organizationId,
      requestId: opened.requestId,
      keyset,
      subjects,
      matcher: createTextMatcher(searched),
      until: steps.erasure_started?.doneAt,
      beat,
    }
  }

  return {
    async fence(request) {
      const opened = await requests.open(request)
      principals(opened)
      const keyset = await deps.keysetOf(request.organizationId)
      const begun = await begin(opened, keyset)
      const by = byOf(keyset, begun)
      if (begun.steps.fence?.doneAt !== undefined) return { result: 'fenced' }
      // Before anything changes: every key is there and right.
      await fence.openAll(by)
      for (let moved = 0; ; moved += 1) {
        const seen = await lifecycle.current(request.organizationId)
        const holds = await deps.holds.active(request.organizationId)
        if (
          await allHeld(events, { organizationId: request.organizationId, subjects: begun.subjects, holds })
        ) {
          await progress.giveUp(request)
          return { result: 'held' }
        }
        try {
          await progress.once(request, 'fence', async () => {
            const detached = await inTransaction(deps.client, async (session) => {
              await lifecycle.advanceFrom(request.organizationId, seen, session)
              return fence.raise(by, session)
            })
            if (detached > 0) await progress.set(request, { detached })
          })
          return { result: 'fenced' }
        } catch (error) {
          // A hold was placed, or content deleted, since the holds were read: look again.
          if (!(error instanceof LifecycleMovedError) || moved === maxMoved) throw error
        }
      }
    },

    async prepare(request, beat) {
      const opened = await requests.open(request)
      const keyset = await deps.keysetOf(request.organizationId)
      const { organizationId } = request
      const begun = await progress.read(request)
      const { subjects, restrictedKey } = begun
      const by = byOf(keyset, begun)
      if (restrictedKey === undefined)
        throw new KeyError('malformed_key', 'a request has no key for what it keeps')
      const restricted = openRequestKey(keyset, periods, restrictedName(request), restrictedKey)
      await progress.once(request, 'leases', () => fence.waitOutLeases(beat))
      await progress.once(request, 'drain', async () => {
        await drain(organizationId, subjects, beat)
        const before =
          subjects.length === 0 ? 0 : await events.countDocuments(eventsOf({ organizationId, subjects }))
        await progress.set(request, { before })
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
        await keep(events, keeping)
      })
      await progress.once(request, 'subject_manifest', async () => {
        const kept = await readKept(events, { ...request, restrictedKey: restricted, beat }, subjects)
        const manifest = subjectManifest(request, subjects, kept)
        await ledger.putManifest(manifest)
        const exempt = new Set(kept.map(({ eventId }) => eventId)).size
        await progress.set(request, { exempt, manifests: { subjects: manifest.sha256 } })
      })
      await progress.once(request, 'erasure_started', async () => {
        const { manifests } = await progress.read(request)
        const manifest = manifests?.subjects
        if (manifest === undefined) throw new Error('an erasure was to start without its manifest')
        const metadata = { manifest, ...principals(opened), subjects: subjects.length }
        const { id, leaf } = await sealEvent(request, 'annals.subject.erasure_started', metadata, beat)
        const cutOff = { generation: leaf.generation, index: leaf.index }
        await progress.set(request, { startedEventId: id, cutOff })
      })
    },

    async erase(request, beat) {
      const opened = await requests.open(request)
      const keyset = await deps.keysetOf(request.organizationId)
      const begun = await progress.read(request)
      const { cutOff } = begun
      if (begun.steps.erasure_started?.doneAt === undefined || cutOff === undefined)
        throw new Error('a key was to be destroyed before the erasure was sealed')
      const { searched, ambiguous } = identifiersOf(request, keyset, begun)
      await progress.once(request, 'destroy', () => fence.destroyKeys(byOf(keyset, begun)))

      await progress.once(request, 'search', async () => {
        const counts: HitCount[] = []
        const holds = await deps.holds.active(request.organizationId)
        const search = {
          keyset,
          subjects: begun.subjects,
          matcher: createTextMatcher(searched),
          exempt: opened.exempt,
          holds,
          cutOff,
          beat,
        }
        const sources = { events, log: deps.log, subjects: deps.subjects }
        for await (const hits of searchText(sources, search)) {
          for (const hit of hits) countHit(counts, hit)
          await progress.addTexts(hits.map((hit) => rowOf(request, hit)))
        }
        const choice = {
          identifiers: searched,
          given: opened.identifiers.length,
          confirmed: opened.confirmed,
          ambiguous,
        }
        await progress.set(request, { chosen: chosenPositions(counts, choice) })
      })

      const { chosen = [] } = await progress.read(request)
      const removal: Removal = {
        organizationId: request.organizationId,
        requestId: request.requestId,
        chosen,
        confirmed: opened.confirmed,
        jointFreeText: opened.jointFreeText,
        beat,
      }
      const going = searched.filter((_, position) => chosen.includes(position))
      // Again each time: what a verification found left is looked for anew.
      const work = workOf(request, keyset, begun, going, beat)
      await removeTexts(db, progress, removal)
      for (const target of deps.targets) {
        beat()
        await progress.removing(request, target.name, () => target.erase(work))
      }
      await progress.once(request, 'remove', () => Promise.resolve())
      await progress.once(request, 'text_manifest', async () => {
        const { removed, kept } = await splitTexts(progress, removal)
        const manifest = textManifest(request, removed, kept)
        await ledger.putManifest(manifest)
        const { manifests } = await progress.read(request)
        await progress.set(request, { manifests: { ...manifests, text: manifest.sha256 } })
      })
      await progress.once(request, 'subject_erased', async () => {
        const { manifests, before = 0, exempt = 0 } = await progress.read(request)
        const manifest = manifests?.text
        if (manifest === undefined) throw new Error('an erasure was to end without its manifest')
        const metadata = { manifest, ...principals(opened), events: before, exempt }
        const { id } = await sealEvent(request, 'annals.subject.erased', metadata, beat)
        await progress.set(request, { erasedEventId: id })
      })
    },

    async verify(request, beat) {
      const opened = await requests.open(request)
      const keyset = await deps.keysetOf(request.organizationId)
      const begun = await progress.read(request)
      const { chosen = [], cutOff } = begun
      if (cutOff === undefined) throw new Error('an erasure was to be verified before it began')
      const { searched } = identifiersOf(request, keyset, begun)
      const going = searched.filter((_, position) => chosen.includes(position))
      const left = new Set<string>()
      const work = workOf(request, keyset, begun, going, beat)
      for (const target of deps.targets) {
        beat()
        if ((await target.verify(work)) > 0) left.add(target.name)
      }
      const removal: Removal = {
        ...request,
        chosen,
        confirmed: opened.confirmed,
        jointFreeText: opened.jointFreeText,
        beat,
      }
      const { kept } = await splitTexts(progress, removal)
      const places: ReadPlace[] = []
      const onRead = (place: ReadPlace) => places.push(place)
      const reading = { db, log: deps.log, progress: begun, identifiers: going, kept, cutOff, onRead, beat }
      for (const place of await residueOf(reading)) left.add(place)
      if (left.size > 0) return { result: 'residue', targets: [...left].sort() }
      await progress.once(request, 'verify', () =>
        progress.set(request, { reading: { at: new Date(), places } }),
      )
      // Before anybody is told: a backup that is restored from now on is found by it.
      await progress.once(request, 'ledger', () => enterInLedger({ ledger, progress }, begun))
      return { result: 'clean' }
    },
  }
}
