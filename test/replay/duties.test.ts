/**
 * The duties without an end, sealing and anchoring, against the histories of yesterday: their runs last for hours, and go
 * on under the code of the next deployment. A change that they could not follow fails here and needs a patch.
 *
 * To record: delete a history and run this test, twice; the first run writes it and fails. The activities are stand-ins
 * that do what the scenario is about: a history says what the workflow did with their answers, and not how they were made.
 */
import { EventEmitter, once } from 'node:events'
import { ApplicationFailure, Context } from '@temporalio/activity'
import { NativeConnection, Worker } from '@temporalio/worker'
import { beforeAll, expect, test } from 'vitest'
import type { AnchorActivities } from '../../activities/anchor.js'
import type { SealActivities } from '../../activities/seal.js'
import { connectTemporal, temporalOptions, type TemporalConnection } from '../../src/temporal/client.js'
import {
  anchorWorkflowId,
  anchorWorkflowType,
  sealWorkflowId,
  sealWorkflowType,
  type AnchorInput,
  type SealInput,
} from '../../src/transparency-log/contract.js'
import { buildWorkflowBundle } from '../../workers/bundle.js'
import { bundlePaths } from '../../workers/paths.js'
import { openWorld } from '../support/world.js'
import { isMissing, readRecording, recordingEnvironment, replay, writeRecording } from './recordings.js'

type Activities = Readonly<Record<string, (...sent: never[]) => Promise<unknown>>>

interface Scenario {
  readonly type: string
  readonly workflowId: string
  readonly input: SealInput | AnchorInput
  readonly activities: Activities
  /** Calls of activities after which the scenario is over. */
  readonly calls: number
  /** Without it the workflow is terminated, as a duty without an end must be. */
  readonly cancelled?: boolean
}

const unavailable = () => ApplicationFailure.create({ message: 'unavailable', type: 'unavailable' })

function sealing(
  name: string,
  scenario: Omit<Scenario, 'type' | 'workflowId' | 'input'>,
  turns?: number,
): Scenario {
  const region = `recorded-${name}`
  const input = { region, partition: 0, ...(turns === undefined ? {} : { turns }) }
  return { type: sealWorkflowType, workflowId: sealWorkflowId(region, 0), input, ...scenario }
}

function anchoring(
  name: string,
  scenario: Omit<Scenario, 'type' | 'workflowId' | 'input'>,
  turns?: number,
): Scenario {
  const region = `recorded-${name}`
  const input = { region, turnMs: 300, ...(turns === undefined ? {} : { turns }) }
  return { type: anchorWorkflowType, workflowId: anchorWorkflowId(region), input, ...scenario }
}

const sealTurn = { sealed: 7, alarms: 0 }
const sealDuty: SealActivities = { sealPartition: () => Promise.resolve(sealTurn) }
/** As an activity that beats learns that its workflow was cancelled. */
const untilCancelled = async (): Promise<never> => {
  const context = Context.current()
  const beat = setInterval(() => context.heartbeat(), 200)
  try {
    return await context.cancelled
  } finally {
    clearInterval(beat)
  }
}
const firstFails = () =>
  Context.current().info.attempt === 1 ? Promise.reject(unavailable()) : Promise.resolve(sealTurn)

const copied = { written: 2, failed: 0, refused: [], refusedCount: 0 }
const witness = { witness: 'witness.example/w1+0ad7d35e', state: 'cosigned', cosigned: true }
const anchorDuties: AnchorActivities = {
  copyCheckpoints: () => Promise.resolve(copied),
  appendAnchor: () => Promise.resolve({ outcome: 'anchored', size: 4 }),
  showAnchor: () => Promise.resolve([witness]),
}

