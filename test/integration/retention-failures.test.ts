/** Archiving with a fault at each call that it makes: nothing is lost, nothing is twice, and the next attempt ends it. */
import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { SegmentFault } from '../../src/archive/segment-fault.js'
import { ArchiveStoreError, type ArchiveStore } from '../../src/archive/stores/contract.js'
import { collectionNames } from '../../src/mongo/collections.js'
import { reasonOf } from '../../activities/retention-failures.js'
import { archiveKinds, nameAbsentS3, openArchiveWorld, type ArchiveWorld } from '../support/archive-worlds.js'
import { archiveRange, archiverOf, dueRange, type Wrap } from '../support/retaining.js'
import { checkRetained } from '../support/retention-oracle.js'
import { accept, drainUntilSealed } from '../support/sealing.js'
import { segmentsOf } from '../support/archiving.js'
import type { World } from '../support/world.js'

class Fault extends Error {}
type FaultKind = 'error' | 'persisted but errored' | 'killed'

/** Counts the calls that wait for something, and breaks one of them; a process that was killed makes no further ones. */
function faulty(at: number, kind: FaultKind): { wrap: Wrap; calls: () => number } {
  let calls = 0
  const wrap: Wrap = (target) =>
    new Proxy(target, {
      get(object, name) {
        const value: unknown = Reflect.get(object, name, object)
        if (typeof value !== 'function') return value
        return (...args: unknown[]): unknown => {
          const hit = calls === at || (kind === 'killed' && calls > at)
          const call = () => Reflect.apply(value, object, args) as unknown
          if (name === 'list' || name === 'versions' || name === 'aggregate') return call()
          // A collection's answer is a cursor: what waits is the reading of it.
          if (name === 'find' && 'collectionName' in object) return wrap(call() as object)
          calls += 1
          if (!hit) return call()
          // Nothing persists by reading.
          if (kind !== 'persisted but errored' || name === 'get') return Promise.reject(new Fault())
          return Promise.resolve(call()).then(() => Promise.reject(new Fault()))
        }
      },
    })
  return { wrap, calls: () => calls }
}

nameAbsentS3('archiving with faults')

