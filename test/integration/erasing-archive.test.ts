/** A person who lies in the archive: in every revision, every version, beside others, and while things move. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createRestorer } from '../../src/archive/restores/restorer.js'
import { createErasedContent } from '../../src/archive/restores/erased-content.js'
import { createRestoredRows } from '../../src/archive/restores/rows.js'
import { withErasedTexts } from '../../src/erasure/erased-texts.js'
import type { ErasingDependencies } from '../../src/erasure/erasing.js'
import { newId } from '../../src/ids.js'
import { LifecycleMovedError } from '../../src/retention/lifecycle.js'
import { subjectStore } from '../../src/subjects/store.js'
import { verifyServer } from '../../src/verification/run.js'
import {
  archiveAll,
  canaryIdentifiers,
  hitsOf,
  nextRange,
  person,
  post,
  somebodyElse,
  spread,
} from '../support/archived-person.js'
import { archiveReaderOf, segmentsOf } from '../support/archiving.js'
import { archiveHits, checkErasure } from '../support/erasure-oracle.js'
import { erasingRun } from '../support/erasing.js'
import { archiveRange, archiverOf } from '../support/retaining.js'
import { drainUntilSealed } from '../support/sealing.js'
import { absentVersitygw, startVersitygw, versitygwBinary, type Versitygw } from '../support/versitygw.js'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(async () => {
  await world.close()
})

const nothing = () => undefined

const verify = async (of: World, organization: string) =>
  (await verifyServer({ url: of.url, key: of.ownerKey, organization, logKeys: [], values: true })).report

const listed = async (of: World, organizationId: string) => {
  const answer = await of.request('GET', `/v1/organizations/${organizationId}/events?source=archive`)
  expect(answer.status, answer.text).toBe(200)
  return (answer.body as { data: { id: string }[] }).data
}

const revisions = async (of: World, organizationId: string) =>
  (await segmentsOf(of.api.core).find({ organizationId }).sort({ from: 1 }).toArray()).map(
    ({ content }) => content?.revision,
  )

async function forgetsThePerson(world: World, organizationId: string): Promise<void> {
  const other = `${organizationId}_other`
  const { core } = world.api
  const { own, both } = await spread(world, organizationId)
  await archiveAll(world, organizationId)
  await spread(world, other)
  await archiveAll(world, other)
  // A segment without anything of the person.
  await post(world, organizationId, { description: 'nobody in particular' })
  await archiveAll(world, organizationId)
  await post(world, organizationId, { actor: person, description: 'hot' })
  await drainUntilSealed(core, organizationId)
  await post(world, organizationId, { actor: person, description: 'pending' })
  const before = await segmentsOf(core).find({ organizationId }).sort({ from: 1 }).toArray()
  const othersBefore = await hitsOf(world, other)
  expect((await hitsOf(world, organizationId)).length).toBeGreaterThan(0)

  const run = erasingRun(core, organizationId, canaryIdentifiers)
  expect(await run.scope()).toBe('matched')
  const archived = { target: 'archive_content', status: 'counted', items: 4, held: 0 }
  expect(run.report().targets).toContainEqual(archived)
  expect(run.report().freeText[3]).toMatchObject({ hits: 1 })
  expect(await run.toVerified()).toBe('clean')

  expect(await hitsOf(world, organizationId)).toEqual([])
  expect(await hitsOf(world, other)).toEqual(othersBefore)
  expect(await revisions(world, organizationId)).toEqual([2, 1])
  const segments = await segmentsOf(core).find({ organizationId }).sort({ from: 1 }).toArray()
  expect(segments[1]?.content).toEqual(before[1]?.content)
  await checkErasure(core, run, 2)

  const shown = new Map((await listed(world, organizationId)).map((event) => [event.id, event]))
  expect(shown.get(own.id)).toMatchObject({
    actor: { type: 'user', erased: true },
    metadata: { plan: 'pro' },
  })
  // Of two persons in one event only the one goes.
  expect(shown.get(both.id)).toMatchObject({
    actor: { name: somebodyElse.name },
    targets: [{ type: 'user', erased: true }],
  })
  const detail = await world.request('GET', `/v1/organizations/${organizationId}/events/${own.id}`)
  expect(detail.body).toMatchObject({ actor: { erased: true } })

  await drainUntilSealed(core, organizationId)
  const report = await verify(world, organizationId)
  expect(report.findings).toEqual([])
  expect(report.fields).toMatchObject({ missing: 0 })
  expect(report.fields.erased).toBeGreaterThan(5)
  expect((await verify(world, other)).fields).toMatchObject({ missing: 0, erased: 0 })
}

test('a person who is archived, hot and pending is forgotten in one organization, and whole in another', async () => {
  await forgetsThePerson(world, 'org_archived')
})

const absent = versitygwBinary === undefined
if (absent) test('erasure in S3 is tested where versitygw is', (context) => context.skip(absentVersitygw))

describe.runIf(!absent)('in a bucket that keeps every version', () => {
  let s3: Versitygw
  let bucket: World
  beforeAll(async () => {
    s3 = await startVersitygw()
    bucket = await openWorld({ environment: { ANNALS_ARCHIVE_URL: await s3.createBucket('annals') } })
  })
  afterAll(async () => {
    await bucket.close()
    await s3.stop()
  })

  test('no version of any object holds anything of the person afterwards', async () => {
    await forgetsThePerson(bucket, 'org_bucket')
  })
})

/** Does something else right before a target has its turn. */
const before =
  (name: string, meanwhile: () => Promise<void>) =>
  (deps: ErasingDependencies): ErasingDependencies => ({
    ...deps,
    targets: deps.targets.map((target) =>
      target.name === name
        ? {
            ...target,
            async erase(work) {
              await meanwhile()
              return target.erase(work)
            },
          }
        : target,
    ),
  })

