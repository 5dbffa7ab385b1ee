/** Records that expire, once their content has: what goes, what stays, and who says so; with a fault at each call. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ArchiveStoreError, type ArchiveStore } from '../../src/archive/stores/contract.js'
import { logCollections } from '../../src/transparency-log/store.js'
import { segmentsOf } from '../support/archiving.js'
import {
  archivedLongAgo,
  clockAt,
  dueToExpire,
  expirerOf,
  expireSegment,
  longAgo,
  onDay,
  type ExpirerOptions,
} from '../support/expiring.js'
import { Fault, faultKinds, faulty } from '../support/faulty.js'
import { foundRestored, restoredRowsOf, restorerOf, writtenRestore } from '../support/restoring.js'
import { checkRetained } from '../support/retention-oracle.js'
import { takeContent } from '../support/taken-away.js'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(async () => {
  await world.close()
})

const author = { principal: 'prn_aaaaaaaaaaaaaaaaaaaaaaaaaa', requestId: 'req_1' }
const day = 86_400_000
/** The database says when a policy began, and the default counts for seven days more. */
const later = new Date(Date.now() + 8 * day)
const expirer = (options: ExpirerOptions = {}) => expirerOf(world, { clock: clockAt(later), ...options })
const next = (organizationId: string, now = later) => dueToExpire(world, organizationId, now)
const retention = () => world.api.core.retention

async function due(organizationId: string) {
  const input = await next(organizationId)
  if (input === undefined) throw new Error('nothing is due')
  return input
}

/** An organization whose records go after seven years too, and events of eight years ago. */
async function oldEvents(organizationId: string, count: number, recordDays: number | null = 2_555) {
  await onDay(longAgo, async () => {
    await world.api.core.eventOrganizations.ensure(organizationId, 'system')
    await retention().policies.put(organizationId, { hotDays: 183, archiveDays: 2_555, recordDays }, author)
  })
  return archivedLongAgo(world, organizationId, count)
}

/** The same, and their content has expired. */
async function withoutContent(
  organizationId: string,
  count: number,
  held?: (id: string) => Promise<unknown>,
) {
  const accepted = await oldEvents(organizationId, count)
  await held?.(accepted[0] ?? '')
  await expireSegment(world, expirer(), await due(organizationId))
  return accepted
}

const place = async (
  organizationId: string,
  scope: Parameters<World['api']['core']['retention']['holds']['place']>[1]['scope'],
) => (await retention().holds.place(organizationId, { scope, reason: 'a case' }, author)).hold.id

async function subjectOf(organizationId: string, id: string): Promise<string> {
  const { body } = await world.request('GET', `/v1/organizations/${organizationId}/events/${id}`)
  return (body as { actor: { subject: string } }).actor.subject
}

const segmentOf = async (organizationId: string) => {
  const [segment] = await segmentsOf(world.api.core).find({ organizationId }).sort({ from: 1 }).toArray()
  if (segment?.records === undefined || segment.records === null) throw new Error('there is no segment')
  return { ...segment, records: segment.records }
}

const hotRecords = async (organizationId: string) => {
  const { entries } = logCollections(world.api.core.db)
  return (await entries.find({ organizationId }).toArray()).flatMap(({ records }) => records)
}