describe.each(archiveKinds)('with the archive in %s', (kind) => {
  let world: World
  let opened: ArchiveWorld
  beforeAll(async () => {
    opened = await openArchiveWorld(kind)
    world = opened.world
  })
  afterAll(async () => {
    await opened.close()
  })

  async function sealed(organizationId: string, count: number): Promise<string[]> {
    const ids = (await accept(world.api.core, organizationId, count)).map(({ id }) => id)
    await drainUntilSealed(world.api.core, organizationId)
    return ids
  }

  async function due(organizationId: string) {
    const range = await dueRange(world, organizationId)
    if (range === undefined) throw new Error('nothing is due')
    return range
  }

  test.each(['error', 'persisted but errored', 'killed'] as const)(
    'whichever call fails (%s), every event is in at least one place, and another attempt ends it',
    async (fault) => {
      let failed = 0
      for (let at = 0; ; at += 1) {
        const organizationId = `org_${String(at)}_${fault.replaceAll(' ', '_')}`
        const accepted = await sealed(organizationId, 2)
        const range = await due(organizationId)
        const { wrap, calls } = faulty(at, fault)
        const outcome = await archiveRange(archiverOf(world, { wrap }), range).then(
          () => 'done',
          (error: unknown) => error,
        )
        if (outcome !== 'done') {
          expect(outcome).toBeInstanceOf(Fault)
          failed += 1
        }
        await checkRetained(world, organizationId, accepted)
        await archiveRange(archiverOf(world), range)
        const after = await checkRetained(world, organizationId, accepted)
        expect(after.archived).toBe(range.to)
        if (calls() <= at) break
      }
      expect(failed).toBeGreaterThan(15)
    },
  )

  /** Answers other bytes than it keeps. */
  const altering = (change: (bytes: Buffer) => Buffer): ArchiveStore =>
    new Proxy(world.api.core.archive, {
      get(store, name) {
        if (name === 'get')
          return async (path: string) => {
            const stream = await store.get(path)
            if (stream === undefined || !path.endsWith('.ndjson.gz')) return stream
            const chunks: Buffer[] = []
            for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk)
            return Readable.from([change(Buffer.concat(chunks))])
          }
        const value: unknown = Reflect.get(store, name, store)
        return typeof value === 'function' ? (value.bind(store) as unknown) : value
      },
    })

  test.each([
    ['altered', (bytes: Buffer) => Buffer.from(bytes.map((byte, at) => (at === 20 ? byte ^ 1 : byte)))],
    ['truncated', (bytes: Buffer) => bytes.subarray(0, bytes.length - 1)],
    ['longer', (bytes: Buffer) => Buffer.concat([bytes, Buffer.from([0])])],
  ])('an archive that answers %s bytes gets nothing deleted', async (name, change) => {
    const organizationId = `org_bytes_${name}`
    const accepted = await sealed(organizationId, 3)
    const range = await due(organizationId)
    const error = await archiveRange(archiverOf(world, { store: altering(change) }), range).catch(
      (thrown: unknown) => thrown,
    )
    expect(error).toBeInstanceOf(SegmentFault)
    expect(reasonOf(error)).toBe('archive_altered')
    expect(await segmentsOf(world.api.core).countDocuments({ organizationId })).toBe(0)
    expect((await checkRetained(world, organizationId, accepted)).hot).toBe(range.to)
    await archiveRange(archiverOf(world), range)
    expect((await checkRetained(world, organizationId, accepted)).archived).toBe(range.to)
  })

  test('bytes that go bad between recording and deleting keep everything hot', async () => {
    const organizationId = 'org_rot'
    const accepted = await sealed(organizationId, 3)
    const range = await due(organizationId)
    const archiver = archiverOf(world)
    await archiver.write(range)
    await archiver.verify(range)
    await archiver.record(range)
    const rotten = archiverOf(world, { store: altering((bytes) => bytes.subarray(1)) })
    await expect(rotten.remove(range)).rejects.toBeInstanceOf(SegmentFault)
    expect((await checkRetained(world, organizationId, accepted)).hot).toBe(range.to)
    await archiver.remove(range)
    await checkRetained(world, organizationId, accepted)
  })

  test('a hold or a policy that comes in between is seen, and the range is exported again', async () => {
    const organizationId = 'org_moved'
    const { core } = world.api
    const accepted = await sealed(organizationId, 3)
    const range = await due(organizationId)
    const archiver = archiverOf(world)
    await archiver.write(range)
    await archiver.verify(range)
    const author = { principal: 'prn_aaaaaaaaaaaaaaaaaaaaaaaaaa', requestId: 'req_1' }
    await core.retention.holds.place(organizationId, { scope: {}, reason: 'a case' }, author)
    await expect(archiver.record(range)).rejects.toThrow('lifecycle')
    expect((await checkRetained(world, organizationId, accepted)).archived).toBe(0)
    // It does not stop the move: the second time nothing moves in between.
    await archiveRange(archiver, range)
    expect((await checkRetained(world, organizationId, accepted)).archived).toBe(range.to)
  })

  test('an archive that is full keeps everything hot, says so, and goes on later', async () => {
    const organizationId = 'org_full'
    const accepted = await sealed(organizationId, 1)
    const range = await due(organizationId)
    const full: ArchiveStore = new Proxy(world.api.core.archive, {
      get: (store, name) => {
        if (name === 'put') return () => Promise.reject(new ArchiveStoreError('full', 'no space'))
        const value: unknown = Reflect.get(store, name, store)
        return typeof value === 'function' ? (value.bind(store) as unknown) : value
      },
    })
    const error = await archiveRange(archiverOf(world, { store: full }), range).catch((e: unknown) => e)
    expect(reasonOf(error)).toBe('archive_full')
    expect((await checkRetained(world, organizationId, accepted)).archived).toBe(0)
    await archiveRange(archiverOf(world), range)
    expect((await checkRetained(world, organizationId, accepted)).archived).toBe(range.to)
  })

  test('two that archive at once write one segment, also where they saw another end', async () => {
    const organizationId = 'org_twice'
    const accepted = await sealed(organizationId, 600)
    const range = await due(organizationId)
    const shorter = { ...range, to: 300 }
    const outcomes = await Promise.allSettled(
      [range, shorter, range].map((one) => archiveRange(archiverOf(world), one)),
    )
    expect(outcomes.some(({ status }) => status === 'fulfilled')).toBe(true)
    await checkRetained(world, organizationId, accepted)
    for (let next = await dueRange(world, organizationId); next !== undefined;) {
      await archiveRange(archiverOf(world), next)
      const following = await dueRange(world, organizationId)
      if (following?.from === next.from) throw new Error('it does not go on')
      next = following !== undefined && following.from < range.to ? following : undefined
    }
    expect((await checkRetained(world, organizationId, accepted)).archived).toBe(range.to)
  })

  test('a range that is claimed with another end is left to whoever claimed it', async () => {
    const organizationId = 'org_claimed'
    const accepted = await sealed(organizationId, 300)
    const range = await due(organizationId)
    const archiver = archiverOf(world)
    expect(await archiver.write(range)).toBe('written')
    expect(await archiverOf(world).write({ ...range, to: 200 })).toBe('taken')
    await archiver.verify(range)
    await archiver.record(range)
    await archiver.remove(range)
    expect((await checkRetained(world, organizationId, accepted)).archived).toBe(range.to)
  })

  test('content that is recorded anew after it was read back keeps everything hot', async () => {
    const { archive, db, events } = world.api.core
    const organizationId = 'org_moved'
    await sealed(organizationId, 3)
    const range = await due(organizationId)
    const archiver = archiverOf(world)
    await archiver.write(range)
    await archiver.verify(range)
    await archiver.record(range)
    const before = await events.countDocuments({ organizationId })
    const store = new Proxy(archive, {
      get(target, member) {
        const value: unknown = Reflect.get(target, member, target)
        if (typeof value !== 'function') return value
        return async (...args: unknown[]): Promise<unknown> => {
          const moved = { $set: { 'content.manifestSha256': 'f'.repeat(64) } }
          await db.collection(collectionNames.archiveSegments).updateOne({ organizationId }, moved)
          return Reflect.apply(value, target, args) as unknown
        }
      },
    })
    await expect(archiverOf(world, { store }).remove(range)).rejects.toThrow()
    expect(await events.countDocuments({ organizationId })).toBe(before)
  })

  test('what is not due, or not sealed, is never planned', async () => {
    const organizationId = 'org_young'
    await sealed(organizationId, 3)
    expect(await dueRange(world, organizationId, new Date())).toBeUndefined()
    await accept(world.api.core, organizationId, 2)
    const size = (await world.api.core.sealing.store.head(organizationId))?.size
    expect((await due(organizationId)).to).toBe(size)
  })
})
