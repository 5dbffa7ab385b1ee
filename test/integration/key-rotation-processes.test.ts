/** A rotation as Temporal runs it, with intake under load, and a process that sleeps through all of it. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { childEnvironment } from '../../src/config.js'
import { startRotation } from '../../src/key-rotation/start-rotation.js'
import { connectTemporal, temporalOptions } from '../../src/temporal/client.js'
import { subjectStore } from '../../src/subjects/store.js'
import type { RunningWorkers } from '../../workers/main.js'
import { silent, startErasureWorkers } from '../support/erasure-workers.js'
import { checkOnlyPeriod, rotate, rotatorOf } from '../support/rotating.js'
import { openWorld, worldEnvironment, type World } from '../support/world.js'

const namespace = 'annals-rotation'
const entryFile = new URL('../../dist/src/cli/main.js', import.meta.url)
let world: World
let workers: RunningWorkers | undefined
let child: ChildProcess | undefined

beforeAll(async () => {
  world = await openWorld({ temporal: true, environment: { ANNALS_TEMPORAL_NAMESPACE: namespace } })
  const { core } = world.api
  const rotating = { rotator: core.rotator, logger: silent }
  workers = await startErasureWorkers(world, { deps: { rotating } })
})
afterAll(async () => {
  if (child?.exitCode === null) child.kill('SIGKILL')
  await workers?.stop()
  await world.close()
})

async function serve(): Promise<string> {
  const { dataDirectory, mongodb } = world.config
  const served = fork(entryFile, ['serve'], {
    env: childEnvironment(worldEnvironment(dataDirectory, mongodb.database)),
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  })
  child = served
  return new Promise((resolve, reject) => {
    served.on('message', (message: { type: string; url: string }) => {
      if (message.type === 'ready') resolve(message.url)
    })
    once(served, 'exit').then(() => reject(new Error('annals serve did not start')), reject)
  })
}

const organizationId = 'org_rotating'
const personOf = (name: string) => ({ type: 'user', id: `u_${name}`, name: `Person ${name}` })

test('nobody is refused while it runs, and whoever slept through it stores nobody under the old key', async () => {
  const { core } = world.api
  const sleeper = await serve()
  const statuses: number[] = []
  const stored = new Map<string, string>()
  const post = async (url: string, name: string): Promise<number> => {
    const response = await fetch(`${url}/v1/events`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${world.ownerKey}`,
        'content-type': 'application/json',
        'idempotency-key': name,
      },
      body: JSON.stringify({
        organizationId,
        action: 'document.opened',
        occurredAt: '2026-11-25T08:00:00.000Z',
        actor: personOf(name),
        targets: [],
      }),
    })
    const body = (await response.json()) as { id: string }
    if (response.status === 201) stored.set(name, body.id)
    return response.status
  }
  await post(sleeper, 'before')

  // Its requests are under way when it stops: persons that nobody has met yet.
  const insist = async (name: string) => {
    for (let again = 0; again < 50; again += 1) if ((await post(sleeper, name)) === 201) return
    throw new Error('a request was never taken')
  }
  const burst = Array.from({ length: 300 }, (_, number) => insist(`asleep-${String(number)}`))
  await expect.poll(() => stored.size, { interval: 1 }).toBeGreaterThan(5)
  child?.kill('SIGSTOP')

  let running = true
  const load = Promise.all(
    Array.from({ length: 4 }, async (_, client) => {
      for (let number = 0; running; number += 1)
        statuses.push(await post(world.url, `load-${String(client)}-${String(number)}`))
    }),
  )
  const temporal = await connectTemporal(temporalOptions(world.config))
  try {
    const workflowId = await startRotation(temporal, { overlapDays: 0 })
    const result: unknown = await temporal.client.workflow.getHandle(workflowId).result()
    expect(result).toMatchObject({ period: 2, removed: [1] })
  } finally {
    await temporal.close()
  }
  running = false
  await load
  expect(statuses.length).toBeGreaterThan(10)
  expect(statuses.filter((status) => status !== 201)).toEqual([])

  child?.kill('SIGCONT')
  await Promise.all(burst)
  for (const [name, id] of stored) {
    const { body } = await world.request('GET', `/v1/organizations/${organizationId}/events/${id}`)
    expect(body, name).toMatchObject({ actor: { name: personOf(name).name } })
  }
  // Its connections died in its sleep: what it had sent may have been stored without its knowing. Nothing refers to that.
  const { subjects, directory } = subjectStore(core.db)
  for await (const { _id } of subjects.find({ 'key.period': 1 }))
    expect(await directory.countDocuments({ subject: _id.slice(organizationId.length + 1) }), _id).toBe(0)
  expect((await rotate(() => rotatorOf(core, world.config), { run: 'next' })).removed).toEqual([2])
  await checkOnlyPeriod(core, 3)
})
