/** What others do while a person is erased: events that keep coming, holds that come at the last moment, keys that are wrong. */
import { randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openApi } from '../../src/api.js'
import { openCore, type Core } from '../../src/composition.js'
import { startServer } from '../../src/http/server.js'
import { eventIdOf } from '../../src/events/store.js'
import { ensureFirstPeriodKey } from '../../src/keys/period-keys.js'
import { periodKeyFiles } from '../../src/keys/period-key-files.js'
import { readRootKeyFile } from '../../src/keys/root-key.js'
import { KeyError } from '../../src/keys/wrapping.js'
import { createLogger } from '../../src/logging.js'
import { createMetrics } from '../../src/metrics.js'
import { verifyServer } from '../../src/verification/run.js'
import { rawHits } from '../support/erasure-oracle.js'
import { erasingRun } from '../support/erasing.js'
import { drainUntilSealed } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(async () => {
  await world.close()
})

const logger = createLogger('silent')
const nothing = () => undefined
const person = {
  type: 'user',
  id: 'u_3304-throughout',
  name: 'Thea Throughout',
  email: 'thea.throughout@acme.example',
}
const identifiers = [
  { kind: 'id', type: 'user', value: person.id },
  { kind: 'email', value: person.email },
  { kind: 'other', value: person.name },
] as const
const wait = { timeout: 30_000, interval: 5 }

async function post(organizationId: string, rest: object = {}): Promise<string> {
  const body = {
    organizationId,
    action: 'document.opened',
    occurredAt: new Date().toISOString(),
    actor: person,
    targets: [],
    ...rest,
  }
  for (;;) {
    const answer = await world.request('POST', '/v1/events', { body })
    if (answer.status === 503) continue
    expect(answer.status, answer.text).toBe(201)
    return (answer.body as { id: string }).id
  }
}

describe('events of the person that keep coming', () => {
  let worker: Core
  beforeAll(async () => {
    // Erases, and knows nothing of what the API has in memory.
    worker = await openCore(world.config, logger)
  })
  afterAll(async () => {
    await worker.close()
  })

  test('are stored under the old subject and erased, or under the new one; none is lost, and the request ends', async () => {
    const organizationId = 'org_throughout'
    const answered = [await post(organizationId, { description: `for ${person.name}` })]
    const state = { stopped: false }
    const until = async (body: () => Promise<unknown>) => {
      while (!state.stopped) await body()
    }
    // Clients, each of which names the person in text as well, and a sealer.
    const clients = Array.from({ length: 2 }, (_, client) =>
      until(async () => {
        const id = await post(organizationId, { description: `${String(client)} saw ${person.name}` })
        answered.push(id)
      }),
    )
    const seals = until(() => world.api.core.sealing.sealer.drainOrganization(organizationId))
    try {
      await expect.poll(() => answered.length, wait).toBeGreaterThan(20)
      // Confirmed: what comes between fence and cut-off is about the new subject, and may be more than goes unasked.
      const run = erasingRun(worker, organizationId, identifiers, { leases: true, confirmed: [0, 1, 2] })
      await run.scope()
      const [old] = run.report().subjects
      const scoped = answered.length
      await expect.poll(() => answered.length, wait).toBeGreaterThan(scoped + 20)
      expect(await run.toVerified()).toBe('clean')
      const erased = answered.length
      await expect.poll(() => answered.length, wait).toBeGreaterThan(erased + 20)
      // And again, while yet more come: later ones are none of this request's.
      expect(await run.erasing.verify(run, nothing)).toEqual({ result: 'clean' })
      state.stopped = true
      await Promise.all([...clients, seals])
      await drainUntilSealed(world.api.core, organizationId)

      const { events } = world.api.core
      const cutOff = (await run.deps.progress.read(run)).cutOff?.index ?? -1
      const under = { old: 0, new: 0 }
      expect(new Set(answered).size).toBe(answered.length)
      const rows = await events.find({ organizationId, action: 'document.opened' }).toArray()
      const stored = new Map(rows.map((row) => [eventIdOf(row._id), row]))
      expect(rows).toHaveLength(answered.length)
      const leaves = await leavesOf(organizationId, answered)
      for (const id of answered) {
        const fields = stored.get(id)?.fields ?? []
        const block = fields.find((field) => 'subject' in field)
        const text = fields.find((field) => 'slot' in field && field.slot === 'description')
        const leaf = leaves.get(id)
        if (block === undefined || !('subject' in block) || text === undefined || leaf === undefined)
          throw new Error('an event was lost, or is without its person')
        under[block.subject === old ? 'old' : 'new'] += 1
        // Between fence and cut-off the new subject's block names the person as any text does.
        const isAfter = leaf.index > cutOff
        expect({ block: block.sealed !== undefined, text: 'value' in text }).toEqual({
          block: isAfter,
          text: isAfter,
        })
        if (isAfter) expect(block.subject).not.toBe(old)
      }
      expect(under.old).toBeGreaterThan(20)
      expect(under.new).toBeGreaterThan(20)
      const options = { url: world.url, key: world.ownerKey, logKeys: [], values: true }
      const { report } = await verifyServer({ ...options, organization: organizationId })
      expect(report.findings).toEqual([])
      expect(report.fields).toMatchObject({ missing: 0 })
      expect(report.fields.erased).toBeGreaterThan(under.old)
    } finally {
      state.stopped = true
      await Promise.allSettled([...clients, seals])
    }
  })
})

