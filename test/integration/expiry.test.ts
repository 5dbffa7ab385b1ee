/** Content that expires: what goes, what stays, and who says so; with a fault at each call. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ArchiveStoreError, type ArchiveStore } from '../../src/archive/stores/contract.js'
import { reasonOf } from '../../activities/retention-failures.js'
import { restoredCollection } from '../../src/archive/restores/rows.js'
import { createExpiryPlanner } from '../../src/retention/expiry-planning.js'
import { segmentsOf } from '../support/archiving.js'
import { Fault, faultKinds, faulty } from '../support/faulty.js'
import {
  archivedLongAgo,
  clockAt,
  dueToExpire,
  longAgo,
  expirerOf,
  expireSegment,
} from '../support/expiring.js'
import { writtenRestore } from '../support/restoring.js'
import { checkRetained } from '../support/retention-oracle.js'
import { accept, drainUntilSealed } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(async () => {
  await world.close()
})

async function due(organizationId: string) {
  const input = await dueToExpire(world, organizationId)
  if (input === undefined) throw new Error('nothing is due')
  return input
}

test('content of seven years goes, behind a sealed event, and all else stays', async () => {
  const organizationId = 'org_expires'
  const accepted = await archivedLongAgo(world, organizationId, 5)
  const input = await due(organizationId)
  expect(await expireSegment(world, expirerOf(world), input)).toBe('recorded')
  expect(await checkRetained(world, organizationId, accepted)).toMatchObject({ expired: 5 })
  expect(await dueToExpire(world, organizationId)).toBeUndefined()
})

const author = { principal: 'prn_aaaaaaaaaaaaaaaaaaaaaaaaaa', requestId: 'req_1' }
const hold = async (organizationId: string, scope: Parameters<typeof place>[1]['scope']) =>
  (await place(organizationId, { scope, reason: 'a case' }, author)).hold.id
const place: World['api']['core']['retention']['holds']['place'] = (...args) =>
  world.api.core.retention.holds.place(...args)
const release = (organizationId: string, id: string) =>
  world.api.core.retention.holds.release(organizationId, id, author)
const segmentOf = async (organizationId: string) => {
  const [segment] = await segmentsOf(world.api.core).find({ organizationId }).sort({ from: 1 }).toArray()
  if (segment === undefined) throw new Error('there is no segment')
  return segment
}

/** What a preview says is due to expire. */
const foretold = async (organizationId: string) =>
  (await world.api.core.retention.preview(organizationId)).ranges.content

async function actorOf(organizationId: string, id: string): Promise<string> {
  const { body } = await world.request('GET', `/v1/organizations/${organizationId}/events/${id}`)
  return (body as { actor: { subject: string } }).actor.subject
}

test.each(faultKinds)(
  'whichever call fails (%s), nothing goes that was not said to, and another attempt ends it',
  async (kind) => {
    let failed = 0
    for (let at = 0; ; at += 1) {
      const organizationId = `org_matrix_${kind.replaceAll(' ', '_')}_${String(at)}`
      const accepted = await archivedLongAgo(world, organizationId, 3)
      const [id = '', ofHeld = ''] = accepted
      // One of three stays, and one is among what was restored.
      await hold(organizationId, { subject: await actorOf(organizationId, ofHeld) })
      const copy = (await world.api.core.finder.find(organizationId, [id])).get(id)
      if (copy !== undefined) await restoredCollection(world.api.core.db).insertOne(copy)
      const input = await due(organizationId)
      const { wrap, calls } = faulty(at, kind)
      const outcome = await expireSegment(world, expirerOf(world, { wrap }), input).catch((e: unknown) => e)
      if (outcome !== 'recorded') {
        expect(outcome).toBeInstanceOf(Fault)
        failed += 1
      }
      await checkRetained(world, organizationId, accepted)
      const again = await dueToExpire(world, organizationId)
      if (again !== undefined) await expireSegment(world, expirerOf(world), again)
      expect((await checkRetained(world, organizationId, accepted)).expired).toBe(2)
      expect((await segmentOf(organizationId)).expiring).toBeUndefined()
      if (calls() <= at) break
    }
    expect(failed).toBeGreaterThan(20)
  },
  300_000,
)

