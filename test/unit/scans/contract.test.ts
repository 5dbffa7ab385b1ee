import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  parseEnd,
  parseFinish,
  parseProgress,
  parseScanReference,
  scanDeadline,
  scanWorkflowId,
} from '../../../src/scans/contract.js'

const link = 'https://scanner.example/reports/17?format=html#top'
const findingsId = 'findings_01jd2zq8w9e5cs0v1m6k3n7p4r'

test('a finish carries its outcome, counts, link and reference, and nothing else', () => {
  const payload = { outcome: 'success', counts: { hosts: 3 }, link, findingsId, note: 'free text' }
  expect(parseFinish(payload)).toEqual({
    status: 'finished',
    outcome: 'success',
    counts: { hosts: 3 },
    link,
    findingsId,
  })
})

test('a fail or cancel may come without a payload', () => {
  expect(parseEnd('failed', undefined)).toEqual({ status: 'failed', outcome: 'failure' })
  expect(parseEnd('cancelled', null)).toEqual({ status: 'cancelled', outcome: 'failure' })
  expect(parseEnd('cancelled', { counts: { hosts: 1 } })).toMatchObject({ counts: { hosts: 1 } })
})

test.each([
  undefined,
  null,
  'success',
  17,
  [],
  ['success'],
  {},
  { outcome: 'denied' },
  { outcome: true },
  { outcome: 'success', counts: { hosts: '3' } },
  { outcome: 'success', counts: { hosts: Number.NaN } },
  { outcome: 'success', counts: { 'jane@acme.example': 1 } },
  { outcome: 'success', counts: Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`c${n}`, n])) },
  { outcome: 'success', counts: [1] },
  { outcome: 'success', link: 'javascript:alert(1)' },
  { outcome: 'success', link: `https://a.example/${'x'.repeat(2_048)}` },
  { outcome: 'success', link: 'https://a.example/\uD800' },
  { outcome: 'success', link: 'https://a.example/ b' },
  { outcome: 'success', findingsId: '../x' },
])('%j is no finish', (payload) => {
  expect(parseFinish(payload)).toBeUndefined()
})

test.each([undefined, 'x', { percent: -1 }, { percent: 101 }, { percent: '5' }, { counts: { a: {} } }])(
  '%j is no progress',
  (payload) => {
    expect(parseProgress(payload)).toBeUndefined()
  },
)

test('progress may be empty: the job is alive', () => {
  expect(parseProgress({})).toEqual({})
})

test('no payload whatever makes a check throw', () => {
  fc.assert(
    fc.property(fc.anything(), (payload) => {
      parseFinish(payload)
      parseEnd('failed', payload)
      parseProgress(payload)
      parseScanReference(payload)
    }),
  )
})

test('a workflow is started with a reference of this very form', () => {
  const reference = {
    organizationId: 'org_acme',
    scanId: 'scan_01jd2zq8w9e5cs0v1m6k3n7p4r',
    engine: 'scanner',
    startedAt: '2026-11-25T10:00:00.000Z',
    expectedWithinMs: 3_600_000,
    progressTimeoutMs: null,
    lateWindowMs: 86_400_000,
  }
  expect(parseScanReference({ ...reference, more: 1 })).toEqual(reference)
  expect(parseScanReference({ ...reference, engine: 'jane@acme.example' })).toBeUndefined()
  expect(parseScanReference({ ...reference, scanId: 'scan_1' })).toBeUndefined()
  expect(parseScanReference({ ...reference, expectedWithinMs: Number.POSITIVE_INFINITY })).toBeUndefined()
  expect(new Date(scanDeadline(reference)).toISOString()).toBe('2026-11-25T11:00:00.000Z')
  expect(scanWorkflowId(reference.organizationId, reference.scanId)).toBe(
    'scan/org_acme/scan_01jd2zq8w9e5cs0v1m6k3n7p4r',
  )
})