test('a hold that is placed while the fence goes up is seen by it: nobody is fenced', async () => {
  const organizationId = 'org_hold_race'
  const id = await post(organizationId)
  await drainUntilSealed(world.api.core, organizationId)
  let armed = false
  const run = erasingRun(world.api.core, organizationId, identifiers, {
    deps: (deps) => ({
      ...deps,
      holds: {
        // Right after the fence has looked which there are.
        async active(organization) {
          const holds = await deps.holds.active(organization)
          if (!armed) return holds
          armed = false
          const body = { scope: { action: 'document.*' }, reason: 'litigation' }
          const answer = await world.request('POST', `/v1/organizations/${organization}/holds`, { body })
          expect(answer.status, answer.text).toBe(201)
          return holds
        },
      },
    }),
  })
  await run.scope()
  armed = true
  expect(await run.toVerified()).toBe('held')
  const shown = await world.request('GET', `/v1/organizations/${organizationId}/events/${id}`)
  expect(shown.body).toMatchObject({ actor: person })
  expect(
    await world.api.core.db.collection('subjects').countDocuments({ organizationId, state: 'active' }),
  ).toBe(1)
})

test('an id of two characters leads to its person, and is searched for in texts only where it is confirmed', async () => {
  const organizationId = 'org_two'
  const short = { type: 'user', id: 'j7', name: 'J Seven' }
  const own = await post(organizationId, { actor: short, description: 'by j7' })
  const other = await post(organizationId, { actor: { type: 'service', id: 'x' }, description: 'flight j7' })
  await drainUntilSealed(world.api.core, organizationId)
  const wanted = [{ kind: 'id', type: 'user', value: short.id }] as const
  const run = erasingRun(world.api.core, organizationId, wanted)
  expect(await run.scope()).toBe('matched')
  expect(run.report().freeText).toMatchObject([{ hits: 2, needsConfirmation: true }])
  expect(run.report().subjects).toHaveLength(1)
  expect(await run.toVerified()).toBe('clean')
  const read = async (id: string) =>
    (await world.request('GET', `/v1/organizations/${organizationId}/events/${id}`)).body
  expect(await read(own)).toMatchObject({ actor: { erased: true }, description: 'by j7' })
  expect(await read(other)).toMatchObject({ description: 'flight j7' })
})

test('under the keys of another deployment nobody looks erased, nothing is erased, and nothing changes', async () => {
  const organizationId = 'org_wrong_root'
  const id = await post(organizationId)
  await drainUntilSealed(world.api.core, organizationId)
  const { db } = world.api.core
  const folder = join(world.config.dataDirectory, 'elsewhere')
  await mkdir(join(folder, 'periods'), { recursive: true })
  const rootKeyFile = join(folder, 'root.key')
  await writeFile(rootKeyFile, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 })
  const wrong = {
    ...world.config,
    keys: { ...world.config.keys, rootKeyFile, periodKeysUrl: pathToFileURL(join(folder, 'periods')).href },
  }
  await expect(openCore(wrong, logger)).rejects.toMatchObject({ code: 'wrong_root_key' })

  // Even where somebody made the database believe it.
  const deployments = db.collection<{ _id: string; rootKeyId?: string; secret?: Buffer }>('deployment')
  const noted = await deployments.findOne({ _id: 'keys' })
  if (noted === null) throw new Error('the deployment has no keys')
  const before = await rowsOf(organizationId)
  const root = await readRootKeyFile(rootKeyFile)
  await ensureFirstPeriodKey(periodKeyFiles(wrong.keys.periodKeysUrl), root)
  const secret = await root.wrap(randomBytes(32), 'annals/deployment/v1')
  await deployments.updateOne({ _id: 'keys' }, { $set: { rootKeyId: root.id, secret } })
  try {
    const api = await openApi(wrong, logger, createMetrics({ processFigures: false }))
    const server = await startServer(api.app, { host: '127.0.0.1', port: 0, drainMs: 1_000 })
    try {
      const headers = { authorization: `Bearer ${world.ownerKey}` }
      for (const path of [`events/${id}`, 'events', 'feed?view=verifiable']) {
        const answer = await fetch(`${server.url}/v1/organizations/${organizationId}/${path}`, { headers })
        const text = await answer.text()
        expect(answer.status, text).toBeGreaterThanOrEqual(500)
        expect(text).not.toContain('erased')
      }
      const run = erasingRun(api.core, organizationId, identifiers)
      await expect(run.scope()).rejects.toThrow(KeyError)
      await expect(run.erasing.fence(run, nothing)).rejects.toThrow(KeyError)
    } finally {
      await server.stop()
      await api.close()
    }
    expect(await rowsOf(organizationId)).toEqual(before)
  } finally {
    await deployments.replaceOne({ _id: 'keys' }, noted)
  }
  const shown = await world.request('GET', `/v1/organizations/${organizationId}/events/${id}`)
  expect(shown.body).toMatchObject({ actor: person })
})

async function leavesOf(organizationId: string, ids: readonly string[]) {
  const leaves = new Map<string, { readonly index: number }>()
  for (let at = 0; at < ids.length; at += 500)
    for (const [id, leaf] of await world.api.core.sealing.store.locateAll(
      organizationId,
      ids.slice(at, at + 500),
    ))
      leaves.set(id, leaf)
  return leaves
}

/** Everything that says who there is, by collection. */
async function rowsOf(organizationId: string) {
  const { core } = world.api
  const rows = (name: string) => core.db.collection(name).find({ organizationId }).sort({ _id: 1 }).toArray()
  return {
    subjects: await rows('subjects'),
    directory: await rows('directory'),
    progress: await rows('erasureProgress'),
    named: await rawHits(core, organizationId, [person.id, person.name, person.email]),
  }
}
