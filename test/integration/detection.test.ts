import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { JsonObject } from '../../src/events/contract.js'
import { eventDocumentId } from '../../src/events/store.js'
import { allSamples } from '../support/samples.js'
import { checkWorldsSearch } from '../support/search-oracle.js'
import { openWorld, type Answer, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld()
  for (const detection of ['flag', 'redact', 'reject'])
    await world.request('PUT', `/v1/organizations/org_${detection}`, { body: { detection } })
})
afterAll(async () => {
  await checkWorldsSearch(world)
  await world.close()
})

const event = (organizationId: string, members: JsonObject = {}) => ({
  organizationId,
  action: 'note.added',
  occurredAt: '2026-11-25T00:00:00.000Z',
  actor: { type: 'service', id: 'billing' },
  targets: [],
  ...members,
})
const post = (body: unknown, key?: string) =>
  world.request('POST', '/v1/events', {
    body,
    ...(key === undefined ? {} : { headers: { 'idempotency-key': key } }),
  })
const idOf = (answer: Answer) => (answer.body as { id: string }).id
const read = async (organizationId: string, id: string) =>
  (await world.request('GET', `/v1/organizations/${organizationId}/events/${id}`)).body as JsonObject
const found = async (organizationId: string, query: string) => {
  const page = await world.request('GET', `/v1/organizations/${organizationId}/events?${query}`)
  expect(page.status, page.text).toBe(200)
  return (page.body as { data: { id: string }[] }).data.map(({ id }) => id)
}
const problem = (answer: Answer) =>
  answer.body as { code: string; errors: { path: string; code: string; message: string }[] }
/** Everything the database holds, as text. */
async function rawDatabase(): Promise<string> {
  const collections = await world.api.core.db.collections()
  const dumps = await Promise.all(collections.map((collection) => collection.find().toArray()))
  return JSON.stringify(dumps, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value))
}

describe('flag, the default', () => {
  test('stores what was sent, and finds it by kind', async () => {
    const sent = event('org_flag', {
      description: 'called +1 202-555-0143',
      metadata: { 'owner jane@acme.example': [{ from: '203.0.113.7' }], plain: 'nothing' },
      targets: [{ type: 'invoice', id: 'i1', metadata: { iban: 'DE89370400440532013000' } }],
    })
    const id = idOf(await post(sent))
    expect(await read('org_flag', id)).toMatchObject({ ...sent, actor: sent.actor })
    for (const kind of ['phone', 'email', 'ip', 'iban'])
      expect(await found('org_flag', `detected=${kind}`), kind).toContain(id)
    expect(await found('org_flag', 'detected=card')).toEqual([])
    expect(await found('org_flag', 'detected=email&action=note.added')).toEqual([id])
    expect((await world.request('GET', '/v1/organizations/org_flag/events?detected=A')).status).toBe(422)
  })

  test('the note lies beside the field and goes with it; it names a kind and no value', async () => {
    const id = idOf(await post(event('org_flag', { description: 'jane@acme.example', metadata: { a: 'b' } })))
    const stored = await world.api.core.events.findOne(
      { _id: eventDocumentId('org_flag', id) },
      { useBigInt64: true },
    )
    const withTerms = stored?.fields.filter((field) => 'slot' in field && 'terms' in field)
    expect(withTerms).toMatchObject([{ slot: 'actor' }, { slot: 'description' }, { slot: 'metadata/0' }])
    const description = withTerms?.find((field) => 'slot' in field && field.slot === 'description')
    expect(description).toMatchObject({ terms: [expect.any(BigInt)] })
  })

  test('no sample is refused', async () => {
    const events = allSamples()
      .filter((_, index) => index % 5 === 0)
      .map((sample) => ({ ...sample, organizationId: 'org_flag' }))
    const answer = await world.request('POST', '/v1/events/batch', { body: { events } })
    const { results } = answer.body as { results: { status: number }[] }
    expect(results.filter(({ status }) => status !== 201)).toEqual([])
  })
})

describe('redact', () => {
  test('replaces each finding before anything is stored, in keys too', async () => {
    const sent = event('org_redact', {
      description: 'wrote to redact-me@acme.example twice, redact-me@acme.example',
      metadata: {
        'redact-me@acme.example': 1,
        'redact-you@acme.example': 2,
        deep: [{ ip: '203.0.113.77' }, '{"pan":"4242424242424242"}'],
        pan: 4242424242424242,
        count: 12,
      },
      targets: [{ type: 'mailbox', id: 'redact-me@acme.example', name: 'x' }],
    })
    const id = idOf(await post(sent))
    const view = await read('org_redact', id)
    expect(view).toMatchObject({
      description: 'wrote to [redacted:email] twice, [redacted:email]',
      metadata: {
        '[redacted:email]': 1,
        '[redacted:email] 2': 2,
        deep: [{ ip: '[redacted:ip]' }, '{"pan":"[redacted:card]"}'],
        pan: '[redacted:card]',
        count: 12,
      },
      targets: [{ type: 'mailbox', id: '[redacted:email]', name: 'x' }],
    })
    const raw = await rawDatabase()
    for (const value of ['redact-me', 'redact-you', '203.0.113.77', '4242424242424242'])
      expect(raw).not.toContain(value)
  })

  test('leaves persons as they are: they are encrypted', async () => {
    const actor = {
      type: 'user',
      id: 'u_1',
      email: 'person@acme.example',
      metadata: { alias: 'p@acme.example' },
    }
    const id = idOf(await post(event('org_redact', { actor })))
    expect(await read('org_redact', id)).toMatchObject({ actor })
    expect(await rawDatabase()).not.toContain('person@acme.example')
  })

  test('a repeat answers the first event, whatever the policy was then', async () => {
    const organization = '/v1/organizations/org_changing'
    await world.request('PUT', organization, { body: { detection: 'flag' } })
    const sent = event('org_changing', { description: 'jane@acme.example' })
    const first = await post(sent, 'again')
    for (const detection of ['redact', 'reject', 'flag']) {
      await world.request('PUT', organization, { body: { detection } })
      const repeat = await post(sent, 'again')
      expect([repeat.status, idOf(repeat)], detection).toEqual([201, idOf(first)])
      expect(repeat.headers.get('idempotency-replayed')).toBe('true')
      const other = await post({ ...sent, action: 'note.changed' }, 'again')
      expect(other.status, detection).toBe(409)
    }
  })
})

