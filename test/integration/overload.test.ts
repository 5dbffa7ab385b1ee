import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadConfig } from '../../src/config.js'
import { prepareMongod } from '../../src/embedded/servers.js'
import { GroupCommitter, groupCommitLimits } from '../../src/events/group-commit.js'
import type { StoredEvent } from '../../src/events/store.js'
import { checkWorldsSearch } from '../support/search-oracle.js'
import { openWorld, type World } from '../support/world.js'

const folder = mkdtempSync(join(tmpdir(), 'annals-overload-'))
let start: Awaited<ReturnType<typeof prepareMongod>>
let mongod: Awaited<ReturnType<typeof start>>
let world: World

beforeAll(async () => {
  const config = loadConfig()
  start = await prepareMongod({
    binary: config.binaries.mongod,
    dataDirectory: folder,
    cacheDirectory: config.cacheDirectory,
    preferredPort: 0,
    progress: () => undefined,
  })
  mongod = await start()
  world = await openWorld({ environment: { ANNALS_MONGODB_URI: mongod.uri } })
})
afterAll(async () => {
  await checkWorldsSearch(world, { otherWriters: true })
  await world.close()
  await mongod.stop()
  rmSync(folder, { recursive: true, force: true })
})

const event = (n: number) => ({
  organizationId: 'org_overload',
  action: 'document.opened',
  occurredAt: new Date().toISOString(),
  actor: { type: 'service', id: 'load' },
  targets: [],
  metadata: { n },
})
const post = (n: number) =>
  world.request('POST', '/v1/events', { body: event(n), headers: { 'idempotency-key': `n-${String(n)}` } })

/** A stored event as intake makes it, under another id. */
async function storedEvent(id: string): Promise<StoredEvent> {
  await post(0)
  const stored = await world.api.core.events.findOne({ action: 'document.opened' }, { useBigInt64: true })
  if (stored === null) throw new Error('nothing was stored')
  return { ...stored, _id: `org_overload/${id}` }
}

test('a full queue refuses at once, keeps what it let in, and takes again when there is room', async () => {
  const template = await storedEvent('template')
  const committer = new GroupCommitter(world.api.core.events, { ...groupCommitLimits, maxQueuedEvents: 20 })
  // A database that has stopped answering: what is under way stays under way.
  process.kill(mongod.pid, 'SIGSTOP')
  const accepted = Array.from({ length: 10 }, (_, n) =>
    committer.commit({ ...template, _id: `org_overload/full-${String(n)}` }),
  )
  await expect(committer.commit({ ...template, _id: 'org_overload/one-too-many' })).rejects.toMatchObject({
    code: 'overloaded',
    retryAfterSeconds: 1,
  })
  expect(committer.depth).toBe(10)
  process.kill(mongod.pid, 'SIGCONT')
  expect(await Promise.all(accepted)).toEqual(Array.from({ length: 10 }, () => 'inserted'))
  expect(await committer.commit({ ...template, _id: 'org_overload/later' })).toBe('inserted')
  expect(await world.api.core.events.countDocuments({ _id: 'org_overload/one-too-many' })).toBe(0)
})

test('closing writes everything that was let in, and lets nothing more in', async () => {
  const template = await storedEvent('template')
  const committer = new GroupCommitter(world.api.core.events)
  const accepted = Array.from({ length: 500 }, (_, n) =>
    committer.commit({ ...template, _id: `org_overload/close-${String(n)}` }),
  )
  await committer.close()
  expect(committer.depth).toBe(0)
  expect(new Set(await Promise.all(accepted))).toEqual(new Set(['inserted']))
  await expect(committer.commit(template)).rejects.toMatchObject({ code: 'overloaded' })
})

test('while MongoDB is away, posts are answered 503 with Retry-After; afterwards the same posts go in once', async () => {
  expect((await post(1)).status).toBe(201)
  await mongod.stop()
  const refused = await Promise.all([post(2), post(3)])
  for (const answer of refused) {
    expect(answer.status).toBe(503)
    expect(answer.body).toMatchObject({ code: 'unavailable' })
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
  }
  mongod = await start()
  let answers = await Promise.all([post(2), post(3)])
  for (let tries = 0; tries < 50 && answers.some(({ status }) => status === 503); tries += 1) {
    await sleep(200)
    answers = await Promise.all([post(2), post(3)])
  }
  expect(answers.map(({ status }) => status)).toEqual([201, 201])
  for (const n of [1, 2, 3]) {
    const found = await world.request('GET', `/v1/organizations/org_overload/events?metadata.n=${String(n)}`)
    expect((found.body as { data: unknown[] }).data).toHaveLength(1)
  }
})
