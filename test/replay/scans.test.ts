/**
 * The workflow code of today against the histories of yesterday. A change that a running scan could not follow
 * fails here; it needs a patch (https://docs.temporal.io/develop/typescript/versioning).
 *
 * To record: delete a history and run this test, twice; the first run writes it and fails, so that nothing is ever
 * recorded unnoticed (recordings.ts).
 */
import { beforeAll, expect, test } from 'vitest'
import {
  failSignal,
  finishSignal,
  progressSignal,
  scanTaskQueue,
  scanWorkflowId,
  scanWorkflowType,
} from '../../src/scans/contract.js'
import { buildWorkflowBundle } from '../../workers/bundle.js'
import { newId } from '../../src/ids.js'
import { openScanWorld, organizationId, type ScanWorld } from '../integration/scans-world.js'
import { isMissing, readRecording, recordingEnvironment, replay, writeRecording } from './recordings.js'

type Handle = ReturnType<ScanWorld['workflow']>
interface Scenario {
  readonly expectedWithinMs?: number
  readonly progressTimeoutMs?: number
  readonly historyEvents?: number
  run(workflow: Handle): Promise<unknown>
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const finish = (workflow: Handle) =>
  workflow.signal(finishSignal, { outcome: 'success', counts: { hosts: 3 } })

const scenarios: Readonly<Record<string, Scenario>> = {
  'scan-finished-at-once': { run: finish },
  'scan-progressed-and-failed': {
    async run(workflow) {
      await pause(2_500)
      await workflow.signal(progressSignal, { percent: 10, counts: { hosts: 1 } })
      await workflow.signal(progressSignal, { percent: 20 })
      await pause(500)
      await workflow.signal(failSignal)
    },
  },
  'scan-stalled-and-went-on': {
    progressTimeoutMs: 2_500,
    async run(workflow) {
      await pause(3_500)
      await workflow.signal(progressSignal, { percent: 50 })
      await pause(500)
      await finish(workflow)
    },
  },
  'scan-timed-out-and-finished-late': {
    expectedWithinMs: 2_500,
    async run(workflow) {
      await pause(3_500)
      await finish(workflow)
    },
  },
  'scan-timed-out-and-closed': { expectedWithinMs: 1_000, run: () => pause(4_000) },
  'scan-with-rubbish-signals': {
    async run(workflow) {
      await workflow.signal(finishSignal, { outcome: 'perhaps' })
      await workflow.signal(progressSignal, 'x')
      await finish(workflow)
      await workflow.signal(failSignal).catch(() => undefined)
    },
  },
  'scan-cancelled-by-an-operator': {
    async run(workflow) {
      await pause(2_500)
      await workflow.cancel()
    },
  },
  'scan-with-a-cut-history': {
    historyEvents: 25,
    async run(workflow) {
      for (let step = 0; step < 40; step += 1) await workflow.signal(progressSignal, { counts: { step } })
      await pause(3_000)
      await finish(workflow)
    },
  },
}

const missing = Object.keys(scenarios).filter(isMissing)

beforeAll(async () => {
  await buildWorkflowBundle()
  if (missing.length > 0) await record(missing)
})

test('every scenario has its recorded history', () => {
  expect(missing).toEqual([])
})

test('a history that the code of today would not make is refused', async () => {
  const edited = await readRecording('scan-finished-at-once', (text) =>
    text.replaceAll('concludeScan', 'other'),
  )
  await expect(replay(edited)).rejects.toThrow()
})

test.each(Object.keys(scenarios))('%s replays', async (name) => {
  await replay(await readRecording(name))
})

async function record(names: readonly string[]): Promise<void> {
  const world = await openScanWorld(recordingEnvironment)
  await world.work()
  await Promise.all(names.map((name) => recordOne(world, name)))
}

async function recordOne(world: ScanWorld, name: string): Promise<void> {
  const scenario = scenarios[name]
  if (scenario === undefined) throw new Error(`there is no scenario ${name}`)
  const scanId = newId('scan')
  const { expectedWithinMs = 600_000, progressTimeoutMs = null, historyEvents } = scenario
  const scan = {
    organizationId,
    scanId,
    engine: 'recorded-engine',
    startedAt: new Date().toISOString(),
    expectedWithinMs,
    progressTimeoutMs,
    lateWindowMs: 1_500,
  }
  const workflowId = scanWorkflowId(organizationId, scanId)
  const { firstExecutionRunId } = await world.temporal.client.workflow.start(scanWorkflowType, {
    workflowId,
    taskQueue: scanTaskQueue,
    args: [{ scan, ...(historyEvents === undefined ? {} : { historyEvents }) }],
  })
  await scenario.run(world.workflow(scanId))
  await world
    .workflow(scanId)
    .result()
    .catch(() => undefined)
  await writeRecording(name, world.temporal, workflowId, firstExecutionRunId)
}
