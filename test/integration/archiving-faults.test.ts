/** What may meet the move to the archive besides a call that fails: foreign objects, changes of mind, clocks, zombies. */
import { GetObjectRetentionCommand } from '@aws-sdk/client-s3'
import { hash } from 'node:crypto'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { reasonOf } from '../../activities/retention-failures.js'
import {
  contentPath,
  recordsManifestPath,
  recordsPath,
  segmentPrefix,
} from '../../src/archive/segment-paths.js'
import { parseStoreAddress, within } from '../../src/archive/stores/address.js'
import type { ArchiveStore } from '../../src/archive/stores/contract.js'
import { createS3Store } from '../../src/archive/stores/s3.js'
import { createRetentionClock } from '../../src/retention/clock-store.js'
import type { ArchiveInput } from '../../src/retention/contract.js'
import { LifecycleMovedError } from '../../src/retention/lifecycle.js'
import { createPlanner } from '../../src/retention/planning.js'
import { maxLockDays } from '../../src/retention/policy.js'
import { logCollections } from '../../src/transparency-log/store.js'
import { archiveKinds, nameAbsentS3, openArchiveWorld, type ArchiveWorld } from '../support/archive-worlds.js'
import { segmentsOf } from '../support/archiving.js'
import { archiveRange, archiverOf, dueRange, inAYear } from '../support/retaining.js'
import { checkRetained } from '../support/retention-oracle.js'
import { accept, drainUntilSealed } from '../support/sealing.js'
import { startTcpProxy } from '../support/tcp-proxy.js'
import type { World } from '../support/world.js'

const author = { principal: 'prn_aaaaaaaaaaaaaaaaaaaaaaaaaa', requestId: 'req_1' }
const yearMs = 366 * 86_400_000

nameAbsentS3('archiving with faults of the world around it')

