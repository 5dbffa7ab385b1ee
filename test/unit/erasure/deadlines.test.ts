import { expect, test } from 'vitest'
import {
  addMonths,
  deadlineBinds,
  deadlineStep,
  dueMs,
  extension,
  firstDueMs,
  type Receipt,
} from '../../../src/erasure/deadlines.js'
import { erasureStates } from '../../../src/erasure/contract.js'

const receipt = (text: string): Receipt => {
  const [, sign = '+', hours = '0', minutes = '0'] = /([+-])(\d\d):(\d\d)$/.exec(text) ?? []
  const offset = Number(hours) * 60 + Number(minutes)
  return { atMs: Date.parse(text), offsetMinutes: sign === '-' ? -offset : offset }
}
const iso = (ms: number) => new Date(ms).toISOString()

test.each([
  ['2026-01-15T10:00:00Z', '2026-02-15T10:00:00.000Z'],
  ['2026-01-31T10:00:00Z', '2026-02-28T10:00:00.000Z'],
  ['2028-01-31T10:00:00Z', '2028-02-29T10:00:00.000Z'],
  ['2026-01-29T00:00:00Z', '2026-02-28T00:00:00.000Z'],
  ['2026-02-28T23:59:59Z', '2026-03-28T23:59:59.000Z'],
  ['2028-02-29T12:00:00Z', '2028-03-29T12:00:00.000Z'],
  ['2026-03-31T10:00:00Z', '2026-04-30T10:00:00.000Z'],
  ['2026-12-31T10:00:00Z', '2027-01-31T10:00:00.000Z'],
  ['2026-12-01T00:00:00Z', '2027-01-01T00:00:00.000Z'],
  // The calendar is the writer's: in UTC this is 1 March, and would be due on 1 April.
  ['2026-02-28T23:30:00-05:00', '2026-03-29T04:30:00.000Z'],
  // In UTC this is 30 January.
  ['2026-01-31T01:00:00+05:30', '2026-02-27T19:30:00.000Z'],
  ['2026-03-01T00:30:00+02:00', '2026-03-31T22:30:00.000Z'],
])('received %s, due %s', (received, due) => {
  expect(iso(dueMs(receipt(received), false))).toBe(due)
})

test.each([
  ['2026-01-31T10:00:00Z', '2026-04-30T10:00:00.000Z'],
  ['2026-11-30T10:00:00Z', '2027-02-28T10:00:00.000Z'],
  ['2026-03-15T10:00:00Z', '2026-06-15T10:00:00.000Z'],
])('received %s and extended, due %s: three months from receipt', (received, due) => {
  expect(iso(dueMs(receipt(received), true))).toBe(due)
})

test('months are as long as the calendar has them, for every day of four years', () => {
  for (let atMs = Date.UTC(2026, 0, 1, 12); atMs < Date.UTC(2030, 0, 1); atMs += 86_400_000) {
    const from = new Date(atMs)
    const to = new Date(addMonths({ atMs, offsetMinutes: 0 }, 1))
    const months = (date: Date) => date.getUTCFullYear() * 12 + date.getUTCMonth()
    expect(months(to)).toBe(months(from) + 1)
    const dayAfter = new Date(to.getTime() + 86_400_000)
    // The same day; an earlier one only where the month ends.
    if (to.getUTCDate() !== from.getUTCDate()) {
      expect(to.getUTCDate()).toBeLessThan(from.getUTCDate())
      expect(dayAfter.getUTCDate()).toBe(1)
    }
    expect(to.getUTCHours()).toBe(12)
  }
})

test('an extension is possible once, to the last moment of the first month', () => {
  const received = receipt('2026-01-31T10:00:00Z')
  const due = firstDueMs(received)
  expect(extension(received, false, received.atMs)).toBe('possible')
  expect(extension(received, false, due)).toBe('possible')
  expect(extension(received, false, due + 1)).toBe('too_late')
  expect(extension(received, true, received.atMs)).toBe('extended_already')
})

const day = 86_400_000
const due = Date.UTC(2026, 5, 30)
const notes = { dueMs: due, remindedMs: null, overdueMs: null }

test('reminders come fourteen, seven and two days before, and one that was missed is not made up for', () => {
  expect(deadlineStep(notes, due - 20 * day)).toEqual({ do: 'wait', untilMs: due - 14 * day })
  expect(deadlineStep(notes, due - 14 * day)).toEqual({ do: 'remind', momentMs: due - 14 * day })
  const reminded = { ...notes, remindedMs: due - 14 * day }
  expect(deadlineStep(reminded, due - 13 * day)).toEqual({ do: 'wait', untilMs: due - 7 * day })
  expect(deadlineStep(reminded, due - day)).toEqual({ do: 'remind', momentMs: due - 2 * day })
  expect(deadlineStep({ ...notes, remindedMs: due - 2 * day }, due - day)).toEqual({
    do: 'wait',
    untilMs: due,
  })
})

test('what is overdue is said once, and again where an extension has passed too', () => {
  expect(deadlineStep(notes, due)).toEqual({ do: 'escalate' })
  expect(deadlineStep({ ...notes, overdueMs: due }, due + day)).toEqual({ do: 'wait', untilMs: Infinity })
  const later = { ...notes, overdueMs: due, dueMs: due + 60 * day }
  expect(deadlineStep(later, due + day)).toEqual({ do: 'wait', untilMs: due + 46 * day })
  expect(deadlineStep(later, due + 60 * day)).toEqual({ do: 'escalate' })
})

test('the deadline binds until everything is gone and told', () => {
  const unbound = erasureStates.filter((state) => !deadlineBinds(state))
  expect(unbound.sort()).toEqual(
    [
      'awaiting_expiry',
      'completed',
      'completed_with_exceptions',
      'denied',
      'duplicate',
      'identity_failed',
      'no_match',
      'withdrawn',
    ].sort(),
  )
})
