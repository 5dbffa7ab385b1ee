/** The verifier's own rules of expiry, one row after the other, and where they have to agree with those of retention. */
import { describe, expect, test } from 'vitest'
import { defaultRetention } from '../../../src/retention/contract.js'
import * as retention from '../../../src/retention/policy.js'
import { Expiries } from '../../../src/verification/expiries.js'
import {
  allowedUntil,
  defaultArchiveDays,
  expiryOf,
  graceMs,
  neverExpires,
  toleranceMs,
  type ExpiryStatement,
  type PolicyStatement,
} from '../../../src/verification/expiry-rules.js'
import { Findings } from '../../../src/verification/findings.js'

const day = 86_400_000
const now = Date.parse('2026-11-25T10:00:00.000Z')
const said: ExpiryStatement = {
  ...{ kind: 'content', generation: 1, from: 0, to: 10, gone: 10 },
  ...{ atMs: now, policy: 0, days: 2_555 },
}
const policy = (
  version: number,
  daysAgo: number,
  archiveDays: number | null,
  before: number | null = 2_555,
) =>
  ({
    ...{ version, atMs: now - daysAgo * day, archiveDays, before },
    ...{ recordDays: null, recordDaysBefore: null },
  }) satisfies PolicyStatement
/** How many days old content has to be; null = it may not go at all. */
const daysOf = (policies: readonly PolicyStatement[], statement = said, complete = true) => {
  const until = allowedUntil(statement, policies, complete)
  return until === undefined ? null : Math.round((now + toleranceMs - until) / day)
}

test('the constants are those of retention', () => {
  expect([defaultArchiveDays, graceMs]).toEqual([defaultRetention.archiveDays, retention.policyGraceMs])
  for (const action of ['annals.retention.expired', 'annals.subject.erased', 'annals.field.redacted'])
    expect([neverExpires(recordOf(action, 'system')), retention.neverExpires(action)]).toEqual([true, true])
  for (const action of ['annals.log.restarted', 'annals.organization.created'])
    expect([neverExpires(recordOf(action, 'system')), retention.neverExpires(action)]).toEqual([true, true])
  expect(neverExpires(recordOf('annals.personal.read', 'system'))).toBe(false)
  expect(neverExpires(recordOf('annals.retention.expired', 'product'))).toBe(false)
})

describe('the days that content has to be old', () => {
  test.each<[string, readonly PolicyStatement[], ExpiryStatement, boolean, number | null]>([
    ['the default, where nobody set any', [], said, true, 2_555],
    [
      'those of the one policy, once its grace is over',
      [policy(1, 30, 90)],
      { ...said, policy: 1 },
      true,
      90,
    ],
    ['those of the default, in its grace', [policy(1, 3, 90)], { ...said, policy: 1 }, true, 2_555],
    [
      'of the longer of two in the grace',
      [policy(1, 30, 90), policy(2, 3, 10)],
      { ...said, policy: 2 },
      true,
      90,
    ],
    [
      'short, long, short gains nobody a day',
      [policy(1, 30, 5), policy(2, 4, 900), policy(3, 3, 5)],
      { ...said, policy: 3 },
      true,
      900,
    ],
    [
      'never, while one that keeps for ever counts',
      [policy(1, 30, null), policy(2, 3, 10)],
      { ...said, policy: 2 },
      true,
      null,
    ],
    [
      'those of the newest, long after one for ever',
      [policy(1, 30, null), policy(2, 9, 10)],
      { ...said, policy: 2 },
      true,
      10,
    ],
    [
      'none, where it rests on a policy that is not there',
      [policy(1, 30, 5)],
      { ...said, policy: 2, days: 1 },
      true,
      null,
    ],
    ['its own word, where not all policies were read', [], { ...said, policy: 2, days: 40 }, false, 40],
    ['of what was before the first that is known', [policy(4, 3, 10, 50)], { ...said, policy: 4 }, true, 50],
    [
      'a policy that came after does not count',
      [policy(1, 30, 90), policy(2, -3, null)],
      { ...said, policy: 1 },
      true,
      90,
    ],
  ])('%s', (_name, policies, statement, complete, days) => {
    expect(daysOf(policies, statement, complete)).toBe(days)
    // The order in which they are known makes no difference.
    expect(daysOf(policies.toReversed(), statement, complete)).toBe(days)
  })
})

