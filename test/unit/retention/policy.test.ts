import { describe, expect, test } from 'vitest'
import { defaultRetention, type Hold, type HoldScope } from '../../../src/retention/contract.js'
import {
  archiveCutoff,
  contentCutoff,
  contentExpiry,
  covers,
  expiryDays,
  isHeld,
  maxRetentionDays,
  mayCover,
  neverExpires,
  recordsExpiry,
  retentionProblems,
  type PolicyVersion,
} from '../../../src/retention/policy.js'

const at = (text: string) => new Date(`2026-${text}Z`)
const days = (hotDays: number, archiveDays: number | null, recordDays: number | null) => ({
  hotDays,
  archiveDays,
  recordDays,
})

describe('a policy is taken where its numbers are in order', () => {
  test.each([
    ['the default', defaultRetention],
    ['nothing is kept', days(0, 0, 0)],
    ['everything at the same time', days(30, 30, 30)],
    ['for ever', days(maxRetentionDays, null, null)],
    ['records for ever', days(1, 2, null)],
  ])('%s', (_, policy) => {
    expect(retentionProblems(policy)).toEqual([])
  })
})

test.each([
  ['content would go while hot', days(31, 30, null), ['archiveDays too_small']],
  ['records before their content', days(1, 30, 29), ['recordDays too_small']],
  ['records before content that never goes', days(1, null, 3_650), ['recordDays too_small']],
  ['both', days(31, 30, 29), ['archiveDays too_small', 'recordDays too_small']],
  ['less than nothing', days(-1, 30, 30), ['hotDays too_small']],
  ['half a day', days(0.5, 30, 30), ['hotDays wrong_type']],
  ['no number', days(1, Number.NaN, 30), ['archiveDays wrong_type']],
  ['more than a hundred years', days(1, 2, maxRetentionDays + 1), ['recordDays too_large']],
])('refused with its place: %s', (_, policy, expected) => {
  expect(retentionProblems(policy).map(({ path, code }) => `${path} ${code}`)).toEqual(expected)
})

test('a leaf is due when its age has reached the days, to the millisecond', () => {
  const now = at('11-25T10:00:00.000')
  expect(archiveCutoff(now, { hotDays: 0 })).toEqual(now)
  expect(archiveCutoff(now, { hotDays: 183 })).toEqual(at('05-26T10:00:00.000'))
  expect(contentCutoff(now, { archiveDays: null })).toBeNull()
  const sealedAt = at('01-01T00:00:00.000')
  const expiry = contentExpiry(sealedAt, { archiveDays: 10 })
  expect(expiry).toEqual(at('01-11T00:00:00.000'))
  expect(contentCutoff(at('01-11T00:00:00.000'), { archiveDays: 10 })).toEqual(sealedAt)
  expect(recordsExpiry(sealedAt, { recordDays: null })).toBeNull()
})

describe('expiry goes by the longest policy of the last seven days', () => {
  const version = (
    number: number,
    since: string,
    archiveDays: number | null,
    recordDays: number | null = null,
  ): PolicyVersion => ({
    version: number,
    since: number === 0 ? new Date(0) : at(since),
    hotDays: 1,
    archiveDays,
    recordDays,
  })
  const original = version(0, '', 100, 200)

  test.each<[string, PolicyVersion[], string, [number | null, number | null]]>([
    ['the only one', [original], '06-01T00:00:00', [100, 200]],
    [
      'a shorter one, at once: the old one counts',
      [original, version(1, '06-01T00:00:00', 10, 20)],
      '06-01T00:00:00',
      [100, 200],
    ],
    [
      'a shorter one, on its seventh day',
      [original, version(1, '06-01T00:00:00', 10, 20)],
      '06-07T23:59:59.999',
      [100, 200],
    ],
    [
      'a shorter one, after seven days',
      [original, version(1, '06-01T00:00:00', 10, 20)],
      '06-08T00:00:00',
      [10, 20],
    ],
    [
      'a longer one, at once',
      [original, version(1, '06-01T00:00:00', 150, null)],
      '06-01T00:00:00',
      [150, null],
    ],
    [
      'taken back within the grace',
      [original, version(1, '06-01T00:00:00', 10, 20), version(2, '06-05T00:00:00', 100, 200)],
      '07-01T00:00:00',
      [100, 200],
    ],
    [
      'short, long, short: the long one counts for seven days from where it ended',
      [
        original,
        version(1, '05-01T00:00:00', 10, 20),
        version(2, '06-01T00:00:00', 100, 200),
        version(3, '06-01T00:00:01', 10, 20),
      ],
      '06-08T00:00:00',
      [100, 200],
    ],
    [
      'each of the numbers for itself',
      [original, version(1, '06-01T00:00:00', 150, 150)],
      '06-02T00:00:00',
      [150, 200],
    ],
    [
      'a clock that was set back to before every policy',
      [original, version(1, '06-01T00:00:00', 10, 20)],
      '01-01T00:00:00',
      [100, 200],
    ],
    [
      'the order they come in says nothing',
      [version(1, '06-01T00:00:00', 10, 20), original],
      '06-02T00:00:00',
      [100, 200],
    ],
  ])('%s', (_, versions, now, [archiveDays, recordDays]) => {
    expect(expiryDays(versions, at(now))).toEqual({ hotDays: 1, archiveDays, recordDays })
  })

  test('moving follows the newest at once', () => {
    const shorter = { ...version(1, '06-01T00:00:00', 100, 200), hotDays: 0 }
    expect(expiryDays([original, shorter], at('06-01T00:00:00')).hotDays).toBe(0)
  })
})

