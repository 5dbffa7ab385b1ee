/** Sweeps on a real Temporal and real workers: everything that is due moves, fairly, once, and a run that stops goes on. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ArchiveStoreError, type ArchiveStore } from '../../src/archive/stores/contract.js'
import { createLogger } from '../../src/logging.js'
import {
  archiveWorkflowId,
  retentionScheduleId,
  retentionTaskQueue,
  stateQueryName,
  sweepWorkflowType,
  type RunStanding,
} from '../../src/retention/contract.js'
import { createPlanner } from '../../src/retention/planning.js'
import { ensureSweepSchedule } from '../../src/retention/start-sweep.js'
import { connectTemporal, temporalOptions, type TemporalConnection } from '../../src/temporal/client.js'
import { kindAttribute, organizationAttribute, phaseAttribute } from '../../src/temporal/search-attributes.js'
import { buildWorkflowBundle } from '../../workers/bundle.js'
import { startWorkers, type RunningWorkers } from '../../workers/main.js'
import { segmentsOf } from '../support/archiving.js'
import { archiverOf } from '../support/retaining.js'
import { checkRetained } from '../support/retention-oracle.js'
import { accept, drainUntilSealed } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'

let world: World
let temporal: TemporalConnection
let workers: RunningWorkers
let broken: 'full' | 'mismatch' | undefined
/** Calls that write into the row of a run, and still fail: each before it has written, and then after. */
const unwritable = new Map<string, number>()

