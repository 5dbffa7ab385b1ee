/**
 * The end of an erasure, once a second reader found nothing: what only the erasing needed is forgotten, it waits until
 * nothing remains that is waited for (residuals.ts), and its certificate is issued.
 *
 * May be run again at any moment: what is forgotten is gone by the first time, and a certificate is issued once.
 */
import type { PeriodKeys } from '../keys/period-keys.js'
import type { CompleteOutcome, ErasureReference } from './contract.js'
import type { ErasureCertificates } from './issuing.js'
import type { ErasureLedger } from './ledger.js'
import type { ErasureProgress, ErasureProgressDocument } from './progress.js'
import { residueOf, type OplogLook, type ResidualFacts } from './residuals.js'

export interface CompletingDependencies {
  readonly progress: Pick<ErasureProgress, 'read' | 'forget'>
  readonly periods: Pick<PeriodKeys, 'isDeleted'>
  readonly certificates: Pick<ErasureCertificates, 'issue'>
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
}

export function createCompleting(deps: CompletingDependencies): Completing {
  const { progress, periods, certificates, oplogs, backupDays } = deps
  const now = deps.now ?? (() => new Date())

  async function factsOf(
    { keyPeriods }: ErasureProgressDocument,
    verifiedAt: Date,
    historyDays: HistoryDays,
  ): Promise<ResidualFacts> {
    const looked = await Promise.all(
      keyPeriods.map(async (period) => ({ period, deleted: await periods.isDeleted(period) })),
    )
    return {
      verifiedAt,
      periods: looked,
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
      const { reading } = done
      if (reading === undefined) throw new Error('an erasure was to complete that nobody has verified')
      const { residuals, lookAgainAt } = residueOf(await factsOf(done, reading.at, historyDays), now())
      if (lookAgainAt !== null) return { result: 'waiting', until: lookAgainAt.toISOString() }
      const { outcome } = await certificates.issue(done, residuals)
      return { result: outcome }
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
