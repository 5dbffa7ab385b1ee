/** Single fields removed on the word of two officers: over HTTP, carried out by real workers or step by step. */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { BSON } from 'mongodb'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createArchiveKeys } from '../../src/archive/segment-keys.js'
import { createSegmentWriter } from '../../src/archive/segment-writer.js'
import { createSegmentsStore } from '../../src/archive/segments-store.js'
import { rebuildLeaf } from '../../src/events/rebuild.js'
import { hasValue } from '../../src/redaction/fields.js'
import { redactionManifest, redactionManifestPath } from '../../src/redaction/manifest.js'
import {
  createRedactor,
  RedactionWaitsError,
  type RedactorDependencies,
} from '../../src/redaction/redactor.js'
import { createFieldRemoval } from '../../src/redaction/removal.js'
import type { RedactionView } from '../../src/redaction/schema.js'
import { newId } from '../../src/ids.js'
import { createLogger } from '../../src/logging.js'
import { createScanRecorder } from '../../src/scans/recorder.js'
import { createScanStore } from '../../src/scans/store.js'
import { verifyServer } from '../../src/verification/run.js'
import { buildWorkflowBundle } from '../../workers/bundle.js'
import { startWorkers, type RunningWorkers } from '../../workers/main.js'
import { archiveReaderOf } from '../support/archiving.js'
import { archiveRange, archiverOf, dueRange } from '../support/retaining.js'
import { drainUntilSealed } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'

let world: World
let workers: RunningWorkers
let officers: readonly [string, string]
const [first, second] = ['prn_01jd2zq8w9e5cs0v1m6k3n7p4r', 'prn_01jd2zq8w9e5cs0v1m6k3n7p4s'] as const
const organizations = [
  'org_redacted',
  'org_steps',
  'org_archived',
  'org_tampered',
  'org_holds',
  'org_input',
  'org_moving',
  'org_restoring',
] as const
const noBeat = () => undefined

beforeAll(async () => {
  await buildWorkflowBundle()
  const namespace = `redactions-${randomBytes(6).toString('hex')}`
  world = await openWorld({ temporal: true, environment: { ANNALS_TEMPORAL_NAMESPACE: namespace } })
  const { core } = world.api
  const logger = createLogger('error', { write: () => undefined })
  const scans = { store: createScanStore(core.db), events: core.systemEvents, mongo: core.client }
  for (const organization of organizations)
    await world.request('PUT', `/v1/organizations/${organization}`, { body: {} })
  const officer = (principal: string) =>
    world.key({ role: 'privacy_officer', principal, organizations: [...organizations], personal: true })
  officers = [await officer(first), await officer(second)]
  workers = await startWorkers({
    config: world.config,
    logger,
    deps: {
      scanRecorder: createScanRecorder(scans),
      sealing: { ...core.sealing, logger },
      erasure: { recorder: core.erasures.recorder },
      redacting: { redactor: core.redactions.redactor, logger },
    },
    queues: ['erasure'],
  })
})
afterAll(async () => {
  await workers.stop()
  await world.close()
})

const secret = () => `hunter2-${randomBytes(8).toString('hex')}`
const jane = { type: 'user', id: 'u_1', name: 'Jane Doe', email: 'jane@acme.example' }

async function post(organizationId: string, rest: object, headers: Record<string, string> = {}) {
  const body = {
    organizationId,
    action: 'document.opened',
    occurredAt: new Date().toISOString(),
    actor: { type: 'service', id: 'billing' },
    targets: [],
    ...rest,
  }
  const answer = await world.request('POST', '/v1/events', { body, headers })
  expect(answer.status, answer.text).toBe(201)
  return (answer.body as { id: string }).id
}

const ask = (organization: string, body: unknown, key: string = officers[0], headers = {}) =>
  world.request('POST', `/v1/organizations/${organization}/redactions`, { key, body, headers })
const approve = (organization: string, id: string, key: string = officers[1]) =>
  world.request('POST', `/v1/organizations/${organization}/redactions/${id}/approve`, { key })
