import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createLogger } from '../../src/logging.js'
import { copyNameOf } from '../../src/transparency-log/checkpoint-copies/copies.js'
import { base64 } from '../../src/transparency-log/encoding.js'
import { sha256 } from '../../src/transparency-log/node-crypto.js'
import { runSealingLoop } from '../../src/transparency-log/sealing-loop.js'
import { logCollections } from '../../src/transparency-log/store.js'
import { rollingBack } from '../support/rolling-back.js'
import { accept, drainAll, openSealingWorld } from '../support/sealing.js'
import type { World } from '../support/world.js'

let world: World
let organizationId: string
let numbered = 0

beforeAll(async () => {
  world = await openSealingWorld()
})
afterAll(() => world.close())
beforeEach(() => {
  numbered += 1
  organizationId = `org_back_${String(numbered)}`
})

const core = () => world.api.core
const { backup, copies, grow, head, process, refuses } = rollingBack(
  () => world,
  () => organizationId,
)
const copiesFolder = () => join(world.config.dataDirectory, 'archive', 'checkpoints')

test('only what changed is copied, and a copy is the checkpoint itself', async () => {
  await grow()
  const { anchoring } = process()
  expect((await anchoring.copyOnce()).written).toBeGreaterThan(0)
  expect(await anchoring.copyOnce()).toEqual({ written: 0, refused: [], failed: 0 })
  await grow(3)
  expect(await anchoring.copyOnce()).toMatchObject({ written: 1 })
  expect(await copies().read(copyNameOf(organizationId))).toBe((await head()).checkpoint)
  expect(await process().anchoring.copyOnce()).toEqual({ written: 0, refused: [], failed: 0 })
})

test('a database restored from a backup refuses to seal, and the others go on', async () => {
  await grow(2)
  const restore = await backup()
  await grow(3)
  await core().sealing.anchoring.copyOnce()
  const published = await head()
  await restore()
  await accept(core(), organizationId, 1)

  const after = process()
  expect(await after.guard.survey()).toBeGreaterThan(0)
  expect([...after.guard.refused()]).toEqual([[copyNameOf(organizationId), 'behind']])
  await refuses(after, 'behind')
  expect(after.alarms.counts().get('rolled_back')).toBeGreaterThan(0)
  expect(await after.anchoring.copyOnce()).toMatchObject({ refused: [copyNameOf(organizationId)] })
  expect(await copies().read(copyNameOf(organizationId))).toBe(published.checkpoint)

  await accept(core(), 'org_other', 1)
  const stop = new AbortController()
  const loop = runSealingLoop(
    { ...after, logger: createLogger('silent') },
    { partition: 0, partitions: 1, signal: stop.signal },
  )
  while ((await core().events.countDocuments({ organizationId: 'org_other', pending: true })) > 0) {
    await new Promise((done) => setTimeout(done, 20))
  }
  stop.abort()
  await loop
  expect(await core().events.countDocuments({ organizationId, pending: true })).toBe(1)
  await core().sealing.restarter.restart(organizationId)
})

test('a process that runs while its database is restored notices by what it saw last, copied or not', async () => {
  const running = process()
  await grow(2, running)
  const restore = await backup()
  await grow(3, running)
  const published = await head()
  await restore()
  await accept(core(), organizationId, 1)
  await refuses(running, 'behind')
  // It is remembered beyond the process.
  expect(await copies().read(copyNameOf(organizationId))).toBe(published.checkpoint)
  await refuses(process(), 'behind')
  await core().sealing.restarter.restart(organizationId)
})

test('a copy that a running process finds itself behind stops its sealing too', async () => {
  const running = process()
  await grow(2, running)
  await running.anchoring.copyOnce()
  const { checkpoint, size } = await head()
  const note = checkpoint.replace(`\n${String(size)}\n`, `\n${String(size + 5)}\n`)
  await copies().write(copyNameOf(organizationId), note)
  await grow(1, running)
  expect(await running.anchoring.copyOnce()).toMatchObject({ refused: [copyNameOf(organizationId)] })
  await accept(core(), organizationId, 1)
  await refuses(running, 'behind')
  await core().sealing.restarter.restart(organizationId)
})

test('a log that has grown another way than it was published is refused at any size', async () => {
  await grow(2)
  const restore = await backup()
  await grow(1)
  await core().sealing.anchoring.copyOnce()
  await restore()
  // Somebody who seals without the copies.
  await rm(copiesFolder(), { recursive: true, force: true })
  const published = copies()
  for (const count of [1, 200]) {
    await accept(core(), organizationId, count)
    await process().sealer.drainOrganization(organizationId)
    const forked = await head()
    await published.write(copyNameOf(organizationId), await forgedCopy())
    await accept(core(), organizationId, 1)
    await refuses(process(), 'forked')
    expect(await process().restarter.plan(organizationId)).toMatchObject({
      reason: 'forked',
      published: { generation: 1 },
      kept: { size: forked.size },
    })
    await published.remove(copyNameOf(organizationId))
  }
  await drainAll(core())
})

/** A copy of the size that the log had after its fourth leaf, with another root. */
async function forgedCopy(): Promise<string> {
  const { checkpoint } = await head()
  const [origin = ''] = checkpoint.split('\n')
  const root = base64(sha256(Buffer.from('another tree')))
  return `${origin}\n4\n${root}\n\n${checkpoint.slice(checkpoint.indexOf('\u2014'))}`
}

test('a log that is gone altogether is behind its copy', async () => {
  await grow(2)
  await core().sealing.anchoring.copyOnce()
  const { generation, size } = await head()
  const { heads, tiles, entries } = logCollections(core().db)
  for (const collection of [heads, tiles, entries]) await collection.deleteMany({ organizationId })
  await accept(core(), organizationId, 1)
  await refuses(process(), 'behind')
  expect(await core().sealing.restarter.restart(organizationId)).toMatchObject({
    published: { generation, size },
    kept: undefined,
    generation: 2,
  })
})

test('what cannot be compared is refused: a copy that is not whole, or cannot be read', async () => {
  await grow(1)
  await core().sealing.anchoring.copyOnce()
  const name = copyNameOf(organizationId)
  const digest = Buffer.from(sha256(Buffer.from(name))).toString('hex')
  const folder = join(copiesFolder(), digest.slice(0, 2))
  await accept(core(), organizationId, 1)
  for (const content of [`${name}\nannals.local/`, 'org/another\nthing\n', '']) {
    await writeFile(join(folder, digest), content)
    await refuses(process(), 'unreadable')
  }
  // A store that cannot be read is not a store without the copy.
  await rm(folder, { recursive: true, force: true })
  await writeFile(folder, '')
  await expect(process().sealer.drainOrganization(organizationId)).rejects.toMatchObject({
    code: 'unavailable',
  })
  const sealing = process()
  expect((await sealing.anchoring.copyOnce()).failed).toBeGreaterThan(0)
  await rm(folder)
  expect(await sealing.anchoring.copyOnce()).toMatchObject({ failed: 0 })
  await sealing.sealer.drainOrganization(organizationId)
  expect(await core().events.countDocuments({ organizationId, pending: true })).toBe(0)
})
