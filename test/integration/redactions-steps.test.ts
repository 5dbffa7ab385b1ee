/** Redactions step by step: with each call broken, on archived events, beside archiving and restores, and holds in the way. */
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createArchiveKeys } from '../../src/archive/segment-keys.js'
import { createSegmentWriter } from '../../src/archive/segment-writer.js'
import { createSegmentsStore } from '../../src/archive/segments-store.js'
import { rebuildLeaf } from '../../src/events/rebuild.js'
import { newId } from '../../src/ids.js'
import { hasValue } from '../../src/redaction/fields.js'
import { redactionManifest, redactionManifestPath } from '../../src/redaction/manifest.js'
import {
  createRedactor,
  RedactionWaitsError,
  type RedactorDependencies,
} from '../../src/redaction/redactor.js'
import { createFieldRemoval } from '../../src/redaction/removal.js'
import { archiveReaderOf } from '../support/archiving.js'
import { failing, Injected, type Fault } from '../support/failing.js'
import {
  firstOfficer,
  jane,
  redactionDesk,
  secondOfficer,
  secret,
  type RedactionDesk,
} from '../support/redacting.js'
import { archiveRange, archiverOf, dueRange } from '../support/retaining.js'
import { drainUntilSealed } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'

let world: World
let desk: RedactionDesk
const organizations = [
  'org_steps',
  'org_archived',
  'org_tampered',
  'org_holds',
  'org_moving',
  'org_restoring',
]
const noBeat = () => undefined

beforeAll(async () => {
  world = await openWorld()
  desk = await redactionDesk(world, organizations)
})
afterAll(async () => {
  await world.close()
})

/** A redaction that two officers agree on, without its workflow. */
async function agreed(organization: string, fields: readonly { eventId: string; slot: string }[]) {
  const { core } = world.api
  const view = await desk.asked(organization, { fields, reason: 'a test' })
  const reference = { organizationId: organization, redactionId: view.id }
  await core.redactions.store.change(reference, ['requested'], {
    state: 'approved',
    approver: secondOfficer,
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
  if ((await redactor.decide(reference)) === 'held') return 'held'
  await redactor.remove(reference, noBeat)
  return 'redacted'
}

const withFault = (deps: RedactorDependencies, fault: Fault): RedactorDependencies => ({
  ...deps,
  store: failing(deps.store, ['change'], fault),
  ledger: failing(deps.ledger, ['putManifest'], fault),
  journal: failing(deps.journal, ['note'], fault),
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
      const eventId = await desk.post(organization, { description: secret() })
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
  const report = await desk.verify(organization)
  expect(report.findings).toEqual([])
  expect(report.fields).toMatchObject({ missing: 0 })
  const said = await world.api.core.events.countDocuments({
    organizationId: organization,
    action: 'annals.field.redacted',
  })
  expect(report.fields.erased).toBe(said)
})

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
      const id = await desk.post(organization, { actor: jane, description: value, metadata: { note: value } })
      const neighbour = await desk.post(organization, { description: 'stays where it is' })
      await desk.toArchive(organization)
      expect(await core.events.countDocuments({ _id: `${organization}/${id}` })).toBe(0)
      expect(await desk.archivedHits(organization, value)).toHaveLength(1)
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
      expect(await desk.archivedHits(organization, value)).toEqual([])
      expect(await desk.rawHits(value)).toEqual([])
      const shown = await world.request('GET', `/v1/organizations/${organization}/events/${id}`)
      expect(shown.body).toMatchObject({ actor: { type: 'user', redacted: true } })
      const other = await world.request('GET', `/v1/organizations/${organization}/events/${neighbour}`)
      expect(other.body).toMatchObject({ description: 'stays where it is' })
      if (fault.calls < at) break
    }
  }
  expect(failures).toBeGreaterThan(8)
  const report = await desk.verify(organization)
  expect(report.findings).toEqual([])
  expect(report.fields).toMatchObject({ erased: 3 * redacted, missing: 0 })
})

test('what an archive run read before the redaction is never recorded', async () => {
  const organization = 'org_moving'
  const { core } = world.api
  const value = secret()
  await world.request('PUT', `/v1/organizations/${organization}/retention`, {
    body: { hotDays: 0, archiveDays: null, recordDays: null },
  })
  const id = await desk.post(organization, { description: value })
  await drainUntilSealed(core, organization)
  const range = await dueRange(world, organization, new Date(Date.now() + 30 * 86_400_000))
  if (range === undefined) throw new Error('nothing is due')
  const archiver = archiverOf(world)
  await archiver.write(range)
  await archiver.verify(range)
  const reference = await agreed(organization, [{ eventId: id, slot: 'description' }])
  await expect(carryOut(reference, core.redactions.deps)).rejects.toThrow(RedactionWaitsError)
  expect((await desk.show(organization, reference.redactionId)).state).toBe('redacting')
  await archiveRange(archiver, range)
  expect(await carryOut(reference, core.redactions.deps)).toBe('redacted')
  expect(await desk.archivedHits(organization, value)).toEqual([])
  expect(await desk.rawHits(value)).toEqual([])
  expect((await desk.verify(organization)).findings).toEqual([])
})

