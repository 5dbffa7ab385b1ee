/** Bringing stretches of the archive back: asked for over HTTP, carried out by real workers, searched, and gone again. */
import { randomBytes } from 'node:crypto'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { restoreLimits, restoreWorkflowId } from '../../src/archive/restores/contract.js'
import { createErasedContent } from '../../src/archive/restores/erased-content.js'
import { createRestorer, type Restorer } from '../../src/archive/restores/restorer.js'
import { createRestoredRows, restoredCollection } from '../../src/archive/restores/rows.js'
import type { RestoreView } from '../../src/archive/restores/schema.js'
import { createOutput } from '../../src/cli/output.js'
import { run as runCli } from '../../src/cli/program.js'
import { eventIdOf } from '../../src/events/store.js'
import { newId } from '../../src/ids.js'
import { createLogger } from '../../src/logging.js'
import { createScanRecorder } from '../../src/scans/recorder.js'
import { createScanStore } from '../../src/scans/store.js'
import { subjectStore } from '../../src/subjects/store.js'
import { connectTemporal, temporalOptions, type TemporalConnection } from '../../src/temporal/client.js'
import { buildWorkflowBundle } from '../../workers/bundle.js'
import { startWorkers, type RunningWorkers } from '../../workers/main.js'
import { archiveLeaves, archiveReaderOf } from '../support/archiving.js'
import { accept, drainUntilSealed } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'

const organizationId = 'org_restores'
const base = `/v1/organizations/${organizationId}`
const never = new AbortController().signal
const noBeat = () => undefined

let world: World
let temporal: TemporalConnection
let workers: RunningWorkers
let restorer: Restorer
/** Of a day of a restore. */
let dayMs = 86_400_000
let ids: string[]

beforeAll(async () => {
  await buildWorkflowBundle()
  const namespace = `restores-${randomBytes(6).toString('hex')}`
  world = await openWorld({ temporal: true, environment: { ANNALS_TEMPORAL_NAMESPACE: namespace } })
  temporal = await connectTemporal(temporalOptions(world.config))
  const { core } = world.api
  ids = (await accept(core, organizationId, 700)).map(({ id }) => id)
  await drainUntilSealed(core, organizationId)
  await archiveLeaves(core, organizationId, { segmentLeaves: 300 })
  restorer = createRestorer({
    store: core.restores.store,
    rows: createRestoredRows(core.db),
    // Each has nothing in memory: what it gives out it has read.
    archived: {
      walk: (...walk) => archiveReaderOf(core).walk(...walk),
      find: (...wanted) => archiveReaderOf(core).find(...wanted),
    },
    erased: createErasedContent(subjectStore(core.db).subjects),
    lifecycle: core.retention.lifecycle,
    events: core.systemEvents,
    client: core.client,
    get dayMs() {
      return dayMs
    },
  })
  const logger = createLogger('error', { write: () => undefined })
  const scans = { store: createScanStore(core.db), events: core.systemEvents, mongo: core.client }
  workers = await startWorkers({
    config: world.config,
    logger,
    deps: {
      scanRecorder: createScanRecorder(scans),
      sealing: { ...core.sealing, logger },
      retention: {
        restoring: { restorer, logger },
        archiving: { ...core.archiving, runs: core.retention.runs, logger },
        expiring: { ...core.expiring, runs: core.retention.runs, logger },
      },
    },
    queues: ['retention'],
  })
})
afterAll(async () => {
  await workers.stop()
  await temporal.close()
  await world.close()
})

const everything = { from: '2000-01-01T00:00:00Z', to: '2999-01-01T00:00:00Z', days: 7, reason: 'a case' }

async function ask(changes: object = {}, key = world.ownerKey, idempotencyKey?: string) {
  return world.request('POST', `${base}/archive/restores`, {
    key,
    body: { ...everything, ...changes },
    ...(idempotencyKey === undefined ? {} : { headers: { 'idempotency-key': idempotencyKey } }),
  })
}

const look = async (id: string) =>
  (await world.request('GET', `${base}/archive/restores/${id}`)).body as RestoreView

async function restored(changes: object = {}): Promise<RestoreView> {
  const answer = await ask(changes)
  expect(answer.status, answer.text).toBe(202)
  const { id } = answer.body as RestoreView
  await expect.poll(async () => (await look(id)).state, { timeout: 60_000 }).toBe('restored')
  return look(id)
}

async function ended(id: string): Promise<RestoreView> {
  await expect.poll(async () => (await look(id)).endedAt, { timeout: 60_000 }).not.toBeNull()
  return look(id)
}

