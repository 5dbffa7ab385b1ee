/**
 * The workflow code of today against the histories of yesterday. A change that a running scan could not follow
 * fails here; it needs a patch (https://docs.temporal.io/develop/typescript/versioning).
 *
 * To record: delete a history and run this test, twice; the first run writes it and fails, so that nothing is ever
 * recorded unnoticed. Histories are encrypted under `codec-key.json`, which opens nothing else.
 */
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { fileURLToPath } from 'node:url'
import { temporal } from '@temporalio/proto'
import { Worker } from '@temporalio/worker'
import { beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import {
  failSignal,
  finishSignal,
  progressSignal,
  scanTaskQueue,
  scanWorkflowId,
  scanWorkflowType,
} from '../../src/scans/contract.js'
import { readCodecKeyFile } from '../../src/temporal/codec-keys.js'
import { createDataConverter } from '../../src/temporal/data-converter.js'
import { buildWorkflowBundle } from '../../workers/bundle.js'
import { bundlePaths } from '../../workers/paths.js'
import { newId } from '../../src/ids.js'
import { openScanWorld, organizationId, type ScanWorld } from '../integration/scans-world.js'

const namespace = 'annals-replay'
const codecKeyFile = fileURLToPath(new URL('codec-key.json', import.meta.url))
const fileOf = (name: string) => fileURLToPath(new URL(`histories/${name}.json`, import.meta.url))

const { History } = temporal.api.history.v1

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

const missing = Object.keys(scenarios).filter((name) => !existsSync(fileOf(name)))

beforeAll(async () => {
  await buildWorkflowBundle()
  if (missing.length > 0) await record(missing)
})

test('every scenario has its recorded history', () => {
  expect(missing).toEqual([])
})

test('a history that the code of today would not make is refused', async () => {
  const text = await readFile(fileOf('scan-finished-at-once'), 'utf8')
  const { workflowId, histories } = recordingSchema.parse(
    JSON.parse(text.replaceAll('concludeScan', 'other')),
  )
  await expect(replay(workflowId, histories)).rejects.toThrow()
})

test.each(Object.keys(scenarios))('%s replays', async (name) => {
  const { workflowId, histories } = recordingSchema.parse(JSON.parse(await readFile(fileOf(name), 'utf8')))
  await replay(workflowId, histories)
})

async function replay(workflowId: string, histories: Recording['histories']): Promise<void> {
  const dataConverter = createDataConverter(await readCodecKeyFile(codecKeyFile), namespace)
  const options = { workflowBundle: { codePath: bundlePaths.bundle }, dataConverter }
  for (const history of histories) {
    await Worker.runReplayHistory(options, History.fromObject(history), workflowId)
  }
}

/** One history for each run of a workflow that continued as new. */
const recordingSchema = z.object({ workflowId: z.string(), histories: z.array(z.looseObject({})) })
type Recording = z.infer<typeof recordingSchema>

async function record(names: readonly string[]): Promise<void> {
  const world = await openScanWorld({
    ANNALS_TEMPORAL_NAMESPACE: namespace,
    ANNALS_CODEC_KEY_FILE: codecKeyFile,
  })
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
  const histories: unknown[] = []
  for (let runId: string | undefined = firstExecutionRunId; runId !== undefined;) {
    const history: temporal.api.history.v1.IHistory = await world.temporal.client.workflow
      .getHandle(workflowId, runId)
      .fetchHistory()
    histories.push(
      History.toObject(History.fromObject(history), { bytes: String, longs: String, enums: String }),
    )
    const last = history.events?.at(-1)
    runId = last?.workflowExecutionContinuedAsNewEventAttributes?.newExecutionRunId ?? undefined
  }
  // Which machine recorded it is nobody's business.
  const text = JSON.stringify({ workflowId, histories }, null, 1).replaceAll(`@${hostname()}:`, '@recorder:')
  await writeFile(fileOf(name), `${text}\n`)
}
