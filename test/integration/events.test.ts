import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { JsonObject } from '../../src/events/contract.js'
import { limits } from '../../src/events/limits.js'
import { checkWorldsSearch } from '../support/search-oracle.js'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(async () => {
  await checkWorldsSearch(world)
  await world.close()
})

const event = (changes: JsonObject = {}): JsonObject => ({
  organizationId: 'org_acme',
  action: 'team.member.invited',
  occurredAt: '2026-11-25T10:00:00.000Z',
  actor: { type: 'user', id: 'u_17', name: 'Jane Doe', email: 'jane@acme.example' },
  targets: [{ type: 'team', id: 't_9', name: 'Platform' }],
  context: { ip: '203.0.113.7', requestId: 'req-1' },
  metadata: { plan: 'pro' },
  ...changes,
})

const post = (body: unknown, headers: Record<string, string> = {}, key?: string) =>
  world.request('POST', '/v1/events', { body, headers, ...(key === undefined ? {} : { key }) })
const stored = () => world.api.core.events.countDocuments({ category: { $ne: 'system' } })

describe('a single post', () => {
  test('answers what it stored', async () => {
    const answer = await post(event())
    expect(answer.status).toBe(201)
    expect(answer.body).toEqual({
      id: expect.stringMatching(/^evt_[0-9a-z]{26}$/) as string,
      organizationId: 'org_acme',
      receivedAt: expect.stringMatching(/Z$/) as string,
      leafHash: expect.stringMatching(/^[A-Za-z0-9+/]{43}=$/) as string,
    })
  })

  test('under one Idempotency-Key is one event, also at the same moment', async () => {
    const before = await stored()
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => post(event(), { 'idempotency-key': 'same-key' })),
    )
    expect(await stored()).toBe(before + 1)
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
    expect(answers.filter(({ headers }) => headers.get('idempotency-replayed') === 'true')).toHaveLength(9)
  })

  test('under a used key with another body is 409, and changes nothing', async () => {
    await post(event(), { 'idempotency-key': 'used' })
    const before = await stored()
    const answer = await post(event({ metadata: { plan: 'free' } }), { 'idempotency-key': 'used' })
    expect(answer.status).toBe(409)
    expect(answer.body).toMatchObject({ code: 'idempotency_conflict' })
    expect(await stored()).toBe(before)
  })

  test('keys are the organization’s own', async () => {
    const one = await post(event(), { 'idempotency-key': 'shared' })
    const other = await post(event({ organizationId: 'org_other' }), { 'idempotency-key': 'shared' })
    expect((other.body as { id: string }).id).not.toBe((one.body as { id: string }).id)
  })

  test('the same moment and the same members in another spelling are the same body', async () => {
    const headers = { 'idempotency-key': 'spelling' }
    const first = await post(event({ occurredAt: '2026-11-25T10:00:00Z' }), headers)
    const again = await post(
      event({ occurredAt: '2026-11-25T12:00:00.000000+02:00', outcome: 'success' }),
      headers,
    )
    expect(again.status).toBe(201)
    expect(again.text).toBe(first.text)
  })

  test('a client’s own id is kept, and is unique in the organization', async () => {
    const id = 'evt_01h455vb4pex5vsknk084sn02q'
    const first = await post(event({ id }))
    expect(first.body).toMatchObject({ id })
    expect((await post(event({ id }))).text).toBe(first.text)
    expect((await post(event({ id, version: 2 }))).status).toBe(409)
    expect((await post(event({ id, organizationId: 'org_other' }))).status).toBe(201)
  })
})

