/** An organization is taken out of a deployment: over HTTP, by real workers, and step by step with each call broken. */
import { randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { BSON } from 'mongodb'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ArchiveStoreError } from '../../src/archive/stores/contract.js'
import { newId } from '../../src/ids.js'
import { createLogger } from '../../src/logging.js'
import { rowsLeft } from '../../src/offboarding/collections.js'
import { offboardingSteps, offboardingWorkflowId } from '../../src/offboarding/contract.js'
import { createExecutions, type Executions } from '../../src/offboarding/executions.js'
import {
  createOffboarder,
  OffboardingResidueError,
  type OffboarderDependencies,
} from '../../src/offboarding/offboarder.js'
import type { OffboardingView } from '../../src/offboarding/schema.js'
import { createScanRecorder } from '../../src/scans/recorder.js'
import { createScanStore } from '../../src/scans/store.js'
import { connectTemporal, temporalOptions, type TemporalConnection } from '../../src/temporal/client.js'
import { verifyServer } from '../../src/verification/run.js'
import { buildWorkflowBundle } from '../../workers/bundle.js'
import { startWorkers, type RunningWorkers } from '../../workers/main.js'
import { archiveRange, archiverOf, dueRange } from '../support/retaining.js'
import { drainUntilSealed } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'

let world: World
let temporal: TemporalConnection
let workers: RunningWorkers
let owners: readonly [string, string]
let operator: string
const [first, second] = ['prn_01jd2zq8w9e5cs0v1m6k3n7p4r', 'prn_01jd2zq8w9e5cs0v1m6k3n7p4s'] as const
const noBeat = () => undefined

beforeAll(async () => {
  await buildWorkflowBundle()
  const namespace = `offboarding-${randomBytes(6).toString('hex')}`
  world = await openWorld({
    temporal: true,
    environment: { ANNALS_TEMPORAL_NAMESPACE: namespace },
    unsearchable: 'organizations are offboarded',
  })
  temporal = await connectTemporal(temporalOptions(world.config))
  const { core } = world.api
  owners = [
    await world.key({ role: 'owner', principal: first }),
    await world.key({ role: 'owner', principal: second }),
  ]
  operator = await world.key({ role: 'operator', principal: first })
  const logger = createLogger('error', { write: () => undefined })
  workers = await startWorkers({
    config: world.config,
    logger,
    deps: {
      scanRecorder: createScanRecorder({
        store: createScanStore(core.db),
        events: core.systemEvents,
        mongo: core.client,
      }),
      sealing: { ...core.sealing, logger },
      erasure: { recorder: core.erasures.recorder },
      redacting: { redactor: core.redactions.redactor, logger },
      offboarding: {
        offboarder: createOffboarder({ ...core.offboarding, executions: createExecutions(temporal) }),
        logger,
      },
    },
    queues: ['erasure', 'scans'],
  })
})
afterAll(async () => {
  await workers.stop()
  await temporal.close()
  await world.close()
})

const base = (organization: string) => `/v1/organizations/${organization}/offboarding`
const ask = (
  organization: string,
  key = owners[0],
  headers = {},
  body: unknown = { confirm: organization, reason: 'left' },
) => world.request('POST', base(organization), { key, body, headers })
const act = (organization: string, id: string, action: string, key: string) =>
  world.request('POST', `${base(organization)}/${id}/${action}`, { key })
const show = async (organization: string, id: string, key = operator) =>
  (await world.request('GET', `${base(organization)}/${id}`, { key })).body as OffboardingView
const code = (answer: { body: unknown }) => (answer.body as { code: string }).code

async function post(organizationId: string, rest: object = {}) {
  const body = {
    organizationId,
    action: 'document.opened',
    occurredAt: new Date().toISOString(),
    actor: { type: 'user', id: 'u_1', name: 'Jane Doe', email: 'jane@acme.example' },
    targets: [],
    ...rest,
  }
  const answer = await world.request('POST', '/v1/events', { body })
  expect(answer.status, answer.text).toBe(201)
  return (answer.body as { id: string }).id
}

async function toArchive(organization: string): Promise<void> {
  await drainUntilSealed(world.api.core, organization)
  const range = await dueRange(world, organization, new Date(Date.now() + 30 * 86_400_000))
  if (range === undefined) throw new Error('nothing is due')
  await archiveRange(archiverOf(world), range)
}