test('records of seven years go after their content, behind a sealed event, and the leaves stay', async () => {
  const organizationId = 'org_records'
  const accepted = await oldEvents(organizationId, 5)
  const content = await due(organizationId)
  expect(content.kind).toBe('content')
  // Not before the content: whoever asks.
  expect(await expirer().rewrite({ ...content, kind: 'records' })).toBe('not_due')
  const [id = ''] = accepted
  const path = (of: string, event = id) => `/v1/organizations/${of}/events/${event}`
  const status = async (of: string, event = id) => (await world.request('GET', path(of, event))).status
  expect(await status(organizationId)).toBe(200)
  await expireSegment(world, expirer(), content)
  const records = await due(organizationId)
  // Who may read the organization is told; of another one, and of what never was, nothing can be told apart.
  expect((await world.request('GET', path(organizationId))).body).toMatchObject({
    code: 'expired',
    status: 410,
  })
  expect((await world.request('GET', `${path(organizationId)}/related`)).status).toBe(410)
  await world.api.core.eventOrganizations.ensure('org_other', 'system')
  const unknown = 'evt_01h455vb4pex5vsknk084sn02q'
  expect([
    await status('org_other'),
    await status('org_other', unknown),
    await status(organizationId, unknown),
  ]).toEqual([404, 404, 404])
  expect(records).toEqual({ ...content, kind: 'records' })
  const proof = `${path(organizationId)}/proof`
  const json = { headers: { accept: 'application/json' } }
  expect((await world.request('GET', proof, json)).body).toMatchObject({
    record: expect.stringContaining(id) as unknown,
  })
  expect((await hotRecords(organizationId)).filter((record) => record.includes(id))).toHaveLength(1)
  expect(await expireSegment(world, expirer(), records)).toBe('recorded')
  expect(await checkRetained(world, organizationId, accepted)).toMatchObject({
    expired: 5,
    recordsExpired: 5,
  })
  expect(await next(organizationId)).toBeUndefined()
  // The log itself has no copy of it either; what never expires has its record still.
  const hot = await hotRecords(organizationId)
  expect(accepted.filter((one) => hot.some((record) => record.includes(one)))).toEqual([])
  expect(hot.filter((record) => record === '')).toHaveLength(5)
  expect(await status(organizationId)).toBe(410)
  const proved = await world.request('GET', proof, json)
  expect([proved.status, proved.body]).toMatchObject([200, { id, record: null, index: 2 }])
  const feed = await world.request('GET', `/v1/organizations/${organizationId}/feed?limit=10`)
  const { data } = feed.body as { data: { id: string }[] }
  expect(data.find((entry) => entry.id === id)).toMatchObject({ content: 'absent' })
  expect(data.find((entry) => entry.id === id)).not.toHaveProperty('action')
})

test.each(faultKinds)(
  'whichever call fails (%s), no record goes that was not said to, and another attempt ends it',
  async (kind) => {
    let failed = 0
    for (let at = 0; ; at += 1) {
      const organizationId = `org_matrix_${kind.replaceAll(' ', '_')}_${String(at)}`
      const accepted = await withoutContent(organizationId, 3, async (id) =>
        place(organizationId, { subject: await subjectOf(organizationId, id) }),
      )
      const input = await due(organizationId)
      expect(input.kind).toBe('records')
      const { wrap, calls } = faulty(at, kind)
      const outcome = await expireSegment(world, expirer({ wrap }), input).catch((e: unknown) => e)
      if (outcome !== 'recorded') {
        expect(outcome).toBeInstanceOf(Fault)
        failed += 1
      }
      await checkRetained(world, organizationId, accepted)
      const again = await next(organizationId)
      if (again !== undefined) await expireSegment(world, expirer(), again)
      const retained = await checkRetained(world, organizationId, accepted)
      expect(retained).toMatchObject({ expired: 2, recordsExpired: 2 })
      expect((await segmentOf(organizationId)).expiring).toBeUndefined()
      expect((await hotRecords(organizationId)).filter((record) => record === '')).toHaveLength(2)
      if (calls() <= at) break
    }
    expect(failed).toBeGreaterThan(20)
  },
  300_000,
)

/** Does something before the archive is first asked for this of an object. */
function onFirst(call: 'get' | 'put', part: string, change: () => Promise<unknown>): ArchiveStore {
  let changed = false
  return new Proxy(world.api.core.archive, {
    get: (target, member) => {
      const value: unknown = Reflect.get(target, member, target)
      if (typeof value !== 'function') return value
      if (member !== call) return value.bind(target) as unknown
      return async (...args: unknown[]): Promise<unknown> => {
        if (String(args[0]).includes(part) && !changed) {
          changed = true
          await change()
        }
        return Reflect.apply(value, target, args) as unknown
      }
    },
  })
}

test.each([
  ['a hold', (id: string) => place(id, { action: 'team.member.invited' }), 'kept'],
  [
    'a longer policy',
    (id: string) =>
      retention().policies.put(id, { hotDays: 0, archiveDays: 2_555, recordDays: null }, author),
    'not_due',
  ],
])(
  '%s that comes between deciding and recording is seen, and no record goes',
  async (name, change, state) => {
    const organizationId = `org_between_${name.replaceAll(' ', '_')}`
    const accepted = await withoutContent(organizationId, 3)
    const input = await due(organizationId)
    // By then everything has been decided.
    const store = onFirst('put', '', () => change(organizationId))
    expect(await expireSegment(world, expirer({ store }), input)).toBe(state)
    expect((await checkRetained(world, organizationId, accepted)).recordsExpired).toBe(0)
    expect(await next(organizationId)).toBeUndefined()
  },
)