const rowsOf = (filter: object = {}) =>
  restoredCollection(world.api.core.db)
    .find({ organizationId, ...filter })
    .toArray()

async function found(query: string): Promise<string[]> {
  const answer = await world.request('GET', `${base}/events?source=restored&limit=500&${query}`)
  expect(answer.status, answer.text).toBe(200)
  return (answer.body as { data: { id: string }[] }).data.map(({ id }) => id)
}

test('a restored range is searched as hot events are, and is gone after its days', async () => {
  const kept = await restored()
  expect(kept).toMatchObject({ counts: { leaves: 701, events: 701 }, failure: null, reason: 'a case' })
  expect(Date.parse(kept.expiresAt ?? '') - Date.parse(kept.restoredAt ?? '')).toBe(7 * 86_400_000)
  const onlySamples = (all: string[]) => all.filter((id) => ids.includes(id))
  expect(onlySamples(await found('actorEmail=jane7@acme.example')).length).toBe(14)
  expect(onlySamples(await found('q=Platform&metadata.seats=7')).length).toBe(14)
  expect((await found('action=team.*&order=asc')).length).toBe(500)
  expect(await found(`requestId=req_7&ip=203.0.113.7`)).toHaveLength(14)
  const counts = await world.request('GET', `${base}/counts?source=restored&action=team.*&interval=month`)
  const { data } = counts.body as { data: { count: number }[] }
  expect(data.reduce((sum, { count }) => sum + count, 0)).toBe(700)

  // A second one of the same events, whose days are over at once: they stay for the first.
  dayMs = 1
  const brief = (await ask()).body as RestoreView
  expect(await ended(brief.id)).toMatchObject({ state: 'expired' })
  dayMs = 86_400_000
  expect((await rowsOf()).length).toBe(701)

  // An operator ends the first early.
  await temporal.client.workflow.getHandle(kept.workflowId).cancel()
  expect(await ended(kept.id)).toMatchObject({ state: 'expired' })
  expect(await rowsOf()).toEqual([])
  expect(await found('action=team.*')).toEqual([])
  const events = await world.api.core.events
    .find({ organizationId, action: { $in: ['annals.archive.restored', 'annals.archive.restore_expired'] } })
    .sort({ _id: 1 })
    .toArray()
  const written = events.map(({ action, outcome }) => `${action} ${outcome}`)
  expect(written.sort()).toEqual([
    'annals.archive.restore_expired success',
    'annals.archive.restore_expired success',
    'annals.archive.restored success',
    'annals.archive.restored success',
  ])
})

test('a restore takes what happened in its stretch of time, and nothing beside it', async () => {
  const { core } = world.api
  const all = [...(await archiveReaderOf(core).find(organizationId, ids)).values()]
  const times = all.map(({ occurredAt }) => occurredAt.getTime()).sort((a, b) => a - b)
  const [from = 0, to = 0] = [times[200], times[450]]
  const wanted = times.filter((time) => time >= from && time < to).length
  const { id } = await restored({ from: new Date(from).toISOString(), to: new Date(to).toISOString() })
  const rows = await rowsOf({ restores: id })
  expect(rows).toHaveLength(wanted)
  expect(rows.every(({ occurredAt }) => occurredAt.getTime() >= from && occurredAt.getTime() < to)).toBe(true)
  await temporal.client.workflow.getHandle(restoreWorkflowId({ organizationId, restoreId: id })).cancel()
  await ended(id)
})