const put = (organization: string) =>
  world.request('PUT', `/v1/organizations/${organization}`, {
    body: { coolingOffHours: 0, name: `Inc ${organization}` },
  })

/** Something in every place that can hold something of an organization. */
async function spread(organization: string, canary: string) {
  await put(organization)
  const at = `/v1/organizations/${organization}`
  await world.request('PUT', `${at}/retention`, { body: { hotDays: 0, archiveDays: null, recordDays: null } })
  await post(organization, { description: `archived ${canary}` })
  await toArchive(organization)
  const hot = await post(organization, { description: `hot ${canary}`, metadata: { note: canary } })
  await drainUntilSealed(world.api.core, organization)
  const scan = await world.request('POST', `${at}/scans`, {
    body: { engine: 'nightly', metadata: { note: canary } },
  })
  expect(scan.status, scan.text).toBe(201)
  const hold = await world.request('POST', `${at}/holds`, {
    body: { scope: { action: 'x.y' }, reason: canary },
  })
  await world.request('POST', `${at}/holds/${(hold.body as { id: string }).id}/release`)
  const officer = await world.key({
    role: 'privacy_officer',
    principal: first,
    organizations: [organization],
  })
  const redaction = await world.request('POST', `${at}/redactions`, {
    key: officer,
    body: { fields: [{ eventId: hot, path: 'metadata.note' }], reason: canary },
  })
  expect(redaction.status, redaction.text).toBe(202)
  const erasure = await world.request('POST', `${at}/erasures`, {
    key: officer,
    body: {
      identifiers: [{ kind: 'email', value: `${canary}@acme.example` }],
      ground: '17(1)(a)',
      requester: 'the person',
      channel: 'e-mail',
      receivedAt: new Date().toISOString(),
    },
  })
  expect(erasure.status, erasure.text).toBe(202)
  await world.api.core.db.collection<{ _id: string }>('restoredEvents').insertOne({
    _id: `${organization}/evt_x`,
    organizationId: organization,
    restores: [canary],
  } as {
    _id: string
  })
  await world.api.core.sealing.anchoring.copyOnce()
  await post(organization, { description: `pending ${canary}` })
  return officer
}