test('only a whole statement of Annals is one', () => {
  const whole = eventOf('annals.retention.expired', statement({}))
  expect(expiryOf(whole)).toMatchObject({ from: 0, to: 10, gone: 11 })
  for (const name of ['kind', 'generation', 'from', 'to', 'expired', 'damaged', 'policy', 'archiveDays'])
    expect(
      expiryOf(eventOf('annals.retention.expired', statement({ [name]: undefined }))),
      name,
    ).toBeUndefined()
  expect(expiryOf(eventOf('annals.retention.expired', statement({ expired: -1 })))).toBeUndefined()
  expect(expiryOf(eventOf('annals.retention.archived', statement({})))).toBeUndefined()
  expect(expiryOf({ ...whole, category: 'product' })).toBeUndefined()
  expect(expiryOf({ ...whole, receivedAt: 'never' })).toBeUndefined()
})

describe('what is gone', () => {
  const old = now - 3_000 * day
  const walk = (gone: readonly (readonly [number, number])[], statements: readonly [number, object][]) => {
    const findings = new Findings()
    const expiries = new Expiries(1, findings)
    for (const [index, receivedMs] of gone)
      expiries.note({ generation: 1, index }, recordOf('team.member.invited', 'account', receivedMs))
    for (const [index, metadata] of statements)
      expiries.meet(index, eventOf('annals.retention.expired', metadata))
    expiries.settle()
    return { expired: expiries.expired, missing: findings.sorted().map(({ leaf }) => leaf?.index) }
  }
  const ten = Array.from({ length: 10 }, (_, index) => [index, old] as const)

  test.each<[string, Parameters<typeof walk>, ReturnType<typeof walk>]>([
    ['is missing without a statement', [ten.slice(0, 2), []], { expired: 0, missing: [0, 1] }],
    ['has expired with one', [ten, [[10, statement({ damaged: 0 })]]], { expired: 10, missing: [] }],
    [
      'is missing behind one that stands before it',
      [ten, [[9, statement({})]]],
      { expired: 0, missing: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] },
    ],
    [
      'is missing outside of its range',
      [[...ten, [10, old]], [[20, statement({})]]],
      { expired: 10, missing: [10] },
    ],
    [
      'is missing where it was too young',
      [[...ten.slice(0, 9), [9, now - 100 * day]], [[10, statement({})]]],
      { expired: 9, missing: [9] },
    ],
    [
      'is missing beyond its count',
      [ten, [[10, statement({ expired: 7, damaged: 0 })]]],
      { expired: 7, missing: [0] },
    ],
    [
      'has expired by the counts of two',
      [
        ten,
        [
          [10, statement({ expired: 7, damaged: 0 })],
          [11, statement({ expired: 3, damaged: 0 })],
        ],
      ],
      { expired: 10, missing: [] },
    ],
    [
      'is missing behind one of another generation',
      [ten.slice(0, 1), [[10, statement({ generation: 2 })]]],
      { expired: 0, missing: [0] },
    ],
    [
      'has expired segment by segment',
      [
        [...ten, ...[10, 11].map((index) => [index, old + day] as const)],
        [
          [20, statement({})],
          [21, statement({ from: 10, to: 12, expired: 2, damaged: 0 })],
        ],
      ],
      { expired: 12, missing: [] },
    ],
  ])('%s', (_name, given, wanted) => {
    expect(walk(...given)).toEqual(wanted)
  })

  test('is missing at once where it never expires', () => {
    const findings = new Findings()
    const expiries = new Expiries(1, findings)
    expiries.note({ generation: 1, index: 4 }, recordOf('annals.retention.expired', 'system', old))
    expiries.meet(10, eventOf('annals.retention.expired', statement({})))
    expiries.settle()
    expect(findings.sorted()).toMatchObject([{ code: 'event_missing', leaf: { index: 4 } }])
  })
})

