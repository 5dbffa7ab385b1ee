/** A process that sleeps through a fence: `annals serve` on its own, stopped by SIGSTOP and woken by SIGCONT. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { childEnvironment } from '../../src/config.js'
import { erasingRun } from '../support/erasing.js'
import { drainAll } from '../support/sealing.js'
import { openWorld, worldEnvironment, type World } from '../support/world.js'

const organizationId = 'org_fence'
const entryFile = new URL('../../dist/src/cli/main.js', import.meta.url)
let world: World
let child: ChildProcess | undefined

beforeAll(async () => {
  world = await openWorld()
})
afterAll(async () => {
  if (child?.exitCode === null) child.kill('SIGKILL')
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

const person = { type: 'user', id: 'u_sleeper-7', name: 'Sleepy Canary', email: 'sleepy@acme.example' }

test('a process that sleeps through the fence neither writes nor reads under the erased key afterwards', async () => {
  const url = await serve()
  const headers = { authorization: `Bearer ${world.ownerKey}`, 'content-type': 'application/json' }
  const answers: { id: string; key: string }[] = []
  const send = async (key: string): Promise<void> => {
    const request = {
      method: 'POST',
      headers: { ...headers, 'idempotency-key': key },
      body: JSON.stringify({
        organizationId,
        action: 'document.opened',
        occurredAt: '2026-11-25T08:00:00.000Z',
        actor: person,
        targets: [{ type: 'document', id: key }],
      }),
    }
    let response = await fetch(`${url}/v1/events`, request)
    // Connections to the database may have died in its sleep: a client tries again, under the same key.
    for (let again = 0; response.status === 503 && again < 50; again += 1) {
      await response.text()
      response = await fetch(`${url}/v1/events`, request)
    }
    const body = (await response.json()) as { id: string }
    expect(response.status).toBe(201)
    answers.push({ id: body.id, key })
  }
  await send('first')
  await drainAll(world.api.core)
  const identifiers = [
    { kind: 'id', type: 'user', value: person.id },
    { kind: 'email', value: person.email },
  ] as const
  const run = erasingRun(world.api.core, organizationId, identifiers, { leases: true })
  await run.scope()
  const [old] = run.report().subjects

  // Many are under way when it stops: between the look at the lease and the commit, and between the commit and the answer.
  const burst = Array.from({ length: 300 }, (_, number) => send(`burst-${String(number)}`))
  await expect.poll(() => answers.length, { interval: 1 }).toBeGreaterThan(5)
  child?.kill('SIGSTOP')
  await run.erasing.fence(run, () => undefined)
  await run.erasing.prepare(run, () => undefined)
  await run.erasing.erase(run, () => undefined)
  child?.kill('SIGCONT')
  await Promise.all(burst)

  const { events, db, sealing } = world.api.core
  const rows = await events.find({ organizationId, action: 'document.opened' }).toArray()
  const subjectOf = new Map(
    rows.map(({ _id, fields }) => [
      _id.slice(organizationId.length + 1),
      fields.find((field) => 'subject' in field),
    ]),
  )
  // Everything that was answered is there, and once; what the old subject has was sealed before its key went.
  expect(new Set(answers.map(({ id }) => id)).size).toBe(301)
  expect(rows).toHaveLength(301)
  const cutOff = (await run.deps.progress.read(run)).cutOff?.index ?? -1
  let underNew = 0
  for (const { id } of answers) {
    const block = subjectOf.get(id)
    if (block === undefined || !('subject' in block)) throw new Error('an event without its person')
    if (block.subject === old) {
      expect(block.sealed).toBeUndefined()
      expect((await sealing.store.locate(organizationId, id))?.index).toBeLessThan(cutOff)
    } else {
      underNew += 1
      expect(block.sealed).toBeDefined()
    }
  }
  expect(underNew).toBeGreaterThan(0)
  expect(await db.collection('directory').countDocuments({ organizationId, subject: old })).toBe(0)
  expect(await run.erasing.verify(run, () => undefined)).toEqual({ result: 'clean' })

  // It reads the new subject, and of the old one that it is gone.
  const read = await fetch(`${url}/v1/organizations/${organizationId}/events?limit=500`, { headers })
  const { data } = (await read.json()) as { data: { action: string; actor: Record<string, unknown> }[] }
  for (const { actor } of data.filter(({ action }) => action === 'document.opened')) {
    if (actor['subject'] === old) expect(actor).toEqual({ type: 'user', subject: old, erased: true })
    else expect(actor).toMatchObject({ name: person.name })
  }
})