/** Where the bytes of a word stand: rows by collection, and files under the data directory. */
async function rawHits(word: string): Promise<string[]> {
  const hits: string[] = []
  for (const { name } of await world.api.core.db.listCollections().toArray())
    for await (const document of world.api.core.db.collection(name).find())
      if (Buffer.from(BSON.serialize(document)).includes(word)) hits.push(`${name}/${String(document._id)}`)
  for (const entry of await readdir(world.config.dataDirectory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (!entry.isFile()) continue
    const named = path.slice(world.config.dataDirectory.length).includes(word)
    if (named || (await readFile(path)).includes(word)) hits.push(`file:${entry.name}`)
  }
  return hits.sort()
}

async function executionsOf(organization: string): Promise<string[]> {
  const found: string[] = []
  for await (const { workflowId } of temporal.client.workflow.list({
    query: `AnnalsOrganization = "${organization}"`,
  }))
    found.push(workflowId)
  return found
}

const verify = async (organization: string) => {
  await drainUntilSealed(world.api.core, organization)
  return (
    await verifyServer({ url: world.url, key: world.ownerKey, organization, logKeys: [], values: true })
  ).report
}

test('nothing is left of an organization that two owners took out, and its neighbour is whole', async () => {
  const [gone, stays] = ['org_gone', 'org_stays']
  const canary = `canary-${randomBytes(6).toString('hex')}`
  const officer = await spread(gone, canary)
  await spread(stays, canary)
  const neighbour = await rowsLeft(world.api.core.db, stays, noBeat)
  const both = await world.key({ role: 'auditor', principal: first, organizations: [gone, stays] })
  expect((await executionsOf(gone)).length).toBeGreaterThan(1)
  const size = (await world.api.core.sealing.store.head(gone))?.size ?? 0
  expect(size).toBeGreaterThan(2)

  const asked = await ask(gone)
  expect(asked.status, asked.text).toBe(202)
  const { id } = asked.body as OffboardingView
  expect((await act(gone, id, 'approve', owners[1])).status).toBe(200)
  await expect.poll(async () => (await show(gone, id)).state, { timeout: 60_000 }).toBe('awaiting_expiry')

  const done = await show(gone, id)
  expect(done.steps.map(({ step, doneAt }) => [step, doneAt !== null])).toEqual(
    offboardingSteps.map((step) => [step, true]),
  )
  expect(done.final?.size).toBeGreaterThan(size)
  expect(done.remains).toEqual({ lockedObjects: 0, keyPeriods: [1] })
  const kept = (await rawHits(gone)).filter((hit) => !hit.startsWith('events/_annals/'))
  // Beside them the journal, by which a backup that brings it back is found out.
  expect(kept).toEqual(['file:000000000001.json', `offboardings/${id}`, `organizations/${gone}`])
  expect((await rawHits(canary)).filter((hit) => !hit.includes(stays) && !hit.startsWith('file:'))).toEqual(
    [],
  )
  const tombstone = await world.api.core.db
    .collection<{ _id: string }>('organizations')
    .findOne({ _id: gone })
  expect(tombstone).not.toHaveProperty('key')
  expect(JSON.stringify(tombstone)).not.toContain('Inc')
  await expect
    .poll(() => executionsOf(gone), { timeout: 20_000 })
    .toEqual([offboardingWorkflowId({ organizationId: gone })])

  // What is said about it stands in the log of the deployment, with both principals.
  await drainUntilSealed(world.api.core, '_annals')
  const said = await world.request('GET', `/v1/organizations/_annals/events/${done.eventId ?? ''}`)
  expect(said.body).toMatchObject({
    action: 'annals.organization.offboarded',
    metadata: {
      submitter: first,
      approver: second,
      leaves: done.final?.size,
      checkpoint: done.final?.checkpointSha256,
    },
  })
  expect((await verify('_annals')).findings).toEqual([])

  // It takes nothing, and its id is never given again.
  const event = {
    organizationId: gone,
    action: 'a.b',
    occurredAt: new Date().toISOString(),
    actor: { type: 'service', id: 's' },
    targets: [],
  }
  const single = await world.request('POST', '/v1/events', { body: event })
  expect([single.status, code(single)]).toEqual([409, 'offboarded'])
  const batch = await world.request('POST', '/v1/events/batch', {
    body: { events: [event, { ...event, organizationId: stays }] },
  })
  expect(batch.body).toMatchObject({
    results: [{ status: 409, problem: { code: 'offboarded' } }, { status: 201 }],
  })
  for (const [method, path] of [
    ['PUT', ''],
    ['GET', ''],
    ['GET', '/events'],
    ['GET', '/log/checkpoint'],
    ['GET', '/retention'],
    ['GET', '/scans'],
    ['GET', '/redactions'],
  ] as const) {
    const answer = await world.request(
      method,
      `/v1/organizations/${gone}${path}`,
      method === 'PUT' ? { body: {} } : {},
    )
    expect([answer.status, code(answer)], `${method} ${path}`).toEqual([409, 'offboarded'])
  }
  expect([(await ask(gone)).status, code(await ask(gone))]).toEqual([409, 'offboarded'])
  const listed = await world.request('GET', '/v1/organizations')
  expect(listed.text).not.toContain(gone)
  // A key for it alone is gone; one for others too serves these.
  expect((await world.request('GET', `/v1/organizations/${gone}/holds`, { key: officer })).status).toBe(401)
  const elsewhere = await world.request('GET', `/v1/organizations/${stays}/events?limit=500`, { key: both })
  expect(elsewhere.status).toBe(200)

  const now = await rowsLeft(world.api.core.db, stays, noBeat)
  for (const [name, count] of Object.entries(neighbour))
    expect(now[name] ?? 0, name).toBeGreaterThanOrEqual(count)
  const report = await verify(stays)
  expect(report.findings).toEqual([])
  expect(report.fields.missing).toBe(0)
  expect(await world.api.core.sealing.guard.survey()).toBeGreaterThan(0)
  expect([...world.api.core.sealing.guard.refused().keys()]).toEqual([])
}, 120_000)

const nobodyRuns: Executions = { stop: () => Promise.resolve(0), remove: () => Promise.resolve(0) }
const stepDeps = (): OffboarderDependencies => ({
  ...world.api.core.offboarding,
  executions: nobodyRuns,
  settleMs: 0,
})

/** One that two owners agree on and whose cooling off is over, without its workflow. */
async function agreed(organization: string) {
  const asked = await ask(organization)
  expect(asked.status, asked.text).toBe(202)
  const reference = { organizationId: organization, offboardingId: (asked.body as OffboardingView).id }
  await world.api.core.offboarding.store.change(reference, ['requested'], {
    state: 'cooling_off',
    approver: second,
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

class Injected extends Error {}

interface Fault {
  calls: number
  readonly at: number
  readonly when: 'before' | 'after'
}

/** Makes the `at`-th call of a method fail, before it or after it. */
const failing = <T extends object>(target: T, methods: readonly (keyof T)[], fault: Fault): T =>
  new Proxy(target, {
    get(object, key) {
      const member: unknown = Reflect.get(object, key)
      if (typeof member !== 'function' || !methods.includes(key as keyof T)) return member
      return async (...given: unknown[]): Promise<unknown> => {
        fault.calls += 1
        const now = fault.calls === fault.at
        if (now && fault.when === 'before') throw new Injected()
        const result: unknown = await Reflect.apply(member, object, given)
        if (now) throw new Injected()
        return result
      }
    },
  })

const withFault = (deps: OffboarderDependencies, fault: Fault): OffboarderDependencies => ({
  ...deps,
  store: failing(deps.store, ['change', 'once'], fault),
  organizations: failing(deps.organizations, ['close', 'destroyKey'], fault),
  lifecycle: failing(deps.lifecycle, ['advanceFrom'], fault),
  systemEvents: failing(deps.systemEvents, ['write', 'writeInTransaction'], fault),
  sealer: failing(deps.sealer, ['drainOrganization'], fault),
  archive: failing(deps.archive, ['delete'], fault),
  ledger: failing(deps.ledger, ['delete'], fault),
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
      await put(organization)
      await post(organization, { description: 'x' })
      await drainUntilSealed(core, organization)
      await post(organization)
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
  await put(organization)
  await post(organization)
  const at = `/v1/organizations/${organization}/holds`
  const place = async () =>
    ((await world.request('POST', at, { body: { scope: {}, reason: 'a case' } })).body as { id: string }).id
  const release = (id: string) => world.request('POST', `${at}/${id}/release`)
  let hold = await place()
  expect(code(await ask(organization))).toBe('on_hold')
  await release(hold)
  const { id } = (await ask(organization)).body as OffboardingView
  hold = await place()
  expect(code(await act(organization, id, 'approve', owners[1]))).toBe('on_hold')
  await release(hold)
  await act(organization, id, 'withdraw', owners[1])
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
  expect((await show(organization, reference.offboardingId)).state).toBe('on_hold')
  await post(organization)
  await release(hold)
  expect(await carryOut(reference, stepDeps())).toBe('awaiting_expiry')
  expect(code(await world.request('POST', at, { body: { scope: {}, reason: 'too late' } }))).toBe(
    'offboarded',
  )
})

test('a backup that brings an organization back serves nothing until it is gone again', async () => {
  const organization = 'org_back'
  const { core } = world.api
  await put(organization)
  const id = await post(organization, { description: 'what was to go' })
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
  if (head === null) throw new Error('offboardings of other tests have moved the journal')
  await core.db.collection<{ _id: string }>('deployment').replaceOne({ _id: 'erasureJournal' }, head)
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
  expect(await show(organization, reference.offboardingId)).toMatchObject({
    state: 'completed',
    approver: second,
  })
})

test('objects under lock are waited for, unknown rows are found, and an operator lets it go on', async () => {
  const organization = 'org_locked'
  const { core } = world.api
  await put(organization)
  await post(organization)
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
  expect(await show(organization, reference.offboardingId)).toMatchObject({
    state: 'needs_operator',
    operator: { reason: 'residue_found', step: 'verify' },
  })
  await core.db.dropCollection('aCollectionOfTomorrow')
  expect(code(await act(organization, reference.offboardingId, 'retry', owners[0]))).toBe('forbidden')
  expect(
    await core.offboarding.store.change(reference, ['needs_operator'], {
      state: 'offboarding',
      operator: null,
    }),
  ).toBe(true)
  expect(await carryOut(reference, deps)).toBe('awaiting_expiry')
  expect((await show(organization, reference.offboardingId)).remains).toEqual({
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
  expect(await show(organization, reference.offboardingId)).toMatchObject({
    state: 'completed',
    remains: { lockedObjects: 0 },
  })
})

test('an organization that is called all takes no key for all organizations with it', async () => {
  await put('all')
  await world.key({ role: 'auditor', principal: first, organizations: ['all'] })
  const keys = world.api.core.db.collection('accessKeys')
  const before = await keys.countDocuments({})
  expect(await carryOut(await agreed('all'), stepDeps())).toBe('completed')
  expect(await keys.countDocuments({})).toBe(before - 1)
  expect((await world.request('GET', '/v1/organizations')).status).toBe(200)
})

test('bad input, wrong roles, one pair of eyes, unknown ids and second requests change nothing', async () => {
  const organization = 'org_asked'
  await put(organization)
  for (const [body, expected] of [
    [{}, ['confirm missing', 'reason missing']],
    [{ confirm: 'org_other', reason: 'x' }, ['confirm conflict']],
    [{ confirm: organization, reason: '' }, ['reason too_short']],
    [{ confirm: organization, reason: 'x', now: true }, ['now unknown_field']],
  ] as const) {
    const answer = await ask(organization, owners[0], {}, body)
    expect(answer.status, answer.text).toBe(422)
    const { errors } = answer.body as { errors: { path: string; code: string }[] }
    expect(errors.map((one) => `${one.path} ${one.code}`)).toEqual(expected)
  }
  expect((await ask(organization, owners[0], {}, '[')).status).toBe(400)
  expect(code(await ask('_annals'))).toBe('forbidden')
  const unknown = newId('offboarding')
  for (const role of ['ingest', 'auditor', 'privacy_officer', 'operator'] as const) {
    const key = await world.key({ role, principal: first })
    expect(code(await ask(organization, key)), role).toBe('forbidden')
    for (const action of ['approve', 'withdraw'])
      expect(code(await act(organization, unknown, action, key)), role).toBe('forbidden')
  }
  const nowhere = await ask('org_nowhere', owners[0], {}, { confirm: 'org_nowhere', reason: 'x' })
  const foreign = await world.key({ role: 'owner', principal: first, organizations: ['org_elsewhere'] })
  for (const answer of [
    nowhere,
    await ask(organization, foreign),
    await act(organization, unknown, 'approve', owners[0]),
    await act(organization, 'offboarding_1', 'withdraw', owners[0]),
    await act(organization, unknown, 'retry', operator),
    await world.request('GET', base(organization), { key: operator }),
    await world.request('GET', `${base(organization)}/${unknown}`, { key: operator }),
  ]) {
    expect(answer.status).toBe(404)
    const { requestId: _a, ...body } = answer.body as Record<string, unknown>
    const { requestId: _b, ...expected } = nowhere.body as Record<string, unknown>
    expect(body).toEqual(expected)
  }

  const headers = { 'idempotency-key': 'one' }
  const [one, same] = await Promise.all([
    ask(organization, owners[0], headers),
    ask(organization, owners[0], headers),
  ])
  expect([one.status, same.status]).toEqual([202, 202])
  expect(same.body).toEqual(one.body)
  expect(code(await ask(organization))).toBe('wrong_state')
  expect(code(await ask(organization, owners[1]))).toBe('wrong_state')
  const { id } = one.body as OffboardingView
  expect(code(await act(organization, id, 'approve', owners[0]))).toBe('four_eyes')
  const sameEyes = await world.key({ role: 'owner', principal: first })
  expect(code(await act(organization, id, 'approve', sameEyes))).toBe('four_eyes')
  // Cooling off long enough to be withdrawn in: the workflow hears of it, and ends.
  await world.request('PUT', '/v1/organizations/org_cools', { body: { coolingOffHours: 1 } })
  const cooling = (await ask('org_cools')).body as OffboardingView
  expect((await act('org_cools', cooling.id, 'approve', owners[1])).body).toMatchObject({
    state: 'cooling_off',
  })
  expect((await act('org_cools', cooling.id, 'withdraw', owners[0])).body).toMatchObject({
    state: 'withdrawn',
    withdrawnBy: first,
  })
  const handle = temporal.client.workflow.getHandle(offboardingWorkflowId({ organizationId: 'org_cools' }))
  expect(await handle.result()).toEqual({ state: 'withdrawn' })
  expect(code(await act('org_cools', cooling.id, 'approve', owners[1]))).toBe('wrong_state')
  expect((await ask('org_cools')).status).toBe(202)
  await post('org_cools')
  expect(code(await act(organization, id, 'retry', operator))).toBe('wrong_state')
}, 60_000)
