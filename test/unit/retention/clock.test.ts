import { expect, test } from 'vitest'
import { observeClocks, type ClockState, type TrustedTime } from '../../../src/retention/clock.js'

const hour = 3_600_000
const day = 24 * hour
const year = 365 * day
const start = Date.parse('2026-11-25T10:00:00.000Z')

/** Looks at the clocks at each of these times (milliseconds after the start). */
function looks(...times: readonly number[]): TrustedTime[] {
  let state: ClockState | undefined
  return times.map((ms) => {
    const observed = observeClocks(state, [new Date(start + ms)])
    state = observed.state
    return observed.time
  })
}
const trustedAfter = (time: TrustedTime | undefined) => (time?.now.getTime() ?? NaN) - start
const hourly = (from: number, count: number) => Array.from({ length: count }, (_, n) => from + n * hour)

test('a clock that goes on is believed', () => {
  for (const time of looks(0, hour, 2 * hour, 3 * day)) expect(time.verdict).toBe('steady')
  expect(trustedAfter(looks(0, hour, 3 * day).at(-1))).toBe(3 * day)
})

test('of two clocks the earlier one counts', () => {
  const ahead = new Date(start + 5 * year)
  expect(observeClocks(undefined, [ahead, new Date(start)]).time.now.getTime()).toBe(start)
  expect(observeClocks(undefined, [new Date(start), ahead]).time.now.getTime()).toBe(start)
})

test('after a leap time stands still, until the new time has gone on for three days', () => {
  const times = looks(0, ...hourly(5 * year, 73))
  for (const time of times.slice(1, -1)) {
    expect(time.verdict).toBe('leapt')
    expect(trustedAfter(time)).toBe(0)
  }
  expect(times[1]?.believedAt?.getTime()).toBe(start + 5 * year + 3 * day)
  expect(times.at(-1)?.verdict).toBe('steady')
  expect(trustedAfter(times.at(-1))).toBe(5 * year + 3 * day)
})

test('a leap that is set right has cost nothing', () => {
  const times = looks(0, ...hourly(5 * year, 40), 41 * hour, 42 * hour)
  expect(times.at(-1)?.verdict).toBe('steady')
  expect(trustedAfter(times.at(-1))).toBe(42 * hour)
})

test('a second leap does not settle the first', () => {
  const times = looks(0, 5 * year, 5 * year + 4 * day, 5 * year + 8 * day, 6 * year)
  for (const time of times.slice(1)) expect(trustedAfter(time)).toBe(0)
})

test('a clock set back is followed, and is not believed at once when it jumps forward again', () => {
  const times = looks(5 * year, 0, hour, 5 * year)
  expect(times.map(trustedAfter)).toEqual([5 * year, 0, hour, hour])
  expect(times.at(-1)?.verdict).toBe('leapt')
})
