/** Claims of ranges: shortened where their events are too large for a segment, and safe from whoever was overtaken. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createSegmentsStore } from '../../src/archive/segments-store.js'
import { segmentsOf } from '../support/archiving.js'
import { archiveRange, archiverOf, dueRange } from '../support/retaining.js'
import { checkRetained } from '../support/retention-oracle.js'
import { accept, drainUntilSealed } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(() => world.close())

const sealed = async (organizationId: string, count: number) => {
  const ids = (await accept(world.api.core, organizationId, count)).map(({ id }) => id)
  await drainUntilSealed(world.api.core, organizationId)
  return ids
}

test('a range whose events are too large ends earlier, at a tile, and everything moves all the same', async () => {
  const organizationId = 'org_large'
  const accepted = await sealed(organizationId, 700)
  const [sum] = await world.api.core.events
    .aggregate<{ bytes: number }>([
      { $match: { organizationId } },
      { $group: { _id: null, bytes: { $sum: { $bsonSize: '$$ROOT' } } } },
    ])
    .toArray()
  // A tile and a half.
  const maxHotBytes = Math.floor(((sum?.bytes ?? 0) / 701) * 384)
  const archiver = archiverOf(world, { maxHotBytes })
  const planned = await dueRange(world, organizationId)
  if (planned === undefined) throw new Error('nothing is due')
  expect(planned).toMatchObject({ from: 0, to: 701 })
  expect(await archiver.write(planned)).toBe('shortened')
  // Whoever still has the range as it was planned leaves it alone.
  expect(await archiver.write(planned)).toBe('taken')
  for (let rounds = 0; rounds < 10; rounds += 1) {
    const range = await dueRange(world, organizationId)
    if (range === undefined) break
    await archiveRange(archiver, range)
  }
  const segments = await segmentsOf(world.api.core).find({ organizationId }).sort({ from: 1 }).toArray()
  expect(segments.map(({ from, to }) => [from, to])).toEqual([
    [0, 256],
    [256, 512],
    [512, 701],
  ])
  for (const { hotBytes } of segments) expect(hotBytes).toBeLessThanOrEqual(maxHotBytes)
  await drainUntilSealed(world.api.core, organizationId)
  expect((await checkRetained(world, organizationId, accepted)).archived).toBe(701)
})

test('a tile is never too large, and an export that was shortened meanwhile is not kept', async () => {
  const organizationId = 'org_shortened'
  const accepted = await sealed(organizationId, 300)
  const range = await dueRange(world, organizationId)
  if (range === undefined) throw new Error('nothing is due')
  const segments = createSegmentsStore(world.api.core.db)
  // It finished its export, and another shortens the range right before it says so.
  const slow = archiverOf(world, {
    wrap: (target) =>
      'keepWritten' in target
        ? Object.assign(Object.create(target) as typeof target, {
            keepWritten: async (...given: Parameters<typeof segments.keepWritten>) => {
              expect(await segments.shorten(range, 256)).toBe(true)
              await segments.keepWritten(...given)
            },
          })
        : target,
  })
  await slow.write(range)
  expect(await segments.claimOf(range)).toMatchObject({ to: 256, written: null })
  const tiny = archiverOf(world, { maxHotBytes: 1 })
  for (let rounds = 0; rounds < 10; rounds += 1) {
    const next = await dueRange(world, organizationId)
    if (next === undefined) break
    await archiveRange(tiny, next)
  }
  await drainUntilSealed(world.api.core, organizationId)
  expect((await checkRetained(world, organizationId, accepted)).archived).toBe(range.to)
})

test('a worker that was overtaken takes nothing back of what the one that overtook it read back', async () => {
  const organizationId = 'org_overtaken'
  const accepted = await sealed(organizationId, 3)
  const range = await dueRange(world, organizationId)
  if (range === undefined) throw new Error('nothing is due')
  const archiver = archiverOf(world)
  await archiver.write(range)
  const segments = createSegmentsStore(world.api.core.db)
  const { written, seen } = (await segments.claimOf(range)) ?? {}
  if (!written || typeof seen !== 'number') throw new Error('it was written')
  // Another worker has written the range anew, and read that back.
  const anew = { ...written, content: { ...written.content, manifestSha256: 'f'.repeat(64) } }
  await segments.keepWritten(range, anew, seen)
  await segments.keepVerified(range, 'f'.repeat(64))
  await segments.keepVerified(range, written.content.manifestSha256)
  expect((await segments.claimOf(range))?.verified).toBe('f'.repeat(64))
  // What nobody has read back is no segment, whoever says so.
  await segments.keepWritten(range, written, seen)
  await expect(archiver.record(range)).rejects.toThrow('only what was read back')
  await archiveRange(archiver, range)
  await drainUntilSealed(world.api.core, organizationId)
  expect((await checkRetained(world, organizationId, accepted)).archived).toBe(range.to)
})