test('what is held stays, is not looked at again for nothing, and goes when its hold is released', async () => {
  const organizationId = 'org_held'
  const accepted = await archivedLongAgo(world, organizationId, 6)
  const [first = '', second = ''] = await Promise.all(
    accepted.slice(0, 2).map((id) => actorOf(organizationId, id)),
  )
  const one = await hold(organizationId, { subject: first })
  const both = await hold(organizationId, { subject: second })
  const wide = await hold(organizationId, { subject: second, action: 'team.*' })
  await expireSegment(world, expirerOf(world), await due(organizationId))
  expect((await checkRetained(world, organizationId, accepted)).expired).toBe(4)
  expect(await segmentOf(organizationId)).toMatchObject({
    content: { state: 'reduced' },
    contentExpiry: { held: 2, expired: 4, holds: [one, both, wide].sort() },
  })
  expect(await dueToExpire(world, organizationId)).toBeUndefined()
  // Another hold has it still: it is looked at, and stays.
  await release(organizationId, both)
  expect(await expireSegment(world, expirerOf(world), await due(organizationId))).toBe('kept')
  expect(await dueToExpire(world, organizationId)).toBeUndefined()
  await release(organizationId, wide)
  expect(await expireSegment(world, expirerOf(world), await due(organizationId))).toBe('recorded')
  expect((await checkRetained(world, organizationId, accepted)).expired).toBe(5)
  await release(organizationId, one)
  await expireSegment(world, expirerOf(world), await due(organizationId))
  expect((await checkRetained(world, organizationId, accepted)).expired).toBe(6)
  expect(await dueToExpire(world, organizationId)).toBeUndefined()
})

test('a hold on everything writes nothing, a preview says so, and what never expires is kept whatever happens', async () => {
  const organizationId = 'org_all_held'
  const accepted = await archivedLongAgo(world, organizationId, 3)
  const id = await hold(organizationId, {})
  const before = await segmentOf(organizationId)
  expect(await expireSegment(world, expirerOf(world), await due(organizationId))).toBe('kept')
  expect((await segmentOf(organizationId)).content).toEqual(before.content)
  expect(await foretold(organizationId)).toEqual([])
  await release(organizationId, id)
  expect(await foretold(organizationId)).toEqual([{ generation: 1, from: 0, to: before.to }])
  await expireSegment(world, expirerOf(world), await due(organizationId))
  expect(await foretold(organizationId)).toEqual([])
  const after = await segmentOf(organizationId)
  expect(after.content?.state).toBe('reduced')
  // `annals.organization.created`, and what else proves something.
  expect(after.contentExpiry?.kept).toBe(after.leaves - 3)
  expect((await checkRetained(world, organizationId, accepted)).expired).toBe(3)
})

test.each([
  ['a hold', (id: string) => hold(id, { action: 'team.member.invited' })],
  [
    'a longer policy',
    (id: string) =>
      world.api.core.retention.policies.put(id, { hotDays: 0, archiveDays: null, recordDays: null }, author),
  ],
])('%s that comes between deciding and recording is seen, and nothing goes', async (name, change) => {
  const organizationId = `org_between_${name.replaceAll(' ', '_')}`
  const accepted = await archivedLongAgo(world, organizationId, 3)
  const input = await due(organizationId)
  let changes = 0
  const store: ArchiveStore = new Proxy(world.api.core.archive, {
    get: (target, member) => {
      const value: unknown = Reflect.get(target, member, target)
      if (typeof value !== 'function') return value
      return async (...args: unknown[]): Promise<unknown> => {
        // When the new revision is written, everything has been decided.
        if (member === 'put' && changes === 0) {
          changes += 1
          await change(organizationId)
        }
        return Reflect.apply(value, target, args) as unknown
      }
    },
  })
  expect(await expireSegment(world, expirerOf(world, { store }), input)).toBe(
    name === 'a hold' ? 'kept' : 'not_due',
  )
  expect(changes).toBe(1)
  expect((await checkRetained(world, organizationId, accepted)).expired).toBe(0)
  expect(await dueToExpire(world, organizationId)).toBeUndefined()
})

test('a policy that is made shorter lets nothing go in its first seven days', async () => {
  const organizationId = 'org_shorter'
  const day = new Date(Date.now() - 400 * 86_400_000)
  const accepted = await archivedLongAgo(world, organizationId, 2, day)
  expect(await dueToExpire(world, organizationId)).toBeUndefined()
  await world.api.core.retention.policies.put(
    organizationId,
    { hotDays: 0, archiveDays: 365, recordDays: null },
    author,
  )
  expect(await dueToExpire(world, organizationId)).toBeUndefined()
  const { to } = await segmentOf(organizationId)
  const input = { organizationId, generation: 1, from: 0, to, kind: 'content' as const }
  expect(await expirerOf(world).rewrite(input)).toBe('not_due')
  const later = new Date(Date.now() + 8 * 86_400_000)
  expect(await dueToExpire(world, organizationId, later)).toBeDefined()
  const expirer = expirerOf(world, { clock: clockAt(later) })
  expect(await expireSegment(world, expirer, input)).toBe('recorded')
  expect((await checkRetained(world, organizationId, accepted)).expired).toBe(2)
})

