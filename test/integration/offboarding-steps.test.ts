/** An organization is taken out step by step: with each call broken, holds in the way, and a backup that brings it back. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ArchiveStoreError } from '../../src/archive/stores/contract.js'
import { rowsLeft } from '../../src/offboarding/collections.js'
import { offboardingSteps } from '../../src/offboarding/contract.js'
import type { Executions } from '../../src/offboarding/executions.js'
import { createOffboarder, type OffboarderDependencies } from '../../src/offboarding/offboarder.js'
import { OffboardingResidueError } from '../../src/offboarding/places.js'
import type { OffboardingView } from '../../src/offboarding/schema.js'
import { failing, Injected, type Fault } from '../support/failing.js'
import {
  code,
  firstOwner,
  offboardingDesk,
  secondOwner,
  type OffboardingDesk,
} from '../support/offboarding.js'
import { drainUntilSealed } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'

let world: World
let desk: OffboardingDesk
const noBeat = () => undefined

beforeAll(async () => {
  world = await openWorld({ unsearchable: 'organizations are offboarded' })
  desk = await offboardingDesk(world)
})
afterAll(async () => {
  await world.close()
})

const nobodyRuns: Executions = { stop: () => Promise.resolve(0), remove: () => Promise.resolve(0) }
const stepDeps = (): OffboarderDependencies => ({
  ...world.api.core.offboarding,
  executions: nobodyRuns,
  settleMs: 0,
})

/** One that two owners agree on and whose cooling off is over, without its workflow. */
async function agreed(organization: string) {
  const asked = await desk.ask(organization)
  expect(asked.status, asked.text).toBe(202)
  const reference = { organizationId: organization, offboardingId: (asked.body as OffboardingView).id }
  await world.api.core.offboarding.store.change(reference, ['requested'], {
    state: 'cooling_off',
    approver: secondOwner,
    approvedAt: new Date(),
    coolingOffEndsAt: new Date(),
  })
  return reference
}

type Reference = Awaited<ReturnType<typeof agreed>>

async function carryOut(reference: Reference, deps: OffboarderDependencies, beat: () => void = noBeat) {
  const offboarder = createOffboarder(deps)
  const outcome = await offboarder.begin(reference)
  if (outcome !== 'begun') return outcome
  for (const step of offboardingSteps) await offboarder.step(reference, step, beat)
  return (await deps.store.find(reference))?.state
}

const withFault = (deps: OffboarderDependencies, fault: Fault): OffboarderDependencies => ({
  ...deps,
  store: failing(deps.store, ['change', 'once'], fault),
  organizations: failing(deps.organizations, ['close', 'destroyKey'], fault),
  lifecycle: failing(deps.lifecycle, ['advanceFrom'], fault),
  systemEvents: failing(deps.systemEvents, ['write', 'writeInTransaction'], fault),
  sealer: failing(deps.sealer, ['drainOrganization'], fault),
  archive: failing(deps.archive, ['delete'], fault),
  ledger: failing(deps.ledger, ['delete'], fault),
  certificates: failing(deps.certificates, ['issue'], fault),
  journal: failing(deps.journal, ['note'], fault),
  copies: failing(deps.copies, ['remove'], fault),
  executions: failing(deps.executions, ['stop', 'remove'], fault),
})

/** At every moment: closed or whole; no key gone that no sealed event of the deployment and no record speaks of. */
async function checkOffboarding(reference: Reference, whole: Readonly<Record<string, number>>) {
  const { core } = world.api
  const { organizationId } = reference
  const document = await core.offboarding.store.find(reference)
  const organization = await core.db
    .collection<{ _id: string; key?: unknown; offboarding?: unknown }>('organizations')
    .findOne({ _id: organizationId })
  if (document === undefined || organization === null) throw new Error('what must stay is gone')
  expect(organization.offboarding !== undefined).toBe(document.closedAt !== null)
  const rows = await rowsLeft(core.db, organizationId, noBeat)
  if (organization.key !== undefined) {
    expect(document.steps.remove_rows, 'rows go before the key').toBeUndefined()
    expect(rows['events']).toBeGreaterThanOrEqual(whole['events'] ?? 0)
    return
  }
  expect(document.steps.destroy_keys?.intendedAt).toBeDefined()
  expect(document.final).not.toBeNull()
  const started = core.events.find({
    organizationId: '_annals',
    action: 'annals.organization.offboarding_started',
    pending: { $exists: false },
  })
  const texts = (await started.toArray()).map((event) => JSON.stringify(event.fields))
  expect(texts.some((text) => text.includes(reference.offboardingId))).toBe(true)
  if (document.steps.verify?.doneAt !== undefined) expect(rows).toEqual({})
}