test('a restore that copied a value before its redaction gives it up before it counts', async () => {
  const organization = 'org_restoring'
  const { core } = world.api
  const value = secret()
  await world.request('PUT', `/v1/organizations/${organization}/retention`, {
    body: { hotDays: 0, archiveDays: null, recordDays: null },
  })
  const id = await desk.post(organization, { description: value })
  await desk.toArchive(organization)
  const restore = { organizationId: organization, restoreId: newId('restore') }
  await core.restores.store.insert({
    _id: `${organization}/${restore.restoreId}`,
    ...restore,
    from: new Date(0),
    to: new Date(Date.now() + 1_000),
    days: 1,
    reason: 'a case',
    principal: firstOfficer,
    state: 'copying',
    requestedAt: new Date(),
    restoredAt: null,
    expiresAt: null,
    endedAt: null,
    failure: null,
    position: null,
    counts: { leaves: 0, events: 0, bytes: 0 },
    leavesToRead: 0,
    lifecycleSeen: null,
    bodyFingerprint: null,
  })
  const { restorer } = core.restores
  await restorer.copy(restore, { beat: noBeat, signal: new AbortController().signal })
  expect(await desk.rawHits(value)).toEqual(['restoredEvents'])
  const reference = await agreed(organization, [{ eventId: id, slot: 'description' }])
  // Its rows come after the redaction looked for restored ones.
  const removal = {
    ...core.redactions.deps.removal,
    fromRestored: () => Promise.resolve(),
    left: () => Promise.resolve(0),
  }
  expect(await carryOut(reference, { ...core.redactions.deps, removal })).toBe('redacted')
  await restorer.activate(restore)
  expect(await desk.rawHits(value)).toEqual([])
  const again = await agreed(organization, [
    { eventId: await desk.post(organization, { description: 'x' }), slot: 'description' },
  ])
  expect(await carryOut(again, core.redactions.deps)).toBe('redacted')
})

test('a field that somebody deleted, with a redaction dressed up beside it, is missing', async () => {
  const organizationId = 'org_tampered'
  const { core } = world.api
  const eventId = await desk.post(organizationId, { description: 'what somebody wants gone' })
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
    metadata: {
      manifest: document.manifest ?? '',
      submitter: firstOfficer,
      approver: firstOfficer,
      fields: 1,
    },
  })
  const report = await desk.verify(organizationId)
  expect(report.findings).toMatchObject([{ code: 'field_missing', slots: ['description'] }])
  expect(report.fields).toMatchObject({ erased: 0, missing: 1 })
})

test('a hold stops a redaction at each stage, and one that waits for it goes on when it is released', async () => {
  const organization = 'org_holds'
  const { core } = world.api
  const place = async () => {
    const body = { scope: { action: 'case.opened' }, reason: 'a case' }
    const answer = await world.request('POST', `/v1/organizations/${organization}/holds`, {
      key: desk.officers[0],
      body,
    })
    return (answer.body as { id: string }).id
  }
  const release = (id: string) =>
    world.request('POST', `/v1/organizations/${organization}/holds/${id}/release`, { key: desk.officers[0] })
  const eventId = await desk.post(organization, { action: 'case.opened', description: secret() })
  const body = { fields: [{ eventId, slot: 'description' }], reason: 'a test' }
  let hold = await place()
  const refused = await desk.ask(organization, body)
  expect([refused.status, (refused.body as { code: string }).code]).toEqual([409, 'on_hold'])
  await release(hold)
  const view = await desk.asked(organization, body)
  hold = await place()
  const unapproved = await desk.approve(organization, view.id)
  expect([unapproved.status, (unapproved.body as { code: string }).code]).toEqual([409, 'on_hold'])
  expect((await desk.show(organization, view.id)).state).toBe('requested')
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
  expect((await desk.show(organization, reference.redactionId)).state).toBe('on_hold')
  const kept = await core.events.findOne({ _id: `${organization}/${eventId}` })
  expect(kept !== null && hasValue(kept, 'description')).toBe(true)
  await release(hold)
  expect(await carryOut(reference, core.redactions.deps)).toBe('redacted')
  // Two of the same field at once: the second finds nothing to take, and says so.
  const late = await createRedactor(core.redactions.deps).prepare(
    await (async () => {
      const other = { organizationId: organization, redactionId: view.id }
      await core.redactions.store.change(other, ['requested'], { state: 'approved', approver: secondOfficer })
      return other
    })(),
    noBeat,
  )
  expect(late).toBe('failed')
  expect(await desk.show(organization, view.id)).toMatchObject({ state: 'failed', failure: 'field_gone' })
})
