/** Rotation of the period key: whoever survives stays readable, whoever was erased is so for good. */
import { rename, writeFile, readFile, readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openCore } from '../../src/composition.js'
import { createKeyHolders } from '../../src/key-rotation/holders.js'
import type { RotatorDependencies } from '../../src/key-rotation/rotator.js'
import type { PeriodKeyFiles } from '../../src/keys/period-key-files.js'
import type { PeriodStates } from '../../src/keys/period-state.js'
import { KeyError } from '../../src/keys/wrapping.js'
import { createLogger } from '../../src/logging.js'
import { subjectStore, type SubjectDocument } from '../../src/subjects/store.js'
import { erasingRun } from '../support/erasing.js'
import { checkOnlyPeriod, rotate, rotatorOf } from '../support/rotating.js'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeEach(async () => {
  world = await openWorld()
})
afterEach(async () => {
  await world.close()
})

const personOf = (number: number) => ({
  type: 'user',
  id: `u_${String(number)}`,
  name: `Person Number ${String(number)}`,
  email: `person.${String(number)}@acme.example`,
})

async function post(organizationId: string, number: number): Promise<string> {
  const event = {
    organizationId,
    action: 'document.opened',
    occurredAt: new Date().toISOString(),
    actor: personOf(number),
    targets: [],
  }
  const answer = await world.request('POST', '/v1/events', { body: event })
  expect(answer.status, answer.text).toBe(201)
  return (answer.body as { id: string }).id
}

async function actorOf(organizationId: string, id: string): Promise<unknown> {
  const answer = await world.request('GET', `/v1/organizations/${organizationId}/events/${id}`)
  expect(answer.status, answer.text).toBe(200)
  return (answer.body as { actor: unknown }).actor
}

interface People {
  /** Event by person, of both organizations. */
  readonly readable: readonly {
    readonly organizationId: string
    readonly number: number
    readonly id: string
  }[]
  readonly erased: { readonly organizationId: string; readonly id: string }
  /** The wrapped key of the erased person, as a backup has it. */
  readonly backup: SubjectDocument
}

/** Three persons in each of two organizations, one of them erased in the first. */
async function people(): Promise<People> {
  const { core } = world.api
  const readable: People['readable'][number][] = []
  for (const organizationId of ['org_a', 'org_b'])
    for (const number of [1, 2, 3])
      readable.push({ organizationId, number, id: await post(organizationId, number) })
  const id = await post('org_a', 9)
  const backups = await core.db
    .collection<SubjectDocument>('subjects')
    .find({ organizationId: 'org_a' })
    .toArray()
  const run = erasingRun(core, 'org_a', [{ kind: 'id', type: 'user', value: 'u_9' }])
  await run.scope()
  const [subject] = run.report().subjects
  expect(await run.toVerified()).toBe('clean')
  const backup = backups.find(({ _id }) => _id === `org_a/${String(subject)}`)
  if (backup === undefined) throw new Error('the erased person has no subject')
  return { readable, erased: { organizationId: 'org_a', id }, backup }
}

async function check({ readable, erased }: People): Promise<void> {
  for (const { organizationId, number, id } of readable)
    expect(await actorOf(organizationId, id)).toMatchObject({ name: personOf(number).name })
  expect(await actorOf(erased.organizationId, erased.id)).toMatchObject({ erased: true })
}

const open = () => rotatorOf(world.api.core, world.config)

test('whoever survives is readable afterwards, nothing is left under the old key, and the old key is gone', async () => {
  const known = await people()
  const { rewrapped, removed } = await rotate(open)
  // What a switch waits for is left out here: this process goes by what it saw of the period until its lease is over.
  await world.api.core.keyring.periods.refresh()
  expect(removed).toEqual([1])
  expect(rewrapped).toBeGreaterThanOrEqual(6)
  await checkOnlyPeriod(world.api.core, 2)
  await check(known)
  // And who is new comes under the new key.
  await check({ ...known, readable: [{ organizationId: 'org_a', number: 4, id: await post('org_a', 4) }] })
  await checkOnlyPeriod(world.api.core, 2)
  // A backup that has the wrapped key of the erased person: nothing opens it any more, and that is an error.
  await subjectStore(world.api.core.db).subjects.replaceOne({ _id: known.backup._id }, known.backup)
  const read = await world.request('GET', `/v1/organizations/org_a/events/${known.erased.id}`)
  expect(read.status).toBe(500)
  await subjectStore(world.api.core.db).subjects.updateOne(
    { _id: known.backup._id },
    { $set: { state: 'erased' }, $unset: { key: '' } },
  )
  expect((await rotate(open, { run: 'run-2' })).removed).toEqual([2])
  await checkOnlyPeriod(world.api.core, 3)
  await check(known)
})

