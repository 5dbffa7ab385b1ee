/**
 * Telling recipients while workers die, and two come at once; the clock is the test's, so that days pass at once.
 * The months in Temporal stand in erasures-time.test.ts.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { answering, startReceiver, type Receiver } from '../support/receiver.js'
import { hourMs, openRun, secondMs, secretsOf } from '../support/notices.js'
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

test('a worker that dies between the call and its record calls again, and the receiver knows the repeat by its id', async () => {
  const told = await receiver()
  let dies = true
  const run = openRun(world, [told.url], {
    store: (store) => ({
      ...store,
      record(...parameters) {
        if (dies) return Promise.reject(new Error('killed'))
        return store.record(...parameters)
      },
    }),
  })
  told.trust(...(await secretsOf(world, run.request.organizationId)))
  await expect(run.notify()).rejects.toThrow('killed')
  // What is known: an attempt was begun, and when the next one comes.
  expect(await run.outcomes()).toMatchObject([
    { status: 'pending', attempts: 1, nextAttemptAt: new Date(run.nowMs + 15 * secondMs), lastStatus: null },
  ])
  dies = false
  expect((await run.notify()).result).toBe('waiting')
  expect(await run.next()).toBe('notified')
  expect(told.calls).toHaveLength(2)
  expect(told.taken.size).toBe(1)
  expect(told.calls[0]?.body).toBe(told.calls[1]?.body)
  expect(await run.outcomes()).toMatchObject([{ status: 'acknowledged', attempts: 2 }])
})

test('a worker that dies at the last attempt does not keep the request for ever', async () => {
  const away = await receiver()
  away.behave(answering(503))
  let dies = false
  const run = openRun(world, [away.url], {
    giveUpMs: hourMs,
    store: (store) => ({
      ...store,
      record: (...parameters) => (dies ? Promise.reject(new Error('killed')) : store.record(...parameters)),
    }),
  })
  await run.notify()
  dies = true
  run.nowMs += hourMs
  await expect(run.notify()).rejects.toThrow('killed')
  dies = false
  expect(await run.next()).toBe('notified')
  expect(await run.outcomes()).toMatchObject([{ status: 'timed_out' }])
})

test('of two workers that come at once one calls', async () => {
  const told = await receiver()
  const run = openRun(world, [told.url, `${told.url}&second=1`])
  await Promise.all([run.notify(), run.notify(), run.notify()])
  expect(told.calls.map(({ id }) => id).sort()).toEqual([
    `${run.request.requestId}_0`,
    `${run.request.requestId}_1`,
  ])
})

test('a late acknowledgement counts, also where a newer attempt has begun; a late failure takes nothing back', async () => {
  const run = openRun(world, [(await receiver()).url])
  const { store, request } = run
  await store.ensure(request, 1, new Date(run.nowMs), new Date(run.nowMs + hourMs))
  const [document] = await store.of(request)
  if (document === undefined) throw new Error('there is no delivery')
  const at = new Date(run.nowMs)
  expect(await store.begin(document, at, at)).toBe(true)
  const later = new Date(at.getTime() + 1)
  expect(await store.begin(document, later, later)).toBe(false)
  expect(await store.begin({ ...document, attempts: 1 }, at, at)).toBe(true)
  const failed = { at, nextAttemptAt: null, lastStatus: 500, lastFailure: 'answered_otherwise' as const }
  await store.record({ ...document, attempts: 1 }, { ...failed, status: 'timed_out' })
  expect(await run.outcomes()).toMatchObject([{ status: 'pending', attempts: 2 }])
  const acknowledged = {
    at,
    nextAttemptAt: null,
    lastStatus: 200,
    lastFailure: null,
    status: 'acknowledged' as const,
  }
  await store.record({ ...document, attempts: 1 }, acknowledged)
  await store.record({ ...document, attempts: 2 }, { ...failed, status: 'timed_out' })
  expect(await run.outcomes()).toMatchObject([{ status: 'acknowledged', lastStatus: 200 }])
})
