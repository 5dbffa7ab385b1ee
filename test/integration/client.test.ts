import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { AnnalsClientError, createClient, type NewEvent, type StreamFailure } from '../../src/client/index.js'
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

const event = (organizationId: string, members: Partial<NewEvent> = {}): NewEvent => ({
  organizationId,
  action: 'team.member.invited',
  occurredAt: '2026-11-20T10:00:00.000Z',
  actor: { type: 'user', id: 'u_17' },
  targets: [],
  ...members,
})
const many = (count: number, organizationId: string) =>
  Array.from({ length: count }, (_, n) => event(organizationId, { metadata: { n } }))
const stored = (organizationId: string) =>
  world.api.core.events.countDocuments({ organizationId, category: { $ne: 'system' } })
const client = (url = world.url) =>
  createClient({ url, key: world.ownerKey, retry: { baseMs: 5, maxMs: 20, giveUpAfterMs: 5_000 } })

/** Servers that stand between client and world, and misbehave. */
const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections()
})
async function proxy(handle: (count: number, pass: () => Promise<Response>) => Promise<Response | 'break'>) {
  let count = 0
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const pass = () =>
        fetch(`${world.url}${request.url ?? ''}`, {
          method: request.method ?? 'GET',
          headers: Object.fromEntries(
            Object.entries(request.headers).filter(([name]) =>
              ['authorization', 'content-type', 'idempotency-key'].includes(name),
            ),
          ) as Record<string, string>,
          ...(chunks.length > 0 ? { body: Buffer.concat(chunks) } : {}),
        })
      void handle((count += 1), pass).then(async (answer) => {
        if (answer === 'break') {
          request.socket.destroy()
          return
        }
        response.writeHead(answer.status, {
          'content-type': answer.headers.get('content-type') ?? '',
          ...(answer.headers.get('retry-after') === null
            ? {}
            : { 'retry-after': answer.headers.get('retry-after') ?? '' }),
        })
        response.end(await answer.text())
      })
    })
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`, count: () => count }
}
const busy = () =>
  new Response(JSON.stringify({ status: 503, code: 'overloaded', detail: 'busy' }), {
    status: 503,
    headers: { 'content-type': 'application/problem+json', 'retry-after': '0' },
  })

describe('a single post', () => {
  test('gives id and leaf hash, and is read back', async () => {
    const { id, leafHash, replayed } = await client().post(event('org_post'))
    expect(replayed).toBe(false)
    expect(await client().get('org_post', id)).toMatchObject({ id, leafHash, action: 'team.member.invited' })
  })

  test('whose answer was lost is sent again under the same key, and stored once', async () => {
    const lossy = await proxy(async (count, pass) => {
      if (count === 2) return busy()
      const answer = await pass()
      return count === 1 ? 'break' : answer
    })
    const answer = await client(lossy.url).post(event('org_lossy'))
    expect(lossy.count()).toBe(3)
    expect(answer.id).toMatch(/^evt_/)
    expect(await stored('org_lossy')).toBe(1)
  })

  test('that is refused fails once, with code, status and problem', async () => {
    const counted = await proxy((_count, pass) => pass())
    const failure = await client(counted.url)
      .post(event('org_x', { occurredAt: 'yesterday' }))
      .catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(AnnalsClientError)
    expect(failure).toMatchObject({
      code: 'invalid',
      status: 422,
      problem: { errors: [{ path: 'occurredAt', code: 'malformed_time' }] },
    })
    expect(counted.count()).toBe(1)
  })

  test('to an address where nothing answers fails as unreachable when the time is over', async () => {
    const gone = createClient({
      url: 'http://127.0.0.1:9',
      key: 'x',
      retry: { baseMs: 1, giveUpAfterMs: 10 },
    })
    await expect(gone.post(event('org_x'))).rejects.toMatchObject({ code: 'unreachable', status: undefined })
  })

  test('can be given up by a signal', async () => {
    const never = await proxy(() => new Promise(() => undefined))
    const controller = new AbortController()
    const posting = client(never.url).post(event('org_x'), { signal: controller.signal })
    await expect.poll(never.count).toBe(1)
    controller.abort()
    await expect(posting).rejects.toMatchObject({ code: 'aborted' })
  })
})

describe('batches', () => {
  test('answer for each event', async () => {
    const [good, bad] = await client().postBatch([event('org_batch'), event('org_batch', { action: 'a b' })])
    expect(good).toMatchObject({ replayed: false })
    expect(bad).toMatchObject({ code: 'invalid' })
  })

  test('a queue sends what is added, in batches, and says what failed', async () => {
    const failed: unknown[] = []
    const kept: string[] = []
    const queue = client().queue({
      onFailure: (_event, error) => failed.push(error.code),
      onStored: (_event, { id }) => kept.push(id),
      maxBatchEvents: 50,
      maxQueuedEvents: 120,
    })
    for (const one of [...many(501, 'org_queue'), event('org_queue', { action: '' })]) {
      await queue.add(one)
      expect(queue.size).toBeLessThanOrEqual(120)
    }
    await queue.flush()
    expect(queue.size).toBe(0)
    expect([kept.length, failed]).toEqual([501, ['invalid']])
    expect(await stored('org_queue')).toBe(501)
    await queue.close()
    await expect(queue.add(event('org_queue'))).rejects.toMatchObject({ code: 'closed' })
  })

  test('a queue sends by itself when its oldest event has waited long enough', async () => {
    const queue = client().queue({ onFailure: () => undefined, maxAgeMs: 20 })
    await queue.add(event('org_age'))
    await expect.poll(() => stored('org_age')).toBe(1)
    await queue.close()
  })

  test('a batch whose answer was lost is stored once', async () => {
    const lossy = await proxy(async (count, pass) => {
      const answer = await pass()
      return count === 1 ? 'break' : answer
    })
    const outcomes = await client(lossy.url).postBatch(many(20, 'org_lossy_batch'))
    expect(outcomes.every((outcome) => !(outcome instanceof AnnalsClientError) && outcome.replayed)).toBe(
      true,
    )
    expect(await stored('org_lossy_batch')).toBe(20)
  })
})

describe('a stream', () => {
  test('stores everything, names what was refused by its place, and says how far it is', async () => {
    const events = many(3_000, 'org_stream')
    events[7] = event('org_stream', { action: 'a b' })
    events[2_999] = event('org_stream', { occurredAt: 'x' })
    const failures: StreamFailure<number>[] = []
    const progress: number[] = []
    const counts = await client().stream(events, {
      onFailure: (failure) => failures.push(failure),
      onProgress: ({ tag }) => progress.push(tag),
    })
    expect(counts).toEqual({ accepted: 2_998, replayed: 0, rejected: 2 })
    expect(failures.map(({ tag, problem }) => [tag, problem.code])).toEqual([
      [7, 'invalid'],
      [2_999, 'invalid'],
    ])
    expect(progress).toEqual([...progress].sort((a, b) => a - b))
    expect(progress.at(-1)).toBe(2_999)
    expect(await stored('org_stream')).toBe(2_998)
  })

  test('takes an async source as it comes: an event is stored before the next one is there', async () => {
    let release: (() => void) | undefined
    async function* source() {
      yield event('org_live')
      await new Promise<void>((resolve) => {
        release = resolve
      })
      yield event('org_live')
    }
    const streaming = client().stream(source())
    await expect.poll(() => stored('org_live')).toBe(1)
    release?.()
    expect(await streaming).toEqual({ accepted: 2, replayed: 0, rejected: 0 })
  })

  test('goes on over new connections, and stores nothing twice, when connections break in the middle', async () => {
    const { connect, createServer: createTcpServer } = await import('node:net')
    let connections = 0
    const cutting = createTcpServer((socket) => {
      connections += 1
      const upstream = connect(Number(new URL(world.url).port), '127.0.0.1')
      const cutAfter = connections < 4 ? 90_000 * connections : Number.POSITIVE_INFINITY
      let bytes = 0
      socket.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes > cutAfter) {
          socket.destroy()
          upstream.destroy()
        }
      })
      for (const end of [socket, upstream]) end.on('error', () => undefined)
      socket.pipe(upstream).pipe(socket)
    })
    await new Promise<void>((resolve) => cutting.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${String((cutting.address() as AddressInfo).port)}`
    const counts = await client(url).stream(many(2_500, 'org_cut'))
    expect(counts.accepted + counts.replayed).toBe(2_500)
    expect(await stored('org_cut')).toBe(2_500)
    expect(connections).toBe(4)
    cutting.close()
  })

  test('ends at the limit of refusals, and above one stream of the server goes on', async () => {
    const bad = Array.from({ length: 2_500 }, () => event('org_bad', { action: 'a b' }))
    await expect(client().stream(bad, { maxFailures: 10 })).rejects.toMatchObject({
      code: 'too_many_failures',
    })
    const counts = await client().stream([...bad, event('org_bad')], { maxFailures: 10_000 })
    expect(counts).toEqual({ accepted: 1, replayed: 0, rejected: 2_500 })
  })

  test('fails at once where the key may not, and with what its source throws', async () => {
    const other = createClient({ url: world.url, key: 'ak_none' })
    await expect(other.stream([event('org_x')])).rejects.toMatchObject({
      code: 'unauthenticated',
      status: 401,
    })
    async function* broken() {
      yield event('org_broken')
      await Promise.resolve()
      throw new RangeError('the source broke')
    }
    await expect(client().stream(broken())).rejects.toThrow(RangeError)
    expect(await client().stream([])).toEqual({ accepted: 0, replayed: 0, rejected: 0 })
  })
})

