import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { childEnvironment } from '../../src/config.js'
import { newId } from '../../src/ids.js'
import {
  finishSignal,
  progressSignal,
  scanTaskQueue,
  scanWorkflowId,
  scanWorkflowType,
  type ScanReference,
} from '../../src/scans/contract.js'
import { scanViewSchema } from '../../src/scans/schema.js'
import { connectTemporal, temporalOptions } from '../../src/temporal/client.js'
import { createScanService } from '../../src/scans/service.js'
import { createLogger } from '../../src/logging.js'
import { worldEnvironment } from '../support/world.js'
import { body, eventually, openScanWorld, organizationId, request, type ScanWorld } from './scans-world.js'

let world: ScanWorld
const path = `/v1/organizations/${organizationId}/scans`

beforeAll(async () => {
  world = await openScanWorld()
})
afterAll(() => world.close())

/** What an API leaves behind that dies after the workflow's start and before anything else. */
async function startAndDie(changes: Partial<ScanReference> = {}): Promise<ScanReference> {
  const reference: ScanReference = {
    organizationId,
    scanId: newId('scan'),
    engine: 'test-engine',
    startedAt: new Date().toISOString(),
    expectedWithinMs: 3_600_000,
    progressTimeoutMs: null,
    lateWindowMs: 1_000,
    ...changes,
  }
  await world.temporal.client.workflow.start(scanWorkflowType, {
    workflowId: scanWorkflowId(organizationId, reference.scanId),
    taskQueue: scanTaskQueue,
    args: [{ scan: reference }],
    memo: { scan: reference },
  })
  return reference
}