const show = async (organization: string, id: string) =>
  (await world.request('GET', `/v1/organizations/${organization}/redactions/${id}`, { key: officers[0] }))
    .body as RedactionView

async function asked(organization: string, body: unknown): Promise<RedactionView> {
  const answer = await ask(organization, body)
  expect(answer.status, answer.text).toBe(202)
  return answer.body as RedactionView
}

const verify = async (organization: string) => {
  await drainUntilSealed(world.api.core, organization)
  const options = { url: world.url, key: world.ownerKey, organization, logKeys: [], values: true }
  return (await verifyServer(options)).report
}

/** Places whose bytes hold the value: every collection, and every version of every object of the archive. */
async function rawHits(value: string): Promise<string[]> {
  const { core } = world.api
  const hits: string[] = []
  for (const { name } of await core.db.listCollections().toArray())
    for await (const document of core.db.collection(name).find())
      if (Buffer.from(BSON.serialize(document)).includes(value)) hits.push(name)
  return hits
}

/** Every version of every object that the archive has of an organization, unpacked, by whether it holds the value. */
async function archivedHits(organizationId: string, value: string): Promise<string[]> {
  const { archive } = world.api.core
  const hits: string[] = []
  for await (const version of archive.versions(`${organizationId}/`)) {
    const stream = await archive.getVersion(version)
    if (stream === undefined) continue
    const bytes = Buffer.concat(await stream.toArray())
    if ((version.path.endsWith('.gz') ? gunzipSync(bytes) : bytes).includes(value)) hits.push(version.path)
  }
  return hits
}

test('a secret in a description goes on the word of two officers, and every proof still holds', async () => {
  const organization = 'org_redacted'
  const { core } = world.api
  const value = secret()
  const id = await post(
    organization,
    {
      actor: jane,
      targets: [jane],
      description: `password ${value}`,
      metadata: { plan: 'pro', token: value, 'a.b': 'stays' },
      context: { requestId: 'req_1' },
    },
    { 'idempotency-key': 'first' },
  )
  const stays = await post(organization, { description: 'nothing to see', actor: jane })
  expect(await rawHits(value)).toEqual(['events'])
  const requested = await asked(organization, {
    fields: [
      { eventId: id, path: 'description' },
      { eventId: id, path: 'metadata.token' },
      { eventId: id, slot: 'target/0' },
    ],
    reason: 'a password was pasted',
  })
  expect(requested).toMatchObject({ state: 'requested', submitter: first, approver: null, eventId: null })
  expect(requested.fields.map(({ slot }) => slot)).toEqual(['description', 'metadata/2', 'target/0'])

  const answer = await approve(organization, requested.id)
  expect(answer.status, answer.text).toBe(200)
  await expect
    .poll(async () => (await show(organization, requested.id)).state, { timeout: 30_000 })
    .toBe('redacted')
  const done = await show(organization, requested.id)
  expect(await rawHits(value)).toEqual([])
  const event = await world.request('GET', `/v1/organizations/${organization}/events/${id}`)
  expect(event.body).toMatchObject({
    actor: jane,
    targets: [{ type: 'user', redacted: true }],
    metadata: { plan: 'pro', 'a.b': 'stays' },
    context: { requestId: 'req_1' },
  })
  expect(event.text).not.toContain('description')
  const found = await world.request(
    'GET',
    `/v1/organizations/${organization}/events?metadata.token=${encodeURIComponent(value)}`,
  )
  expect(found.body).toMatchObject({ data: [] })
  const said = await world.request('GET', `/v1/organizations/${organization}/events/${done.eventId ?? ''}`)
  expect(said.body).toMatchObject({
    action: 'annals.field.redacted',
    metadata: { submitter: first, approver: second, manifest: done.manifest, fields: 3 },
  })
  const report = await verify(organization)
  expect(report.findings).toEqual([])
  expect(report.fields).toMatchObject({ erased: 3, missing: 0 })
  const other = await world.request('GET', `/v1/organizations/${organization}/events/${stays}`)
  expect(other.body).toMatchObject({ description: 'nothing to see', actor: jane })
  expect(world.logs()).not.toContain(value)
  // The approver's own repeat changes nothing.
  expect((await approve(organization, requested.id)).body).toEqual(await show(organization, requested.id))
  const list = await world.request('GET', `/v1/organizations/${organization}/redactions?limit=1`, {
    key: officers[1],
  })
  expect(list.body).toMatchObject({ data: [{ id: requested.id, state: 'redacted' }], nextCursor: null })
  const stored = await core.events.findOne({ _id: `${organization}/${id}` })
  expect(stored).not.toHaveProperty('fingerprint')
  // What is gone cannot be asked for again.
  const again = await ask(organization, { fields: [{ eventId: id, slot: 'description' }], reason: 'again' })
  expect([again.status, (again.body as { code: string }).code]).toEqual([409, 'wrong_state'])
}, 60_000)