describe('reject', () => {
  test('names each place and kind, never a value, and stores nothing', async () => {
    const before = await world.api.core.events.countDocuments({ organizationId: 'org_reject' })
    const answer = await post(
      event('org_reject', {
        description: 'reject-me@acme.example at 203.0.113.78',
        metadata: {
          'reject-me@acme.example': { note: 'reject-me@acme.example' },
          list: ['a', '+12025550143'],
        },
        targets: [{ type: 'host', id: '203.0.113.78' }],
      }),
    )
    expect(answer.status).toBe(422)
    expect(problem(answer).code).toBe('invalid')
    expect(problem(answer).errors).toEqual([
      { path: 'description', code: 'personal_data', message: 'email' },
      { path: 'description', code: 'personal_data', message: 'ip' },
      { path: 'metadata', code: 'personal_data', message: 'email' },
      { path: 'metadata.[redacted:email].note', code: 'personal_data', message: 'email' },
      { path: 'metadata.list[1]', code: 'personal_data', message: 'phone' },
      { path: 'targets[0].id', code: 'personal_data', message: 'ip' },
    ])
    expect(answer.text + world.logs()).not.toMatch(/reject-me|203\.0\.113\.78/)
    expect(await world.api.core.events.countDocuments({ organizationId: 'org_reject' })).toBe(before)
  })

  test('of a batch, the bad ones fail alone', async () => {
    const events = [
      event('org_reject', { description: 'fine' }),
      event('org_reject', { description: 'jane@acme.example' }),
      event('org_flag', { description: 'jane@acme.example' }),
    ]
    const { body } = await world.request('POST', '/v1/events/batch', { body: { events } })
    expect((body as { results: { status: number }[] }).results.map(({ status }) => status)).toEqual([
      201, 422, 201,
    ])
  })
})

describe("an organization's own patterns", () => {
  const put = (detectionPatterns: unknown, more: object = {}) =>
    world.request('PUT', '/v1/organizations/org_patterns', { body: { detectionPatterns, ...more } })

  test('are applied as its policy says', async () => {
    const patterns = [{ name: 'staff-number', pattern: '\\bEMP-\\d{6}\\b' }]
    const answer = await put(patterns, { detection: 'redact' })
    expect([200, 201]).toContain(answer.status)
    expect(answer.body).toMatchObject({ detectionPatterns: patterns })
    const id = idOf(await post(event('org_patterns', { description: 'granted by EMP-123456' })))
    expect(await read('org_patterns', id)).toMatchObject({
      description: 'granted by [redacted:staff-number]',
    })
    await put(patterns, { detection: 'flag' })
    const flagged = idOf(await post(event('org_patterns', { description: 'granted by EMP-123456' })))
    expect(await found('org_patterns', 'detected=staff-number')).toEqual([flagged])
  })

  test.each<[string, unknown, string]>([
    ['look-ahead', [{ name: 'a', pattern: '(?=x)y' }], 'detectionPatterns[0].pattern'],
    ['a back-reference', [{ name: 'a', pattern: '(x)\\1' }], 'detectionPatterns[0].pattern'],
    ['what matches nothing at all', [{ name: 'a', pattern: 'x*' }], 'detectionPatterns[0].pattern'],
    ['a pattern too long', [{ name: 'a', pattern: 'x'.repeat(257) }], 'detectionPatterns[0].pattern'],
    ['a built-in name', [{ name: 'email', pattern: 'x' }], 'detectionPatterns[0].pattern'],
    [
      'a name twice',
      [
        { name: 'a', pattern: 'x' },
        { name: 'a', pattern: 'y' },
      ],
      'detectionPatterns',
    ],
    [
      'too many',
      Array.from({ length: 17 }, (_, n) => ({ name: `n${String(n)}`, pattern: 'x' })),
      'detectionPatterns',
    ],
  ])('%s is refused', async (_name, patterns, path) => {
    const answer = await put(patterns)
    expect(answer.status).toBe(422)
    expect(problem(answer).errors.map((error) => error.path)).toEqual([path])
  })
})
