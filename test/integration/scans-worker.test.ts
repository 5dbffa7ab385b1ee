import { afterAll, beforeAll, expect, test } from 'vitest'
import type { RunningWorkers } from '../../workers/main.js'
import { deploymentVersion, makeVersionCurrent } from '../../workers/versioning.js'
import { body, openScanWorld, request, type ScanWorld } from './scans-world.js'

let world: ScanWorld
let workers: RunningWorkers

beforeAll(async () => {
  world = await openScanWorld()
  workers = await world.work()
})
afterAll(() => world.close())

const get = (path: string) => fetch(`http://127.0.0.1:${workers.httpPort}${path}`)

test('a worker says that it lives and works', async () => {
  expect((await get('/healthz')).status).toBe(200)
  const ready = await get('/readyz')
  expect(ready.status).toBe(200)
  expect(await ready.json()).toEqual({ ready: true, queues: { 'annals-scans': 'RUNNING' } })
  expect((await get('/else')).status).toBe(404)
})

test("its figures are its own and the Temporal core's", async () => {
  const { scan } = await world.scans.start(request, body({ metadata: { note: 'jane@acme.example' } }))
  await world.scans.end(request, scan.id, { status: 'finished', outcome: 'success' })
  await world.workflow(scan.id).result()
  const text = await (await get('/metrics')).text()
  expect(text).toContain('annals_worker_running{task_queue="annals-scans"} 1')
  expect(text).toMatch(/^temporal_workflow_completed_total\{.*\} 1$/m)
  expect(text).toContain('process_cpu_user_seconds_total')
  expect(text).not.toContain('jane@')
})

test('a second build takes over when it is made current, and not by merely being there', async () => {
  const { connection, namespace } = world.temporal
  const other = { connection, namespace, version: deploymentVersion('another-build') }
  expect(await makeVersionCurrent({ ...other, when: 'if_none' })).toBe(false)
  // No worker of it polls: Temporal refuses, and tasks still reach the build that does.
  await expect(makeVersionCurrent({ ...other, when: 'always', timeoutMs: 300 })).rejects.toThrow()
  const { scan } = await world.scans.start(request, body())
  await world.scans.end(request, scan.id, { status: 'finished', outcome: 'success' })
  expect(await world.workflow(scan.id).result()).toMatchObject({ status: 'finished' })
})

test('setting up again changes nothing', async () => {
  const { setUpTemporal } = await import('../../src/temporal/setup.js')
  const { connection, namespace } = world.temporal
  const results = await Promise.all([1, 2].map(() => setUpTemporal({ connection, namespace })))
  expect(results).toEqual([
    { namespaceCreated: false, attributesAdded: [] },
    { namespaceCreated: false, attributesAdded: [] },
  ])
  const described = await connection.workflowService.describeNamespace({ namespace })
  expect(Number(described.config?.workflowExecutionRetentionTtl?.seconds)).toBe(7 * 86_400)
})

test('a stopped worker has drained and is gone', async () => {
  await workers.stop()
  await expect(workers.done).resolves.toBeUndefined()
  await expect(get('/healthz')).rejects.toThrow()
})
