import fc from 'fast-check'
import { expect, test } from 'vitest'
import { formatDuration, parseDuration } from '../../../src/scans/duration.js'

test.each([
  ['PT1H', 3_600_000],
  ['PT90S', 90_000],
  ['PT1H30M', 5_400_000],
  ['P1DT2H', 93_600_000],
  ['P2W', 1_209_600_000],
  ['PT0.25S', 250],
  ['P30D', 2_592_000_000],
  ['PT0S', 0],
])('%s is %i ms', (text, ms) => {
  expect(parseDuration(text)).toBe(ms)
})

test.each([
  '',
  'P',
  'PT',
  'P1DT',
  'P1Y',
  'P1M',
  'PT1.5H',
  '1H',
  'pt1h',
  'P1H',
  '-PT1H',
  'PT1H ',
  'P1W1D',
  'PT1S1M',
])('%j is no duration of a fixed length', (text) => {
  expect(parseDuration(text)).toBeUndefined()
})

test('what is formatted reads back the same', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 60 * 86_400_000 }), (ms) => {
      expect(parseDuration(formatDuration(ms))).toBe(ms)
    }),
  )
})

test('a duration is written in its shortest form', () => {
  expect([86_400_000, 90_000, 93_600_000, 250, 0].map(formatDuration)).toEqual([
    'P1D',
    'PT1M30S',
    'P1DT2H',
    'PT0.25S',
    'PT0S',
  ])
})
