import { expect, test } from 'vitest'
import { createBackupGuard, type GuardState } from '../../../src/erasure/backup-guard.js'
import type { JournalComparison } from '../../../src/erasure/journal.js'
import { createLogger } from '../../../src/logging.js'

const logger = createLogger('silent')

/** A journal that says what it is told to, or is away. */
function journalThat(says: JournalComparison | 'away') {
  const journal = {
    says,
    looks: 0,
    compare(): Promise<JournalComparison> {
      journal.looks += 1
      return journal.says === 'away'
        ? Promise.reject(new Error('the ledger is away'))
        : Promise.resolve(journal.says)
    },
  }
  return journal
}

test('a ledger that is away at the start refuses everybody with a moment to come again, until it was read', async () => {
  const journal = journalThat('away')
  const guard = createBackupGuard(journal, logger)
  expect(guard.refusal()).toMatchObject({ code: 'unavailable', retryAfterSeconds: 2 })
  expect(await guard.look()).toBe('unknown')
  expect(guard.refusal()).toMatchObject({ code: 'unavailable' })
  journal.says = 'fits'
  expect(await guard.look()).toBe('fits')
  expect(guard.refusal()).toBeUndefined()
})

test('a ledger that goes away later stops nothing, and serves nothing that was refused', async () => {
  const states = [
    ['fits', undefined],
    ['ledger_behind', undefined],
    ['erasures_unapplied', 'erasures_unapplied'],
    ['ledger_damaged', 'erasures_unapplied'],
  ] as const
  for (const [state, code] of states) {
    const journal = journalThat(state)
    const guard = createBackupGuard(journal, logger)
    await guard.look()
    journal.says = 'away'
    expect(await guard.look()).toBe<GuardState>(state)
    expect(guard.refusal()?.code, state).toBe(code)
  }
})

test('who waits hears of each change once it was seen, and watching looks again by itself', async () => {
  const journal = journalThat('away')
  const guard = createBackupGuard(journal, logger, { everyMs: 1, refusedEveryMs: 1 })
  await guard.look()
  const watching = guard.watch()
  try {
    journal.says = 'fits'
    await guard.until(false)
    journal.says = 'erasures_unapplied'
    await guard.until(true)
    journal.says = 'fits'
    await guard.until(false)
  } finally {
    await watching.stop()
  }
  const { looks } = journal
  await guard.until(false)
  expect(journal.looks).toBe(looks)
})

test('whoever has just looked does not look again at once', async () => {
  const journal = journalThat('fits')
  const guard = createBackupGuard(journal, logger, { everyMs: 60_000 })
  await guard.look()
  await guard.watch().stop()
  expect(journal.looks).toBe(1)
})
