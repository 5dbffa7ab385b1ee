import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadConfig } from '../../src/config.js'
import { prepareMongod } from '../../src/embedded/servers.js'
import { openStream } from '../support/ndjson-request.js'
import { checkWorldsSearch } from '../support/search-oracle.js'
import { openWorld, type World } from '../support/world.js'

/** A database of its own, which may be frozen and killed. */
type Mongod = Awaited<ReturnType<Awaited<ReturnType<typeof prepareMongod>>>>
const config = loadConfig()
let folder: string
let mongod: Mongod
let world: World

async function startMongod(preferredPort: number): Promise<Mongod> {
  const start = await prepareMongod({
    dataDirectory: folder,
    cacheDirectory: config.cacheDirectory,
    binary: config.binaries.mongod,
    progress: () => undefined,
    preferredPort,
    cacheGigabytes: 0.25,
  })
  return start()
}
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'annals-stream-mongod-'))
  mongod = await startMongod(0)
  world = await openWorld({ environment: { ANNALS_MONGODB_URI: mongod.uri } })
})
afterAll(async () => {
  await checkWorldsSearch(world, { otherWriters: true })
  await world.close()
  await mongod.stop()
  rmSync(folder, { recursive: true, force: true })
})

let made = 0
const lines = (count: number) =>
  Array.from({ length: count }, () => {
    const event = {
      organizationId: 'org_away',
      action: 'record.changed',
      occurredAt: '2026-11-20T10:00:00Z',
      actor: { type: 'service', id: 's' },
      targets: [],
      idempotencyKey: String((made += 1)),
    }
    return `${JSON.stringify(event)}\n`
  }).join('')
const stored = () =>
  world.api.core.events.countDocuments({ organizationId: 'org_away', category: { $ne: 'system' } })

test('a database that is away for a moment slows the stream down and loses nothing', async () => {
  const stream = await openStream(world.url, world.ownerKey)
  await stream.send(lines(200))
  await expect.poll(stored).toBe(200)
  process.kill(mongod.pid, 'SIGSTOP')
  try {
    await stream.send(lines(3_000))
    await stream.finish()
  } finally {
    process.kill(mongod.pid, 'SIGCONT')
  }
  const { lines: answer } = await stream.answer()
  expect(answer).toEqual([{ done: true, accepted: 3_200, replayed: 0, rejected: 0 }])
  expect(await stored()).toBe(3_200)
})

test('one that stays away ends it: what failed is named with when to come again, and a repeat stores it once', async () => {
  const body = lines(1_500)
  const first = await openStream(world.url, world.ownerKey, '?progress=true')
  await first.send(lines(1))
  await first.seen('"through":1')
  process.kill(mongod.pid, 'SIGKILL')
  await first.send(body)
  await first.finish()
  const { lines: answer } = await first.answer()
  const failures = answer.filter(({ line, done }) => line !== undefined && done === undefined)
  expect(failures[0]).toMatchObject({ line: 2, status: 503, problem: { code: 'unavailable' } })
  expect(failures.every(({ retryAfterSeconds = 0 }) => retryAfterSeconds > 0)).toBe(true)
  expect(answer.at(-1)).toMatchObject({
    done: false,
    accepted: 1,
    rejected: failures.length,
    problem: { code: 'unavailable' },
  })

  mongod = await startMongod(mongod.port)
  const again = await openStream(world.url, world.ownerKey)
  await again.send(body)
  await again.finish()
  expect((await again.answer()).lines).toMatchObject([{ done: true, rejected: 0 }])
  expect(await stored()).toBe(4_701)
})