describe('what moves while a person is erased does not escape', () => {
  test('a range that is archived between the search and the removal', async () => {
    const organizationId = 'org_moving'
    await spread(world, organizationId)
    await drainUntilSealed(world.api.core, organizationId)
    const archive = async () => {
      await archiveRange(archiverOf(world), await nextRange(world, organizationId))
      expect(await revisions(world, organizationId)).toEqual([1])
    }
    const run = erasingRun(world.api.core, organizationId, canaryIdentifiers, {
      deps: before('pending_events', archive),
    })
    await run.scope()
    expect(await run.toVerified()).toBe('clean')
    expect(await hitsOf(world, organizationId)).toEqual([])
    expect(await revisions(world, organizationId)).toEqual([2])
  })

  test('a range that was exported before, and is recorded by nobody: its bytes go, and the run writes it again', async () => {
    const organizationId = 'org_exported'
    const { core } = world.api
    await spread(world, organizationId)
    const range = await nextRange(world, organizationId)
    const archiver = archiverOf(world)
    const run = erasingRun(core, organizationId, canaryIdentifiers, {
      // After the fence, which moves the counter, and before the hot rows are changed.
      deps: before('pending_events', async () => {
        expect(await archiver.write(range)).toBe('written')
        await archiver.verify(range)
      }),
    })
    await run.scope()
    expect(await run.toVerified()).toBe('clean')
    expect(await archiveHits(core, organizationId, [canaryIdentifiers[0]?.value ?? ''])).toEqual([])
    expect(await hitsOf(world, organizationId)).toEqual([])
    await expect(archiver.record(range)).rejects.toThrow(LifecycleMovedError)
    await archiveRange(archiver, range)
    expect(await hitsOf(world, organizationId)).toEqual([])
    expect(await run.erasing.verify(run, nothing)).toEqual({ result: 'clean' })
  })

  test('a restore that read the archive before the removal, and stores what it read after it', async () => {
    const organizationId = 'org_restoring'
    const { core } = world.api
    await spread(world, organizationId)
    await archiveAll(world, organizationId)
    const run = erasingRun(core, organizationId, canaryIdentifiers)
    await run.scope()
    const restorer = createRestorer({
      store: core.restores.store,
      rows: createRestoredRows(core.db),
      archived: {
        find: (...find) => archiveReaderOf(core).find(...find),
        async *walk(...walk) {
          const old = []
          for await (const stretch of archiveReaderOf(core).walk(...walk)) old.push(stretch)
          expect(await run.toVerified()).toBe('clean')
          yield* old
        },
      },
      erased: withErasedTexts(createErasedContent(subjectStore(core.db).subjects), run.deps),
      lifecycle: core.retention.lifecycle,
      events: core.systemEvents,
      client: core.client,
    })
    const reference = { organizationId, restoreId: newId('restore') }
    await core.restores.store.insert({
      _id: `${organizationId}/${reference.restoreId}`,
      ...reference,
      from: new Date(0),
      to: new Date(Date.now() + 86_400_000),
      days: 1,
      reason: 'a case',
      principal: 'prn_test',
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
    await restorer.copy(reference, { beat: nothing, signal: new AbortController().signal })
    await restorer.activate(reference)
    const restored = core.db.collection('restoredEvents')
    expect(await restored.countDocuments({ organizationId })).toBeGreaterThan(4)
    expect(await hitsOf(world, organizationId)).toEqual([])
    expect(await run.erasing.verify(run, nothing)).toEqual({ result: 'clean' })
  })
})

test('what is restored when a person is erased is erased there, too', async () => {
  const organizationId = 'org_restored'
  const { core } = world.api
  await spread(world, organizationId)
  await archiveAll(world, organizationId)
  const rows = createRestoredRows(core.db)
  for await (const { events } of archiveReaderOf(core).walk(organizationId, {
    after: { generation: Number.MAX_SAFE_INTEGER, index: 0 },
  }))
    await rows.put(
      { organizationId, restoreId: 'restore_1' },
      events.map(({ event }) => event),
    )
  const run = erasingRun(core, organizationId, canaryIdentifiers)
  await run.scope()
  expect(run.report().targets).toContainEqual(
    expect.objectContaining({ target: 'restored_events', items: 2 }),
  )
  expect(await run.toVerified()).toBe('clean')
  expect(await hitsOf(world, organizationId)).toEqual([])
})

describe('what may not go yet', () => {
  const hold = async (organizationId: string, action: string) => {
    const body = { scope: { action }, reason: 'litigation' }
    const placed = await world.request('POST', `/v1/organizations/${organizationId}/holds`, { body })
    expect(placed.status, placed.text).toBe(201)
    return (placed.body as { id: string }).id
  }

  test('a hold on all that is archived stops the fence, and its release lets the request go on', async () => {
    const organizationId = 'org_archive_held'
    const seen = await post(world, organizationId, { action: 'case.opened', actor: person })
    await archiveAll(world, organizationId)
    const id = await hold(organizationId, 'case.*')
    const run = erasingRun(world.api.core, organizationId, canaryIdentifiers)
    await run.scope()
    expect(run.report().targets).toContainEqual(
      expect.objectContaining({ target: 'archive_content', items: 1, held: 1 }),
    )
    expect(await run.toVerified()).toBe('held')
    const whole: unknown = expect.objectContaining({
      id: seen.id,
      actor: expect.objectContaining({ id: person.id }) as object,
    })
    expect(await listed(world, organizationId)).toContainEqual(whole)
    await world.request('POST', `/v1/organizations/${organizationId}/holds/${id}/release`)
    expect(await run.toVerified()).toBe('clean')
    expect(await hitsOf(world, organizationId)).toEqual([])
  })

  test('an archived event that is held stays under the key of the request, and is counted', async () => {
    const organizationId = 'org_archive_part'
    const kept = await post(world, organizationId, { action: 'case.opened', actor: person })
    const gone = await post(world, organizationId, { actor: person })
    await archiveAll(world, organizationId)
    await hold(organizationId, 'case.*')
    const run = erasingRun(world.api.core, organizationId, canaryIdentifiers)
    await run.scope()
    expect(await run.toVerified()).toBe('clean')
    expect(await run.deps.progress.find(run)).toMatchObject({ before: 2, exempt: 1 })
    const shown = new Map((await listed(world, organizationId)).map((event) => [event.id, event]))
    expect(shown.get(kept.id)).toMatchObject({ actor: { restricted: true } })
    expect(shown.get(gone.id)).toMatchObject({ actor: { erased: true } })
    expect(await hitsOf(world, organizationId)).toEqual([])
    await drainUntilSealed(world.api.core, organizationId)
    expect(await verify(world, organizationId)).toMatchObject({
      findings: [],
      fields: { withheld: 1, erased: 1, missing: 0 },
    })
  })

  test('archived text that names another person too stays where the request asks for a review', async () => {
    const organizationId = 'org_archive_joint'
    await post(world, organizationId, { description: `${person.email} wrote to else@acme.example` })
    await post(world, organizationId, { actor: person, description: `only ${person.name}` })
    await archiveAll(world, organizationId)
    const run = erasingRun(world.api.core, organizationId, canaryIdentifiers, { jointFreeText: 'review' })
    await run.scope()
    expect(await run.toVerified()).toBe('clean')
    const texts = (await listed(world, organizationId)).map(
      (event) => (event as { description?: unknown }).description,
    )
    expect(texts.filter((text) => text !== undefined)).toEqual([`${person.email} wrote to else@acme.example`])
  })
})