/** `annals work` as an operator runs it, in a process of its own. */
async function spawnWorker(): Promise<ChildProcess> {
  const { dataDirectory, mongodb, temporal } = world.config
  const child = spawn(process.execPath, [resolve('dist/src/cli/main.js'), 'work', '--queues', 'scans'], {
    env: childEnvironment({
      ...worldEnvironment(dataDirectory, mongodb.database),
      ANNALS_TEMPORAL_NAMESPACE: temporal.namespace,
      ANNALS_LOG_LEVEL: 'warn',
    }),
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const messages: unknown[] = await once(child, 'message')
  expect(messages[0]).toMatchObject({ type: 'ready' })
  return child
}

async function kill(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}

test('a worker that is killed in the middle of a scan leaves one start and one finish', async () => {
  let child = await spawnWorker()
  const scans: string[] = []
  for (let index = 0; index < 6; index += 1) {
    const answer = await world.request('POST', path, { body: { engine: 'test-engine' } })
    scans.push(scanViewSchema.parse(answer.body).id)
  }
  const orphan = await startAndDie()
  await Promise.all(scans.map((id) => world.workflow(id).signal(progressSignal, { percent: 1 })))
  // In the grace, in the middle of activities, between an end and its event: wherever each of them is.
  await Promise.all([
    ...scans
      .slice(0, 3)
      .map((id) => world.scans.end(request, id, { status: 'finished', outcome: 'success' })),
    kill(child),
  ])
  for (const id of scans.slice(3)) await world.workflow(id).signal(finishSignal, { outcome: 'success' })
  await world.workflow(orphan.scanId).signal(finishSignal, { outcome: 'failure' })

  child = await spawnWorker()
  await new Promise((done) => setTimeout(done, 300))
  await kill(child)
  child = await spawnWorker()
  for (const id of [...scans, orphan.scanId]) {
    expect(await world.workflow(id).result()).toMatchObject({ status: 'finished', late: false })
    expect(await world.actions(id)).toEqual(['started', 'finished'])
  }

  const gone: Promise<unknown[]> = once(child, 'exit')
  child.kill('SIGTERM')
  expect(await gone).toEqual([0, null])
})

test('a worker ends by itself when the process that started it dies', async () => {
  const child = await spawnWorker()
  const gone: Promise<unknown[]> = once(child, 'exit')
  child.disconnect()
  expect(await gone).toEqual([0, null])
})

test('a scan whose API died before it stored anything is stored by its workflow', async () => {
  await world.work()
  const reference = await startAndDie()
  await eventually(
    () => world.actions(reference.scanId),
    (actions) => actions.includes('started'),
  )
  const [started] = await world.events(reference.scanId)
  expect(started).toMatchObject({
    occurredAt: reference.startedAt,
    actor: { type: 'system', id: 'annals' },
    metadata: { engine: 'test-engine', metadata: {} },
  })
  // From then on it is a scan like any other.
  const { scanId } = reference
  await world.scans.end(request, scanId, { status: 'finished', outcome: 'success', findings: [1] })
  expect(await world.workflow(scanId).result()).toEqual({ status: 'finished', late: false })
  expect(await world.actions(scanId)).toEqual(['started', 'finished'])
})

test('an end does not wait for the grace, and brings the start with it', async () => {
  const reference = await startAndDie()
  await world.workflow(reference.scanId).signal(finishSignal, { outcome: 'success' })
  expect(await world.workflow(reference.scanId).result()).toEqual({ status: 'finished', late: false })
  expect(await world.actions(reference.scanId)).toEqual(['started', 'finished'])
})

test('a retry under the idempotency key takes up what the dead API began, with its moment of start', async () => {
  const keyed = { ...request, idempotencyKey: 'retry-after-death' }
  let dies = true
  const scanId = newId('scan')
  const service = createScanService({
    store: world.store,
    recorder: {
      ...world.recorder,
      ensureStarted: (scan, details) =>
        dies
          ? Promise.reject(new Error('the process died here'))
          : world.recorder.ensureStarted(scan, details),
    },
    temporal: world.temporal,
    logger: createLogger('silent'),
    deriveId: () => Promise.resolve(scanId),
    fingerprint: (_organization, value) => Promise.resolve(Buffer.from(value)),
  })
  const sent = body({ metadata: { asset: 'db-7' } })
  await expect(service.start(keyed, sent)).rejects.toThrow('died')
  const described = await world.workflow(scanId).describe()
  dies = false
  const { scan, replayed } = await service.start(keyed, sent)
  expect(replayed).toBe(false)
  expect(described.memo).toMatchObject({ scan: { startedAt: scan.startedAt } })
  expect(scan.metadata).toEqual({ asset: 'db-7' })
  await expect(service.start(keyed, sent)).resolves.toEqual({ scan, replayed: true })
  await expect(service.start(keyed, body({ engine: 'other' }))).rejects.toMatchObject({
    code: 'idempotency_conflict',
  })
  expect(await world.actions(scanId)).toEqual(['started'])
})

test('an end whose signal was never sent is found by the workflow, in time for its deadline', async () => {
  const { scan } = await world.scans.start(request, body({ expectedWithinMs: 4_000 }))
  // The document alone: as if the API had died before the signal.
  await world.store.claimEnd(organizationId, scan.id, {
    status: 'finished',
    outcome: 'success',
    at: new Date(),
    counts: null,
    link: null,
    findingsId: null,
    principal: null,
    bodyFingerprint: Buffer.from('x'),
    keyFingerprint: null,
  })
  expect(await world.workflow(scan.id).result()).toEqual({ status: 'finished', late: false })
  expect(await world.actions(scan.id)).toEqual(['started', 'finished'])
})

test('while Temporal is away a start is refused and stores nothing, and an end is still recorded', async () => {
  const { scan } = await world.scans.start(request, body())
  const away = await connectTemporal({ ...temporalOptions(world.config), address: '127.0.0.1:1' })
  const service = createScanService({
    store: world.store,
    recorder: world.recorder,
    temporal: { client: away.client, withTimeout: (_ms, call) => away.withTimeout(500, call) },
    logger: createLogger('silent'),
    deriveId: () => Promise.resolve(newId('scan')),
    fingerprint: (_organization, value) => Promise.resolve(Buffer.from(value)),
  })
  const count = async () => [
    await world.api.core.db.collection('scans').countDocuments(),
    await world.api.core.events.countDocuments(),
  ]
  const before = await count()
  await expect(service.start(request, body())).rejects.toMatchObject({
    code: 'temporal_unavailable',
    retryAfterSeconds: 5,
  })
  await expect(service.start({ ...request, idempotencyKey: 'k' }, body())).rejects.toMatchObject({
    code: 'temporal_unavailable',
  })
  expect(await count()).toEqual(before)

  await service.progress(request, scan.id, { percent: 9 })
  await service.end(request, scan.id, { status: 'finished', outcome: 'success' })
  expect(await world.actions(scan.id)).toEqual(['started', 'finished'])
  await away.close()
})

test('what another program starts under the workflow type is refused unless it is a scan of its own id', async () => {
  for (const args of [[], ['rubbish'], [{ scan: { organizationId } }]]) {
    const workflow = await world.temporal.client.workflow.start(scanWorkflowType, {
      workflowId: `scan/${organizationId}/${newId('scan')}`,
      taskQueue: scanTaskQueue,
      args,
    })
    await expect(workflow.result()).rejects.toThrow()
  }
})
