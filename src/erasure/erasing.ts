/**
 * The erasing steps of a request, in DESIGN's order:
 *
 *     fence, prepare   preparing.ts: up to the event whose leaf is the cut-off; nothing is lost yet
 *     erase            keys destroyed ─ free text searched and listed, hot and archived ─ text manifest ─ removed from
 *                      every target ─ `annals.subject.erased` sealed
 *     verify           the targets' own look, then the second reader ─ ledger
 *     complete         completing.ts
 *
 * Every step may be run again at any moment (progress.ts). If the process dies before a step's outcome is recorded, the
 * step finds what it did; no key is destroyed without a recorded intent, a kept manifest and a sealed event.
 */
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import type { SubjectReader } from '../subjects/readers.js'
import type { ArchiveStore } from '../archive/stores/contract.js'
import { archiveTarget } from './archive-failure.js'
import { fencedBy, principalsOf, searchedBy } from './begun.js'
import { enterInLedger } from './completing.js'
import type { ErasureIdentifier, ErasureReference, VerifyOutcome } from './contract.js'
import { sealEvent } from './erasure-leaves.js'
import { manifestPath, textManifest } from './manifests.js'
import { createTextMatcher } from './matching.js'
import { createPreparing, type Preparing, type PreparingDependencies } from './preparing.js'
import type { ErasureProgressDocument } from './progress.js'
import { requireReader, type ReaderStores } from './reader-access.js'
import { residueOf } from './residue.js'
import { notAttested, retirementsOf } from './retiring.js'
import { readWorkflows, type WorkflowRuns } from './second-reader-workflows.js'
import type { ReadPlace } from './second-reader.js'
import type { EventSource } from './sources/contract.js'
import { TargetError, type ErasureWork } from './targets/contract.js'
import { reachAll, requirePinned, targetsOf } from './targets/reach.js'
import {
  chosenPositions,
  countHit,
  removeTexts,
  rowOf,
  splitTexts,
  textsToRemove,
  type Removal,
} from './text-removal.js'
import { searchText } from './text-search.js'
import type { HitCount } from './whom.js'

export interface ErasingDependencies extends PreparingDependencies {
  readonly subjects: SubjectReader
  /** Where events lie, in the order in which they are asked. */
  readonly sources: readonly EventSource[]
  /** Log systems that Annals does not look at, by names that an operator gave them: each request has them attested. */
  readonly logsElsewhere: readonly string[]
  /** The database as the second reader sees it, by credentials of its own; absent = as everything else does. */
  readonly reader?: ReaderStores | undefined
  /** The archive as the second reader sees it. */
  readonly archive: Pick<ArchiveStore, 'versions' | 'getVersion'>
}

export interface Erasing extends Preparing {
  erase(request: ErasureReference, beat: () => void): Promise<void>
  /** @param workflows what Temporal keeps of the organization; absent = it is not looked at, and the report says so */
  verify(request: ErasureReference, beat: () => void, workflows?: WorkflowRuns): Promise<VerifyOutcome>
}

/** Log systems that Annals does not look at, and that nobody has attested yet: a verification does not begin. */
export class NotAttestedError extends Error {
  override readonly name = 'NotAttestedError'

  constructor(readonly targets: readonly string[]) {
    super('logs that lie elsewhere are to be attested before an erasure is verified')
  }
}

const workOf = (
  keyset: OrganizationKeyset,
  { organizationId, requestId, subjects, steps }: ErasureProgressDocument,
  searched: readonly ErasureIdentifier[],
  beat: () => void,
): ErasureWork => ({
  organizationId,
  requestId,
  keyset,
  subjects,
  matcher: createTextMatcher(searched),
  searched,
  until: steps.erasure_started?.doneAt,
  beat,
})