test('content that is written anew while it expires, or while its records do, is read again', async () => {
  const organizationId = 'org_anew'
  const accepted = await oldEvents(organizationId, 3)
  await place(organizationId, { subject: await subjectOf(organizationId, accepted[0] ?? '') })
  for (const kind of ['content', 'records'] as const) {
    const input = await due(organizationId)
    expect(input.kind).toBe(kind)
    // As an erasure does that is quicker: what was to be read is gone.
    const store = onFirst('get', '.content.', () => takeContent(world, organizationId, () => false))
    expect(await expireSegment(world, expirer({ store }), input)).toBe('recorded')
  }
  const retained = await checkRetained(world, organizationId, accepted)
  expect(retained).toMatchObject({ expired: 2, recordsExpired: 2 })
})

/** What a preview says is due to go of records, once the grace of the default is over. */
const foretold = async (organizationId: string) =>
  (await retention().preview(organizationId)).dates.find(({ at }) => at > later)?.records.leaves

test('a hold on an action keeps the records of it, and they go when it is released, as a preview says', async () => {
  const organizationId = 'org_action'
  const accepted = await withoutContent(organizationId, 3)
  const other = await place(organizationId, { action: 'billing.*' })
  const hold = await place(organizationId, { action: 'team.*' })
  expect(await expireSegment(world, expirer(), await due(organizationId))).toBe('kept')
  const { leaves, recordExpiry } = await segmentOf(organizationId)
  expect(recordExpiry).toMatchObject({ held: 3, holds: [hold] })
  expect(await foretold(organizationId)).toBe(0)
  expect(await next(organizationId)).toBeUndefined()
  await retention().holds.release(organizationId, other, author)
  expect(await next(organizationId)).toBeUndefined()
  await retention().holds.release(organizationId, hold, author)
  expect(await foretold(organizationId)).toBe(leaves)
  expect(await expireSegment(world, expirer(), await due(organizationId))).toBe('recorded')
  expect((await checkRetained(world, organizationId, accepted)).recordsExpired).toBe(3)
  expect(await foretold(organizationId)).toBe(0)
})

test('a record names nobody: a hold on a person who was not looked for in its content holds every one', async () => {
  const organizationId = 'org_person'
  const accepted = await oldEvents(organizationId, 3)
  const [first = '', second = ''] = await Promise.all(
    accepted.slice(0, 2).map((id) => subjectOf(organizationId, id)),
  )
  // It is there while the content goes, and keeps what is of that person: the rest is known not to be.
  const before = await onDay(new Date(Date.now() - 2 * day), () => place(organizationId, { subject: first }))
  const content = await due(organizationId)
  expect(await expireSegment(world, expirerOf(world), content)).toBe('recorded')
  const after = await place(organizationId, { subject: second })
  expect(await expireSegment(world, expirer(), await due(organizationId))).toBe('kept')
  expect((await segmentOf(organizationId)).recordExpiry).toMatchObject({
    held: 3,
    holds: [before, after].sort(),
  })
  await retention().holds.release(organizationId, after, author)
  expect(await expireSegment(world, expirer(), await due(organizationId))).toBe('recorded')
  expect((await checkRetained(world, organizationId, accepted)).recordsExpired).toBe(2)
  await retention().holds.release(organizationId, before, author)
  // Content first, as ever.
  expect((await due(organizationId)).kind).toBe('content')
  expect(await expirer().rewrite({ ...(await due(organizationId)), kind: 'records' })).toBe('not_due')
  await expireSegment(world, expirer(), await due(organizationId))
  await expireSegment(world, expirer(), await due(organizationId))
  expect((await checkRetained(world, organizationId, accepted)).recordsExpired).toBe(3)
})