describe.each(archiveKinds)('with the archive in %s', (kind) => {
  let opened: ArchiveWorld
  let world: World
  beforeAll(async () => {
    opened = await openArchiveWorld(kind)
    world = opened.world
  })
  afterAll(() => opened.close())

  async function sealed(organizationId: string, count: number): Promise<string[]> {
    const ids = (await accept(world.api.core, organizationId, count)).map(({ id }) => id)
    await drainUntilSealed(world.api.core, organizationId)
    return ids
  }

  async function due(organizationId: string): Promise<ArchiveInput> {
    const range = await dueRange(world, organizationId)
    if (range === undefined) throw new Error('nothing is due')
    return range
  }

  async function put(path: string, text: string): Promise<void> {
    const bytes = Buffer.from(text)
    const sha256 = hash('sha256', bytes, 'buffer')
    await world.api.core.archive.put(path, () => Readable.from([bytes]), { sha256, bytes: bytes.length })
  }

  async function objectsOf(range: ArchiveInput): Promise<string[]> {
    const paths: string[] = []
    for await (const { path } of world.api.core.archive.versions(segmentPrefix(range))) paths.push(path)
    return paths
  }

  /** The store of the world with one operation changed. */
  const changed = <Name extends keyof ArchiveStore>(
    name: Name,
    change: (original: ArchiveStore[Name]) => ArchiveStore[Name],
  ): ArchiveStore => {
    const store = world.api.core.archive
    return { ...store, [name]: change(store[name]) }
  }

  test('what was written before is found, and written once', async () => {
    const accepted = await sealed('org_again', 3)
    const range = await due('org_again')
    const archiver = archiverOf(world)
    await archiver.write(range)
    const before = await objectsOf(range)
    await archiver.write(range)
    expect(await objectsOf(range)).toEqual(before)
    await archiveRange(archiver, range)
    expect(await checkRetained(world, 'org_again', accepted)).toMatchObject({ archived: range.to })
    expect(await objectsOf(range)).toEqual(before)
  })

  test('data that nobody vouches for gives way; a foreign manifest stops the run, and everything stays hot', async () => {
    const accepted = await sealed('org_foreign', 3)
    const range = await due('org_foreign')
    await put(recordsPath(range), 'left by somebody')
    await put(contentPath(range, 1), 'left by somebody')
    await put(recordsManifestPath(range), 'left by somebody')
    const error = await archiveRange(archiverOf(world), range).catch((thrown: unknown) => thrown)
    expect(reasonOf(error)).toBe('archive_altered')
    expect(await checkRetained(world, 'org_foreign', accepted)).toMatchObject({ archived: 0 })
    await world.api.core.archive.delete(recordsManifestPath(range))
    await archiveRange(archiverOf(world), range)
    expect(await checkRetained(world, 'org_foreign', accepted)).toMatchObject({ archived: range.to })
  })

  test('an object that was lost before it was read back is written again', async () => {
    const accepted = await sealed('org_lost', 3)
    const range = await due('org_lost')
    const archiver = archiverOf(world)
    await archiver.write(range)
    await world.api.core.archive.delete(contentPath(range, 1))
    await expect(archiver.verify(range)).rejects.toMatchObject({ code: 'object_missing' })
    await archiveRange(archiver, range)
    expect(await checkRetained(world, 'org_lost', accepted)).toMatchObject({ archived: range.to })
  })

  test('an upload that breaks off leaves no object, and the next one ends', async () => {
    const accepted = await sealed('org_broken', 5)
    const range = await due('org_broken')
    const halves = changed('put', (original) => (path, source, options) => {
      async function* broken() {
        for await (const chunk of source() as AsyncIterable<Buffer>) {
          yield chunk.subarray(0, Math.ceil(chunk.length / 2))
          throw new Error('the disk of the worker broke')
        }
      }
      return original(path, () => Readable.from(broken(), { objectMode: false }), options)
    })
    await expect(archiveRange(archiverOf(world, { store: halves }), range)).rejects.toThrow('broke')
    expect(await objectsOf(range)).toEqual([])
    expect(await checkRetained(world, 'org_broken', accepted)).toMatchObject({ archived: 0 })
    await archiveRange(archiverOf(world), range)
    expect(await checkRetained(world, 'org_broken', accepted)).toMatchObject({ archived: range.to })
  })

  test('a policy that is shortened while a run is under way is seen, and a hold before the deletion stops nothing', async () => {
    const accepted = await sealed('org_minds', 3)
    const range = await due('org_minds')
    const { policies, holds } = world.api.core.retention
    const archiver = archiverOf(world)
    await archiver.write(range)
    await archiver.verify(range)
    await policies.put('org_minds', { hotDays: 1, archiveDays: 2, recordDays: 3 }, author)
    await expect(archiver.record(range)).rejects.toBeInstanceOf(LifecycleMovedError)
    await archiver.write(range)
    await archiver.verify(range)
    await archiver.record(range)
    await holds.place('org_minds', { scope: {}, reason: 'a case' }, author)
    await archiver.remove(range)
    expect(await checkRetained(world, 'org_minds', accepted)).toMatchObject({ archived: range.to })
  })

  test('an export that another took over says nothing of its own', async () => {
    const accepted = await sealed('org_zombie', 300)
    const range = await due('org_zombie')
    let wake: () => void = () => undefined
    const asleep = new Promise<void>((resolve) => (wake = resolve))
    let reached: () => void = () => undefined
    const atContent = new Promise<void>((resolve) => (reached = resolve))
    const slow = changed('put', (original) => async (path, source, options) => {
      if (path === recordsPath(range)) {
        reached()
        await asleep
      }
      return original(path, source, options)
    })
    const zombie = archiverOf(world, { store: slow }).write(range)
    await atContent
    await archiveRange(archiverOf(world), range)
    const before = await objectsOf(range)
    wake()
    expect(await zombie).toBe('recorded')
    expect(await objectsOf(range)).toEqual(before)
    expect(await checkRetained(world, 'org_zombie', accepted)).toMatchObject({ archived: range.to })
    expect(
      await world.api.core.db.collection('archiveClaims').countDocuments({ organizationId: 'org_zombie' }),
    ).toBe(0)
  })

  test('an export that reads while another deletes takes nothing for gone', async () => {
    const accepted = await sealed('org_late', 300)
    const range = await due('org_late')
    let first = true
    const late = archiverOf(world, {
      wrap: (target) =>
        new Proxy(target, {
          get(object, name) {
            const value: unknown = Reflect.get(object, name, object)
            if (typeof value !== 'function') return value
            const isEvents = Object.is(object, world.api.core.events)
            if (name !== 'find' || !isEvents || !first) return value.bind(object) as unknown
            // Between the first tile and the second, another is through with all of it.
            return (...args: unknown[]): unknown => {
              const found = Reflect.apply(value, object, args) as { toArray(): Promise<unknown[]> }
              first = false
              return {
                async toArray() {
                  const rows = await found.toArray()
                  await archiveRange(archiverOf(world), range)
                  return rows
                },
              }
            }
          },
        }),
    })
    expect(await late.write(range)).toBe('recorded')
    expect((await objectsOf(range)).filter((path) => path.includes('.content.2.'))).toEqual([])
    expect(await checkRetained(world, 'org_late', accepted)).toMatchObject({ archived: range.to })
  })

  test('a segment of one event, a day with none, and an end to what archiving says of itself', async () => {
    const accepted = await sealed('org_one', 1)
    const [archiver, ranges] = [archiverOf(world), [] as ArchiveInput[]]
    await archiveRange(archiver, { ...(await due('org_one')), to: 1 })
    for (let range = await dueRange(world, 'org_one'); range !== undefined;) {
      ranges.push(range)
      expect(ranges.length).toBeLessThan(5)
      await archiveRange(archiver, range)
      await drainUntilSealed(world.api.core, 'org_one')
      range = await dueRange(world, 'org_one')
    }
    // The first takes one leaf, the second the event; the third is what these two say, and says nothing itself.
    expect(ranges.map(({ from, to }) => [from, to])).toEqual([
      [1, 2],
      [2, 4],
    ])
    const logged = await segmentsOf(world.api.core)
      .find({ organizationId: 'org_one' })
      .sort({ from: 1 })
      .toArray()
    expect(logged.map(({ unlogged }) => unlogged === true)).toEqual([false, false, true])
    const head = await world.api.core.sealing.store.head('org_one')
    expect(await checkRetained(world, 'org_one', accepted)).toMatchObject({ hot: 0, archived: head?.size })
  })

  test('clocks that leap ahead make nothing due, and those that are set back delay', async () => {
    const { db } = world.api.core
    await sealed('org_clock', 3)
    const realNow = new Date()
    let now = realNow
    const clockOf = () =>
      createRetentionClock(db, { now: () => now, databaseNow: () => Promise.resolve(now) })
    await db.collection('deployment').deleteMany({ _id: 'retentionClock' as never })
    const dueNow = async () => {
      const limits = { maxLeaves: 65_536, crumbs: 1, patienceMs: 0 }
      return createPlanner({ db, clock: clockOf(), limits }).dueOf(inAYear(), 'org_clock')
    }
    expect(await dueNow()).toBeUndefined()
    now = new Date(realNow.getTime() + 10 * yearMs)
    expect(await dueNow()).toBeUndefined()
    now = new Date(realNow.getTime() - 10 * yearMs)
    expect(await dueNow()).toBeUndefined()
    now = realNow
    expect(await dueNow()).toBeUndefined()
  })

  test('closed generations of a log move to the archive before the one that grows', async () => {
    const { core } = world.api
    const organizationId = 'org_generations'
    const kept = await sealed(organizationId, 2)
    const { heads, tiles, entries } = logCollections(core.db)
    const backup = await Promise.all([
      heads.find({ organizationId }).toArray(),
      tiles.find({ organizationId }).toArray(),
      entries.find({ organizationId }).toArray(),
    ])
    const lost = await sealed(organizationId, 2)
    await core.sealing.anchoring.copyOnce()
    // A database of before, behind what was published.
    await heads.deleteMany({ organizationId })
    await tiles.deleteMany({ organizationId })
    await entries.deleteMany({ organizationId })
    await heads.insertMany(backup[0])
    await tiles.insertMany(backup[1])
    await entries.insertMany(backup[2])
    await core.events.deleteMany({ _id: { $in: lost.map((id) => `${organizationId}/${id}`) } })
    await core.sealing.restarter.restart(organizationId)
    const after = await sealed(organizationId, 2)
    const generations: number[] = []
    for (let range = await dueRange(world, organizationId); range !== undefined;) {
      generations.push(range.generation)
      expect(generations.length).toBeLessThan(6)
      await archiveRange(archiverOf(world), range)
      range = await dueRange(world, organizationId, new Date(inAYear().getTime() - 86_400_000))
      if (generations.length > 1) break
    }
    expect(generations.slice(0, 2)).toEqual([1, 2])
    for (const id of [...kept, ...after]) {
      const answer = await world.request('GET', `/v1/organizations/${organizationId}/events/${id}`)
      expect(answer.status).toBe(200)
      expect(await core.events.countDocuments({ _id: `${organizationId}/${id}` })).toBe(0)
    }
  })

  test.runIf(kind === 'S3')(
    'records and their manifest are locked by the policy, content never is',
    async () => {
      const { core } = world.api
      const address = parseStoreAddress(String(opened.address))
      if (address.kind !== 's3' || opened.s3 === undefined) throw new Error('it is a bucket')
      const bucket = within(address, 'segments')
      const prefix = bucket.kind === 's3' ? bucket.prefix : ''
      const lockOf = async (path: string) => {
        const command = new GetObjectRetentionCommand({ Bucket: address.bucket, Key: `${prefix}/${path}` })
        const answer = await opened.s3?.client.send(command).catch(() => undefined)
        return { mode: answer?.Retention?.Mode, until: answer?.Retention?.RetainUntilDate?.getTime() }
      }
      for (const [organizationId, days] of [
        ['org_locks', null],
        ['org_locks_short', 30],
      ] as const) {
        await sealed(organizationId, 3)
        if (days !== null) {
          // Longer ones count for seven days more: the first policy follows the default, which keeps records for ever.
          await core.retention.policies.put(
            organizationId,
            { hotDays: 0, archiveDays: 30, recordDays: days },
            author,
          )
          await core.db
            .collection('retentionPolicies')
            .updateMany({ organizationId }, { $set: { since: new Date(0) } })
        }
        const range = await due(organizationId)
        await archiveRange(archiverOf(world), range)
        const segment = await segmentsOf(core).findOne({ organizationId })
        const until = Number(segment?.sealedTo.getTime()) + (days ?? maxLockDays) * 86_400_000
        for (const path of [recordsPath(range), recordsManifestPath(range)]) {
          const lock = await lockOf(path)
          expect(lock.mode).toBe('GOVERNANCE')
          expect(Math.abs(Number(lock.until) - until)).toBeLessThan(1_000)
          await expect(core.archive.delete(path)).rejects.toMatchObject({ code: 'locked' })
        }
        expect(await lockOf(contentPath(range, 1))).toEqual({ mode: undefined, until: undefined })
      }
    },
  )

  test.runIf(kind === 'S3')('an archive that stops answering keeps everything hot, and says so', async () => {
    const accepted = await sealed('org_frozen', 3)
    const range = await due('org_frozen')
    const address = parseStoreAddress(String(opened.address))
    if (address.kind !== 's3' || opened.s3 === undefined) throw new Error('it is a bucket')
    const proxy = await startTcpProxy(opened.s3.port)
    const bucket = within(address, 'segments')
    if (bucket.kind !== 's3') throw new Error('it is a bucket')
    const store = createS3Store({
      ...bucket,
      endpoint: `http://127.0.0.1:${String(proxy.port)}`,
      limits: { stallMs: 300, connectMs: 300, attempts: 2, backoffMs: 1 },
    })
    proxy.plan({ direction: 'down', afterBytes: 1_000, action: 'freeze' })
    const error = await archiveRange(archiverOf(world, { store }), range).catch((thrown: unknown) => thrown)
    await proxy.close()
    expect(reasonOf(error)).toBe('archive_unavailable')
    expect(await checkRetained(world, 'org_frozen', accepted)).toMatchObject({ archived: 0 })
    await archiveRange(archiverOf(world), range)
    expect(await checkRetained(world, 'org_frozen', accepted)).toMatchObject({ archived: range.to })
  })
})