const scenarios: Readonly<Record<string, Scenario>> = {
  'seal-turn-after-turn': sealing('turns', { activities: { ...sealDuty }, calls: 4 }),
  'seal-began-new-histories': sealing('new', { activities: { ...sealDuty }, calls: 7 }, 2),
  'seal-failed-and-went-on': sealing('failed', { activities: { sealPartition: firstFails }, calls: 5 }),
  'seal-cancelled-by-an-operator': sealing('cancelled', {
    activities: { sealPartition: untilCancelled },
    calls: 1,
    cancelled: true,
  }),
  'anchor-turn-after-turn': anchoring('turns', { activities: { ...anchorDuties }, calls: 8 }),
  'anchor-began-new-histories': anchoring('new', { activities: { ...anchorDuties }, calls: 14 }, 2),
  'anchor-without-its-duties': anchoring('without', {
    // Four attempts each; the turn goes on without what failed.
    activities: {
      ...anchorDuties,
      copyCheckpoints: () => Promise.reject(unavailable()),
      showAnchor: () => Promise.reject(unavailable()),
    },
    calls: 13,
  }),
  'anchor-refused': anchoring('refused', {
    activities: {
      copyCheckpoints: () =>
        Promise.resolve({ written: 0, failed: 1, refused: ['org_set_back'], refusedCount: 1 }),
      appendAnchor: () => Promise.resolve({ outcome: 'refused', size: 4 }),
      showAnchor: () => Promise.resolve([{ ...witness, state: 'ahead', cosigned: false }]),
    },
    calls: 5,
  }),
  'anchor-cancelled-by-an-operator': anchoring('cancelled', {
    activities: { ...anchorDuties, showAnchor: untilCancelled },
    calls: 3,
    cancelled: true,
  }),
}

const missing = Object.keys(scenarios).filter(isMissing)

beforeAll(async () => {
  await buildWorkflowBundle()
  if (missing.length > 0) await record(missing)
})

test('every scenario has its recorded history', () => {
  expect(missing).toEqual([])
})

test.each([
  ['seal-turn-after-turn', 'sealPartition'],
  ['anchor-turn-after-turn', 'appendAnchor'],
])('a history of %s that the code of today would not make is refused', async (name, activity) => {
  const edited = await readRecording(name, (text) => text.replaceAll(activity, 'other'))
  await expect(replay(edited)).rejects.toThrow()
})

test.each(Object.keys(scenarios))('%s replays', async (name) => {
  await replay(await readRecording(name))
})

async function record(names: readonly string[]): Promise<void> {
  const world = await openWorld({ temporal: true, environment: recordingEnvironment })
  const temporal = await connectTemporal(temporalOptions(world.config))
  const connection = await NativeConnection.connect({ address: temporalOptions(world.config).address })
  try {
    await Promise.all(names.map((name) => recordOne(temporal, connection, name)))
  } finally {
    await connection.close()
    await temporal.close()
    await world.close()
  }
}

async function recordOne(
  temporal: TemporalConnection,
  connection: NativeConnection,
  name: string,
): Promise<void> {
  const scenario = scenarios[name]
  if (scenario === undefined) throw new Error(`there is no scenario ${name}`)
  const { type, workflowId, input, activities, calls, cancelled = false } = scenario
  let called = 0
  const over = new EventEmitter()
  const counted = Object.fromEntries(
    Object.entries(activities).map(([activity, work]) => [
      activity,
      async (...sent: never[]) => {
        called += 1
        if (called === calls) over.emit('over')
        return work(...sent)
      },
    ]),
  )
  const taskQueue = `recording-${name}`
  const worker = await Worker.create({
    connection,
    namespace: temporal.namespace,
    dataConverter: temporal.dataConverter,
    workflowBundle: { codePath: bundlePaths.bundle },
    taskQueue,
    activities: counted,
  })
  const isOver = once(over, 'over')
  await worker.runUntil(async () => {
    const handle = await temporal.client.workflow.start(type, { workflowId, taskQueue, args: [input] })
    await isOver
    if (cancelled) await handle.cancel()
    else await handle.terminate()
    await temporal.client.workflow
      .getHandle(workflowId)
      .result()
      .catch(() => undefined)
    await writeRecording(name, temporal, workflowId, handle.firstExecutionRunId)
  })
}
