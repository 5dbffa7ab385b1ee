/** The second reader's own credentials, on a mongod that asks who comes. */
import { MongoClient } from 'mongodb'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { failureOf } from '../../activities/erasing.js'
import { createReaderStores, readerFault, ReaderUnfitError } from '../../src/erasure/reader-access.js'
import type { ErasingDependencies } from '../../src/erasure/erasing.js'
import { canaryIdentifiers, person, post } from '../support/archived-person.js'
import { erasingRun } from '../support/erasing.js'
import { startGuardedMongod, type GuardedMongod } from '../support/guarded-mongod.js'
import { mongoUri, testDatabaseName } from '../support/servers.js'
import { openWorld, type World } from '../support/world.js'

const database = testDatabaseName()
const nothing = () => undefined
let guarded: GuardedMongod
let readerUri: string
let world: World
beforeAll(async () => {
  guarded = await startGuardedMongod()
  readerUri = await guarded.user('reader', [{ role: 'read', db: database }])
  world = await openWorld({
    environment: {
      ANNALS_MONGODB_URI: guarded.uri,
      ANNALS_MONGODB_DATABASE: database,
      ANNALS_MONGODB_READER_URI: readerUri,
    },
  })
})
afterAll(async () => {
  await world.close()
  await guarded.close()
})

async function withClient<T>(uri: string, body: (client: MongoClient) => Promise<T>): Promise<T> {
  const client = new MongoClient(uri, { serverSelectionTimeoutMS: 5_000 })
  try {
    return await body(client)
  } finally {
    await client.close()
  }
}

test('an erasure is verified over credentials by which nothing can be written, and its report says so', async () => {
  const organizationId = 'org_reader'
  await post(world, organizationId, { actor: person })
  await post(world, organizationId, { description: `for ${person.name}` })
  const run = erasingRun(world.api.core, organizationId, canaryIdentifiers)
  await run.scope()
  expect(await run.toVerified()).toBe('clean')
  const { reading } = await run.deps.progress.read(run)
  expect(reading).toMatchObject({ credentials: 'read_only' })
  expect(reading?.places.length).toBeGreaterThan(10)
  await withClient(readerUri, async (client) => {
    await expect(client.db(database).collection('events').deleteMany({})).rejects.toMatchObject({ code: 13 })
  })
})

test('it reads with these and no others: whatever is searched is searched over them', async () => {
  const organizationId = 'org_reader_finds'
  await post(world, organizationId, { actor: person })
  const strange = world.api.core.db.collection('somebodysNotes')
  const read = new Set<unknown>()
  const client = new MongoClient(readerUri, { monitorCommands: true })
  client.on('commandStarted', ({ command }) => read.add((command as Record<string, unknown>)['find']))
  try {
    const reader = createReaderStores(client.db(database))
    const deps = (given: ErasingDependencies) => ({ ...given, reader })
    const run = erasingRun(world.api.core, organizationId, canaryIdentifiers, { deps })
    await run.scope()
    await run.erasing.fence(run, nothing)
    await run.erasing.prepare(run, nothing)
    await run.erasing.erase(run, nothing)
    await strange.insertOne({ organizationId, note: person.email })
    expect(await run.erasing.verify(run, nothing)).toEqual({ result: 'residue', targets: ['somebodysNotes'] })
    await strange.drop()
    expect(await run.erasing.verify(run, nothing)).toEqual({ result: 'clean' })
    const { reading } = await run.deps.progress.read(run)
    const collections = reading?.places.filter(({ kind }) => kind === 'collection') ?? []
    expect(collections.map(({ name }) => name).filter((name) => !read.has(name))).toEqual([])
    expect([...read]).toEqual(expect.arrayContaining(['somebodysNotes', 'lifecycles']))
  } finally {
    await client.close()
  }
})

describe('a reader that is none does not begin, and the request waits for an operator', () => {
  const unfit = [
    ['may write', () => guarded.user('writer', [{ role: 'readWrite', db: database }]), 'can_write'],
    [
      'may write in another database alone',
      () =>
        guarded.user('other', [
          { role: 'read', db: database },
          { role: 'dbAdmin', db: 'elsewhere' },
        ]),
      'can_write',
    ],
    ['may do everything', () => Promise.resolve(guarded.uri), 'can_write'],
    [
      'reads one other database',
      () => guarded.user('stranger', [{ role: 'read', db: 'x' }]),
      'cannot_read_all',
    ],
    ['says nobody’s name', () => Promise.resolve(guarded.anonymousUri), 'not_authenticated'],
    ['comes to a server that asks nobody', () => Promise.resolve(mongoUri()), 'not_authenticated'],
    [
      'has a wrong password',
      () => Promise.resolve(readerUri.replace(/:[0-9a-f]{24}@/, ':wrong@')),
      'refused',
    ],
  ] as const

  test.each(unfit)('one that %s', async (_, uriOf, fault) => {
    const organizationId = `org_unfit_${fault}`
    await post(world, organizationId, { actor: { type: 'service', id: 'mailer' } })
    await withClient(await uriOf(), async (client) => {
      const db = client.db(database)
      expect(await readerFault(db)).toBe(fault)
      const deps = (given: ErasingDependencies) => ({ ...given, reader: createReaderStores(db) })
      const run = erasingRun(world.api.core, organizationId, canaryIdentifiers, { deps })
      await run.scope()
      const failure: unknown = await run.toVerified().catch((error: unknown) => error)
      expect(failure).toBeInstanceOf(ReaderUnfitError)
      expect(failureOf(failure)).toEqual({ reason: 'reader_unfit', passing: false })
      expect((await run.deps.progress.read(run)).reading).toBeUndefined()
    })
  })

  test('one that is led to another database, where it would find nothing', async () => {
    const elsewhere = await guarded.user('elsewhere', [{ role: 'read', db: 'copy' }])
    await withClient(elsewhere, async (client) => {
      const deps = (given: ErasingDependencies) => ({
        ...given,
        reader: createReaderStores(client.db('copy')),
      })
      const run = erasingRun(world.api.core, 'org_reader', [{ kind: 'other', value: 'Nora Nowhere' }], {
        deps,
      })
      await run.scope()
      await expect(run.toVerified()).rejects.toMatchObject({ fault: 'another_database' })
    })
  })
})
