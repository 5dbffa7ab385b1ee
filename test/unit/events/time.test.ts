import { expect, test } from 'vitest'
import { parseTime } from '../../../src/events/time.js'

test.each([
  ['2026-11-25T10:00:00.000Z', '2026-11-25T10:00:00.000Z'],
  ['2026-11-25t10:00:00z', '2026-11-25T10:00:00.000Z'],
  ['2026-11-25 10:00:00Z', '2026-11-25T10:00:00.000Z'],
  ['2021-08-19T12:16:32.000-04:00', '2021-08-19T16:16:32.000Z'],
  ['2025-10-03T14:09:32.149999999Z', '2025-10-03T14:09:32.149Z'],
  ['2025-10-03T14:09:32.5+05:30', '2025-10-03T08:39:32.500Z'],
  ['2024-02-29T00:00:00Z', '2024-02-29T00:00:00.000Z'],
  ['0050-01-01T00:00:00Z', '0050-01-01T00:00:00.000Z'],
])('%s is kept as %s', (text, kept) => {
  const time = parseTime(text)
  expect(time instanceof Date ? time.toISOString() : time).toBe(kept)
})

test.each([
  ['2026-11-25T10:00:00', 'no_time_zone'],
  ['2026-11-25 10:00:00.5', 'no_time_zone'],
  ['2026-11-25', 'malformed_time'],
  ['2026-02-30T10:00:00Z', 'malformed_time'],
  ['2023-02-29T10:00:00Z', 'malformed_time'],
  ['2026-13-01T10:00:00Z', 'malformed_time'],
  ['2026-11-25T24:00:00Z', 'malformed_time'],
  ['2026-11-25T10:60:00Z', 'malformed_time'],
  ['2026-11-25T10:00:00+25:00', 'malformed_time'],
  ['9999-12-31T23:59:59-01:00', 'malformed_time'],
  ['0000-01-01T00:00:00+01:00', 'malformed_time'],
  ['1764064800', 'malformed_time'],
  ['', 'malformed_time'],
])('%s is refused as %s', (text, code) => {
  expect(parseTime(text)).toBe(code)
})
