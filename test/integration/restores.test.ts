/** Bringing stretches of the archive back: asked for over HTTP, carried out by real workers, searched, and gone again. */
import { randomBytes } from 'node:crypto'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { BSON } from 'mongodb'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { restoreLimits, restoreWorkflowId } from '../../src/archive/restores/contract.js'
import type { Restorer } from '../../src/archive/restores/restorer.js'
import type { RestoreView } from '../../src/archive/restores/schema.js'
import { createOutput } from '../../src/cli/output.js'
import { run as runCli } from '../../src/cli/program.js'
import { newId } from '../../src/ids.js'
import { createLogger } from '../../src/logging.js'
import { connectTemporal, temporalOptions, type TemporalConnection } from '../../src/temporal/client.js'
import { buildWorkflowBundle } from '../../workers/bundle.js'
import { startWorkers, type RunningWorkers } from '../../workers/main.js'
import { archiveReaderOf } from '../support/archiving.js'
import { archivedIds, foundRestored, restoredRowsOf, restorerOf } from '../support/restoring.js'
import { openWorld, type World } from '../support/world.js'

const organizationId = 'org_restores'
const base = `/v1/organizations/${organizationId}`

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
  ids = await archivedIds(core, organizationId)
  restorer = restorerOf(world, {
    get dayMs() {
      return dayMs
    },
  })
  const logger = createLogger('error', { write: () => undefined })
  workers = await startWorkers({
    config: world.config,
    logger,
    deps: {
      scanRecorder: core.scans.recorder,
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
  await expect.poll(async () => (await look(id)).state).toBe('restored')
  return look(id)
}

async function ended(id: string): Promise<RestoreView> {
  await expect.poll(async () => (await look(id)).endedAt).not.toBeNull()
  return look(id)
}

async function runOf(workflowId: string) {
  const { body } = await world.request('GET', `${base}/retention/runs?kind=restore`)
  return (body as { data: { workflowId: string }[] }).data.find((run) => run.workflowId === workflowId)
}

const rowsOf = (filter: object = {}) => restoredRowsOf(world, organizationId, filter)
const found = (query: string) => foundRestored(world, base, query)

test('a restored range is searched as hot events are, and is gone after its days', async () => {
  const kept = await restored()
  expect(kept).toMatchObject({ counts: { leaves: 701, events: 701 }, failure: null, reason: 'a case' })
  expect(Date.parse(kept.expiresAt ?? '') - Date.parse(kept.restoredAt ?? '')).toBe(7 * 86_400_000)
  // Beside the other runs of retention, with what it did.
  const bytes = (await rowsOf()).reduce((sum, row) => sum + BSON.calculateObjectSize(row), 0)
  expect(Math.abs(kept.counts.bytes - bytes)).toBeLessThan(bytes / 50)
  expect(await runOf(kept.workflowId)).toMatchObject({
    ...{ kind: 'restore', state: 'done', step: 'done', generation: null, from: null, to: null },
    ...{ counts: { leaves: 701, events: 701 }, bytes: { hot: kept.counts.bytes }, reason: null },
  })
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
  await expect.poll(async () => (await look(id)).state).toBe('restored')
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
    const { workflowId } = await ended(id)
    expect(await look(id)).toMatchObject({ state: 'failed', failure: 'archive_damaged' })
    await expect.poll(() => runOf(workflowId)).toMatchObject({ state: 'failed', reason: 'archive_altered' })
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
    const [command = '', ...rest] = given
    const code = await runCli(['archive', command, ...address, ...rest], context, output)
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
  const runs = await run('runs', organizationId, '--state', 'done', '--json')
  const { data: listedRuns } = JSON.parse(runs.out) as { data: { id: string; workflowId: string }[] }
  const itsRun = listedRuns.find(({ workflowId }) => workflowId === restore.workflowId)?.id ?? ''
  expect((await run('runs', organizationId)).out).toContain(itsRun)
  expect((await run('runs', organizationId, '--state', 'gone')).code).toBe(2)
  // It waits for nobody; and an owner is no operator.
  expect((await run('retry', organizationId, itsRun)).code).toBe(5)
  const refused = await run('retry', organizationId, itsRun, '--key', await world.key({ role: 'operator' }))
  expect([refused.code, refused.notes]).toEqual([5, expect.stringContaining('does not wait for an operator')])
  expect((await run('list', 'org_nobody')).code).toBe(5)
  await temporal.client.workflow.getHandle(restore.workflowId).cancel()
  await ended(restore.id)
})