/** A redaction that two officers agree on, without its workflow. */
async function agreed(organization: string, fields: readonly { eventId: string; slot: string }[]) {
  const { core } = world.api
  const view = await asked(organization, { fields, reason: 'a test' })
  const reference = { organizationId: organization, redactionId: view.id }
  await core.redactions.store.change(reference, ['requested'], {
    state: 'approved',
    approver: second,
    approvedAt: new Date(),
  })
  return reference
}

async function carryOut(
  reference: { organizationId: string; redactionId: string },
  deps: RedactorDependencies,
) {
  const redactor = createRedactor(deps)
  if ((await redactor.prepare(reference, noBeat)) === 'failed') return 'failed'
  if ((await redactor.decide(reference, noBeat)) === 'held') return 'held'
  await redactor.remove(reference, noBeat)
  return 'redacted'
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

const withFault = (deps: RedactorDependencies, fault: Fault): RedactorDependencies => ({
  ...deps,
  store: failing(deps.store, ['change'], fault),
  ledger: failing(deps.ledger, ['putManifest'], fault),
  lifecycle: failing(deps.lifecycle, ['advanceFrom'], fault),
  systemEvents: failing(deps.systemEvents, ['writeInTransaction'], fault),
  sealer: failing(deps.sealer, ['drainOrganization'], fault),
  removal: failing(deps.removal, ['fromHot', 'fromRestored', 'fromArchive', 'left'], fault),
})

/** At every moment: each event makes its leaf, and what is gone stands in a manifest that a sealed event names. */
async function checkRedaction(organizationId: string, redactionId: string, eventId: string, slot: string) {
  const { core } = world.api
  const redaction = await core.redactions.store.find({ organizationId, redactionId })
  const event = (await core.finder.find(organizationId, [eventId])).get(eventId)
  if (event === undefined || redaction === undefined) throw new Error('an event or its redaction is lost')
  expect(rebuildLeaf(event)?.leafHash.equals(event.leafHash)).toBe(true)
  if (redaction.state === 'redacted') expect(hasValue(event, slot)).toBe(false)
  if (hasValue(event, slot)) return
  expect(redaction.eventId).not.toBeNull()
  const leaf = await core.sealing.store.locate(organizationId, redaction.eventId ?? '')
  expect(leaf, 'a value is gone, and what says so has no leaf').toBeDefined()
  const manifest = await core.erasing.deps.ledger.manifest(redactionManifestPath(redaction))
  expect(manifest?.toString()).toContain(eventId)
}

test('whatever call fails, a value is gone only behind a sealed event, and the next attempt ends it', async () => {
  const organization = 'org_steps'
  const { deps } = world.api.core.redactions
  let failures = 0
  for (const when of ['before', 'after'] as const) {
    for (let at = 1; ; at += 1) {
      const eventId = await post(organization, { description: secret() })
      const reference = await agreed(organization, [{ eventId, slot: 'description' }])
      const fault: Fault = { calls: 0, at, when }
      const outcome = await carryOut(reference, withFault(deps, fault)).catch((error: unknown) => {
        if (!(error instanceof Injected)) throw error
        failures += 1
      })
      await checkRedaction(organization, reference.redactionId, eventId, 'description')
      if (outcome === undefined) expect(await carryOut(reference, deps)).toBe('redacted')
      await checkRedaction(organization, reference.redactionId, eventId, 'description')
      if (fault.calls < at) break
    }
  }
  expect(failures).toBeGreaterThan(15)
  const report = await verify(organization)
  expect(report.findings).toEqual([])
  expect(report.fields).toMatchObject({ missing: 0 })
  const said = await world.api.core.events.countDocuments({
    organizationId: organization,
    action: 'annals.field.redacted',
  })
  expect(report.fields.erased).toBe(said)
}, 120_000)

/** What removes, over a writer of its own: for faults in it. */
function removalOf(wrap: <T extends object>(target: T, methods: readonly (keyof T)[]) => T) {
  const { core } = world.api
  const keys = createArchiveKeys(core.signingKeys, world.config.logOrigin)
  const spoolFolder = join(world.config.dataDirectory, 'spool')
  return createFieldRemoval({
    client: core.client,
    db: core.db,
    lifecycle: wrap(core.retention.lifecycle, ['advance']),
    log: core.sealing.store,
    segments: core.segments,
    segmentsStore: wrap(createSegmentsStore(core.db), ['recordContent']),
    writer: wrap(createSegmentWriter({ store: core.archive, keys, spoolFolder }), [
      'rewriteContent',
      'deleteOtherContent',
    ]),
    archived: archiveReaderOf(core),
    store: wrap(core.archive, ['delete']),
  })
}

async function toArchive(organization: string): Promise<void> {
  await drainUntilSealed(world.api.core, organization)
  const range = await dueRange(world, organization, new Date(Date.now() + 30 * 86_400_000))
  if (range === undefined) throw new Error('nothing is due')
  await archiveRange(archiverOf(world), range)
}

test('an archived event loses its field in every version of its segment, whatever call fails; its neighbours keep theirs', async () => {
  const organization = 'org_archived'
  const { core } = world.api
  await world.request('PUT', `/v1/organizations/${organization}/retention`, {
    body: { hotDays: 0, archiveDays: null, recordDays: null },
  })
  let failures = 0
  let redacted = 0
  for (const when of ['before', 'after'] as const) {
    for (let at = 1; ; at += 1) {
      const value = secret()
      const id = await post(organization, { actor: jane, description: value, metadata: { note: value } })
      const neighbour = await post(organization, { description: 'stays where it is' })
      await toArchive(organization)
      expect(await core.events.countDocuments({ _id: `${organization}/${id}` })).toBe(0)
      expect(await archivedHits(organization, value)).toHaveLength(1)
      const slots = ['description', 'metadata/0', 'actor']
      const reference = await agreed(
        organization,
        slots.map((slot) => ({ eventId: id, slot })),
      )
      const fault: Fault = { calls: 0, at, when }
      const removal = removalOf((target, methods) => failing(target, methods, fault))
      const outcome = await carryOut(reference, { ...core.redactions.deps, removal }).catch(
        (error: unknown) => {
          if (!(error instanceof Injected)) throw error
          failures += 1
        },
      )
      await checkRedaction(organization, reference.redactionId, id, 'description')
      if (outcome === undefined) expect(await carryOut(reference, core.redactions.deps)).toBe('redacted')
      redacted += 1
      expect(await archivedHits(organization, value)).toEqual([])
      expect(await rawHits(value)).toEqual([])
      const shown = await world.request('GET', `/v1/organizations/${organization}/events/${id}`)
      expect(shown.body).toMatchObject({ actor: { type: 'user', redacted: true } })
      const other = await world.request('GET', `/v1/organizations/${organization}/events/${neighbour}`)
      expect(other.body).toMatchObject({ description: 'stays where it is' })
      if (fault.calls < at) break
    }
  }
  expect(failures).toBeGreaterThan(8)
  const report = await verify(organization)
  expect(report.findings).toEqual([])
  expect(report.fields).toMatchObject({ erased: 3 * redacted, missing: 0 })
}, 120_000)

test('what an archive run read before the redaction is never recorded', async () => {
  const organization = 'org_moving'
  const { core } = world.api
  const value = secret()
  await world.request('PUT', `/v1/organizations/${organization}/retention`, {
    body: { hotDays: 0, archiveDays: null, recordDays: null },
  })
  const id = await post(organization, { description: value })
  await drainUntilSealed(core, organization)
  const range = await dueRange(world, organization, new Date(Date.now() + 30 * 86_400_000))
  if (range === undefined) throw new Error('nothing is due')
  const archiver = archiverOf(world)
  await archiver.write(range)
  await archiver.verify(range)
  const reference = await agreed(organization, [{ eventId: id, slot: 'description' }])
  await expect(carryOut(reference, core.redactions.deps)).rejects.toThrow(RedactionWaitsError)
  expect((await show(organization, reference.redactionId)).state).toBe('redacting')
  await archiveRange(archiver, range)
  expect(await carryOut(reference, core.redactions.deps)).toBe('redacted')
  expect(await archivedHits(organization, value)).toEqual([])
  expect(await rawHits(value)).toEqual([])
  expect((await verify(organization)).findings).toEqual([])
})

test('a restore that copied a value before its redaction gives it up before it counts', async () => {
  const organization = 'org_restoring'
  const { core } = world.api
  const value = secret()
  await world.request('PUT', `/v1/organizations/${organization}/retention`, {
    body: { hotDays: 0, archiveDays: null, recordDays: null },
  })
  const id = await post(organization, { description: value })
  await toArchive(organization)
  const restore = { organizationId: organization, restoreId: newId('restore') }
  await core.restores.store.insert({
    _id: `${organization}/${restore.restoreId}`,
    ...restore,
    from: new Date(0),
    to: new Date(Date.now() + 1_000),
    days: 1,
    reason: 'a case',
    principal: first,
    state: 'copying',
    requestedAt: new Date(),
    restoredAt: null,
    expiresAt: null,
    endedAt: null,
    failure: null,
    position: null,
    counts: { leaves: 0, events: 0 },
    lifecycleSeen: null,
    bodyFingerprint: null,
  })
  const { restorer } = core.restores
  await restorer.copy(restore, { beat: noBeat, signal: new AbortController().signal })
  expect(await rawHits(value)).toEqual(['restoredEvents'])
  const reference = await agreed(organization, [{ eventId: id, slot: 'description' }])
  // Its rows come after the redaction looked for restored ones.
  const removal = {
    ...core.redactions.deps.removal,
    fromRestored: () => Promise.resolve(),
    left: () => Promise.resolve(0),
  }
  expect(await carryOut(reference, { ...core.redactions.deps, removal })).toBe('redacted')
  await restorer.activate(restore)
  expect(await rawHits(value)).toEqual([])
  const again = await agreed(organization, [
    { eventId: await post(organization, { description: 'x' }), slot: 'description' },
  ])
  expect(await carryOut(again, core.redactions.deps)).toBe('redacted')
})

test('a field that somebody deleted, with a redaction dressed up beside it, is missing', async () => {
  const organizationId = 'org_tampered'
  const { core } = world.api
  const eventId = await post(organizationId, { description: 'what somebody wants gone' })
  await drainUntilSealed(core, organizationId)
  const event = await core.events.findOne({ _id: `${organizationId}/${eventId}` })
  if (event === null) throw new Error('an event is lost')
  // All that a redaction leaves but for its leaf: the removal, the manifest, the document.
  const reference = await agreed(organizationId, [{ eventId, slot: 'description' }])
  const { deps } = core.redactions
  expect(await createRedactor(deps).prepare(reference, noBeat)).toBe('prepared')
  const document = await deps.store.find(reference)
  if (document === undefined || document.removed === null) throw new Error('nothing was prepared')
  await deps.store.change(reference, ['approved'], { state: 'redacted', eventId, endedAt: new Date() })
  await deps.removal.fromHot(organizationId, document.removed)
  expect(redactionManifest(reference, document.removed).sha256).toBe(document.manifest)
  // And an event that one principal alone stands behind.
  await core.systemEvents.write({
    organizationId,
    action: 'annals.field.redacted',
    occurredAt: new Date(),
    actor: { type: 'system', id: 'annals' },
    metadata: { manifest: document.manifest ?? '', submitter: first, approver: first, fields: 1 },
  })
  const report = await verify(organizationId)
  expect(report.findings).toMatchObject([{ code: 'field_missing', slots: ['description'] }])
  expect(report.fields).toMatchObject({ erased: 0, missing: 1 })
})

test('a hold stops a redaction at each stage, and one that waits for it goes on when it is released', async () => {
  const organization = 'org_holds'
  const { core } = world.api
  const place = async () => {
    const body = { scope: { action: 'case.opened' }, reason: 'a case' }
    const answer = await world.request('POST', `/v1/organizations/${organization}/holds`, {
      key: officers[0],
      body,
    })
    return (answer.body as { id: string }).id
  }
  const release = (id: string) =>
    world.request('POST', `/v1/organizations/${organization}/holds/${id}/release`, { key: officers[0] })
  const eventId = await post(organization, { action: 'case.opened', description: secret() })
  const body = { fields: [{ eventId, slot: 'description' }], reason: 'a test' }
  let hold = await place()
  const refused = await ask(organization, body)
  expect([refused.status, (refused.body as { code: string }).code]).toEqual([409, 'on_hold'])
  await release(hold)
  const view = await asked(organization, body)
  hold = await place()
  const unapproved = await approve(organization, view.id)
  expect([unapproved.status, (unapproved.body as { code: string }).code]).toEqual([409, 'on_hold'])
  expect((await show(organization, view.id)).state).toBe('requested')
  await release(hold)
  const reference = await agreed(organization, [{ eventId, slot: 'description' }])
  // Placed while it is decided: after the holds were read, before the commit.
  let raced = false
  const lifecycle = new Proxy(core.retention.lifecycle, {
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
  expect(await carryOut(reference, { ...core.redactions.deps, lifecycle })).toBe('held')
  expect(raced).toBe(true)
  expect((await show(organization, reference.redactionId)).state).toBe('on_hold')
  const kept = await core.events.findOne({ _id: `${organization}/${eventId}` })
  expect(kept !== null && hasValue(kept, 'description')).toBe(true)
  await release(hold)
  expect(await carryOut(reference, core.redactions.deps)).toBe('redacted')
  // Two of the same field at once: the second finds nothing to take, and says so.
  const late = await createRedactor(core.redactions.deps).prepare(
    await (async () => {
      const other = { organizationId: organization, redactionId: view.id }
      await core.redactions.store.change(other, ['requested'], { state: 'approved', approver: second })
      return other
    })(),
    noBeat,
  )
  expect(late).toBe('failed')
  expect(await show(organization, view.id)).toMatchObject({ state: 'failed', failure: 'field_gone' })
})

test('bad input, wrong roles, one pair of eyes and unknown ids change nothing', async () => {
  const organization = 'org_input'
  const eventId = await post(organization, { description: secret(), metadata: { a: 1 } })
  const foreign = await post('org_redacted', { description: secret() })
  const good = { fields: [{ eventId, slot: 'description' }], reason: 'a test' }
  const code = (answer: { body: unknown }) => (answer.body as { code: string }).code
  const places = async (body: unknown) => {
    const answer = await ask(organization, body)
    expect(answer.status, answer.text).toBe(422)
    return (answer.body as { errors: { path: string; code: string }[] }).errors.map(
      (one) => `${one.path} ${one.code}`,
    )
  }
  expect(await places({})).toEqual(['fields missing', 'reason missing'])
  expect(await places({ ...good, fields: [] })).toEqual(['fields too_few'])
  expect(await places({ ...good, fields: Array.from({ length: 101 }, () => good.fields[0]) })).toEqual([
    'fields too_many',
  ])
  expect(await places({ ...good, extra: 1 })).toEqual(['extra unknown_field'])
  expect(await places({ ...good, reason: '' })).toEqual(['reason too_short'])
  expect(await places({ ...good, fields: [{ eventId: 'evt_no', slot: 'description' }] })).toEqual([
    'fields[0].eventId malformed_id',
  ])
  for (const slot of ['actor/subject', 'metadata/x', 'target/01', '__proto__'])
    expect(await places({ ...good, fields: [{ eventId, slot }] }), slot).toEqual([
      'fields[0].slot malformed_value',
    ])
  for (const one of [{ eventId, slot: 'description', path: 'description' }, { eventId }])
    expect(await places({ ...good, fields: [one] })).toEqual(['fields[0] conflict'])
  for (const one of [{ slot: 'target/7' }, { slot: 'metadata/1' }])
    expect(await places({ ...good, fields: [{ eventId, ...one }] })).toEqual(['fields[0].slot not_allowed'])
  for (const path of ['actor.name', 'metadata.b', 'targets[0]', 'metadata', 'actor/subject'])
    expect(await places({ ...good, fields: [{ eventId, path }] }), path).toEqual([
      'fields[0].path not_allowed',
    ])
  const own = await world.api.core.events.findOne({ organizationId: organization, category: 'system' })
  const ownId = (own?._id ?? '').slice(organization.length + 1)
  expect(await places({ ...good, fields: [{ eventId: ownId, slot: 'actor' }] })).toEqual([
    'fields[0].eventId reserved_category',
  ])
  expect((await ask(organization, '{')).status).toBe(400)

  const nowhere = await ask('org_none', good)
  for (const answer of [
    await ask(organization, { ...good, fields: [{ eventId: foreign, slot: 'description' }] }),
    await ask(organization, {
      ...good,
      fields: [{ eventId: 'evt_01h455vb4pex5vsknk084sn02q', slot: 'actor' }],
    }),
    await approve(organization, 'redaction_01h455vb4pex5vsknk084sn02q'),
    await approve(organization, 'redaction_1'),
    await approve('org_none', 'redaction_01h455vb4pex5vsknk084sn02q'),
  ]) {
    expect(answer.status).toBe(404)
    const { requestId: _a, ...body } = answer.body as Record<string, unknown>
    const { requestId: _b, ...expected } = nowhere.body as Record<string, unknown>
    expect(body).toEqual(expected)
  }

  for (const role of ['owner', 'ingest', 'auditor', 'operator'] as const) {
    const key = await world.key({ role, principal: 'prn_01jd2zq8w9e5cs0v1m6k3n7p4t' })
    expect(code(await ask(organization, good, key)), role).toBe('forbidden')
    expect(code(await approve(organization, 'redaction_01h455vb4pex5vsknk084sn02q', key)), role).toBe(
      'forbidden',
    )
    const reads = await world.request('GET', `/v1/organizations/${organization}/redactions`, { key })
    expect(reads.status, role).toBe(role === 'owner' ? 200 : 403)
  }

  const headers = { 'idempotency-key': 'one' }
  const [one, same] = await Promise.all([
    ask(organization, good, officers[0], headers),
    ask(organization, good, officers[0], headers),
  ])
  expect([one.status, same.status]).toEqual([202, 202])
  const { id } = one.body as RedactionView
  expect(same.body).toEqual(one.body)
  expect(code(await ask(organization, { ...good, reason: 'another' }, officers[0], headers))).toBe(
    'idempotency_conflict',
  )
  expect(code(await approve(organization, id, officers[0]))).toBe('four_eyes')
  // Another key of the same person is no other person.
  const sameEyes = await world.key({ role: 'privacy_officer', principal: first })
  expect(code(await approve(organization, id, sameEyes))).toBe('four_eyes')
  const third = await world.key({ role: 'privacy_officer', principal: 'prn_01jd2zq8w9e5cs0v1m6k3n7p4v' })
  const approvals = await Promise.all([approve(organization, id), approve(organization, id, third)])
  expect(approvals.map(({ status }) => status).sort()).toEqual([200, 409])
  await expect.poll(async () => (await show(organization, id)).state, { timeout: 30_000 }).toBe('redacted')
  expect(
    await world.api.core.events.countDocuments({
      organizationId: organization,
      action: 'annals.field.redacted',
    }),
  ).toBe(1)
}, 60_000)