describe('what is refused stores nothing', () => {
  const cases: [string, () => ReturnType<World['request']>, number, string][] = [
    ['malformed JSON', () => post('{"organizationId": '), 400, 'malformed'],
    ['an empty body', () => post(''), 400, 'malformed'],
    [
      'another media type',
      () => post('a=b', { 'content-type': 'text/plain' }),
      415,
      'unsupported_media_type',
    ],
    ['invalid UTF-8', () => post(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d])), 400, 'malformed'],
    [
      'a body over its limit',
      () => post(event({ description: 'x'.repeat(limits.maxEventBytes) })),
      413,
      'too_large',
    ],
    ['no key', () => post(event(), {}, ''), 401, 'unauthenticated'],
    ['an unknown key', () => post(event(), {}, 'annals_nobody'), 401, 'unauthenticated'],
    [
      'id and key at once',
      () => post(event({ id: 'evt_01h455vb4pex5vsknk084sn02r' }), { 'idempotency-key': 'k' }),
      422,
      'invalid',
    ],
    ['a reserved action', () => post(event({ action: 'annals.x' })), 422, 'invalid'],
  ]
  test.each(cases)('%s', async (_name, send, status, code) => {
    const before = await stored()
    const answer = await send()
    expect({ status: answer.status, code: (answer.body as { code: string }).code }).toEqual({ status, code })
    expect(answer.headers.get('content-type')).toContain('application/problem+json')
    expect(await stored()).toBe(before)
  })

  test('a key without the role, and a key bound to another organization', async () => {
    const auditor = await world.key({ role: 'auditor', principal: 'prn_01h455vb4pex5vsknk084sn02q' })
    expect((await post(event(), {}, auditor)).status).toBe(403)
    const elsewhere = await world.key({ role: 'ingest', organizations: ['org_elsewhere'] })
    const before = await stored()
    const foreign = await post(event(), {}, elsewhere)
    const absent = await post(event({ organizationId: 'org_never_seen' }), {}, elsewhere)
    const anonymous = (text: string) => text.replace(/"requestId":"[^"]*"/, '')
    expect(foreign.status).toBe(404)
    expect(anonymous(foreign.text)).toBe(anonymous(absent.text))
    expect(await stored()).toBe(before)
  })
})

describe('a batch', () => {
  const batch = (events: unknown[], headers: Record<string, string> = {}) =>
    world.request('POST', '/v1/events/batch', { body: { events }, headers })

  test('stores the good items, and the bad ones fail alone', async () => {
    const before = await stored()
    const answer = await batch([
      event(),
      event({ action: 'no good' }),
      event({ occurredAt: '2026-11-25T10:00:00' }),
      'rubbish',
      event({ idempotencyKey: 'in-batch' }),
      event({ idempotencyKey: 'in-batch' }),
      event({ idempotencyKey: 'in-batch', version: 2 }),
    ])
    expect(answer.status).toBe(200)
    const { results } = answer.body as { results: { index: number; status: number; replayed?: boolean }[] }
    expect(results.map(({ index, status, replayed }) => [index, status, replayed ?? false])).toEqual([
      [0, 201, false],
      [1, 422, false],
      [2, 422, false],
      [3, 422, false],
      [4, 201, false],
      [5, 201, true],
      [6, 409, false],
    ])
    expect(results[2]).toMatchObject({ problem: { errors: [{ path: 'occurredAt', code: 'no_time_zone' }] } })
    expect(await stored()).toBe(before + 2)
  })

  test.each<[string, unknown, string]>([
    ['no list', {}, 'events missing'],
    ['an empty list', { events: [] }, 'events too_few'],
    ['more than the limit', { events: Array.from({ length: 1_001 }, () => ({})) }, 'events too_many'],
    ['a list alone', [], ' wrong_type'],
    ['an unknown member', { events: [{}], mode: 'fast' }, 'mode unknown_field'],
  ])('with %s is refused whole', async (_name, body, expected) => {
    const answer = await world.request('POST', '/v1/events/batch', { body })
    expect(answer.status).toBe(422)
    const { errors } = answer.body as { errors: { path: string; code: string }[] }
    expect(errors.map(({ path, code }) => `${path} ${code}`)).toContain(expected)
  })

  // One write is one command of at most 16 MB; an event of many short pairs is ten times its JSON when stored.
  test.each<[string, JsonObject]>([
    [
      'many short pairs',
      Object.fromEntries(Array.from({ length: 200 }, (_, n) => [`k${String(n)}`, `v${String(n)}`])),
    ],
    ['text of three bytes a character', { text: '漢'.repeat(6_000) }],
  ])('of a thousand events of %s is stored whole', async (name, metadata) => {
    const organizationId = `org_large_${String(name.length)}`
    const events = Array.from({ length: 1_000 }, () => event({ organizationId, metadata }))
    const { results } = (await batch(events)).body as { results: { status: number }[] }
    expect(results.filter(({ status }) => status !== 201)).toEqual([])
    const found = await world.api.core.events.countDocuments({ organizationId, category: { $ne: 'system' } })
    expect(found).toBe(1_000)
  })

  test('with the header Idempotency-Key is refused', async () => {
    expect((await batch([event()], { 'idempotency-key': 'k' })).status).toBe(422)
  })
})

