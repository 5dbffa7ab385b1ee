import { readdir, readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { limits } from '../../../src/events/limits.js'
import { eventItemSchema, eventSchema, parseEvent } from '../../../src/events/schema.js'

const now = Date.parse('2026-11-25T10:00:00Z')
const good = {
  organizationId: 'org_acme',
  action: 'team.member.invited',
  occurredAt: '2026-11-25T10:00:00.000Z',
  actor: { type: 'user', id: 'u_17' },
  targets: [],
}

const parse = (value: unknown) => parseEvent(value, eventSchema, now)

/** Parses JSON text, so that `__proto__` is a key as a client would send it. */
const codes = (text: string) => {
  const result = parse(JSON.parse(text))
  return result.ok ? [] : result.errors.map(({ path, code }) => `${path} ${code}`)
}
const withMembers = (members: object) => JSON.stringify({ ...good, ...members })
const nested = (depth: number): unknown => (depth === 0 ? 1 : { a: nested(depth - 1) })

test('the least event is taken, with its defaults', () => {
  const result = parse(good)
  expect(result.ok && result.parsed.event).toMatchObject({
    category: 'product',
    outcome: 'success',
    version: 1,
    context: {},
    metadata: {},
  })
})

describe('bad input is refused with a code and a path', () => {
  test.each<[string, string, string]>([
    ['no organization', withMembers({ organizationId: undefined }), 'organizationId missing'],
    [
      'an organization id with a slash',
      withMembers({ organizationId: 'a/b' }),
      'organizationId malformed_id',
    ],
    ["Annals' own organization", withMembers({ organizationId: '_annals' }), 'organizationId not_allowed'],
    ['a client id that is no TypeID', withMembers({ id: 'evt_123' }), 'id malformed_id'],
    ['a wrong type', withMembers({ targets: 'none' }), 'targets wrong_type'],
    ['a null where text stands', withMembers({ actor: { type: 'user', id: null } }), 'actor.id wrong_type'],
    ['an unknown field', withMembers({ acton: 'x' }), 'acton unknown_field'],
    [
      'an unknown field of a target',
      withMembers({ targets: [{ type: 'a', href: 'x' }] }),
      'targets[0].href unknown_field',
    ],
    ['__proto__', '{"__proto__":{},' + withMembers({}).slice(1), '__proto__ forbidden_key'],
    [
      '__proto__ in metadata',
      `{"metadata":{"a":{"__proto__":1}},${withMembers({}).slice(1)}`,
      'metadata.a.__proto__ forbidden_key',
    ],
    [
      'constructor in metadata',
      withMembers({ metadata: { constructor: 1 } }),
      'metadata.constructor forbidden_key',
    ],
    ['a time without a zone', withMembers({ occurredAt: '2026-11-25T10:00:00' }), 'occurredAt no_time_zone'],
    ['a time that is none', withMembers({ occurredAt: 'yesterday' }), 'occurredAt malformed_time'],
    ['a far future', withMembers({ occurredAt: '2026-11-27T10:00:00Z' }), 'occurredAt time_in_future'],
    [
      'an over-long name',
      withMembers({ actor: { type: 'user', id: 'x', name: 'n'.repeat(1_025) } }),
      'actor.name too_long',
    ],
    ['an over-long value', withMembers({ metadata: { a: 'v'.repeat(65_537) } }), 'metadata.a too_long'],
    ['an over-long key', withMembers({ metadata: { ['k'.repeat(257)]: 1 } }), 'metadata too_long'],
    ['a too deep value', withMembers({ metadata: { a: nested(32) } }), `metadata${'.a'.repeat(31)} too_deep`],
    [
      'too many keys',
      withMembers({
        metadata: Object.fromEntries(Array.from({ length: 201 }, (_, n) => [`k${String(n)}`, 1])),
      }),
      'metadata too_many',
    ],
    [
      'too many targets',
      withMembers({ targets: Array.from({ length: 101 }, () => ({ type: 'a', id: 'b' })) }),
      'targets too_many',
    ],
    ['a lone surrogate', withMembers({ description: '\ud800' }), 'description lone_surrogate'],
    [
      'a lone surrogate in a key',
      withMembers({ metadata: { '\udc00': 1 } }),
      'metadata.\udc00 lone_surrogate',
    ],
    ['NUL', withMembers({ actor: { type: 'user', id: 'a\0b' } }), 'actor.id nul_character'],
    [
      'a number beyond 2^53',
      `{"metadata":{"n":9007199254740993},${withMembers({}).slice(1)}`,
      'metadata.n unsafe_number',
    ],
    ['an infinite number', `{"metadata":{"n":1e999},${withMembers({}).slice(1)}`, 'metadata.n unsafe_number'],
    ['a reserved action', withMembers({ action: 'annals.scan.started' }), 'action reserved_action'],
    ['a reserved category', withMembers({ category: 'system' }), 'category reserved_category'],
    ['an unknown outcome', withMembers({ outcome: 'maybe' }), 'outcome not_allowed'],
    ['an action with a space', withMembers({ action: 'a b' }), 'action malformed_value'],
    [
      'an actor without id and e-mail',
      withMembers({ actor: { type: 'user', name: 'x' } }),
      'actor.id missing',
    ],
    ['a version that is no whole number', withMembers({ version: 1.5 }), 'version wrong_type'],
    ['metadata that is a list', withMembers({ metadata: [] }), 'metadata wrong_type'],
    ['an array as the event', '[]', ' wrong_type'],
    [
      'an idempotency key in a single post',
      withMembers({ idempotencyKey: 'k' }),
      'idempotencyKey unknown_field',
    ],
  ])('%s', (_name, text, expected) => {
    expect(codes(text)).toContain(expected)
  })

  test('an id and an idempotency key in one item', () => {
    const item = { ...good, id: 'evt_01h455vb4pex5vsknk084sn02q', idempotencyKey: 'k' }
    const result = parseEvent(item, eventItemSchema, now)
    expect(!result.ok && result.errors).toMatchObject([{ path: 'idempotencyKey', code: 'conflict' }])
  })

  test('an event over its bytes', () => {
    const metadata = Object.fromEntries(
      Array.from({ length: 10 }, (_, n) => [`k${String(n)}`, 'v'.repeat(60_000)]),
    )
    const result = parse({ ...good, metadata })
    expect(!result.ok && result.code).toBe('too_large')
  })

  test('no error names a value', () => {
    const secret = 'jane@acme.example'
    const result = parse({
      ...good,
      organizationId: secret,
      action: secret,
      outcome: secret,
      version: secret,
      occurredAt: secret,
    })
    expect(result.ok).toBe(false)
    expect(JSON.stringify(result)).not.toContain(secret)
  })
})

test('a value at the allowed depth is taken', () => {
  expect(codes(withMembers({ metadata: { a: nested(30) } }))).toEqual([])
})

test('a number of values without bound is refused early', () => {
  const metadata = { list: Array.from({ length: limits.maxValues * 2 }, () => 1) }
  expect(codes(withMembers({ metadata }))).toEqual([
    expect.stringMatching(/^metadata\.list\[\d+\] too_many$/),
  ])
})

const samples = new URL('../../fixtures/samples/', import.meta.url)

test('every real event of the samples is taken', async () => {
  const files = (await readdir(samples)).filter((name) => name.endsWith('.ndjson'))
  expect(files.length).toBeGreaterThan(10)
  for (const file of files) {
    const lines = (await readFile(new URL(file, samples), 'utf8')).split('\n').filter((line) => line !== '')
    for (const line of lines) expect(codes(line), `${file}: ${line.slice(0, 100)}`).toEqual([])
  }
})
