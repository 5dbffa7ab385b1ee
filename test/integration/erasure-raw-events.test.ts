/** How a search gets the bytes of events: the same as by a cursor, all of them, however large they are. */
import { MongoClient, MongoNetworkError, MongoServerError, type Document } from 'mongodb'
import { afterAll, beforeEach, expect, test } from 'vitest'
import { hotEventSource } from '../../src/erasure/sources/hot-events.js'
import { findRawBatch } from '../../src/erasure/sources/raw-batch.js'
import { eventCollection } from '../../src/events/store.js'
import { mongoUri, testDatabaseName } from '../support/servers.js'

const client = new MongoClient(mongoUri(), { readConcern: { level: 'majority' } })
const db = client.db(testDatabaseName())
const events = eventCollection(db)
const rows = db.collection<Document & { _id: string }>('events')

beforeEach(() => rows.deleteMany({}))
afterAll(async () => {
  await db.dropDatabase()
  await client.close()
})

const eventIds = (count: number) =>
  Array.from({ length: count }, (_, index) => `evt_${String(index).padStart(4, '0')}`)
const insert = (ids: readonly string[], bytes: number) =>
  rows.insertMany(
    ids.map((id) => ({ _id: `org_raw/${id}`, organizationId: 'org_raw', text: 'ä'.repeat(bytes / 2) })),
    { writeConcern: { w: 'majority' } },
  )

test('a batch is what a cursor gives, byte for byte; what is not there is left out', async () => {
  await insert(eventIds(300), 100)
  const filter = { _id: { $in: [...eventIds(200), 'evt_nobody'].map((id) => `org_raw/${id}`) } }
  const byCursor = await events.find(filter, { raw: true }).toArray()
  expect(byCursor).toHaveLength(200)
  expect(await findRawBatch(events, filter, 201)).toEqual(byCursor)
  expect(await findRawBatch(events, { _id: 'org_raw/evt_nobody' }, 10)).toEqual([])
})

test('events that do not fit into one answer are all found', async () => {
  const ids = eventIds(20)
  await insert(ids, 1_000_000)
  const filter = { _id: { $in: ids.map((id) => `org_raw/${id}`) } }
  expect(await findRawBatch(events, filter, ids.length)).toBeUndefined()
  const leaves = ids.map((eventId, index) => ({ index, eventId }))
  const found = await hotEventSource(events).at('org_raw', { generation: 1, leaves }, (raw) =>
    Promise.resolve(raw.map((_, index) => index % 2 === 0)),
  )
  expect([...found.there].sort()).toEqual(ids)
  expect(found.events).toHaveLength(10)
})

test('a database that is away for a moment is asked again, and another failure stands', async () => {
  const ids = eventIds(5)
  await insert(ids, 100)
  const leaves = ids.map((eventId, index) => ({ index, eventId }))
  const asking = (failure: Error) => {
    const away = new Proxy(events, {
      get(target, name) {
        if (name === 'db') return { command: () => Promise.reject(failure) }
        const member: unknown = Reflect.get(target, name)
        return typeof member === 'function' ? (member.bind(target) as unknown) : member
      },
    })
    return hotEventSource(away).at('org_raw', { generation: 1, leaves }, (raw) =>
      Promise.resolve(raw.map(() => false)),
    )
  }
  expect((await asking(new MongoNetworkError('away'))).there.size).toBe(ids.length)
  await expect(asking(new MongoServerError({ message: 'no such command', code: 59 }))).rejects.toThrow(
    'no such',
  )
})
