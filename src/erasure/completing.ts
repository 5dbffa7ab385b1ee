/**
 * The end of an erasure, once a second reader found nothing: what only the erasing needed is forgotten, it waits until
 * nothing remains that is waited for (residuals.ts), and its certificate is issued.
 *
 * May be run again at any moment: what is forgotten is gone by the first time, and a certificate is issued once.
 */
import type { PeriodKeys } from '../keys/period-keys.js'
import type { CompleteOutcome, ErasureReference, ReleaseOutcome } from './contract.js'
import type { ErasureCertificates, IssuedCertificate } from './issuing.js'
import type { ErasureLedger } from './ledger.js'
import type { ErasureProgress, ErasureProgressDocument } from './progress.js'
import { residueOf, type OplogLook, type ResidualFacts } from './residuals.js'

export interface CompletingDependencies {
  readonly progress: Pick<ErasureProgress, 'read' | 'forget' | 'set'>
  readonly periods: Pick<PeriodKeys, 'isDeleted'>
  readonly certificates: Pick<ErasureCertificates, 'issue' | 'revise'>
  /** Notes in the request, and in the log, that a further certificate was issued; once for each version. */
  readonly noteRevised?: (request: ErasureReference, certificate: IssuedCertificate) => Promise<void>
  readonly oplogs: () => Promise<readonly OplogLook[]>
  /** How long backups of the database are kept, as the operator says. */
  readonly backupDays: number | undefined
  readonly now?: () => Date
}

/** How long histories of closed runs are kept, in days; undefined = it cannot be learned. */
export type HistoryDays = () => Promise<number | undefined>

export interface Completing {
  /** @throws ArchiveStoreError; LedgerError; AnnalsError; Error where it is not in the ledger */
  complete(request: ErasureReference, historyDays: HistoryDays): Promise<CompleteOutcome>
  /**
   * Issues a further certificate of a request that is complete, once something went that an exception had kept, and
   * nothing remains of that which is waited for. May be run again at any moment.
   * @throws as `complete` does
   */
  certifyRelease(request: ErasureReference, historyDays: HistoryDays): Promise<ReleaseOutcome>
}

/** What is being released is not certified as kept, nor as gone. */
const releaseLookMs = 60_000

export function createCompleting(deps: CompletingDependencies): Completing {
  const { progress, periods, certificates, oplogs, backupDays } = deps
  const now = deps.now ?? (() => new Date())

  async function factsOf(
    { keyPeriods, restrictedKey, releases = [] }: ErasureProgressDocument,
    readAt: Date,
    historyDays: HistoryDays,
  ): Promise<ResidualFacts> {
    const looked = await Promise.all(
      keyPeriods.map(async (period) => ({ period, deleted: await periods.isDeleted(period) })),
    )
    const moments = releases.flatMap(({ doneAt }) => (doneAt === undefined ? [] : [doneAt.getTime()]))
    return {
      verifiedAt: new Date(Math.max(readAt.getTime(), ...moments)),
      periods: looked,
      keyStays: releases.length > 0 && restrictedKey !== undefined,
      oplog: await oplogs(),
      backupDays,
      historyDays: await historyDays(),
    }
  }

  return {
    async complete(request, historyDays) {
      const { steps } = await progress.read(request)
      if (steps.ledger?.doneAt === undefined)
        throw new Error('an erasure was to complete that is not in the ledger')
      // It was verified: nobody has to look for the person again, so that nothing has to know the identifiers.
      await progress.forget(request)
      // After that: a rotation that wraps something of it anew notes the newer period before it does.
      const done = await progress.read(request)
      const { reading, releases = [] } = done
      if (releases.some(({ doneAt }) => doneAt === undefined))
        return { result: 'waiting', until: new Date(now().getTime() + releaseLookMs).toISOString() }
      if (reading === undefined) throw new Error('an erasure was to complete that nobody has verified')
      const { residuals, lookAgainAt } = residueOf(await factsOf(done, reading.at, historyDays), now())
      if (lookAgainAt !== null) return { result: 'waiting', until: lookAgainAt.toISOString() }
      const { outcome, releases: known } = await certificates.issue(done, residuals)
      // One that was issued before the last release ended knows nothing of it: that is certified afterwards.
      await progress.set(request, { certifiedReleases: known })
      return { result: outcome }
    },

    async certifyRelease(request, historyDays) {
      const done = await progress.read(request)
      const { reading, releases = [], certifiedReleases = 0 } = done
      const isUnderWay = releases.some(({ doneAt }) => doneAt === undefined)
      if (reading === undefined || isUnderWay || releases.length <= certifiedReleases)
        return { result: 'nothing' }
      const { residuals, lookAgainAt } = residueOf(await factsOf(done, reading.at, historyDays), now())
      if (lookAgainAt !== null) return { result: 'waiting', until: lookAgainAt.toISOString() }
      const certificate = await certificates.revise(done, residuals)
      await deps.noteRevised?.(request, certificate)
      await progress.set(request, { certifiedReleases: certificate.releases })
      return { result: 'certified', version: certificate.version, outcome: certificate.outcome }
    },
  }
}

/** Enters an erasure in the ledger, once, and says in its progress where. @throws ArchiveStoreError; LedgerError */
export async function enterInLedger(
  {
    ledger,
    progress,
  }: { readonly ledger: Pick<ErasureLedger, 'append'>; readonly progress: ErasureProgress },
  { organizationId, requestId, manifests }: ErasureProgressDocument,
): Promise<void> {
  if (manifests?.subjects === undefined || manifests.text === undefined)
    throw new Error('an erasure was to be entered without its manifests')
  const named = { subjects: manifests.subjects, text: manifests.text }
  const entry = { organizationId, requestId, at: new Date().toISOString(), manifests: named }
  const { sequence, hash, at } = await ledger.append(entry)
  await progress.set({ organizationId, requestId }, { ledgerEntry: { sequence, hash, at } })
}