test('what it is asked with is checked, by whom and once for each key', async () => {
  const codes = async (changes: object) =>
    ((await ask(changes)).body as { errors: { path: string; code: string }[] }).errors.map(
      ({ path, code }) => `${path} ${code}`,
    )
  expect(await codes({ days: 0 })).toEqual(['days too_small'])
  expect(await codes({ days: restoreLimits.maxDays + 1 })).toEqual(['days too_large'])
  expect(await codes({ from: '2024-01-01' })).toEqual(['from malformed_time'])
  expect(await codes({ from: '2024-01-01T00:00:00' })).toEqual(['from no_time_zone'])
  expect(await codes({ to: everything.from })).toEqual(['to too_small'])
  expect(await codes({ reason: undefined })).toEqual(['reason missing'])
  expect(await codes({ reason: 'x'.repeat(501) })).toEqual(['reason too_long'])
  expect(await codes({ source: 'x' })).toEqual(['source unknown_field'])

  const principal = 'prn_01h455vb4pex5vsknk084sn02q'
  for (const role of ['ingest', 'operator'] as const)
    expect((await ask({}, await world.key({ role, principal }))).status).toBe(403)
  const elsewhere = await world.key({ role: 'auditor', principal, organizations: ['org_other'] })
  expect((await ask({}, elsewhere)).status).toBe(404)

  const past = { from: '1990-01-01T00:00:00Z', to: '1990-02-01T00:00:00Z' }
  const auditor = await world.key({ role: 'auditor', principal })
  const first = await ask(past, auditor, 'case 7')
  expect(first.status).toBe(202)
  const again = await ask(past, auditor, 'case 7')
  expect(again.headers.get('idempotency-replayed')).toBe('true')
  const { id } = first.body as RestoreView
  expect(again.body).toMatchObject({ id, principal })
  expect((await ask({ ...past, days: 8 }, auditor, 'case 7')).body).toMatchObject({
    code: 'idempotency_conflict',
  })
  // There is nothing in that month: it is restored, and empty.
  await expect.poll(async () => (await look(id)).state, { timeout: 60_000 }).toBe('restored')
  expect(await look(id)).toMatchObject({ counts: { leaves: 0, events: 0 } })
  expect((await world.request('GET', `${base}/archive/restores/restore_x`)).status).toBe(404)
  expect((await world.request('GET', `${base}/archive/restores/${newId('restore')}`)).status).toBe(404)

  const pages: string[] = []
  let cursor = ''
  do {
    const { body } = await world.request('GET', `${base}/archive/restores?limit=1${cursor}`)
    const { data, nextCursor } = body as { data: RestoreView[]; nextCursor: string | null }
    pages.push(...data.map((one) => one.id))
    cursor = nextCursor === null ? '' : `&cursor=${nextCursor}`
  } while (cursor !== '')
  const { data } = (await world.request('GET', `${base}/archive/restores`)).body as { data: RestoreView[] }
  expect(pages).toEqual(data.map((one) => one.id))
})