test('a sweep asks about who has something archived, page by page, and about nobody else', async () => {
  const { core } = world.api
  const archived = ['org_page_a', 'org_page_c', 'org_page_e']
  for (const id of archived) await archivedLongAgo(world, id, 2)
  for (const id of ['org_page_b', 'org_page_d']) {
    await accept(core, id, 2)
    await drainUntilSealed(core, id)
  }
  const asked: string[] = []
  const planner = createExpiryPlanner({
    db: core.db,
    clock: clockAt(new Date()),
    holds: core.retention.holds,
    policies: {
      counting(organizationId, now) {
        asked.push(organizationId)
        return core.retention.policies.counting(organizationId, now)
      },
    },
  })
  const found: string[] = []
  let after: string | undefined = 'org_page'
  do {
    const { segments, next } = await planner.due(new Date(), after, 1)
    found.push(...segments.map(({ organizationId }) => organizationId))
    after = next ?? undefined
  } while (after !== undefined)
  const ofPages = (ids: readonly string[]) => ids.filter((id) => id.startsWith('org_page_'))
  expect(ofPages(found)).toEqual(archived)
  expect(ofPages(asked)).toEqual(archived)
})

test('clocks that were set back, or leapt ahead by years, let nothing go', async () => {
  const organizationId = 'org_clocks'
  const accepted = await archivedLongAgo(world, organizationId, 2)
  const input = await due(organizationId)
  for (const clock of [clockAt(longAgo), clockAt(new Date(0)), clockAt(new Date(), 'leapt')])
    expect(await expirerOf(world, { clock }).rewrite(input)).toBe('not_due')
  expect(await dueToExpire(world, organizationId, longAgo)).toBeUndefined()
  expect((await checkRetained(world, organizationId, accepted)).expired).toBe(0)
})

test('two at once end as one does, and the same again changes nothing', async () => {
  const organizationId = 'org_two'
  const accepted = await archivedLongAgo(world, organizationId, 300)
  const input = await due(organizationId)
  await Promise.all([1, 2, 3].map(() => expireSegment(world, expirerOf(world), input)))
  expect((await checkRetained(world, organizationId, accepted)).expired).toBe(300)
  const before = await segmentOf(organizationId)
  expect(await expireSegment(world, expirerOf(world), input)).toBe('kept')
  expect((await segmentOf(organizationId)).content).toEqual(before.content)
})

test('an archive that lets nothing be deleted stops the run by name, and the next one goes on', async () => {
  const organizationId = 'org_locked'
  const accepted = await archivedLongAgo(world, organizationId, 2)
  const input = await due(organizationId)
  const store: ArchiveStore = new Proxy(world.api.core.archive, {
    get: (target, member) => {
      if (member === 'delete') return () => Promise.reject(new ArchiveStoreError('locked', 'it is locked'))
      const value: unknown = Reflect.get(target, member, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
  const error = await expireSegment(world, expirerOf(world, { store }), input).catch((e: unknown) => e)
  expect(reasonOf(error)).toBe('archive_refused')
  // It is not read any more, though its bytes are still there.
  expect((await checkRetained(world, organizationId, accepted)).expired).toBe(2)
  expect(await dueToExpire(world, organizationId)).toEqual(input)
  await expireSegment(world, expirerOf(world), input)
  await checkRetained(world, organizationId, accepted)
})

test('nothing is deleted before what says so is sealed and proved', async () => {
  const organizationId = 'org_unproved'
  await archivedLongAgo(world, organizationId, 2)
  const input = await due(organizationId)
  const expirer = expirerOf(world)
  await expirer.rewrite(input)
  expect(await expirer.prove(input)).toBe(false)
  await expect(expirer.remove(input)).rejects.toThrow('before what says so')
  const { content } = await segmentOf(organizationId)
  expect(content?.revision).toBe(2)
  expect(
    await world.api.core.archive.head(content?.file.path.replace('content.2', 'content.1') ?? ''),
  ).toBeDefined()
})

test('what is being restored while it expires does not come back, and what was restored goes', async () => {
  const organizationId = 'org_restored'
  const accepted = await archivedLongAgo(world, organizationId, 4)
  const { store, restorer } = world.api.core.restores
  const rows = restoredCollection(world.api.core.db)
  const restore = async () => {
    const reference = await writtenRestore(world, organizationId)
    await restorer.copy(reference, { beat: () => undefined, signal: new AbortController().signal })
    return reference
  }
  const before = await restore()
  await restorer.activate(before)
  expect(await rows.countDocuments({ organizationId })).toBeGreaterThanOrEqual(4)
  const during = await restore()
  await expireSegment(world, expirerOf(world), await due(organizationId))
  // As one that was copied before, and written after the copies were looked for.
  const [copy] = await rows.find({ organizationId }).toArray()
  if (copy === undefined) throw new Error('what never expires is restored still')
  await rows.insertOne({ ...copy, _id: `${organizationId}/${accepted[0] ?? ''}` })
  await restorer.activate(during)
  const stored = await store.find(during)
  expect(stored?.counts.events).toBe(await rows.countDocuments({ organizationId }))
  expect((await checkRetained(world, organizationId, accepted)).expired).toBe(4)
})
