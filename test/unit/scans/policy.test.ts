import { expect, test } from 'vitest'
import { newScanState, nextStep, scanChecklist, type ScanState } from '../../../src/scans/policy.js'

const start = Date.parse('2026-11-25T10:00:00.000Z')
const scan = {
  organizationId: 'org_acme',
  scanId: 'scan_01jd2zq8w9e5cs0v1m6k3n7p4r',
  engine: 'scanner',
  startedAt: '2026-11-25T10:00:00.000Z',
  expectedWithinMs: 3_600_000,
  progressTimeoutMs: 60_000,
  lateWindowMs: 7_200_000,
}
const state = (changes: Partial<ScanState> = {}): ScanState => ({
  ...newScanState(scan),
  started: true,
  ...changes,
})
const stepAt = (afterMs: number, changes: Partial<ScanState> = {}) =>
  nextStep(scan, state(changes), start + afterMs)

test('a quiet scan waits for its stall, then for its deadline', () => {
  expect(stepAt(0)).toEqual({ do: 'wait', untilMs: start + 60_000 })
  expect(stepAt(59_999)).toEqual({ do: 'wait', untilMs: start + 60_000 })
  expect(stepAt(60_000)).toEqual({ do: 'look_into_stall' })
  expect(stepAt(60_000, { phase: 'stalled' })).toEqual({ do: 'wait', untilMs: start + 3_600_000 })
})

test('without a progress timeout it never stalls', () => {
  const patient = { ...scan, progressTimeoutMs: null }
  expect(nextStep(patient, state(), start + 3_599_999)).toEqual({ do: 'wait', untilMs: start + 3_600_000 })
})

test('progress moves the stall', () => {
  expect(stepAt(60_000, { lastProgressAtMs: start + 30_000 })).toEqual({
    do: 'wait',
    untilMs: start + 90_000,
  })
})

test('progress by signal is stored at once, then at most every ten seconds', () => {
  expect(stepAt(1, { unrecorded: true })).toEqual({ do: 'record_progress' })
  const again = { unrecorded: true, lastRecordedAtMs: start + 1_000 }
  expect(stepAt(5_000, again)).toEqual({ do: 'wait', untilMs: start + 11_000 })
  expect(stepAt(11_000, again)).toEqual({ do: 'record_progress' })
})

test('at the deadline it times out, and after the late window it closes', () => {
  expect(stepAt(3_600_000, { lastProgressAtMs: start + 3_599_000 })).toEqual({ do: 'time_out' })
  const late = { phase: 'timed_out' } as const
  expect(stepAt(3_600_001, late)).toEqual({ do: 'wait', untilMs: start + 10_800_000 })
  expect(stepAt(10_800_000, late)).toEqual({ do: 'close' })
})

test('an end comes before everything else that is due', () => {
  const end = { status: 'finished', outcome: 'success' } as const
  for (const afterMs of [0, 60_000, 3_600_000, 10_800_000]) {
    expect(stepAt(afterMs, { end, unrecorded: true })).toEqual({ do: 'conclude' })
    expect(stepAt(afterMs, { claimed: true, phase: 'timed_out' })).toEqual({ do: 'conclude' })
  }
})

test('the checklist shows an operator where the scan stands', () => {
  const shown = scanChecklist(scan, state({ percent: 40, counts: { hosts: 12 }, badSignals: 2 }))
  expect(shown).toBe(
    [
      '- [x] started 2026-11-25T10:00:00.000Z, engine scanner',
      '- [ ] progress: 40 %, hosts 12',
      '- [ ] finished, expected by 2026-11-25T11:00:00.000Z',
      '\nIgnored signals: 2 malformed, 0 after the end',
    ].join('\n'),
  )
})
