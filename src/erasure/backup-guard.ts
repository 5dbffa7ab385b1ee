/**
 * The backup guard: a database that is older than the erasure journal serves nothing and nobody.
 *
 * Each process looks before it serves or works, and again from time to time, for a database can be restored under it.
 * What it has not been able to look at yet is refused, too; once it has found that all fits, a ledger that is away for a
 * while stops nothing.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { AnnalsError } from '../errors.js'
import type { Logger } from '../logging.js'
import type { ErasureJournal, JournalComparison } from './journal.js'

export type GuardState = JournalComparison | 'unknown'

export interface BackupGuard {
  readonly state: GuardState
  /** What every request is refused with; undefined where requests are served. */
  refusal(): AnnalsError | undefined
  /** Compares now. Never throws: what cannot be reached leaves the state as it is. */
  look(): Promise<GuardState>
  /** Looks again and again after the first look, until `stop`; more often while it refuses. */
  watch(): { readonly stop: () => Promise<void> }
  /** Resolves when it refuses, or, with `false`, when it does not. */
  until(refuses: boolean): Promise<void>
}

export interface BackupGuardOptions {
  readonly everyMs?: number
  readonly refusedEveryMs?: number
}

/** One read of an object and one of a document. */
const defaultEveryMs = 30_000
const defaultRefusedEveryMs = 2_000

/** The states in which erased persons could be read again, or nobody can tell. A ledger that is behind is an alarm. */
const refused: ReadonlySet<GuardState> = new Set<GuardState>([
  'unknown',
  'erasures_unapplied',
  'ledger_damaged',
])

export const isRefused = (state: GuardState): boolean => refused.has(state)

export function createBackupGuard(
  journal: Pick<ErasureJournal, 'compare'>,
  logger: Logger,
  { everyMs = defaultEveryMs, refusedEveryMs = defaultRefusedEveryMs }: BackupGuardOptions = {},
): BackupGuard {
  let state: GuardState = 'unknown'
  let waiting: { readonly refuses: boolean; readonly resolve: () => void }[] = []

  async function look(): Promise<GuardState> {
    let seen: GuardState
    try {
      seen = await journal.compare()
    } catch (error) {
      logger.warn('erasures.journal_unread', { error })
      return state
    }
    if (seen !== state) {
      if (seen === 'fits') logger.info('erasures.journal_fits')
      else logger.error('erasures.alarm', { code: seen })
    }
    state = seen
    const met = waiting.filter(({ refuses }) => refuses === isRefused(seen))
    waiting = waiting.filter((one) => !met.includes(one))
    for (const { resolve } of met) resolve()
    return state
  }

  return {
    get state() {
      return state
    },
    refusal() {
      if (!isRefused(state)) return undefined
      if (state === 'unknown')
        return new AnnalsError('unavailable', 'The erasure ledger has not been read yet; try again.', {
          retryAfterSeconds: 2,
        })
      return new AnnalsError(
        'erasures_unapplied',
        'The database is older than the erasure ledger; it serves nothing until the erasures are applied again.',
        { retryAfterSeconds: 60 },
      )
    },
    look,
    watch() {
      const stopping = new AbortController()
      /** @returns false where it was told to stop */
      const paused = () =>
        sleep(isRefused(state) ? refusedEveryMs : everyMs, true, { signal: stopping.signal }).catch(
          () => false,
        )
      const watching = (async () => {
        while (await paused()) await look()
      })()
      return {
        async stop() {
          stopping.abort()
          await watching
        },
      }
    },
    async until(refuses) {
      if (isRefused(state) === refuses) return
      await new Promise<void>((resolve) => {
        waiting.push({ refuses, resolve })
      })
    },
  }
}