test('an earlier key is kept for as long as backups are to be restored whole', async () => {
  const known = await people()
  const first = await rotate(open, { overlapMs: 60_000 })
  expect(first).toMatchObject({ period: 2, removed: [] })
  expect(await world.api.core.keyring.rotating.files.list()).toEqual([1, 2])
  expect(await world.api.core.keyring.periods.isDeleted(1)).toBe(false)
  expect((await rotate(open, { run: 'run-2' })).removed).toEqual([1, 2])
  await checkOnlyPeriod(world.api.core, 3)
  expect(await world.api.core.keyring.periods.isDeleted(1)).toBe(true)
  await check(known)
})

class Crash extends Error {}

/** Breaks the nth call of what a rotation writes: before it does anything, or after it has. */
function breaking(at: number, when: 'before' | 'after', log: string[]) {
  let calls = 0
  const guard = <Args extends unknown[], T>(name: string, call: (...args: Args) => Promise<T>) => {
    return async (...args: Args): Promise<T> => {
      calls += 1
      const breaks = calls === at
      if (breaks) log.push(`${name} ${when}`)
      if (breaks && when === 'before') throw new Crash()
      const result = await call(...args)
      if (breaks) throw new Crash()
      return result
    }
  }
  return (deps: RotatorDependencies): RotatorDependencies => {
    const { files, states, holders, systemEvents } = deps
    const brokenFiles: PeriodKeyFiles = {
      ...files,
      create: guard('create', files.create.bind(files)),
      remove: guard('remove', files.remove.bind(files)),
    }
    const brokenStates: PeriodStates = {
      ...states,
      noteNext: guard('noteNext', states.noteNext.bind(states)),
      switch: guard('switch', states.switch.bind(states)),
      addRewrapped: guard('addRewrapped', states.addRewrapped.bind(states)),
      noteDeleting: guard('noteDeleting', states.noteDeleting.bind(states)),
      noteDeleted: guard('noteDeleted', states.noteDeleted.bind(states)),
    }
    return {
      ...deps,
      files: brokenFiles,
      states: brokenStates,
      holders: { ...holders, rewrap: guard('rewrap', holders.rewrap.bind(holders)) },
      systemEvents: { write: guard('event', systemEvents.write.bind(systemEvents)) },
      waitOutLeases: guard('leases', deps.waitOutLeases.bind(deps)),
    }
  }
}

test('a rotation that breaks at any write, before or after it, ends as one that did not', async () => {
  const known = await people()
  const broken: string[] = []
  for (const when of ['before', 'after'] as const) {
    for (let at = 1; ; at += 1) {
      const before = broken.length
      const faults = breaking(at, when, broken)
      const faulty = () => rotatorOf(world.api.core, world.config, faults)
      const run = `run-${when}-${String(at)}`
      const { period } = await rotate(faulty, { run, attempts: 3 })
      await checkOnlyPeriod(world.api.core, period)
      await check(known)
      if (broken.length === before) break
    }
  }
  const writes = [
    'noteNext',
    'create',
    'switch',
    'leases',
    'rewrap',
    'addRewrapped',
    'noteDeleting',
    'remove',
    'event',
    'noteDeleted',
  ]
  for (const write of writes)
    for (const when of ['before', 'after']) expect(broken).toContain(`${write} ${when}`)
})

test('two rotations at once do no harm', async () => {
  const known = await people()
  const ends = await Promise.all(
    ['one', 'two', 'three'].map((run) => rotate(open, { run, overlapMs: 60_000 })),
  )
  const period = Math.max(...ends.map((end) => end.period))
  expect((await rotate(open, { run: 'last' })).period).toBe(period + 1)
  await checkOnlyPeriod(world.api.core, period + 1)
  await check(known)
})