describe('a stream where fetch sends no streams', () => {
  const refusing: typeof fetch = (input, init) =>
    init?.body instanceof ReadableStream
      ? Promise.reject(new TypeError('ReadableStream bodies are not supported'))
      : fetch(input, init)
  /** As those do that make a text of whatever they get. */
  const garbling: typeof fetch = (input, init) =>
    init?.body instanceof ReadableStream
      ? fetch(input, { ...init, body: '[object ReadableStream]' })
      : fetch(input, init)
  const by = (used: typeof fetch, retry = { baseMs: 5, maxMs: 20, giveUpAfterMs: 5_000 }) =>
    createClient({ url: world.url, key: world.ownerKey, retry, fetch: used })

  test.each([
    ['refuses', refusing, 'org_refusing'],
    ['garbles', garbling, 'org_garbling'],
  ])('that %s them keeps its promises by batches', async (_name, used, organizationId) => {
    const events = many(1_200, organizationId)
    events[7] = event(organizationId, { action: 'a b' })
    const failures: StreamFailure<number>[] = []
    const progress: number[] = []
    const counts = await by(used).stream(events, {
      onFailure: (failure) => failures.push(failure),
      onProgress: ({ tag }) => progress.push(tag),
    })
    expect(counts).toEqual({ accepted: 1_199, replayed: 0, rejected: 1 })
    expect(failures.map(({ tag, problem }) => [tag, problem.code])).toEqual([[7, 'invalid']])
    expect(progress).toEqual([...progress].sort((a, b) => a - b))
    expect(progress.at(-1)).toBe(1_199)
    expect(await stored(organizationId)).toBe(1_199)
  })

  test('takes an async source as it comes, and lets go of it', async () => {
    let release: (() => void) | undefined
    let released = false
    async function* source() {
      try {
        yield event('org_live_batch')
        await new Promise<void>((resolve) => {
          release = resolve
        })
        yield event('org_live_batch')
      } finally {
        released = true
      }
    }
    const streaming = by(refusing).stream(source())
    await expect.poll(() => stored('org_live_batch')).toBe(1)
    release?.()
    expect(await streaming).toEqual({ accepted: 2, replayed: 0, rejected: 0 })
    expect(released).toBe(true)
  })

  test('goes on after answers that were lost, and stores nothing twice', async () => {
    let requests = 0
    const losing: typeof fetch = async (input, init) => {
      const response = await refusing(input, init)
      requests += 1
      if (requests % 2 === 0) return response
      await response.text()
      throw new TypeError('fetch failed', { cause: new Error('ECONNRESET') })
    }
    const counts = await by(losing).stream(many(1_100, 'org_lost_batch'))
    expect(counts.accepted + counts.replayed).toBe(1_100)
    expect(counts.replayed).toBeGreaterThan(0)
    expect(await stored('org_lost_batch')).toBe(1_100)
  })

  test('ends at the limit of refusals, when the caller gives up, and with what source and callbacks throw', async () => {
    const bad = Array.from({ length: 600 }, () => event('org_bad_batch', { action: 'a b' }))
    await expect(by(refusing).stream(bad, { maxFailures: 10 })).rejects.toMatchObject({
      code: 'too_many_failures',
    })
    async function* endless() {
      yield event('org_given_up')
      await new Promise<void>(() => undefined)
    }
    const giveUp = new AbortController()
    const waiting = by(refusing).stream(endless(), {
      signal: giveUp.signal,
      onProgress: () => giveUp.abort(),
    })
    await expect(waiting).rejects.toMatchObject({ code: 'aborted' })
    async function* broken() {
      yield event('org_broken_batch')
      await Promise.resolve()
      throw new RangeError('the source broke')
    }
    await expect(by(refusing).stream(broken())).rejects.toThrow(RangeError)
    const failing = { onProgress: () => expect.unreachable() }
    await expect(by(refusing).stream([event('org_callback')], failing)).rejects.toMatchObject({
      code: 'aborted',
    })
    expect(await by(refusing).stream([])).toEqual({ accepted: 0, replayed: 0, rejected: 0 })
  })

  test('is not given up for a server that is away for a moment: it streams when that is there', async () => {
    let bodies = 0
    const away: typeof fetch = (input, init) => {
      bodies += 1
      if (init?.body instanceof ReadableStream && bodies > 1) return fetch(input, init)
      return Promise.reject(new TypeError('fetch failed', { cause: new Error('ECONNREFUSED') }))
    }
    expect(await by(away).stream(many(10, 'org_away'))).toMatchObject({ accepted: 10 })
    expect(bodies).toBe(2)
  })
})

test('lists and searches go over all pages', async () => {
  await client().postBatch(many(450, 'org_pages'))
  const seen = new Set<string>()
  for await (const { id } of client().search('org_pages', { action: 'team.*' })) seen.add(id)
  expect(seen.size).toBe(450)
  const organizations: unknown[] = []
  for await (const organization of client().list('/v1/organizations', { limit: '2' }))
    organizations.push(organization)
  expect(organizations.length).toBeGreaterThan(5)
})
