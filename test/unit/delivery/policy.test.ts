import fc from 'fast-check'
import { expect, test } from 'vitest'
import { countOutcomes } from '../../../src/delivery/contract.js'
import {
  backoffMs,
  deliveryTiming,
  judge,
  nextAttemptMs,
  parseRetryAfter,
} from '../../../src/delivery/policy.js'

const hourMs = 3_600_000
const answer = (status: number) => ({ answered: true, status, retryAfterMs: null }) as const

test('the pauses grow from seconds to hours', () => {
  const pauses = [1, 2, 3, 4, 5, 6, 7, 1_000].map((attempt) => backoffMs(attempt, 0) / 1_000)
  expect(pauses).toEqual([15, 60, 240, 960, 3_840, 14_400, 14_400, 14_400])
})

test('whatever a recipient asks for, three days are a bounded number of attempts, the last one at their end', () => {
  const asked = fc.option(fc.integer({ min: 0, max: 10 ** 12 }), { nil: null })
  const choice = fc.tuple(asked, fc.double({ min: 0, max: 0.999, noNaN: true }))
  fc.assert(
    fc.property(fc.array(choice, { minLength: 40, maxLength: 40 }), (choices) => {
      const givesUpMs = 72 * hourMs
      let nowMs = 0
      for (const [position, [retryAfterMs, random]] of choices.entries()) {
        const attempt = position + 1
        const next = nextAttemptMs(attempt, nowMs, givesUpMs, { random, retryAfterMs })
        if (next === null) {
          expect(nowMs).toBe(givesUpMs)
          expect(attempt).toBeLessThan(30)
          return
        }
        expect(next).toBeLessThanOrEqual(givesUpMs)
        expect(next - nowMs).toBeLessThanOrEqual(deliveryTiming.maxRetryAfterMs)
        expect(next).toBeGreaterThan(nowMs)
        nowMs = next
      }
      expect.unreachable('forty attempts were not enough')
    }),
  )
})

test('a Retry-After is waited for where it is longer than the own pause, and never shortens that', () => {
  const next = (retryAfterMs: number | null) => nextAttemptMs(1, 0, 72 * hourMs, { random: 0, retryAfterMs })
  expect(next(null)).toBe(15_000)
  expect(next(1_000)).toBe(15_000)
  expect(next(hourMs)).toBe(hourMs)
  expect(next(1_000 * hourMs)).toBe(12 * hourMs)
})

test.each([
  [200, 'acknowledged'],
  [204, 'acknowledged'],
  [299, 'acknowledged'],
  [410, 'refused'],
  [301, 'retry'],
  [307, 'retry'],
  [401, 'retry'],
  [404, 'retry'],
  [408, 'retry'],
  [429, 'retry'],
  [500, 'retry'],
  [503, 'retry'],
  [0, 'retry'],
  [600, 'retry'],
] as const)('the first answer %i: %s', (status, verdict) => {
  expect(judge(1, answer(status)).status).toBe(verdict)
})

test.each([
  [400, 'refused'],
  [401, 'refused'],
  [404, 'refused'],
  [408, 'retry'],
  [425, 'retry'],
  [429, 'retry'],
  [302, 'retry'],
  [500, 'retry'],
] as const)('the same answer %i for twenty minutes: %s', (status, verdict) => {
  expect(judge(4, answer(status)).status).toBe('retry' satisfies string)
  expect(judge(5, answer(status)).status).toBe(verdict)
})

test('without an answer it is tried again, whatever stood in the way', () => {
  expect(judge(30, { answered: false, failure: 'address_not_allowed' })).toEqual({
    status: 'retry',
    failure: 'address_not_allowed',
  })
})

test.each([
  ['120', 120_000],
  ['0', 0],
  [' 5 ', 5_000],
  ['Wed, 25 Nov 2026 10:05:00 GMT', 300_000],
  ['Wed, 25 Nov 2026 09:00:00 GMT', 0],
  ['-5', null],
  ['1.5', null],
  ['soon', null],
  ['2027', 2_027_000],
  ['2026-11-25T10:05:00Z', null],
  ['99999999999999999999', null],
  ['', null],
  [undefined, null],
] as const)('Retry-After: %s', (header, expected) => {
  expect(parseRetryAfter(header, Date.parse('2026-11-25T10:00:00Z'))).toBe(expected)
})

test('outcomes are counted each for itself', () => {
  const outcomes = ['pending', 'acknowledged', 'acknowledged', 'timed_out'] as const
  expect(countOutcomes(outcomes.map((status) => ({ status })))).toEqual({
    pending: 1,
    acknowledged: 2,
    refused: 0,
    timed_out: 1,
  })
})
