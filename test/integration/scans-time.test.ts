import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  finishSignal,
  progressSignal,
  scanTaskQueue,
  scanWorkflowId,
  scanWorkflowType,
  type ScanReference,
} from '../../src/scans/contract.js'
import { kindAttribute } from '../../src/temporal/search-attributes.js'
import { newId } from '../../src/ids.js'
import { body, eventually, openScanWorld, organizationId, request, type ScanWorld } from './scans-world.js'

let world: ScanWorld

beforeAll(async () => {
  world = await openScanWorld()
  await world.work()
})
afterAll(() => world.close())

const statusOf = async (id: string) => (await world.scans.get(organizationId, id)).status

test('without an end in time a scan times out once, and a late signal is recorded as late', async () => {
  const { scan } = await world.scans.start(request, body({ expectedWithinMs: 3_000 }))
  await eventually(
    () => world.actions(scan.id),
    (actions) => actions.includes('timed_out'),
  )
  expect(await statusOf(scan.id)).toBe('timed_out')
  const [, timedOut] = await world.events(scan.id)
  expect(timedOut).toMatchObject({ outcome: 'failure', metadata: { expectedWithin: 'PT3S' } })

  await world.workflow(scan.id).signal(finishSignal, { outcome: 'success' })
  expect(await world.workflow(scan.id).result()).toEqual({ status: 'finished', late: true })
  expect(await world.actions(scan.id)).toEqual(['started', 'timed_out', 'finished'])
  const finished = (await world.events(scan.id)).at(-1)
  expect(finished).toMatchObject({ outcome: 'success', metadata: { status: 'finished', late: true } })
})

test('after the late window the workflow is closed, and HTTP still records a late end', async () => {
  const scans = world.serviceWith({ lateWindowMs: 500 })
  const { scan } = await scans.start(request, body({ expectedWithinMs: 1_000 }))
  expect(await world.workflow(scan.id).result()).toEqual({ status: 'timed_out', late: false })
  await scans.end(request, scan.id, { status: 'failed', outcome: 'failure', reason: 'it took too long' })
  // The request itself writes it: no workflow is there to.
  expect(await world.actions(scan.id)).toEqual(['started', 'timed_out', 'finished'])
  const finished = (await world.events(scan.id)).at(-1)
  expect(finished).toMatchObject({ metadata: { status: 'failed', late: true } })
  expect(await scans.get(organizationId, scan.id)).toMatchObject({ status: 'failed', end: { late: true } })
})

test('without progress a scan stalls, once for each stall, and progress ends it', async () => {
  const { scan } = await world.scans.start(request, body({ progressTimeoutMs: 2_500 }))
  await eventually(
    () => statusOf(scan.id),
    (status) => status === 'stalled',
  )
  expect(await world.actions(scan.id)).toEqual(['started', 'stalled'])
  await world.workflow(scan.id).signal(progressSignal, { percent: 5 })
  await eventually(
    () => statusOf(scan.id),
    (status) => status === 'running',
  )
  await eventually(
    () => world.actions(scan.id),
    (actions) => actions.filter((action) => action === 'stalled').length === 2,
  )
  await world.scans.progress(request, scan.id, { percent: 6 })
  expect(await statusOf(scan.id)).toBe('running')
  await world.scans.end(request, scan.id, { status: 'finished', outcome: 'success' })
  await world.workflow(scan.id).result()
  expect(await world.actions(scan.id)).toEqual(['started', 'stalled', 'stalled', 'finished'])
})

test('progress that reached MongoDB alone keeps a scan from stalling', async () => {
  const { scan } = await world.scans.start(request, body({ progressTimeoutMs: 8_000 }))
  for (let round = 0; round < 12; round += 1) {
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    // As if Temporal had been away when the report came.
    const progress = { percent: round, counts: null, message: null, at: new Date() }
    expect(await world.recorder.recordProgress(organizationId, scan.id, progress)).toBe(true)
  }
  expect(await world.actions(scan.id)).toEqual(['started'])
})

test('a long history is cut, and neither state nor signals are lost', async () => {
  const reference: ScanReference = {
    organizationId,
    scanId: newId('scan'),
    engine: 'chatty-engine',
    startedAt: new Date().toISOString(),
    expectedWithinMs: 600_000,
    progressTimeoutMs: null,
    lateWindowMs: 1_000,
  }
  const workflow = await world.temporal.client.workflow.start(scanWorkflowType, {
    workflowId: scanWorkflowId(organizationId, reference.scanId),
    taskQueue: scanTaskQueue,
    args: [{ scan: reference, graceMs: 10, historyEvents: 30 }],
    memo: { scan: reference },
    typedSearchAttributes: [{ key: kindAttribute, value: 'scan' }],
  })
  const sent = 200
  for (let from = 0; from < sent; from += 20) {
    await Promise.all(
      Array.from({ length: 20 }, (_, offset) =>
        workflow.signal(progressSignal, { recorded: true, counts: { steps: from + offset } }),
      ),
    )
    await workflow.signal(progressSignal, 'rubbish')
  }
  // A cut between sending and reading would lose the count of rubbish: it is state that is carried over.
  const details = await eventually(
    async () =>
      (await workflow.query<{ currentDetails?: string }>('__temporal_workflow_metadata')).currentDetails,
    // The start's activity may still be under way when the last signal has been read.
    (shown) => shown?.includes(`${sent / 20} malformed`) === true && shown.includes('- [x] started'),
  )
  expect(details).toContain(`${sent / 20} malformed`)
  const described = await workflow.describe()
  const { raw } = described
  expect(described.memo).toEqual({ scan: reference })
  expect(described.typedSearchAttributes.get(kindAttribute)).toBe('scan')
  expect(raw.workflowExecutionInfo?.firstRunId).not.toBe(raw.workflowExecutionInfo?.execution?.runId)
  await workflow.signal(finishSignal, { outcome: 'success' })
  expect(await workflow.result()).toEqual({ status: 'finished', late: false })
  expect(await world.actions(reference.scanId)).toEqual(['started', 'finished'])
})