test('whatever call fails, an organization is whole or closed, and the next attempt ends it', async () => {
  const { core } = world.api
  let failures = 0
  const beats = 40
  const faults = [
    // Before a call is after the one before it.
    { when: 'after' as const, beating: false },
    { when: 'before' as const, beating: true },
  ]
  for (const { when, beating } of faults) {
    for (let at = 1; ; at += beating ? 7 : 1) {
      const organization = `org_step_${when}_${beating ? 'beat_' : ''}${String(at)}`
      await desk.put(organization)
      await desk.post(organization, { description: 'x' })
      await drainUntilSealed(core, organization)
      await desk.post(organization)
      await core.ledger.replace(`${organization}/erasures/a.json`, Buffer.from('{}'))
      await core.archive.replace(`${organization}/1/a.json`, Buffer.from('{}'))
      const whole = await rowsLeft(core.db, organization, noBeat)
      const reference = await agreed(organization)
      const fault: Fault = { calls: 0, at, when }
      const beat = () => {
        if ((fault.calls += 1) === at) throw new Injected()
      }
      const run = beating
        ? carryOut(reference, stepDeps(), beat)
        : carryOut(reference, withFault(stepDeps(), fault))
      const outcome = await run.catch((error: unknown) => {
        if (!(error instanceof Injected)) throw error
        failures += 1
      })
      await checkOffboarding(reference, whole)
      if (outcome === undefined) expect(await carryOut(reference, stepDeps())).toBe('awaiting_expiry')
      await checkOffboarding(reference, whole)
      for await (const { path } of core.archive.versions(`${organization}/`)) throw new Error(path)
      for await (const { path } of core.ledger.versions(`${organization}/`)) throw new Error(path)
      const said = await core.events
        .find({ organizationId: '_annals', action: 'annals.organization.offboarded' })
        .toArray()
      const ours = said.filter(({ fields }) => JSON.stringify(fields).includes(reference.offboardingId))
      expect(ours, 'said once').toHaveLength(1)
      if (fault.calls < at || at > beats) break
    }
  }
  expect(failures).toBeGreaterThan(20)
}, 240_000)

test('holds stop it at each stage; one that waits goes on when the last is released', async () => {
  const organization = 'org_held'
  await desk.put(organization)
  await desk.post(organization)
  const at = `/v1/organizations/${organization}/holds`
  const place = async () =>
    ((await world.request('POST', at, { body: { scope: {}, reason: 'a case' } })).body as { id: string }).id
  const release = (id: string) => world.request('POST', `${at}/${id}/release`)
  let hold = await place()
  expect(code(await desk.ask(organization))).toBe('on_hold')
  await release(hold)
  const { id } = (await desk.ask(organization)).body as OffboardingView
  hold = await place()
  expect(code(await desk.act(organization, id, 'approve', desk.owners[1]))).toBe('on_hold')
  await release(hold)
  await desk.act(organization, id, 'withdraw', desk.owners[1])
  const reference = await agreed(organization)
  const { lifecycle } = world.api.core.retention
  let raced = false
  const racing = new Proxy(lifecycle, {
    get: (target, key) => {
      const member: unknown = Reflect.get(target, key)
      if (key !== 'advanceFrom' || raced) return member
      return async (...given: Parameters<typeof target.advanceFrom>) => {
        if (!raced) {
          raced = true
          hold = await place()
        }
        return target.advanceFrom(...given)
      }
    },
  })
  expect(await carryOut(reference, { ...stepDeps(), lifecycle: racing })).toBe('held')
  expect((await desk.show(organization, reference.offboardingId)).state).toBe('on_hold')
  await desk.post(organization)
  await release(hold)
  expect(await carryOut(reference, stepDeps())).toBe('awaiting_expiry')
  expect(code(await world.request('POST', at, { body: { scope: {}, reason: 'too late' } }))).toBe(
    'offboarded',
  )
})

test('one that an earlier version has sealed ends too, without a certificate of what it did not keep', async () => {
  const organization = 'org_earlier'
  const { db, offboarding } = world.api.core
  await desk.put(organization)
  await desk.post(organization)
  const reference = await agreed(organization)
  const offboarder = createOffboarder(stepDeps())
  await offboarder.begin(reference)
  for (const step of offboardingSteps) {
    await offboarder.step(reference, step, noBeat)
    const unknown = { startedEventId: '', 'final.checkpoint': '' }
    if (step === 'seal')
      await db.collection('offboardings').updateOne({ organizationId: organization }, { $unset: unknown })
  }
  expect(await offboarder.look(reference, noBeat)).toBe(false)
  expect((await offboarding.store.find(reference))?.state).toBe('awaiting_expiry')
  expect(await offboarding.certificates.find(reference)).toBeUndefined()
})