test('a segment whose records have expired is restored as far as its content is there, and goes again', async () => {
  const organizationId = 'org_restored'
  const accepted = await withoutContent(organizationId, 3, async (id) =>
    place(organizationId, { subject: await subjectOf(organizationId, id) }),
  )
  expect(await expireSegment(world, expirer(), await due(organizationId))).toBe('recorded')
  expect(await checkRetained(world, organizationId, accepted)).toMatchObject({ recordsExpired: 2 })
  const { leaves } = await segmentOf(organizationId)
  const restorer = restorerOf(world)
  const restore = await writtenRestore(world, organizationId)
  await restorer.copy(restore, { beat: () => undefined, signal: new AbortController().signal })
  await restorer.activate(restore)
  expect(await world.api.core.restores.store.find(restore)).toMatchObject({
    counts: { leaves, events: leaves - 2 },
  })
  const found = await foundRestored(world, `/v1/organizations/${organizationId}`, '')
  expect(found).toHaveLength(leaves - 2)
  expect(accepted.filter((id) => found.includes(id))).toEqual(accepted.slice(0, 1))
  await restorer.expire(restore)
  expect(await restoredRowsOf(world, organizationId)).toEqual([])
  await checkRetained(world, organizationId, accepted)
})

test('two at once end as one does, and the same again changes nothing', async () => {
  const organizationId = 'org_two'
  const accepted = await withoutContent(organizationId, 300)
  const input = await due(organizationId)
  await Promise.all([1, 2, 3].map(() => expireSegment(world, expirer(), input)))
  expect((await checkRetained(world, organizationId, accepted)).recordsExpired).toBe(300)
  const before = await segmentOf(organizationId)
  expect(await expireSegment(world, expirer(), input)).toBe('kept')
  expect((await segmentOf(organizationId)).records).toEqual(before.records)
})

test('records that the archive locks stay until the lock has run out, and hold nothing else up', async () => {
  const organizationId = 'org_locked'
  const accepted = await withoutContent(organizationId, 2)
  const input = await due(organizationId)
  const lockedUntil = new Date(later.getTime() + 30 * day)
  let isLocked = true
  const store: ArchiveStore = new Proxy(world.api.core.archive, {
    get: (target, member) => {
      if (isLocked && member === 'delete')
        return () => Promise.reject(new ArchiveStoreError('locked', 'it is locked'))
      if (isLocked && member === 'head')
        return async (path: string) => {
          const found = await target.head(path)
          return found === undefined || !path.endsWith('.records.ndjson.gz')
            ? found
            : { ...found, lockedUntil }
        }
      const value: unknown = Reflect.get(target, member, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
  expect(await expireSegment(world, expirer({ store }), input)).toBe('locked')
  expect((await segmentOf(organizationId)).recordsLockedUntil).toEqual(lockedUntil)
  expect((await checkRetained(world, organizationId, accepted)).recordsExpired).toBe(0)
  expect(await next(organizationId)).toBeUndefined()
  isLocked = false
  const after = new Date(lockedUntil.getTime() + day)
  expect(await next(organizationId, after)).toEqual(input)
  expect(await expireSegment(world, expirer({ store, clock: clockAt(after) }), input)).toBe('recorded')
  expect((await checkRetained(world, organizationId, accepted)).recordsExpired).toBe(2)
})

test('clocks that were set back, or leapt ahead by years, and the grace of a shorter policy, let no record go', async () => {
  const organizationId = 'org_clocks'
  const accepted = await oldEvents(organizationId, 2, null)
  await expireSegment(world, expirer(), await due(organizationId))
  const input = { ...(await segmentOf(organizationId)), kind: 'records' as const }
  expect(await expirer().rewrite(input)).toBe('not_due')
  await retention().policies.put(
    organizationId,
    { hotDays: 0, archiveDays: 2_555, recordDays: 2_555 },
    author,
  )
  const soon = new Date(Date.now() + 6 * day)
  for (const clock of [clockAt(soon), clockAt(longAgo), clockAt(new Date(0)), clockAt(later, 'leapt')])
    expect(await expirer({ clock }).rewrite(input)).toBe('not_due')
  expect(await next(organizationId, soon)).toBeUndefined()
  expect((await due(organizationId)).kind).toBe('records')
  expect((await checkRetained(world, organizationId, accepted)).recordsExpired).toBe(0)
})

test('nothing is deleted before what says so is sealed and proved', async () => {
  const organizationId = 'org_unproved'
  await withoutContent(organizationId, 2)
  const input = await due(organizationId)
  await expirer().rewrite(input)
  expect(await expirer().prove(input)).toBe(false)
  await expect(expirer().remove(input)).rejects.toThrow('before what says so')
  const { records } = await segmentOf(organizationId)
  expect(records.leaves).toMatchObject({ revision: 1, expired: 2 })
  const before = records.file.path.replace('leaves.1', 'records')
  expect(await world.api.core.archive.head(before)).toBeDefined()
})
