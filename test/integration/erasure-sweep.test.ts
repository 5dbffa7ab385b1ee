/** The sweep of events through many small batches: each is reached, once, and nothing else of any of them is touched. */
import { MongoClient, type Document } from 'mongodb'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ErasureWork } from '../../src/erasure/targets/contract.js'
import { hotEvents } from '../../src/erasure/targets/events.js'
import { ensureEventIndexes, eventCollection } from '../../src/events/store.js'
import { clearTerm } from '../../src/events/terms.js'
import { mongoUri, testDatabaseName } from '../support/servers.js'

const client = new MongoClient(mongoUri())
const db = client.db(testDatabaseName())
const events = eventCollection(db)

beforeAll(() => ensureEventIndexes(events))
afterAll(async () => {
  await db.dropDatabase()
  await client.close()
})

const limits = { idsAtOnce: 11, batchEvents: 3, sideBySide: 2 }
const [first, second, other] = ['sub_first', 'sub_second', 'sub_other']
const count = 60

/** Ids run against the time; every fifth is another's, every seventh is kept, some hold two of the persons. */
function stored(organizationId: string, index: number): Document {
  const actor = index % 5 === 0 ? other : first
  const target = index % 4 === 0 ? second : other
  const person = (slot: string, subject: string, restricted: boolean) => ({
    slot,
    subject,
    sealed: Buffer.from(`${slot} sealed ${String(index)}`),
    commitment: Buffer.from('c'),
    ...(restricted ? { restricted: 'erasure_1' } : { terms: [BigInt(index)] }),
  })
  return {
    _id: `${organizationId}/evt_${String(count - index).padStart(3, '0')}`,
    organizationId,
    occurredAt: new Date(index),
    fingerprint: Buffer.from('f'),
    fields: [
      { terms: [clearTerm('actorSubject', actor), clearTerm('targetSubject', target)] },
      person('actor', actor, index % 7 === 0),
      person('target/0', target, false),
      { slot: 'description', value: '"text"', terms: [7n] },
    ],
  }
}

/** The same by a model: what an event is to be once both are erased. */
function swept(event: Document): Document {
  const { fingerprint, ...rest } = event
  const parts = event['fields'] as Document[]
  const theirs = ({ subject }: Document) => subject === first || subject === second
  if (fingerprint === undefined || !parts.some(theirs)) return event
  const gone = (part: Document) => (part['restricted'] === undefined ? ['sealed', 'terms'] : ['terms'])
  const stripped = (part: Document) =>
    theirs(part)
      ? Object.fromEntries(Object.entries(part).filter(([name]) => !gone(part).includes(name)))
      : part
  return { ...rest, fields: parts.map(stripped) }
}

const read = () =>
  db.collection('events').find({}, { promoteBuffers: true, useBigInt64: true }).sort({ _id: 1 }).toArray()

test('every event of the persons loses what is theirs, once, over as many batches as it takes', async () => {
  const indexes = Array.from({ length: count }, (_, index) => index)
  const rows = ['org_sweep', 'org_other'].flatMap((organizationId) =>
    indexes.map((index) => stored(organizationId, index)),
  )
  await db.collection('events').insertMany(rows)
  const before = await read()
  const work = { organizationId: 'org_sweep', subjects: [first, second], beat: () => undefined } as const
  // Neither keys nor texts are asked for here.
  const erasing = work as unknown as ErasureWork
  const target = hotEvents(events, limits)

  const expected = before.map((event) => (event['organizationId'] === 'org_sweep' ? swept(event) : event))
  const concerned = before.filter((event, index) => event !== expected[index]).length
  expect(concerned).toBeGreaterThan(limits.idsAtOnce * 2)
  expect(await target.erase(erasing)).toBe(concerned)
  expect(await read()).toEqual(expected)
  expect(await target.erase(erasing)).toBe(0)
  expect(await target.verify(erasing)).toBe(0)
})

test('a batch that fails fails the sweep, and the next run does the rest', async () => {
  await db.collection('events').deleteMany({})
  await db
    .collection('events')
    .insertMany(Array.from({ length: count }, (_, index) => stored('org_sweep', index)))
  const work = { organizationId: 'org_sweep', subjects: [first, second], beat: () => undefined }
  const erasing = work as unknown as ErasureWork
  let left = 3
  const failing = new Proxy(events, {
    get(target, name) {
      if (name === 'updateMany' && left-- <= 0)
        return () => Promise.reject(new Error('the database went away'))
      const member: unknown = Reflect.get(target, name)
      return typeof member === 'function' ? (member.bind(target) as unknown) : member
    },
  })
  await expect(hotEvents(failing, limits).erase(erasing)).rejects.toThrow('went away')
  const target = hotEvents(events, limits)
  const rest = await target.verify(erasing)
  expect(rest).toBeGreaterThan(0)
  expect(await target.erase(erasing)).toBe(rest)
  expect(await target.verify(erasing)).toBe(0)
})