export function createErasing(deps: ErasingDependencies): Erasing {
  const { db, requests, progress, fence, periods, ledger, targets } = deps

  return {
    ...createPreparing(deps),

    async erase(request, beat) {
      const opened = await requests.open(request)
      const keyset = await deps.keysetOf(request.organizationId)
      const begun = await progress.read(request)
      const { cutOff } = begun
      if (begun.steps.erasure_started?.doneAt === undefined || cutOff === undefined)
        throw new Error('a key was to be destroyed before the erasure was sealed')
      const { searched, ambiguous } = searchedBy(periods, request, keyset, begun)
      await progress.once(request, 'destroy', async () => {
        await reachAll(targets, opened)
        await fence.destroyKeys(fencedBy(keyset, begun))
      })

      const { there, retired } = await targetsOf(targets, opened)
      const sources = deps.sources.filter(({ name }) => !retired.has(name))

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
        let before = 0
        for await (const { hits, own } of searchText({ ...deps, sources }, search)) {
          before += own.length
          for (const hit of hits) countHit(counts, hit)
          await progress.addTexts(hits.map((hit) => rowOf(request, hit)))
        }
        const choice = {
          identifiers: searched,
          given: opened.identifiers.length,
          confirmed: opened.confirmed,
          ambiguous,
        }
        await progress.set(request, { before, chosen: chosenPositions(counts, choice) })
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
      // Before anything goes: what is restored from now on is stripped by it.
      await progress.once(request, 'text_manifest', async () => {
        const { removed, kept, exempt } = await splitTexts(progress, removal)
        const manifest = textManifest(request, removed, kept, exempt)
        await ledger.putManifest(manifest)
        const { manifests } = await progress.read(request)
        const named = { ...manifests, text: manifest.sha256 }
        await progress.set(request, { manifests: named, exemptTexts: exempt.length })
      })
      const going = searched.filter((_, position) => chosen.includes(position))
      // Again each time: what a verification found left is looked for anew.
      const work = { ...workOf(keyset, begun, going, beat), texts: textsToRemove(progress, removal) }
      await removeTexts(db, progress, removal)
      for (const target of there) {
        beat()
        await progress.removing(request, target.name, () => target.erase(work))
      }
      await progress.once(request, 'remove', () => Promise.resolve())
      await progress.once(request, 'subject_erased', async () => {
        const { manifests, before = 0, exempt = 0 } = await progress.read(request)
        const manifest = manifests?.text
        if (manifest === undefined) throw new Error('an erasure was to end without its manifest')
        const by = principalsOf(opened)
        const { organizationId, requestId } = request
        const named = {
          ...(manifests?.subjects === undefined ? {} : { subjects: manifests.subjects }),
          text: manifest,
        }
        await deps.journal.note({ kind: 'erased', organizationId, requestId, ...by, manifests: named })
        const metadata = { manifest, ...by, events: before, exempt }
        const { id } = await sealEvent(deps, request, 'annals.subject.erased', metadata, beat)
        await deps.proofs.put(organizationId, manifestPath(request, 'text'), id)
        await progress.set(request, { erasedEventId: id })
      })
    },

    async verify(request, beat, workflows) {
      const opened = await requests.open(request)
      const keyset = await deps.keysetOf(request.organizationId)
      const begun = await progress.read(request)
      const { chosen = [], cutOff } = begun
      const missing = notAttested(opened)
      if (missing.length > 0) throw new NotAttestedError(missing)
      const { there, retired } = await targetsOf(targets, opened)
      requirePinned(targets, retired, opened)
      if (cutOff === undefined) throw new Error('an erasure was to be verified before it began')
      const { searched } = searchedBy(periods, request, keyset, begun)
      const going = searched.filter((_, position) => chosen.includes(position))
      const removal: Removal = {
        ...request,
        chosen,
        confirmed: opened.confirmed,
        jointFreeText: opened.jointFreeText,
        beat,
      }
      const left = new Set<string>()
      const places: ReadPlace[] = []
      const onRead = (place: ReadPlace) => places.push(place)
      const onLeft = (place: string) => left.add(place)
      const texts = textsToRemove(progress, removal)
      const work: ErasureWork = { ...workOf(keyset, begun, going, beat), texts, onLeft, onRead }
      for (const target of there) {
        beat()
        if ((await target.verify(work)) > 0) left.add(target.name)
      }
      const { kept } = await splitTexts(progress, removal)
      const archive = retired.has(archiveTarget) ? undefined : deps.archive
      const retirements = retirementsOf(opened.attestations)
      const wasRetired = retirements.has(archiveTarget)
      const notRead = new Set(retired)
      const about = { progress: begun, identifiers: going, kept, cutOff, onRead, beat }
      if (deps.reader !== undefined) await requireReader(deps.reader, begun)
      const reading = { ...deps, ...deps.reader, ...about, archive, wasRetired }
      for (const place of await residueOf(reading)) left.add(place)
      if (workflows !== undefined) {
        const until = begun.steps.erasure_started?.doneAt
        const { organizationId } = request
        const runs = { organizationId, identifiers: going, until, onRead, beat }
        try {
          for (const place of await readWorkflows(workflows, runs)) left.add(place)
        } catch (error) {
          // It does not answer, and an officer has said what became of it.
          const isRetired = error instanceof TargetError && retirements.has(error.target)
          if (!isRetired) throw error
          notRead.add(error.target)
        }
      }
      if (left.size > 0) return { result: 'residue', targets: [...left].sort() }
      await progress.once(request, 'verify', () =>
        progress.set(request, {
          reading: {
            at: new Date(),
            searchedFor: going.length,
            places,
            retired: [...notRead].sort(),
            credentials: deps.reader === undefined ? 'shared' : 'read_only',
          },
        }),
      )
      // Before anybody is told: a backup that is restored from now on is found by it.
      await progress.once(request, 'ledger', () => enterInLedger({ ledger, progress }, begun))
      return { result: 'clean' }
    },
  }
}