describe('what is gone of records', () => {
  const old = now - 3_000 * day
  const young = now - 100 * day
  const text = (ms: number) => new Date(ms).toISOString()
  const words = (more: Record<string, unknown> = {}) => ({
    ...{ kind: 'records', generation: 1, from: 0, to: 10, expired: 9, policy: 1, recordDays: 2_900 },
    ...{ sealedTo: text(old), recordsManifest: 'a', ...more },
  })
  const policyEvent = eventOf(
    'annals.retention.policy_changed',
    {
      ...{ version: 1, archiveDays: 2_555, recordDays: 2_900 },
      before: { archiveDays: 2_555, recordDays: null },
    },
    old,
  )
  /** Leaf 0 has its record, and those after it have none. */
  const walk = (firstMs: number, archived: object | undefined, said: object) => {
    const findings = new Findings()
    const expiries = new Expiries(1, findings, 'records')
    expiries.meet(0, policyEvent)
    const before = recordOf('annals.organization.created', 'system', firstMs)
    for (let index = 1; index < 10; index += 1) expiries.note({ generation: 1, index }, { before })
    if (archived !== undefined) expiries.meet(10, eventOf('annals.retention.archived', archived, old))
    expiries.meet(11, eventOf('annals.retention.expired', said))
    expiries.settle()
    return { expired: expiries.expired, missing: findings.count }
  }
  const archived = { generation: 1, from: 0, to: 10, recordsManifest: 'a', sealedTo: text(old) }
  const found = { expired: 0, missing: 9 }

  test('has expired where all that is said of its time agrees, and nothing before it contradicts', () => {
    expect(walk(old, archived, words())).toEqual({ expired: 9, missing: 0 })
    expect(walk(old, undefined, words())).toEqual({ expired: 9, missing: 0 })
  })

  test('is missing where a leaf before it was received too late for it to be so old', () => {
    expect(walk(young, undefined, words())).toEqual(found)
  })

  test('is missing where it was said to be younger when it was archived, or is said to be now', () => {
    expect(walk(old, { ...archived, sealedTo: text(young) }, words())).toEqual(found)
    expect(walk(old, undefined, words({ sealedTo: text(young) }))).toEqual(found)
  })

  test('is missing where other records were archived than are said to have expired', () => {
    expect(walk(old, { ...archived, recordsManifest: 'b' }, words())).toEqual(found)
    expect(walk(old, { ...archived, to: 9 }, words())).toEqual(found)
  })

  test('is missing behind a statement of content, one of a shorter policy, and one that names no records', () => {
    expect(walk(old, archived, words({ kind: 'content', archiveDays: 2_555, damaged: 0 }))).toEqual(found)
    expect(walk(old, archived, words({ recordsManifest: undefined }))).toEqual(found)
    expect(walk(now - 2_700 * day, undefined, words({ recordDays: 1 }))).toEqual(found)
  })

  test('a policy that is not there counts by what the one after it says of it', () => {
    const policies = [policy(1, 30, 10), { ...policy(3, 3, 10), recordDays: 20, recordDaysBefore: 900 }]
    const statementOf = { ...said, kind: 'records' as const, policy: 3, days: 20 }
    const known = policies.map((one) => ({ ...one, recordDays: one.recordDays ?? 30 }))
    expect(daysOf(known, statementOf)).toBe(900)
  })
})

function statement(more: Record<string, unknown>): Record<string, unknown> {
  return {
    ...{ kind: 'content', generation: 1, from: 0, to: 10, expired: 10, damaged: 1 },
    ...{ policy: 0, archiveDays: 2_555, ...more },
  }
}

function recordOf(action: string, category: string, receivedMs = now): string {
  return JSON.stringify({ action, category, receivedAt: new Date(receivedMs).toISOString() })
}

function eventOf(action: string, metadata: object, atMs = now) {
  const fields = Object.entries(metadata)
    .filter(([, value]) => value !== undefined)
    .map((pair, index) => ({ slot: `metadata/${String(index)}`, salt: '', value: JSON.stringify(pair) }))
  return { action, category: 'system', receivedAt: new Date(atMs).toISOString(), fields }
}
