/**
 * Telling recipients, on a real database and with real receivers; the clock is the test's, so that days pass at once.
 * The months in Temporal stand in erasures-time.test.ts.
 */
import { createServer, type AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { inTransaction } from '../../src/mongo/transaction.js'
import { answering, startReceiver, verifies, type Receiver } from '../support/receiver.js'
import { rawHits } from '../support/erasure-oracle.js'
import { hourMs, openRun, person, secondMs, toEnd, secretsOf } from '../support/notices.js'
import { openWorld, type World } from '../support/world.js'

let world: World
const receivers: Receiver[] = []
beforeAll(async () => {
  world = await openWorld()
})
afterAll(async () => {
  await Promise.all(receivers.map((receiver) => receiver.close()))
  await world.close()
})

async function receiver(options: { readonly tls?: boolean } = {}): Promise<Receiver> {
  const started = await startReceiver(options)
  receivers.push(started)
  return started
}

test('a recipient hears over TLS whom to erase, in a body that the library verifies with the organization’s secret', async () => {
  const told = await receiver({ tls: true })
  const run = openRun(world, [told.url], {
    request: {
      scope: {
        scopedAt: new Date(),
        subjects: [],
        ambiguousIdentifiers: [1],
        certainSubjects: 0,
        targets: [],
        freeText: [],
        earliest: null,
        latest: null,
      },
    },
  })
  const { organizationId, requestId } = run.request
  told.trust(...(await secretsOf(world, organizationId)))
  expect(await run.notify()).toEqual({ result: 'notified' })
  expect([...told.taken.keys()]).toEqual([`${requestId}_0`])
  expect(JSON.parse(told.calls[0]?.body ?? '')).toEqual({
    type: 'person.erased',
    timestamp: new Date(run.nowMs).toISOString(),
    data: {
      organizationId,
      erasureId: requestId,
      // An e-mail that others have too is never to be erased by alone.
      identifiers: [person[0], { ...person[1], shared: true }],
    },
  })
  expect(await run.outcomes()).toEqual([
    {
      position: 0,
      status: 'acknowledged',
      attempts: 1,
      lastAttemptAt: new Date(run.nowMs),
      nextAttemptAt: null,
      endedAt: new Date(run.nowMs),
      lastStatus: 204,
      lastFailure: null,
    },
  ])
  // Told once is told: another run of the step calls nobody.
  expect(await run.notify()).toEqual({ result: 'notified' })
  expect(told.calls).toHaveLength(1)
  // A secret of another organization verifies nothing.
  const [other = ''] = await secretsOf(world, 'org_notices_other')
  const [call] = told.calls
  expect(call !== undefined && verifies(other, call)).toBe(false)
})

test('nothing of the person, and no address of a recipient, is in the database afterwards', async () => {
  const told = await receiver()
  const away = await receiver()
  away.behave(answering(503))
  const run = openRun(world, [told.url, `${away.url}&token=s3cr3t-in-url`])
  await run.notify()
  await toEnd(run)
  const words = ['nora.notice', 'u_8812-notice', 's3cr3t-in-url', 'recipient 1', `:${String(told.port)}`]
  expect(await rawHits(world.api.core, run.request.organizationId, words)).toEqual([])
  const { organizationId, requestId } = run.request
  const deliveries = world.api.core.db.collection<{ _id: string }>('webhookDeliveries')
  expect((await deliveries.find({ requestId }).toArray()).map(({ _id }) => _id)).toEqual([
    `${organizationId}/${requestId}/0`,
    `${organizationId}/${requestId}/1`,
  ])
})

test('a request without recipients has nobody to tell', async () => {
  const run = openRun(world, [])
  expect(await run.notify()).toEqual({ result: 'skipped' })
  expect(await run.outcomes()).toEqual([])
})

test('one that is down for hours is told when it is up again, with the same id and the same body, freshly signed', async () => {
  const away = await receiver()
  const run = openRun(world, [away.url])
  away.trust(...(await secretsOf(world, run.request.organizationId)))
  away.behave(answering(503))
  const began = run.nowMs
  expect(await run.notify()).toEqual({
    result: 'waiting',
    until: new Date(began + 15 * secondMs).toISOString(),
  })
  // Before its time nobody is called.
  expect(await run.notify()).toEqual({
    result: 'waiting',
    until: new Date(began + 15 * secondMs).toISOString(),
  })
  expect(away.calls).toHaveLength(1)
  const pauses: number[] = []
  while (run.nowMs - began < 8 * hourMs) {
    const before = run.nowMs
    expect(await run.next()).toBe('waiting')
    pauses.push((run.nowMs - before) / secondMs)
  }
  expect(pauses).toEqual([15, 60, 240, 960, 3_840, 14_400, 14_400])
  expect(await run.outcomes()).toMatchObject([{ status: 'pending', attempts: 8, lastStatus: 503 }])
  expect(new Set(away.calls.map(({ body }) => body)).size).toBe(1)
  expect(new Set(away.calls.map(({ id }) => id)).size).toBe(1)
  const stamps = away.calls.map(({ headers }) => Number(headers['webhook-timestamp']))
  expect(stamps.map((stamp) => stamp - (stamps[0] ?? 0))).toEqual([
    0, 15, 75, 315, 1_275, 5_115, 19_515, 33_915,
  ])
  away.behave((_request, response) => {
    response.writeHead(200).end('thank you')
  })
  expect(await run.next()).toBe('notified')
  expect(await run.outcomes()).toMatchObject([{ status: 'acknowledged', attempts: 9, lastStatus: 200 }])
})

test.each([
  ['answers 500', (one: Receiver) => one.behave(answering(500)), 'answered_otherwise', 500],
  ['never answers', (one: Receiver) => one.behave(() => undefined), 'no_answer_in_time', null],
  [
    'drips its answer for ever',
    (one: Receiver) =>
      one.behave((request) => {
        request.socket.write('HTTP/1.1 200 OK\r\n')
        const timer = setInterval(() => request.socket.write('x-drip: 1\r\n'), 20)
        request.socket.once('close', () => clearInterval(timer))
      }),
    'no_answer_in_time',
    null,
  ],
  [
    'redirects to the metadata of the cloud',
    (one: Receiver) => one.behave(answering(302, { location: 'http://169.254.169.254/' })),
    'answered_otherwise',
    302,
  ],
  [
    'sends a head without end',
    (one: Receiver) =>
      one.behave(
        (request) => void request.socket.write(`HTTP/1.1 200 OK\r\nx-huge: ${'a'.repeat(100_000)}\r\n`),
      ),
    'answer_malformed',
    null,
  ],
] as const)(
  'one that %s for three days has timed out, and the request goes on',
  async (_what, misbehave, lastFailure, lastStatus) => {
    const bad = await receiver()
    const good = await receiver()
    misbehave(bad)
    const run = openRun(world, [bad.url, good.url], { sender: { limits: { connectMs: 200, totalMs: 200 } } })
    const began = run.nowMs
    expect((await run.notify()).result).toBe('waiting')
    await toEnd(run)
    expect(run.nowMs - began).toBe(72 * hourMs)
    const attempts = bad.calls.length
    expect(attempts).toBeGreaterThan(15)
    expect(attempts).toBeLessThan(30)
    expect(await run.outcomes()).toMatchObject([
      { status: 'timed_out', attempts, nextAttemptAt: null, lastFailure, lastStatus },
      { status: 'acknowledged' },
    ])
    expect(good.taken.size).toBe(1)
  },
  30_000,
)

test('a name that leads inside is looked at each time, called never, and times out by that reason', async () => {
  const inside = await receiver({ tls: true })
  let looks = 0
  const addresses = [['127.0.0.1'], ['::1'], ['1.1.1.1', '10.0.0.1']]
  const run = openRun(world, [inside.url], {
    sender: {
      allowPrivate: false,
      resolve: () => Promise.resolve(addresses[(looks += 1) % addresses.length] ?? []),
    },
  })
  expect((await run.notify()).result).toBe('waiting')
  await toEnd(run)
  expect(inside.calls).toEqual([])
  expect(looks).toBeGreaterThan(15)
  expect(await run.outcomes()).toMatchObject([{ status: 'timed_out', lastFailure: 'address_not_allowed' }])
})

test('410 is a refusal at once; another 4xx when it stays one for twenty minutes', async () => {
  const gone = await receiver()
  const unset = await receiver()
  const repaired = await receiver()
  gone.behave(answering(410))
  unset.behave(answering(404))
  repaired.behave(answering(401))
  const run = openRun(world, [gone.url, unset.url, repaired.url])
  const began = run.nowMs
  await run.notify()
  expect(await run.outcomes()).toMatchObject([
    { status: 'refused', attempts: 1, lastStatus: 410 },
    { status: 'pending' },
    { status: 'pending' },
  ])
  await run.next()
  repaired.behave(undefined)
  await toEnd(run)
  expect(await run.outcomes()).toMatchObject([
    { status: 'refused', attempts: 1, lastStatus: 410, lastFailure: 'answered_otherwise' },
    { status: 'refused', attempts: 5, lastStatus: 404 },
    { status: 'acknowledged', attempts: 3, lastStatus: 204 },
  ])
  expect(run.nowMs - began).toBe((15 + 60 + 240 + 960) * secondMs)
})

test('429 with Retry-After is called again when it asked to be, within bounds', async () => {
  const busy = await receiver()
  const run = openRun(world, [busy.url])
  const until = (ms: number) => new Date(run.nowMs + ms).toISOString()
  busy.behave(answering(429, { 'retry-after': '7200' }))
  expect(await run.notify()).toEqual({ result: 'waiting', until: until(2 * hourMs) })
  busy.behave(answering(429, { 'retry-after': '31536000' }))
  run.nowMs += 2 * hourMs
  expect(await run.notify()).toEqual({ result: 'waiting', until: until(12 * hourMs) })
  busy.behave(answering(429, { 'retry-after': '0' }))
  run.nowMs += 12 * hourMs
  expect(await run.notify()).toEqual({ result: 'waiting', until: until(240 * secondMs) })
  // It is never a refusal.
  expect(await toEnd(run)).toBeGreaterThan(3)
  expect(await run.outcomes()).toMatchObject([{ status: 'timed_out', lastStatus: 429 }])
})

test('fifty recipients, of which some hang, are told at once and few at a time', async () => {
  const told = await receiver()
  let inFlight = 0
  let most = 0
  const urls = Array.from({ length: 50 }, (_, position) => `${told.url}&n=${String(position)}`)
  const run = openRun(world, urls, {
    wrap: (send) => async (call) => {
      inFlight += 1
      most = Math.max(most, inFlight)
      const result = await send(call)
      inFlight -= 1
      return result
    },
  })
  told.behave((request, response) => {
    if (request.url?.endsWith('7') === true) return
    response.writeHead(200).end()
  })
  expect((await run.notify()).result).toBe('waiting')
  expect(most).toBe(4)
  const counted = (await run.outcomes()).filter(({ status }) => status === 'acknowledged')
  expect(counted).toHaveLength(45)
  expect(new Set(told.calls.map(({ id }) => id)).size).toBe(50)
})

test('after a rotation a webhook carries both signatures, and later the new one alone', async () => {
  const told = await receiver()
  told.behave(answering(503))
  const run = openRun(world, [told.url])
  const { organizationId } = run.request
  const { secrets } = world.api.core.delivery
  const [old = ''] = await secretsOf(world, organizationId)
  const rotate = (overlapMs: number) =>
    inTransaction(world.api.core.client, (session) => secrets.rotate(organizationId, overlapMs, session))
  expect(await rotate(hourMs)).toBe(2)
  const both = await secretsOf(world, organizationId)
  expect(both).toHaveLength(2)
  expect(both[1]).toBe(old)
  await run.notify()
  const [call] = told.calls
  if (call === undefined) throw new Error('nobody was called')
  expect(call.headers['webhook-signature']?.split(' ')).toHaveLength(2)
  expect(both.map((secret) => verifies(secret, call))).toEqual([true, true])
  // One that leaked signs no more at once.
  expect(await rotate(0)).toBe(3)
  await run.next()
  const last = told.calls[1]
  if (last === undefined) throw new Error('nobody was called again')
  const [newest = ''] = await secretsOf(world, organizationId)
  expect(last.headers['webhook-signature']?.split(' ')).toHaveLength(2)
  expect([
    verifies(newest, { ...last, headers: { ...last.headers } }),
    verifies(both[0] ?? '', last),
  ]).toEqual([true, false])
  for (let more = 0; more < 3; more += 1) await rotate(hourMs)
  await expect(rotate(hourMs)).rejects.toMatchObject({ code: 'wrong_state' })
})

test('a port where nobody listens is no reason to stop', async () => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  const run = openRun(world, [`http://127.0.0.1:${String(port)}/`], { giveUpMs: hourMs })
  expect((await run.notify()).result).toBe('waiting')
  await toEnd(run)
  expect(await run.outcomes()).toMatchObject([{ status: 'timed_out', lastFailure: 'unreachable' }])
})