/** A restore that no workflow looks after. */
async function written(): Promise<{ organizationId: string; restoreId: string }> {
  const restoreId = newId('restore')
  const reference = { organizationId, restoreId }
  await world.api.core.restores.store.insert({
    _id: `${organizationId}/${restoreId}`,
    ...reference,
    from: new Date(0),
    to: new Date('2999-01-01'),
    days: 1,
    reason: 'a test',
    principal: 'prn_01h455vb4pex5vsknk084sn02q',
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
  return reference
}

test('a copy that is stopped again and again goes on, and each step may be repeated', async () => {
  const reference = await written()
  let rounds = 0
  for (let done = false; !done; rounds += 1) {
    const stop = new AbortController()
    done = await restorer.copy(reference, { beat: () => stop.abort(), signal: stop.signal })
    // As if the process had died after its work, and before anybody heard of it.
    if (done) await restorer.copy(reference, { beat: noBeat, signal: never })
  }
  expect(rounds).toBeGreaterThan(3)
  const until = await restorer.activate(reference)
  expect(await restorer.activate(reference)).toEqual(until)
  expect(await world.api.core.restores.store.find(reference)).toMatchObject({
    state: 'restored',
    counts: { leaves: 701, events: 701 },
  })
  for (let time = 0; time < 2; time += 1) await restorer.expire(reference)
  expect(await rowsOf({ restores: reference.restoreId })).toEqual([])
})

test('overlapping restores that come and go at once leave each other what they want', async () => {
  const references = [await written(), await written(), await written()] as const
  const rows = createRestoredRows(world.api.core.db)
  const copies = references.map((reference) => restorer.copy(reference, { beat: noBeat, signal: never }))
  const [first, second, third] = references
  await Promise.all([...copies, rows.remove(first), rows.remove(first)])
  await Promise.all([
    restorer.copy(first, { beat: noBeat, signal: never }),
    rows.remove(first),
    rows.remove(second),
  ])
  await rows.remove(first)
  const left = await rowsOf()
  expect(left.map(({ _id }) => eventIdOf(_id)).sort()).toEqual(
    [
      ...(
        await archiveReaderOf(world.api.core).find(
          organizationId,
          left.map(({ _id }) => eventIdOf(_id)),
        )
      ).keys(),
    ].sort(),
  )
  expect(await rows.count(third)).toBe(701)
  expect(left).toHaveLength(701)
  await restorer.fail(first, 'internal')
  await restorer.fail(second, 'internal')
  await restorer.fail(third, 'internal')
  expect(await rowsOf()).toEqual([])
})

test('who was erased does not come back, also where it happens while the archive is read', async () => {
  const { core } = world.api
  const { subjects } = subjectStore(core.db)
  const [one] = await found('actorId=u_3').then(() => subjects.find({ organizationId }).limit(1).toArray())
  if (one === undefined) throw new Error('there are persons')
  const reference = one._id.slice(organizationId.length + 1)
  const restore = await written()
  await restorer.copy(restore, { beat: noBeat, signal: never })
  const about = { restores: restore.restoreId, 'fields.subject': reference }
  expect((await rowsOf({ ...about, 'fields.sealed': { $exists: true } })).length).toBe(14)

  // An erasure: the key goes, and the counter moves.
  await subjects.updateOne({ _id: one._id }, { $set: { state: 'erased' }, $unset: { key: 1 } })
  await core.client.withSession((session) =>
    session.withTransaction(() => core.retention.lifecycle.advance(organizationId, session)),
  )
  await restorer.activate(restore)
  expect(await rowsOf({ ...about, 'fields.sealed': { $exists: true } })).toEqual([])
  const views = await world.request('GET', `${base}/events?source=restored&subject=${reference}`)
  const { data } = views.body as { data: { actor: object }[] }
  expect(data).toHaveLength(14)
  for (const { actor } of data) expect(actor).toEqual({ type: 'user', subject: reference, erased: true })
  expect(await found('ip=203.0.113.7&subject=' + reference)).toEqual([])
  await restorer.expire(restore)

  const later = await written()
  await restorer.copy(later, { beat: noBeat, signal: never })
  const rows = await rowsOf({ restores: later.restoreId, 'fields.subject': reference })
  expect(rows).toHaveLength(14)
  expect(JSON.stringify(rows)).not.toContain('"sealed"')
  await restorer.fail(later, 'internal')
})

test('altered bytes fail a restore by name: nothing of it stays, and nothing else is lost', async () => {
  const { core } = world.api
  const [segment] = await core.segments.page(organizationId, undefined, 1)
  const path = join(archiveFolder(), segment?.content?.file.path ?? '')
  const file = await open(path, 'r+')
  const { bytesRead, buffer } = await file.read(Buffer.alloc(1), 0, 1, 200)
  expect(bytesRead).toBe(1)
  try {
    await file.write(Buffer.from([buffer.readUInt8(0) ^ 1]), 0, 1, 200)
    const { id } = (await ask()).body as RestoreView
    expect(await ended(id)).toMatchObject({ state: 'failed', failure: 'archive_damaged' })
    expect(await rowsOf()).toEqual([])
    const [event] = await core.events
      .find({ organizationId, action: 'annals.archive.restored', outcome: 'failure' })
      .sort({ receivedAt: -1 })
      .limit(1)
      .toArray()
    expect(JSON.stringify(event?.fields)).toContain('archive_damaged')
  } finally {
    await file.write(buffer, 0, 1, 200)
    await file.close()
  }
})

const archiveFolder = () => {
  const { archive } = world.config
  if (archive.kind !== 'folder') throw new Error('this world has a folder')
  return join(archive.folder, 'segments')
}

test('the command line lists segments, restores, and says what failed', async () => {
  const address = ['--url', world.url, '--key', world.ownerKey]
  const run = async (...given: string[]) => {
    const printed = { out: '', notes: '' }
    const output = createOutput(given.includes('--json'), {
      out: { write: (text: string) => ((printed.out += text), true) },
      error: { write: (text: string) => ((printed.notes += text), true) },
    })
    const unused = () => Promise.reject(new Error('it goes over HTTP'))
    const services = { openApi: unused, openKeys: unused, openLog: unused, setup: unused, up: unused }
    const context = {
      services,
      loadConfig: () => world.config,
      createLogger: () => logger,
      output: () => output,
    }
    const code = await runCli(['archive', ...given, ...address], context, output)
    return { code, ...printed }
  }
  const logger = createLogger('error', { write: () => undefined })
  const listed = await run('list', organizationId, '--json')
  expect(listed.code).toBe(0)
  expect((JSON.parse(listed.out) as { data: object[] }).data).toMatchObject([
    { from: 600 },
    { from: 300 },
    { from: 0 },
  ])
  expect((await run('list', organizationId)).out).toContain('1.300-600')
  const range = ['--from', everything.from, '--to', everything.to, '--days', '2', '--reason', 'case 9']
  const done = await run('restore', organizationId, ...range, '--json')
  expect(done.code, done.notes).toBe(0)
  const restore = JSON.parse(done.out) as RestoreView
  expect(restore).toMatchObject({ state: 'restored', days: 2, reason: 'case 9' })
  expect((await run('restore', organizationId, ...range.with(5, '999'))).code).toBe(2)
  expect((await run('list', 'org_nobody')).code).toBe(5)
  await temporal.client.workflow.getHandle(restore.workflowId).cancel()
  await ended(restore.id)
})
