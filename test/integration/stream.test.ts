import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openStream, type StreamAnswerLine } from '../support/ndjson-request.js'
import { allSamples } from '../support/samples.js'
import { checkWorldsSearch } from '../support/search-oracle.js'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(async () => {
  await checkWorldsSearch(world, { otherWriters: true })
  await world.close()
})

let made = 0
/** An event whose request id a test finds it by. */
const event = (organizationId: string, members: object = {}) => ({
  organizationId,
  action: 'team.member.invited',
  occurredAt: '2026-11-20T10:00:00.000Z',
  actor: { type: 'user', id: 'u_17', name: 'Jane Doe' },
  targets: [],
  metadata: { n: (made += 1) },
  ...members,
})
const lines = (...events: object[]) => events.map((one) => `${JSON.stringify(one)}\n`).join('')
const stored = (organizationId: string) =>
  world.api.core.events.countDocuments({ organizationId, category: { $ne: 'system' } })

async function post(
  body: string | Uint8Array,
  {
    query = '',
    headers = {},
    key = world.ownerKey,
  }: { query?: string; headers?: Record<string, string>; key?: string } = {},
) {
  const response = await fetch(`${world.url}/v1/events/stream${query}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/x-ndjson', ...headers },
    body,
  })
  const text = await response.text()
  const isStream = response.headers.get('content-type')?.startsWith('application/x-ndjson') === true
  const texts = isStream ? text.trimEnd().split('\n') : []
  return { status: response.status, lines: texts.map((line) => JSON.parse(line) as StreamAnswerLine) }
}

describe('the answer', () => {
  test('says one line for each event with answer=all, in their order, and then how it went', async () => {
    const { status, lines: answer } = await post(
      lines(event('org_all'), event('org_all'), { organizationId: 'x' }),
      {
        query: '?answer=all',
      },
    )
    expect(status).toBe(200)
    expect(answer).toMatchObject([
      { line: 1, status: 201, id: expect.stringMatching(/^evt_/) as string },
      { line: 2, status: 201 },
      { line: 3, status: 422, problem: { code: 'invalid' } },
      { done: true, accepted: 2, replayed: 0, rejected: 1 },
    ])
    expect(Object.keys(answer[3] ?? {})).toEqual(['done', 'accepted', 'replayed', 'rejected'])
    const read = await world.request('GET', `/v1/organizations/org_all/events/${answer[0]?.id ?? ''}`)
    expect(read.body).toMatchObject({ leafHash: answer[0]?.leafHash })
  })

  test('says only what failed without it, each with its line, code and path', async () => {
    const bad = { ...event('org_failures'), actor: { type: 'user' } }
    const { lines: answer } = await post(lines(event('org_failures'), bad, event('org_failures')))
    expect(answer).toMatchObject([
      { line: 2, status: 422, problem: { code: 'invalid', errors: [{ path: 'actor.id', code: 'missing' }] } },
      { done: true, accepted: 2, replayed: 0, rejected: 1 },
    ])
  })

  test('names repeats under a key or an id, and keeps their first ids', async () => {
    const first = event('org_repeat', { idempotencyKey: 'k1' })
    const second = event('org_repeat', { id: 'evt_01h455vb4pex5vsknk084sn02q' })
    const once = await post(lines(first, second), { query: '?answer=all' })
    const again = await post(lines(first, second, { ...first, action: 'other' }), { query: '?answer=all' })
    expect(again.lines).toMatchObject([
      { line: 1, id: once.lines[0]?.id, leafHash: once.lines[0]?.leafHash, replayed: true },
      { line: 2, id: 'evt_01h455vb4pex5vsknk084sn02q', replayed: true },
      { line: 3, status: 409, problem: { code: 'idempotency_conflict' } },
      { done: true, accepted: 0, replayed: 2, rejected: 1 },
    ])
    expect(await stored('org_repeat')).toBe(2)
  })

  test('says up to which line all is answered, where it is asked to', async () => {
    const stream = await openStream(world.url, world.ownerKey, '?progress=true')
    await stream.send(lines(event('org_progress'), event('org_progress')))
    await stream.seen('"through":2')
    await stream.finish()
    expect((await stream.answer()).lines).toMatchObject([
      { through: 2, accepted: 2, rejected: 0 },
      { done: true, accepted: 2 },
    ])
  })

  test('1,000 failures stop it, and the last line says where', async () => {
    const bad = Array.from({ length: 5_000 }, () => ({}))
    const { lines: answer } = await post(lines(...bad))
    const last = answer.at(-1)
    expect(last).toMatchObject({ done: false, accepted: 0, problem: { code: 'too_many_failures' } })
    expect(last?.rejected).toBeGreaterThanOrEqual(1_000)
    expect(last?.rejected).toBeLessThan(4_000)
    expect(last?.line).toBe(last?.rejected)
    expect(answer).toHaveLength((last?.rejected ?? 0) + 1)
  })
})

describe('what may be sent', () => {
  test('all samples, gzipped, and they read back as by a single post', async () => {
    const body = gzipSync(
      lines(...allSamples().map((sample, index) => ({ ...sample, idempotencyKey: `s${String(index)}` }))),
    )
    const { lines: answer } = await post(body, { headers: { 'content-encoding': 'gzip' } })
    expect(answer).toEqual([{ done: true, accepted: allSamples().length, replayed: 0, rejected: 0 }])
  })

  test('CRLF, blank lines, a byte order mark, a last line without its end; blank lines count', async () => {
    const [a, b] = [event('org_lines'), {}].map((one) => JSON.stringify(one))
    const { lines: answer } = await post(
      `\uFEFF${a ?? ''}\r\n\r\n  \n${b ?? ''}\r\n\n${JSON.stringify(event('org_lines'))}`,
    )
    expect(answer).toMatchObject([
      { line: 4, status: 422 },
      { done: true, accepted: 2, rejected: 1 },
    ])
  })

  test('nothing at all', async () => {
    expect((await post('')).lines).toEqual([{ done: true, accepted: 0, replayed: 0, rejected: 0 }])
    expect((await post('\n\r\n \n')).lines).toEqual([{ done: true, accepted: 0, replayed: 0, rejected: 0 }])
  })

  test('chunks that end inside a UTF-8 character', async () => {
    const sent = event('org_utf8', { description: 'Zoë 🦆 漢字', idempotencyKey: 'utf8' })
    const bytes = Buffer.from(lines(sent))
    const stream = await openStream(world.url, world.ownerKey, '?answer=all')
    for (const byte of bytes) await stream.send(Buffer.of(byte))
    await stream.finish()
    const { lines: answer } = await stream.answer()
    expect(answer.at(-1)).toMatchObject({ done: true, accepted: 1 })
    const read = await world.request('GET', `/v1/organizations/org_utf8/events/${answer[0]?.id ?? ''}`)
    expect(read.body).toMatchObject({ description: 'Zoë 🦆 漢字' })
  })

  test('a line that is no UTF-8, no JSON, too long or too short fails alone, under its number', async () => {
    const good = lines(event('org_faults'))
    const body = Buffer.concat([
      Buffer.from('{"a":"\xff"}\n', 'latin1'),
      Buffer.from(good),
      Buffer.from('{"a":\n'),
      Buffer.from(`{"a":"${'x'.repeat(3_000_000)}"}\n`),
      Buffer.from('7\n'),
      Buffer.from(good),
    ])
    expect((await post(body)).lines).toMatchObject([
      { line: 1, status: 400, problem: { code: 'malformed' } },
      { line: 3, status: 400, problem: { code: 'malformed' } },
      { line: 4, status: 413, problem: { code: 'too_large' } },
      { line: 5, status: 422, problem: { code: 'invalid' } },
      { done: true, accepted: 2, rejected: 4 },
    ])
  })

  test('a body that is not what it says ends with what could be read, and why', async () => {
    const whole = gzipSync(lines(event('org_gzip')))
    const cut = await post(whole.subarray(0, -6), { headers: { 'content-encoding': 'gzip' } })
    expect(cut.lines.at(-1)).toMatchObject({ done: false, problem: { code: 'malformed' } })
    const plain = await post(lines(event('org_gzip')), { headers: { 'content-encoding': 'gzip' } })
    expect(plain.lines).toMatchObject([{ done: false, accepted: 0, problem: { code: 'malformed' } }])
  })
})

describe('who may send what', () => {
  test('roles, bindings, media types and the header are judged as everywhere', async () => {
    const auditor = await world.key({ role: 'auditor', principal: 'prn_01h455vb4pex5vsknk084sn02q' })
    expect((await post('', { key: auditor })).status).toBe(403)
    expect((await post('', { key: 'none' })).status).toBe(401)
    expect((await post('', { headers: { 'content-type': 'application/json' } })).status).toBe(415)
    expect((await post('x', { headers: { 'content-encoding': 'zstd' } })).status).toBe(415)
    expect((await post('', { headers: { 'idempotency-key': 'x' } })).status).toBe(422)
    expect((await post('', { query: '?answer=some' })).status).toBe(422)
    const bound = await world.key({ role: 'ingest', organizations: ['org_mine'] })
    const { lines: answer } = await post(lines(event('org_mine'), event('org_other')), { key: bound })
    expect(answer).toMatchObject([
      { line: 2, status: 404, problem: { code: 'not_found' } },
      { done: true, accepted: 1, rejected: 1 },
    ])
    expect(await stored('org_other')).toBe(0)
  })
})

describe('the connection', () => {
  test('a client that sends everything before it reads gets through', async () => {
    const stream = await openStream(world.url, world.ownerKey)
    const bad = `{"a":"${'x'.repeat(200)}"}\n`
    for (let part = 0; part < 20; part += 1) {
      await stream.send(lines(...Array.from({ length: 500 }, () => event('org_first'))) + bad.repeat(10))
    }
    await stream.finish()
    const { lines: answer } = await stream.answer()
    expect(answer.at(-1)).toMatchObject({ done: true, accepted: 10_000, rejected: 200 })
    expect(answer).toHaveLength(201)
    expect(await stored('org_first')).toBe(10_000)
  })

  test('a client that closes its side after the last line still gets its answers', async () => {
    const stream = await openStream(world.url, world.ownerKey, '?answer=all')
    await stream.send(lines(...Array.from({ length: 1_000 }, () => event('org_half'))))
    await stream.finish()
    stream.socket.end()
    const { lines: answer } = await stream.answer()
    expect(answer).toHaveLength(1_001)
    expect(answer.at(-1)).toMatchObject({ done: true, accepted: 1_000 })
  })

  test.each(['end', 'destroy'] as const)(
    'a client that goes away in the middle (%s) loses nothing that was read',
    async (way) => {
      const organizationId = `org_away_${way}`
      const aborted = () => world.logs().split('"code":"aborted"').length
      const before = aborted()
      const stream = await openStream(world.url, world.ownerKey)
      await stream.send(lines(...Array.from({ length: 300 }, () => event(organizationId))) + '{"half a line')
      await expect.poll(() => stored(organizationId)).toBe(300)
      stream.socket[way]()
      await expect.poll(aborted).toBe(before + 1)
      stream.socket.destroy()
      expect(await stored(organizationId)).toBe(300)
      expect((await post(lines(event(organizationId)))).lines).toMatchObject([{ done: true, accepted: 1 }])
    },
  )

  test('serves the next request on the same connection', async () => {
    const agentless = await post(lines(event('org_next')))
    expect(agentless.lines.at(-1)).toMatchObject({ done: true })
    expect((await world.request('GET', '/v1/organizations/org_next/events')).status).toBe(200)
  })
})

test('a server that is about to stop answers what it has read, says where, and takes no new stream', async () => {
  const own = await openWorld()
  const stream = await openStream(own.url, own.ownerKey)
  await stream.send(lines(event('org_drain'), event('org_drain')))
  const count = () =>
    own.api.core.events.countDocuments({ organizationId: 'org_drain', category: { $ne: 'system' } })
  await expect.poll(count).toBe(2)
  own.api.health.startDraining()
  const { lines: answer } = await stream.answer()
  expect(answer).toMatchObject([
    { done: false, accepted: 2, line: 2, problem: { code: 'unavailable' }, retryAfterSeconds: 1 },
  ])
  const late = await own.request('POST', '/v1/events/stream', {
    headers: { 'content-type': 'application/x-ndjson' },
    body: '',
  })
  expect(late.status).toBe(503)
  await own.close()
})
