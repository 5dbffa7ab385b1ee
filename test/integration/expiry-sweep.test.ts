/** Expiry on a real Temporal and real workers: by the sweep, once, and a run that stopped goes on. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ArchiveStoreError, type ArchiveStore } from '../../src/archive/stores/contract.js'
import { createLogger } from '../../src/logging.js'
import { collectionNames } from '../../src/mongo/collections.js'
import { retentionTaskQueue, sweepWorkflowType } from '../../src/retention/contract.js'
import { expireWorkflowId } from '../../src/retention/expiry-contract.js'
import { connectTemporal, temporalOptions, type TemporalConnection } from '../../src/temporal/client.js'
import { kindAttribute, organizationAttribute, phaseAttribute } from '../../src/temporal/search-attributes.js'
import { buildWorkflowBundle } from '../../workers/bundle.js'
import { startWorkers, type RunningWorkers } from '../../workers/main.js'
import { segmentsOf } from '../support/archiving.js'
import { archivedLongAgo, expirerOf, longAgo, onDay } from '../support/expiring.js'
import { checkRetained } from '../support/retention-oracle.js'
import { accept, drainUntilSealed } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'

let world: World
let temporal: TemporalConnection
let workers: RunningWorkers
let locked = false

beforeAll(async () => {
  await buildWorkflowBundle()
  const namespace = `expiry-${randomBytes(6).toString('hex')}`
  world = await openWorld({ temporal: true, environment: { ANNALS_TEMPORAL_NAMESPACE: namespace } })
  temporal = await connectTemporal(temporalOptions(world.config))
  const { core } = world.api
  const logger = createLogger('error', { write: () => undefined })
  const store: ArchiveStore = new Proxy(core.archive, {
    get: (target, name) => {
      if (name === 'delete' && locked) return () => Promise.reject(new ArchiveStoreError('locked', 'locked'))
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
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
        archiving: { ...core.archiving, runs: core.retention.runs, logger },
        expiring: {
          ...core.expiring,
          expirer: expirerOf(world, { store }),
          runs: core.retention.runs,
          logger,
        },
      },
    },
    queues: ['retention', 'seal'],
  })
})
afterAll(async () => {
  await workers.stop()
  await temporal.close()
  await world.close()
})

const expiryRuns = async (organizationId: string) =>
  (
    (await world.request('GET', `/v1/organizations/${organizationId}/retention/runs?kind=content_expiry`))
      .body as {
      data: { state: string; reason: string | null; step: string; counts: object; bytes: object }[]
    }
  ).data

const segmentCount = (organizationId: string) => segmentsOf(world.api.core).countDocuments({ organizationId })

/** Workers of this process see a day that a test pretends, and would take its end for a leap of the clocks. */
const forgetClock = () =>
  world.api.core.db
    .collection<{ _id: string }>(collectionNames.deployment)
    .deleteOne({ _id: 'retentionClock' })

test('one sweep archives what is years old and lets it expire, of each organization, also where two run at once', async () => {
  const organizations = ['org_old_a', 'org_old_b']
  const accepted = new Map<string, string[]>()
  for (const id of organizations)
    await onDay(longAgo, async () => {
      accepted.set(
        id,
        (await accept(world.api.core, id, 300)).map((event) => event.id),
      )
      await drainUntilSealed(world.api.core, id)
    })
  await forgetClock()
  const sweep = (workflowId: string) =>
    temporal.client.workflow.execute(sweepWorkflowType, {
      workflowId,
      taskQueue: retentionTaskQueue,
      args: [{}],
    })
  await Promise.all([sweep('retention/sweep/one'), sweep('retention/sweep/two')])
  for (const id of organizations) {
    await expect
      .poll(async () => (await expiryRuns(id))[0])
      .toMatchObject({ state: 'done', step: 'done', counts: { deleted: 300, held: 0 } })
    await drainUntilSealed(world.api.core, id)
    expect(await checkRetained(world, id, accepted.get(id) ?? [])).toMatchObject({ expired: 300 })
    const said = await world.request('GET', `/v1/organizations/${id}/events?action=annals.retention.expired`)
    expect((said.body as { data: unknown[] }).data).toHaveLength(1)
    expect(await segmentCount(id)).toBe(1)
  }
  const [segment] = await segmentsOf(world.api.core).find({ organizationId: 'org_old_a' }).toArray()
  const range = { organizationId: 'org_old_a', generation: 1, from: 0, to: segment?.to ?? 0 }
  const described = await temporal.client.workflow.getHandle(expireWorkflowId(range)).describe()
  expect(described.typedSearchAttributes.get(organizationAttribute)).toBe('org_old_a')
  expect(described.typedSearchAttributes.get(kindAttribute)).toBe('retention')
  expect(described.typedSearchAttributes.get(phaseAttribute)).toBe('done')
})

test('a deletion that the archive refuses stops by its name, and goes on when it is asked for again', async () => {
  const organizationId = 'org_refused'
  const accepted = await archivedLongAgo(world, organizationId, 3)
  await forgetClock()
  locked = true
  const start = async () => {
    const answer = await world.request('POST', `/v1/organizations/${organizationId}/retention/run`)
    expect(answer.status, answer.text).toBe(202)
    return (answer.body as { workflowId: string }).workflowId
  }
  const workflowId = await start()
  await expect
    .poll(async () => (await expiryRuns(organizationId))[0], { timeout: 150_000 })
    .toMatchObject({ state: 'needs_operator', reason: 'archive_refused', step: 'deleting' })
  locked = false
  await temporal.client.workflow.getHandle(workflowId).result()
  await start()
  await expect.poll(async () => (await expiryRuns(organizationId))[0]?.state).toBe('done')
  await drainUntilSealed(world.api.core, organizationId)
  expect(await checkRetained(world, organizationId, accepted)).toMatchObject({ expired: 3 })
}, 240_000)

test('records that are due follow their content, by the sweep, as runs of their own', async () => {
  const organizationId = 'org_records'
  const { core } = world.api
  const accepted = await onDay(longAgo, async () => {
    await core.eventOrganizations.ensure(organizationId, 'system')
    const days = { hotDays: 183, archiveDays: 2_555, recordDays: 2_555 }
    await core.retention.policies.put(organizationId, days, {
      principal: 'prn_aaaaaaaaaaaaaaaaaaaaaaaaaa',
      requestId: 'req_1',
    })
    const events = await accept(core, organizationId, 5)
    await drainUntilSealed(core, organizationId)
    return events.map(({ id }) => id)
  })
  await forgetClock()
  // As if it had been set long ago: the grace of the default is over.
  await core.db
    .collection<{ organizationId: string }>(collectionNames.retentionPolicies)
    .updateMany({ organizationId }, { $set: { since: longAgo } })
  const answer = await world.request('POST', `/v1/organizations/${organizationId}/retention/run`)
  await temporal.client.workflow.getHandle((answer.body as { workflowId: string }).workflowId).result()
  const runs = async () =>
    (
      (await world.request('GET', `/v1/organizations/${organizationId}/retention/runs?kind=record_expiry`))
        .body as { data: object[] }
    ).data
  await expect.poll(runs).toMatchObject([{ state: 'done', counts: { deleted: 5 } }])
  await drainUntilSealed(core, organizationId)
  expect(await checkRetained(world, organizationId, accepted)).toMatchObject({
    expired: 5,
    recordsExpired: 5,
  })
})
