/**
 * A year of twenty organizations at half a year of hot days, moved by real sweeps: afterwards hot store and archive
 * together hold exactly what was accepted, and both verify.
 */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createLogger } from '../../src/logging.js'
import { archiveCutoff } from '../../src/retention/policy.js'
import { createPlanner } from '../../src/retention/planning.js'
import { createLeafTimes } from '../../src/retention/leaf-times.js'
import { defaultRetention, retentionTaskQueue, sweepWorkflowType } from '../../src/retention/contract.js'
import { connectTemporal, temporalOptions, type TemporalConnection } from '../../src/temporal/client.js'
import { verifyArchive } from '../../src/verification/archive-run.js'
import { verifyServer } from '../../src/verification/run.js'
import { buildWorkflowBundle } from '../../workers/bundle.js'
import { startWorkers, type RunningWorkers } from '../../workers/main.js'
import { handClock, sealingOf } from '../support/anchoring.js'
import { archiveKinds, nameAbsentS3, openArchiveWorld, type ArchiveWorld } from '../support/archive-worlds.js'
import { segmentsOf } from '../support/archiving.js'
import { checkRetained } from '../support/retention-oracle.js'
import { personEvent } from '../support/sealing.js'
import type { World } from '../support/world.js'

const dayMs = 86_400_000
const months = 12
const eventsAMonth = 33
const organizations = Array.from({ length: 20 }, (_, at) => `org_year_${String(at).padStart(2, '0')}`)

nameAbsentS3('a year of events')

describe.each(archiveKinds)('with the archive in %s', (kind) => {
  let opened: ArchiveWorld
  let world: World
  let temporal: TemporalConnection
  let workers: RunningWorkers
  const clock = handClock(new Date())

  beforeAll(async () => {
    await buildWorkflowBundle()
    const namespace = `year-${randomBytes(6).toString('hex')}`
    opened = await openArchiveWorld(kind, {
      temporal: true,
      environment: { ANNALS_TEMPORAL_NAMESPACE: namespace },
    })
    world = opened.world
    temporal = await connectTemporal(temporalOptions(world.config))
    const { core } = world.api
    const logger = createLogger('error', { write: () => undefined })
    const look = () => {
      const now = clock.now()
      return Promise.resolve({ now, verdict: 'steady', clocksSay: now, believedAt: null } as const)
    }
    workers = await startWorkers({
      config: world.config,
      logger,
      deps: {
        scanRecorder: core.scans.recorder,
        sealing: { ...core.sealing, logger },
        retention: {
          restoring: { restorer: core.restores.restorer, logger },
          expiring: { ...core.expiring, runs: core.retention.runs, logger },
          archiving: {
            archiver: core.archiving.archiver,
            planner: createPlanner({ db: core.db, clock: { look } }),
            runs: core.retention.runs,
            logger,
          },
        },
      },
      queues: ['retention'],
    })
  })
  afterAll(async () => {
    await workers.stop()
    await temporal.close()
    await opened.close()
  })

  /** A month's events of every organization, sealed at the clock's time. */
  async function month(accepted: Map<string, string[]>): Promise<void> {
    const { core } = world.api
    const { sealer } = sealingOf(world, { now: clock.now })
    await Promise.all(
      organizations.map(async (organizationId) => {
        const organization = await core.eventOrganizations.ensure(organizationId, 'system')
        const submit = (number: number) =>
          core.intake.submit({ event: personEvent(organizationId, number) }, organization)
        const stored = await Promise.all(Array.from({ length: eventsAMonth }, (_, at) => submit(at)))
        accepted.get(organizationId)?.push(...stored.map(({ id }) => id))
        while ((await core.events.countDocuments({ organizationId, pending: true })) > 0)
          await sealer.drainOrganization(organizationId)
      }),
    )
  }

  test('a year of events is where it belongs, once, and verifies from both sides', async () => {
    const { core } = world.api
    const accepted = new Map<string, string[]>(organizations.map((id) => [id, []]))
    for (let at = 0; at < months; at += 1) {
      await month(accepted)
      clock.pass((365 / months) * dayMs)
    }
    await temporal.client.workflow.execute(sweepWorkflowType, {
      workflowId: `retention/year/${kind.replaceAll(' ', '-')}`,
      taskQueue: retentionTaskQueue,
      // Sweeps look at what was there when they began: this one begins by the clock of the test.
      args: [{ asOfMs: clock.now().getTime() }],
    })
    let archivedInAll = 0
    for (const organizationId of organizations) {
      const ids = accepted.get(organizationId) ?? []
      const head = await core.sealing.store.head(organizationId)
      if (head === undefined) throw new Error('nothing was sealed')
      const cutoff = archiveCutoff(clock.now(), defaultRetention)
      const due = await createLeafTimes(core.db).sealedBy(head, cutoff)
      expect(due).toBeGreaterThan(5 * eventsAMonth)
      const { hot, archived } = await checkRetained(world, organizationId, ids)
      expect({ hot, archived }).toEqual({ hot: head.size - due, archived: due })
      archivedInAll += archived
      const server = await verifyServer({
        url: world.url,
        organization: organizationId,
        key: world.ownerKey,
        logKeys: [],
        values: true,
      })
      expect(server.report.findings).toEqual([])
      expect(server.report.size).toBe(head.size)
      // A proof of an archived event, and of a hot one.
      for (const id of [ids[0], ids.at(-1)]) {
        const proof = await world.request(
          'GET',
          `/v1/organizations/${organizationId}/events/${String(id)}/proof`,
        )
        expect(proof.status).toBe(200)
      }
    }
    const { report } = await verifyArchive(
      { segments: core.archive, ledger: undefined },
      { archiveKeys: [], logKeys: [], values: true },
    )
    expect(report).toMatchObject({ findingCount: 0, leaves: archivedInAll, events: archivedInAll })
    expect(report.segments).toBe(await segmentsOf(core).countDocuments({}))
  }, 240_000)
})
