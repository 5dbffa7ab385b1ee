/**
 * What docs/operations.md says of disk space. On a mongod of its own, since it changes a parameter of the server: what is
 * deleted is kept for reads in the past for five minutes, and is free after the next checkpoint; a test does not wait.
 */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MongoClient, type Collection } from 'mongodb'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { loadConfig } from '../../src/config.js'
import type { ServerProcess } from '../../src/embedded/server-process.js'
import { prepareMongod } from '../../src/embedded/servers.js'

let folder: string
let server: ServerProcess
let client: MongoClient
let events: Collection<{ _id: string; content: Buffer }>

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'annals-disk-space-'))
  const { binaries, cacheDirectory } = loadConfig()
  const start = await prepareMongod({
    binary: binaries.mongod,
    dataDirectory: folder,
    cacheDirectory,
    preferredPort: 0,
    progress: () => undefined,
  })
  const mongod = await start()
  server = mongod
  client = await MongoClient.connect(mongod.uri)
  events = client.db('space').collection('events')
  await client.db('admin').command({ setParameter: 1, minSnapshotHistoryWindowInSeconds: 0 })
})
afterAll(async () => {
  await client.close()
  await server.stop()
  await rm(folder, { recursive: true, force: true })
})

const idOf = (number: number) => `org/${String(number).padStart(9, '0')}`

/** Documents of the size of events, which compress as little as ciphertext does. */
async function insert(from: number, to: number) {
  for (let at = from; at < to; at += 1_000) {
    const documents = Array.from({ length: 1_000 }, (_, index) => ({
      _id: idOf(at + index),
      content: randomBytes(1_500),
    }))
    await events.insertMany(documents, { writeConcern: { w: 'majority' } })
  }
}

const deleteBefore = (number: number) =>
  events.deleteMany({ _id: { $lt: idOf(number) } }, { writeConcern: { w: 'majority' } })

const figures = z.object({ storageSize: z.number(), freeStorageSize: z.number() })

/** Bytes of the collection's file, and those in it that are free to be used again. */
async function measure() {
  // The oldest read that is still possible moves on with a write; what was before it goes at a checkpoint.
  for (let round = 0; round < 2; round += 1) {
    await client
      .db('space')
      .collection('clock')
      .insertOne({}, { writeConcern: { w: 'majority' } })
    await client.db('admin').command({ fsync: 1 })
  }
  return figures.parse(await client.db('space').command({ collStats: 'events' }))
}

test('what is deleted is used again by what comes after, and compact gives it back to the file system', async () => {
  const half = 5_000
  await insert(0, 2 * half)
  const full = await measure()
  const halfBytes = full.storageSize / 2

  /** Once nobody can read in the past what was deleted, about half of the file is free. */
  const isFree = () =>
    expect.poll(async () => (await measure()).freeStorageSize).toBeGreaterThan(halfBytes * 0.8)

  await deleteBefore(half)
  await isFree()
  // As retention goes: as much comes in at one end as goes out at the other. The file would grow to 2.5 times else.
  for (const round of [1, 2, 3]) {
    await insert((round + 1) * half, (round + 2) * half)
    await deleteBefore((round + 1) * half)
    await isFree()
  }
  const moved = await measure()
  expect(moved.storageSize).toBeLessThan(full.storageSize * 2)

  // One pass moves what it finds room for; how much that is differs with where the free space lies.
  await expect
    .poll(
      async () => {
        await client.db('space').command({ compact: 'events', force: true })
        return (await measure()).storageSize
      },
      { timeout: 60_000 },
    )
    .toBeLessThan(moved.storageSize - halfBytes * 0.25)
  expect(await events.countDocuments()).toBe(half)
})