beforeAll(async () => {
  await buildWorkflowBundle()
  const namespace = `retention-${randomBytes(6).toString('hex')}`
  world = await openWorld({ temporal: true, environment: { ANNALS_TEMPORAL_NAMESPACE: namespace } })
  temporal = await connectTemporal(temporalOptions(world.config))
  const { core } = world.api
  const logger = createLogger('error', { write: () => undefined })
  const store: ArchiveStore = new Proxy(core.archive, {
    get: (target, name) => {
      const code = broken
      if (name === 'put' && code !== undefined)
        return () => Promise.reject(new ArchiveStoreError(code, 'broken'))
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
  const planner = createPlanner({
    db: core.db,
    clock: core.retention.clock,
    limits: { maxLeaves: 256, crumbs: 1, patienceMs: 0 },
  })
  const runs = new Proxy(core.retention.runs, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      return async (...args: unknown[]): Promise<unknown> => {
        const left = unwritable.get(String(name)) ?? 0
        unwritable.set(String(name), left - 1)
        if (left > 1) throw new Error('the database is away')
        const result: unknown = await Reflect.apply(value, target, args)
        if (left === 1) throw new Error('the database is away')
        return result
      }
    },
  })
  workers = await startWorkers({
    config: world.config,
    logger,
    deps: {
      scanRecorder: core.scans.recorder,
      sealing: { ...core.sealing, logger },
      retention: {
        restoring: { restorer: core.restores.restorer, logger },
        archiving: { archiver: archiverOf(world, { store }), planner, runs, logger },
        expiring: { ...core.expiring, runs, logger },
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

async function dueOrganization(organizationId: string, count: number): Promise<string[]> {
  const { core } = world.api
  const ids = (await accept(core, organizationId, count)).map(({ id }) => id)
  await core.retention.policies.put(
    organizationId,
    { hotDays: 0, archiveDays: null, recordDays: null },
    { principal: 'prn_aaaaaaaaaaaaaaaaaaaaaaaaaa', requestId: 'req_1' },
  )
  await drainUntilSealed(core, organizationId)
  return ids
}

async function sweep(workflowId: string): Promise<void> {
  await temporal.client.workflow.execute(sweepWorkflowType, {
    workflowId,
    taskQueue: retentionTaskQueue,
    args: [{}],
  })
}

interface RetentionRun {
  readonly id: string
  readonly workflowId: string
  readonly state: string
  readonly reason: string | null
  readonly step: string
  readonly from: number
  readonly to: number
  readonly counts: { readonly deleted?: number }
  readonly bytes: { readonly hot: number; readonly archived: number; readonly verified: number }
}

const runsOf = async (organizationId: string) =>
  (await world.request('GET', `/v1/organizations/${organizationId}/retention/runs`)).body as {
    data: RetentionRun[]
  }

test('two sweeps at once move all that is due, once, one segment of each organization after the other', async () => {
  const organizations = ['org_sweep_a', 'org_sweep_b', 'org_sweep_c']
  const accepted = new Map<string, string[]>()
  for (const [index, id] of organizations.entries())
    accepted.set(id, await dueOrganization(id, index === 0 ? 600 : 5))
  const sizes = new Map<string, number>()
  for (const id of organizations) sizes.set(id, (await world.api.core.sealing.store.head(id))?.size ?? 0)
  await Promise.all([sweep('retention/sweep/one'), sweep('retention/sweep/two')])
  await sweep('retention/sweep/three')
  for (const id of organizations) {
    await drainUntilSealed(world.api.core, id)
    const { archived } = await checkRetained(world, id, accepted.get(id) ?? [])
    expect(archived).toBeGreaterThanOrEqual(sizes.get(id) ?? Infinity)
    const events = await world.request(
      'GET',
      `/v1/organizations/${id}/events?source=all&action=annals.retention.archived`,
    )
    const logged = { organizationId: id, unlogged: { $exists: false } }
    const segments = await segmentsOf(world.api.core).countDocuments(logged)
    expect((events.body as { data: unknown[] }).data).toHaveLength(segments)
  }
})

test('a run that cannot go on says why, keeps everything hot, and goes on when it is asked for again', async () => {
  const organizationId = 'org_stopped'
  const accepted = await dueOrganization(organizationId, 4)
  broken = 'mismatch'
  const start = () => world.request('POST', `/v1/organizations/${organizationId}/retention/run`)
  const answer = await start()
  expect(answer.status, answer.text).toBe(202)
  await expect
    .poll(async () => (await runsOf(organizationId)).data[0])
    .toMatchObject({ state: 'needs_operator', reason: 'archive_altered', step: 'exporting' })
  expect((await checkRetained(world, organizationId, accepted)).archived).toBe(0)
  broken = undefined
  const { workflowId } = answer.body as { workflowId: string }
  await temporal.client.workflow.getHandle(workflowId).result()
  await start()
  await expect.poll(async () => (await runsOf(organizationId)).data[0]?.state).toBe('done')
  expect((await runsOf(organizationId)).data[1]?.state).toBe('superseded')
  await drainUntilSealed(world.api.core, organizationId)
  const [segment] = await segmentsOf(world.api.core).find({ organizationId }).toArray()
  expect((await checkRetained(world, organizationId, accepted)).archived).toBe(segment?.to)
  const range = { organizationId, generation: 1, from: 0, to: segment?.to ?? 0 }
  const described = await temporal.client.workflow.getHandle(archiveWorkflowId(range)).describe()
  expect(described.typedSearchAttributes.get(organizationAttribute)).toBe(organizationId)
  expect(described.typedSearchAttributes.get(kindAttribute)).toBe('retention')
  expect(described.typedSearchAttributes.get(phaseAttribute)).toBe('done')
})

test('a row that cannot be written holds a run up, and nothing is counted twice', async () => {
  const organizationId = 'org_unwritable'
  const accepted = await dueOrganization(organizationId, 5)
  for (const call of ['begin', 'progress', 'finish']) unwritable.set(call, 2)
  await world.request('POST', `/v1/organizations/${organizationId}/retention/run`)
  await expect.poll(async () => (await runsOf(organizationId)).data[0]?.state).toBe('done')
  const { data } = await runsOf(organizationId)
  expect(data).toHaveLength(1)
  expect([...unwritable.values()].every((left) => left <= 0)).toBe(true)
  const { to = 0 } = data[0] ?? {}
  expect(data[0]).toMatchObject({ step: 'done', counts: { leaves: to, deleted: to } })
  await drainUntilSealed(world.api.core, organizationId)
  expect((await checkRetained(world, organizationId, accepted)).archived).toBe(to)
})

test('an operator has a run that stands still take its steps again at once, and sees how far each came', async () => {
  const organizationId = 'org_retried'
  const accepted = await dueOrganization(organizationId, 5)
  const runs = `/v1/organizations/${organizationId}/retention/runs`
  const operator = await world.key({ role: 'operator' })
  const retry = (id: string, key = operator) => world.request('POST', `${runs}/${id}/retry`, { key })
  broken = 'mismatch'
  await world.request('POST', `/v1/organizations/${organizationId}/retention/run`)
  const stopped = async () => (await runsOf(organizationId)).data[0]
  await expect.poll(async () => (await stopped())?.state).toBe('needs_operator')
  const { id = '', workflowId: archiving = '' } = (await stopped()) ?? {}
  // What is retried while it still runs goes on in the row that it has; here each is a row of its own.
  const ended = () => temporal.client.workflow.getHandle(archiving).result()
  await ended()

  expect((await retry(id, world.ownerKey)).status).toBe(403)
  expect((await retry('run_01h455vb4pex5vsknk084sn02q')).status).toBe(404)
  const elsewhere = `/v1/organizations/org_sweep_a/retention/runs/${id}/retry`
  expect((await world.request('POST', elsewhere, { key: operator })).status).toBe(404)

  // Nothing was put right: it stops again, as a run of its own.
  const again = await retry(id)
  expect(again.status, again.text).toBe(202)
  expect(again.body).toMatchObject({ state: 'running', step: 'exporting' })
  await expect.poll(async () => (await stopped())?.id).not.toBe(id)
  await expect.poll(async () => (await stopped())?.state).toBe('needs_operator')
  expect((await retry(id)).body).toMatchObject({ code: 'wrong_state' })
  await ended()

  broken = undefined
  const second = (await stopped())?.id ?? ''
  const { workflowId } = (await retry(second)).body as { workflowId: string }
  await expect.poll(async () => (await stopped())?.state).toBe('done')
  const run = (await world.request('GET', `${runs}/${(await stopped())?.id ?? ''}`)).body as RetentionRun
  const leaves = run.to - run.from
  expect(run).toMatchObject({ kind: 'archive', progress: null, counts: { leaves, events: leaves } })
  expect(run.bytes.verified).toBe(run.bytes.archived)
  expect(run.bytes.hot).toBeGreaterThan(run.bytes.archived)
  expect((await retry(run.id)).body).toMatchObject({ code: 'wrong_state' })
  expect((await runsOf(organizationId)).data.map(({ state }) => state)).toEqual([
    'done',
    'superseded',
    'superseded',
  ])

  const standing = await temporal.client.workflow.getHandle(workflowId).query<RunStanding>(stateQueryName)
  expect(standing).toMatchObject({ state: 'done', step: 'done', runId: run.id })
  expect(standing.progress).toMatchObject({
    exporting: { done: leaves, total: leaves, bytes: run.bytes.hot },
    verifying: { done: leaves, total: leaves, bytes: run.bytes.archived },
    deleting: { done: leaves, total: leaves },
  })
  await drainUntilSealed(world.api.core, organizationId)
  expect((await checkRetained(world, organizationId, accepted)).archived).toBe(run.to)
})

test('the schedule of sweeps is made once, skips where one runs, and says how late it may be', async () => {
  await Promise.all([ensureSweepSchedule(temporal), ensureSweepSchedule(temporal)])
  const { policies } = await temporal.client.schedule.getHandle(retentionScheduleId).describe()
  expect(policies).toMatchObject({ overlap: 'SKIP', catchupWindow: 86_400_000 })
})
