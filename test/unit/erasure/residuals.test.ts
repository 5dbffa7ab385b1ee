import { expect, test } from 'vitest'
import { oplogPatienceMs, residueOf, type ResidualFacts } from '../../../src/erasure/residuals.js'

const day = 86_400_000
const verifiedAt = new Date('2026-11-01T00:00:00.000Z')
const after = (days: number) => new Date(verifiedAt.getTime() + days * day)
const over: ResidualFacts = {
  verifiedAt,
  periods: [{ period: 1, deleted: true }],
  oplog: [{ oldest: after(1) }],
  backupDays: 0,
  historyDays: 0,
}

test('nothing is waited for once everything that can be known is over', () => {
  const { residuals, lookAgainAt } = residueOf(over, after(2))
  expect(lookAgainAt).toBeNull()
  expect(residuals.map(({ state }) => state)).toEqual(['gone', 'gone', 'gone', 'gone'])
})

test.each([
  [
    'a period key that is there',
    {
      periods: [
        { period: 1, deleted: true },
        { period: 2, deleted: false },
      ],
    },
    3,
  ],
  ['backups that are kept longer', { backupDays: 90 }, 90],
  ['histories that are kept longer', { historyDays: 7 }, 7],
  ['an oplog that reaches back further', { oplog: [{ oldest: after(1) }, { oldest: after(-1) }] }, 3],
  ['the last of several', { backupDays: 90, historyDays: 7 }, 90],
])('%s is waited for', (_, facts, days) => {
  expect(residueOf({ ...over, ...facts }, after(2)).lookAgainAt).toEqual(after(days))
})

test('what nobody has said is unknown, is called so, and is not waited for', () => {
  const facts = { ...over, backupDays: undefined, historyDays: undefined, oplog: [{ oldest: null }] }
  const { residuals, lookAgainAt } = residueOf(facts, after(2))
  expect(lookAgainAt).toBeNull()
  expect(residuals.map(({ what, state }) => [what, state])).toEqual([
    ['period_keys', 'gone'],
    ['oplog', 'unknown'],
    ['backups', 'unknown'],
    ['workflow_histories', 'unknown'],
  ])
  expect(residueOf({ ...over, oplog: [] }, after(2)).residuals[1]).toMatchObject({ state: 'unknown' })
})

test('an oplog that is never overwritten is waited for a month, and then told with an estimate', () => {
  const facts = { ...over, oplog: [{ oldest: after(-40) }] }
  const end = oplogPatienceMs / day
  expect(residueOf(facts, after(end - 1)).lookAgainAt).toEqual(after(end))
  const { residuals, lookAgainAt } = residueOf(facts, after(end))
  expect(lookAgainAt).toBeNull()
  expect(residuals[1]).toEqual({
    what: 'oplog',
    member: 1,
    state: 'until',
    until: after(end + 40).toISOString(),
    estimated: true,
  })
})

test('the key of what is kept still is said, and nothing waits for it: nobody knows when a hold ends', () => {
  const { residuals, lookAgainAt } = residueOf({ ...over, keyStays: true }, after(2))
  expect(lookAgainAt).toBeNull()
  expect(residuals).toContainEqual({ what: 'request_key', state: 'until', until: null, estimated: false })
})