test('a backup that brings an organization back serves nothing until it is gone again', async () => {
  const organization = 'org_back'
  const { core } = world.api
  await desk.put(organization)
  const id = await desk.post(organization, { description: 'what was to go' })
  await drainUntilSealed(core, organization)
  const rows = async () => {
    const found = new Map<string, { _id: string }[]>()
    for (const { name } of await core.db.listCollections().toArray())
      found.set(
        name,
        await core.db
          .collection<{ _id: string }>(name)
          .find({ $or: [{ organizationId: organization }, { _id: organization }] })
          .toArray(),
      )
    return found
  }
  const backup = await rows()
  const head = await core.db.collection<{ _id: string }>('deployment').findOne({ _id: 'erasureJournal' })
  const reference = await agreed(organization)
  expect(await carryOut(reference, stepDeps())).toBe('awaiting_expiry')
  expect(await core.backups.guard.look()).toBe('fits')

  for (const [name, documents] of backup) {
    const collection = core.db.collection<{ _id: string }>(name)
    await collection.deleteMany({ $or: [{ organizationId: organization }, { _id: organization }] })
    if (documents.length > 0) await collection.insertMany(documents)
  }
  const deployment = core.db.collection<{ _id: string }>('deployment')
  await deployment.deleteOne({ _id: 'erasureJournal' })
  if (head !== null) await deployment.insertOne(head)
  expect(await core.backups.guard.look()).toBe('erasures_unapplied')
  core.organizations.forget(organization)
  await core.backups.reapply(noBeat)
  await core.backups.reapply(noBeat)
  expect(await core.backups.guard.look()).toBe('fits')
  core.organizations.forget(organization)
  expect(await rowsLeft(core.db, organization, noBeat)).toEqual({})
  expect(code(await world.request('GET', `/v1/organizations/${organization}/events/${id}`))).toBe(
    'offboarded',
  )
  expect(await desk.show(organization, reference.offboardingId)).toMatchObject({
    state: 'completed',
    approver: secondOwner,
  })
})

test('objects under lock are waited for, unknown rows are found, and an operator lets it go on', async () => {
  const organization = 'org_locked'
  const { core } = world.api
  await desk.put(organization)
  await desk.post(organization)
  await core.archive.replace(`${organization}/1/locked`, Buffer.from('x'))
  await core.db.collection('aCollectionOfTomorrow').insertOne({ organizationId: organization })
  const reference = await agreed(organization)
  let locked = true
  const archive = new Proxy(core.archive, {
    get: (target, key) =>
      key === 'delete' && locked
        ? () => Promise.reject(new ArchiveStoreError('locked', 'until its day'))
        : (Reflect.get(target, key) as unknown),
  })
  const deps = { ...stepDeps(), archive, periodIsDeleted: () => Promise.resolve(!locked) }
  const offboarder = createOffboarder(deps)
  await expect(carryOut(reference, deps)).rejects.toThrow(OffboardingResidueError)
  await offboarder.stopped(reference, 'verify', 'residue_found')
  expect(await desk.show(organization, reference.offboardingId)).toMatchObject({
    state: 'needs_operator',
    operator: { reason: 'residue_found', step: 'verify' },
  })
  await core.db.dropCollection('aCollectionOfTomorrow')
  expect(code(await desk.act(organization, reference.offboardingId, 'retry', desk.owners[0]))).toBe(
    'forbidden',
  )
  expect(
    await core.offboarding.store.change(reference, ['needs_operator'], {
      state: 'offboarding',
      operator: null,
    }),
  ).toBe(true)
  expect(await carryOut(reference, deps)).toBe('awaiting_expiry')
  expect((await desk.show(organization, reference.offboardingId)).remains).toEqual({
    lockedObjects: 1,
    keyPeriods: [1],
  })
  expect(await offboarder.look(reference, noBeat)).toBe(false)
  // A row that a process wrote which slept through all of it goes with the next look.
  await core.events.insertOne({ _id: `${organization}/evt_late`, organizationId: organization } as never)
  locked = false
  expect(await offboarder.look(reference, noBeat)).toBe(true)
  expect(await rowsLeft(core.db, organization, noBeat)).toEqual({})
  expect(await core.archive.head(`${organization}/1/locked`)).toBeUndefined()
  expect(await desk.show(organization, reference.offboardingId)).toMatchObject({
    state: 'completed',
    remains: { lockedObjects: 0 },
  })
})

test('an organization that is called all takes no key for all organizations with it', async () => {
  await desk.put('all')
  await world.key({ role: 'auditor', principal: firstOwner, organizations: ['all'] })
  const keys = world.api.core.db.collection('accessKeys')
  const before = await keys.countDocuments({})
  expect(await carryOut(await agreed('all'), stepDeps())).toBe('completed')
  expect(await keys.countDocuments({})).toBe(before - 1)
  expect((await world.request('GET', '/v1/organizations')).status).toBe(200)
})