describe('lists', () => {
  const organizationId = 'org_lists'
  const list = (query: string, key?: string) =>
    world.request(
      'GET',
      `/v1/organizations/${organizationId}/events?${query}`,
      key === undefined ? {} : { key },
    )
  const ns = ({ body }: { body: unknown }) =>
    (body as { data: { metadata: { n: number } }[] }).data.map(({ metadata }) => metadata.n)

  beforeAll(async () => {
    const events = Array.from({ length: 30 }, (_, n) =>
      event({
        organizationId,
        action: n % 2 === 0 ? 'team.member.invited' : 'billing.plan.changed',
        outcome: n % 5 === 0 ? 'denied' : 'success',
        occurredAt: new Date(Date.UTC(2026, 0, 1, 0, Math.floor(n / 3))).toISOString(),
        actor:
          n % 3 === 0
            ? { type: 'service', id: 'cron' }
            : { type: 'user', id: `u_${String(n % 4)}`, email: 'shared@acme.example' },
        targets: [{ type: 'team', id: `t_${String(n % 6)}` }],
        context: { ip: `203.0.113.${String(n % 2)}`, sessionId: 's' },
        metadata: { n, even: n % 2 === 0 },
      }),
    )
    await world.request('POST', '/v1/events/batch', { body: { events } })
  })

  const all = Array.from({ length: 30 }, (_, n) => n)
  test.each<[string, (n: number) => boolean]>([
    ['category=product', () => true],
    ['action=team.member.invited', (n) => n % 2 === 0],
    ['action=team.*', (n) => n % 2 === 0],
    ['action=billing.plan.*', (n) => n % 2 === 1],
    ['action=billing.plan', () => false],
    ['outcome=denied', (n) => n % 5 === 0],
    ['outcome=success&category=product', (n) => n % 5 !== 0],
    ['actorType=service', (n) => n % 3 === 0],
    ['actorId=cron', (n) => n % 3 === 0],
    ['actorId=u_1', (n) => n % 3 !== 0 && n % 4 === 1],
    ['actorId=u_1&actorType=user', (n) => n % 3 !== 0 && n % 4 === 1],
    ['actorEmail=SHARED@acme.example', (n) => n % 3 !== 0],
    ['actorEmail=nobody@acme.example', () => false],
    ['targetId=t_2', (n) => n % 6 === 2],
    ['targetType=team&targetId=t_2&actorId=u_0', (n) => n % 6 === 2 && n % 3 !== 0 && n % 4 === 0],
    ['ip=203.0.113.1', (n) => n % 2 === 1],
    ['sessionId=s&outcome=denied', (n) => n % 5 === 0],
    ['metadata.even=true', (n) => n % 2 === 0],
    ['metadata.n=7', (n) => n === 7],
    ['from=2026-01-01T00:03:00Z&to=2026-01-01T00:05:00Z', (n) => n >= 9 && n < 15],
  ])('%s', async (query, wanted) => {
    const answer = await list(`${query}&limit=100`)
    expect(answer.status, answer.text).toBe(200)
    expect(ns(answer).sort((a, b) => a - b)).toEqual(all.filter(wanted))
  })

  test('pages are whole and in order, while events arrive', async () => {
    const seen: number[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const page = await list(`action=team.*&limit=4${cursor === '' ? '' : `&cursor=${cursor}`}`)
      expect(page.status).toBe(200)
      seen.push(...ns(page))
      cursor = (page.body as { nextCursor: string | null }).nextCursor
      await post(event({ organizationId, metadata: { n: 1_000 } }))
    }
    expect([...seen].sort((a, b) => a - b)).toEqual(all.filter((n) => n % 2 === 0))
    const minutes = seen.map((n) => Math.floor(n / 3))
    expect(minutes).toEqual([...minutes].sort((a, b) => b - a))
  })

  test('a cursor serves its own filters only', async () => {
    const page = await list('action=team.*&limit=2')
    const { nextCursor } = page.body as { nextCursor: string }
    expect((await list(`action=billing.*&limit=2&cursor=${nextCursor}`)).body).toMatchObject({
      code: 'cursor_invalid',
    })
    expect((await list(`action=team.*&cursor=${nextCursor.slice(0, -2)}xx`)).status).toBe(400)
  })

  test('without the grant, ids find things, and personal filters are refused', async () => {
    const auditor = await world.key({ role: 'auditor', principal: 'prn_01h455vb4pex5vsknk084sn02s' })
    expect(ns(await list('actorId=u_1&limit=100', auditor))).toEqual([])
    expect(ns(await list('actorId=cron&limit=100', auditor))).toHaveLength(10)
    for (const query of ['actorEmail=shared@acme.example', 'ip=203.0.113.1', 'sessionId=s']) {
      expect((await list(query, auditor)).status).toBe(403)
    }
    const masked = await list('actorType=user&limit=1', auditor)
    const { data } = masked.body as { data: { actor: { subject: string } }[] }
    const { subject } = data[0]?.actor ?? { subject: '' }
    expect(ns(await list(`subject=${subject}&limit=100`, auditor)).length).toBeGreaterThan(0)
  })

  test('a personal read is noted before it is answered, a masked one is not', async () => {
    const notes = async () =>
      world.api.core.events
        .find({ organizationId, action: 'annals.personal.read' })
        .sort({ _id: 1 })
        .toArray()
    const before = (await notes()).length
    await list('actorType=user&limit=2&personal=false')
    expect(await notes()).toHaveLength(before)
    await list('actorType=user&limit=2')
    await world.request('POST', `/v1/organizations/${organizationId}/events/search`, {
      body: { actorEmail: 'nobody@acme.example' },
    })
    expect(await notes()).toHaveLength(before + 2)
    expect(JSON.stringify(await notes())).not.toContain('acme.example')
  })

  test.each([
    ['limit=0', 'limit too_small'],
    ['limit=501', 'limit too_large'],
    ['from=yesterday', 'from malformed_time'],
    ['actoin=x', 'actoin unknown_field'],
    ['action=a b', 'action malformed_value'],
  ])('%s is refused', async (query, expected) => {
    const answer = await list(query)
    expect(answer.status).toBe(422)
    const { errors } = answer.body as { errors: { path: string; code: string }[] }
    expect(errors.map(({ path, code }) => `${path} ${code}`)).toContain(expected)
  })
})

test('another organization’s event is answered as one that does not exist, byte for byte', async () => {
  const { id } = (await post(event({ organizationId: 'org_theirs' }))).body as { id: string }
  const reader = await world.key({
    role: 'auditor',
    principal: 'prn_01h455vb4pex5vsknk084sn02t',
    organizations: ['org_acme'],
  })
  const path = (organization: string, event: string) => `/v1/organizations/${organization}/events/${event}`
  const anonymous = async (address: string) => {
    const { status, text } = await world.request('GET', address, { key: reader })
    return `${String(status)} ${text.replace(/"requestId":"[^"]*"/, '')}`
  }
  const absent = await anonymous(path('org_acme', 'evt_01h455vb4pex5vsknk084sn0zz'))
  expect(absent).toMatch(/^404/)
  expect(await anonymous(path('org_acme', id))).toBe(absent)
  expect(await anonymous(path('org_theirs', id))).toBe(absent)
  expect(await anonymous(path('org_nowhere', id))).toBe(absent)
})