describe('holds', () => {
  const event = {
    action: 'team.member.invited',
    occurredAt: at('06-15T12:00:00.000'),
    subjects: ['sub_a', 'sub_b'],
  }
  test.each<[string, HoldScope, boolean]>([
    ['the whole organization', {}, true],
    ['a person of it', { subjects: ['sub_c', 'sub_b'] }, true],
    ['another person', { subjects: ['sub_c'] }, false],
    ['no person at all', { subjects: [] }, false],
    ['the action', { action: 'team.member.invited' }, true],
    ['what begins with it', { action: 'team.*' }, true],
    ['what begins with more of it', { action: 'team.member.*' }, true],
    ['the beginning of an action is no action', { action: 'team' }, false],
    ['a prefix ends at a dot', { action: 'tea.*' }, false],
    ['from its moment on', { from: at('06-15T12:00:00.000') }, true],
    ['from after it', { from: at('06-15T12:00:00.001') }, false],
    ['up to its moment', { to: at('06-15T12:00:00.000') }, false],
    ['up to after it', { to: at('06-15T12:00:00.001') }, true],
    [
      'all that is said must fit',
      { subjects: ['sub_a'], action: 'team.*', from: at('07-01T00:00:00') },
      false,
    ],
  ])('%s', (_, scope, covered) => {
    expect(covers(scope, event)).toBe(covered)
    // A segment may only be skipped for a hold that covers none of its events.
    if (covered) expect(mayCover(scope, event.occurredAt, event.occurredAt)).toBe(true)
  })

  test('a segment outside of a hold’s time need not be looked at', () => {
    const scope = { from: at('06-01T00:00:00'), to: at('07-01T00:00:00') }
    expect(mayCover(scope, at('05-01T00:00:00'), at('05-31T23:59:59.999'))).toBe(false)
    expect(mayCover(scope, at('05-01T00:00:00'), at('06-01T00:00:00'))).toBe(true)
    expect(mayCover(scope, at('07-01T00:00:00'), at('07-02T00:00:00'))).toBe(false)
    expect(mayCover(scope, at('06-30T23:59:59.999'), at('07-02T00:00:00'))).toBe(true)
    expect(mayCover({ subjects: ['sub_a'] }, at('01-01T00:00:00'), at('01-02T00:00:00'))).toBe(true)
  })

  test('hold until they are released', () => {
    const hold = (releasedAt: Date | null): Pick<Hold, 'scope' | 'releasedAt'> => ({ scope: {}, releasedAt })
    expect(isHeld(event, [])).toBe(false)
    expect(isHeld(event, [hold(at('01-01T00:00:00'))])).toBe(false)
    expect(isHeld(event, [hold(at('01-01T00:00:00')), hold(null)])).toBe(true)
  })
})

test('what proves a deletion outlives it', () => {
  for (const action of [
    'annals.retention.expired',
    'annals.subject.erased',
    'annals.field.redacted',
    'annals.log.event_damaged',
    'annals.organization.created',
  ])
    expect(neverExpires(action), action).toBe(true)
  for (const action of [
    'annals.scan.started',
    'annals.personal.read',
    'annals.logs.read',
    'team.annals.log.x',
  ])
    expect(neverExpires(action), action).toBe(false)
})