test('what is erased while a rotation runs is not brought back by it, and waits for the newer key to go', async () => {
  const { core } = world.api
  const id = await post('org_a', 1)
  const identifiers = [{ kind: 'id', type: 'user', value: 'u_1' }] as const
  const run = erasingRun(core, 'org_a', identifiers)
  await run.scope()
  await run.erasing.fence(run, () => undefined)
  // Fenced, and its key is there still: wrapped anew with the others, and its requests' keys, too.
  await rotate(open, { overlapMs: 60_000 })
  expect((await run.deps.progress.read(run)).keyPeriods).toEqual([1, 2])
  await core.keyring.periods.refresh()
  await run.erasing.prepare(run, () => undefined)

  // Its key goes between the moment that a pass reads it and the moment that it writes it.
  const { rotating, periods } = core.keyring
  const rotator = await open()
  const period = await rotator.begin('slow')
  await rotator.switch(period, () => undefined)
  const slow = createKeyHolders({
    db: core.db,
    periods,
    async keysetOf(organizationId) {
      await run.erasing.erase(run, () => undefined)
      return core.erasing.deps.keysetOf(organizationId)
    },
  })
  await periods.refresh()
  await slow.rewrap('subjects', { under: periods.current, after: undefined, onBatch: () => undefined })
  const subjects = subjectStore(core.db).subjects
  expect(await subjects.findOne({ organizationId: 'org_a', erasure: run.requestId })).toMatchObject({
    state: 'erased',
  })
  expect(await subjects.countDocuments({ state: 'erased', key: { $exists: true } })).toBe(0)
  expect((await rotating.states.read())?.current).toBe(3)
  expect((await run.deps.progress.read(run)).keyPeriods).toEqual([1, 2, 3])
  expect(await actorOf('org_a', id)).toMatchObject({ erased: true })
})

test('a wrong root key and a period key that is gone are refused by name, and change nothing', async () => {
  const { core } = world.api
  const known = await people()
  const { rootKeyFile, periodKeysUrl } = world.config.keys
  const folder = fileURLToPath(periodKeysUrl)
  const before = await core.keyring.rotating.states.read()
  const right = await readFile(rootKeyFile, 'utf8')
  const rotator = await open()

  await writeFile(rootKeyFile, `${Buffer.alloc(32, 7).toString('base64')}\n`)
  await expect(rotator.begin('wrong')).rejects.toMatchObject({ code: 'wrong_root_key' })
  await expect(open()).rejects.toMatchObject({ code: 'wrong_root_key' })
  await writeFile(rootKeyFile, right)

  await rename(join(folder, '00000001.key'), join(folder, 'elsewhere'))
  await expect(rotator.begin('missing')).rejects.toMatchObject({ code: 'period_key_missing' })
  const logger = createLogger('silent')
  await expect(openCore(world.config, logger)).rejects.toBeInstanceOf(KeyError)
  expect(await core.keyring.periods.isDeleted(1)).toBe(false)
  await rename(join(folder, 'elsewhere'), join(folder, '00000001.key'))

  expect(await core.keyring.rotating.states.read()).toEqual(before)
  expect(await readdir(folder)).toEqual(['00000001.key'])
  await check(known)

  // In the middle of a rotation: the key that survivors are under is gone, and nothing is taken for erased.
  const period = await rotator.begin('middle')
  await rotator.switch(period, () => undefined)
  await rename(join(folder, '00000001.key'), join(folder, 'elsewhere'))
  const other = world.config
  await expect(rotatorOf(core, other)).rejects.toMatchObject({ code: 'period_key_missing' })
  expect((await rotator.remove(new Date())).left).toBeGreaterThan(0)
  expect(await subjectStore(core.db).subjects.countDocuments({ state: 'active' })).toBe(6)
  await rename(join(folder, 'elsewhere'), join(folder, '00000001.key'))
  await rotate(open, { run: 'middle' })
  await checkOnlyPeriod(core, 2)
  await check(known)
  await unlink(join(folder, '00000002.key'))
  await expect(openCore(world.config, logger)).rejects.toMatchObject({ code: 'period_key_missing' })
})

test('a subject that a process made under a deleted key, and died over, stands in no rotation’s way', async () => {
  const known = await people()
  const { subjects } = subjectStore(world.api.core.db)
  await rotate(open)
  const orphan = { ...known.backup, _id: 'org_a/sub_00000000000000000000000000' }
  await subjects.insertOne(orphan)
  expect((await rotate(open, { run: 'run-2' })).removed).toEqual([2])
  expect(await subjects.findOne({ _id: orphan._id })).toBeNull()
  await check(known)

  // One that the directory leads to is no orphan: that is an error, and never an erasure.
  const [alive] = await subjects.find({ state: 'active' }).limit(1).toArray()
  if (alive === undefined) throw new Error('nobody is left')
  await subjects.updateOne({ _id: alive._id }, { $set: { 'key.period': 1 } })
  await expect(rotate(open, { run: 'run-3' })).rejects.toMatchObject({ code: 'period_key_missing' })
  expect(await subjects.findOne({ _id: alive._id })).toMatchObject({ state: 'active' })
  await subjects.replaceOne({ _id: alive._id }, { ...alive })
  expect(await world.api.core.keyring.rotating.files.list()).toEqual([3, 4])
})
