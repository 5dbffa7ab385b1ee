/**
 * The end of an erasure, once a second reader found nothing: what only the erasing needed is forgotten, and it waits until
 * nothing is left that a backup could open.
 *
 * May be run again at any moment: it changes nothing that is not gone by the first time.
 */
import type { PeriodKeys } from '../keys/period-keys.js'
import { KeyError } from '../keys/wrapping.js'
import type { CompleteOutcome, ErasureReference } from './contract.js'
import type { ErasureLedger } from './ledger.js'
import type { ErasureProgress, ErasureProgressDocument } from './progress.js'

export interface CompletingDependencies {
  readonly progress: ErasureProgress
  readonly periods: PeriodKeys
}

export interface Completing {
  complete(request: ErasureReference): Promise<CompleteOutcome>
}

/** How often it is looked whether the last residue is gone. */
const expiryLookMs = 24 * 3_600_000

export function createCompleting({ progress, periods }: CompletingDependencies): Completing {
  return {
    async complete(request) {
      const { exempt = 0, keyPeriods, steps } = await progress.read(request)
      if (steps.ledger?.doneAt === undefined)
        throw new Error('an erasure was to complete that is not in the ledger')
      // It was verified: nobody has to look for the person again, so that nothing has to know the identifiers.
      await progress.forget(request)
      if (keyPeriods.some((period) => isThere(periods, period))) {
        return { result: 'waiting', until: new Date(Date.now() + expiryLookMs).toISOString() }
      }
      return { result: exempt > 0 ? 'completed_with_exceptions' : 'completed' }
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

/** While a period's key is there, a backup of the database still opens what was wrapped under it. */
function isThere(periods: PeriodKeys, period: number): boolean {
  try {
    periods.get(period)
    return true
  } catch (error) {
    if (error instanceof KeyError && error.code === 'period_key_missing') return false
    throw error
  }
}
