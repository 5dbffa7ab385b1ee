/**
 * Rotations of the period key against the histories of yesterday: with an overlap a run lasts for days, and goes on under
 * the code of the next deployment. To record: delete a history and run this test, twice; the first run writes it and fails.
 */
import { ApplicationFailure } from '@temporalio/activity'
import { NativeConnection, Worker } from '@temporalio/worker'
import { beforeAll, expect, test } from 'vitest'
import type { RotationActivities } from '../../activities/rotation.js'
import { rotationWorkflowType, type RotationInput } from '../../src/key-rotation/contract.js'
import { connectTemporal, temporalOptions } from '../../src/temporal/client.js'
import { buildWorkflowBundle } from '../../workers/bundle.js'
import { bundlePaths } from '../../workers/paths.js'
import { openWorld } from '../support/world.js'
import { isMissing, readRecording, recordingEnvironment, replay, writeRecording } from './recordings.js'

interface Scenario {
  readonly input: RotationInput
  readonly activities: RotationActivities
}

const none = { subjects: 0, erasure_requests: 0, erasure_progress: 0 }
const steps: RotationActivities = {
  beginRotation: () => Promise.resolve({ period: 2 }),
  switchPeriod: () => Promise.resolve(),
  rewrapKeys: () => Promise.resolve({ rewrapped: 7 }),
  countKeysLeft: () => Promise.resolve(none),
  removePeriods: () => Promise.resolve({ removed: [1], left: 0 }),
}
const refused = () => ApplicationFailure.create({ message: 'wrong_root_key', type: 'wrong_root_key' })
let removals = 0

const scenarios: Readonly<Record<string, Scenario>> = {
  'rotation-done': { input: { overlapMs: 0 }, activities: steps },
  'rotation-with-an-overlap': { input: { overlapMs: 1_000 }, activities: steps },
  'rotation-with-a-wrong-root-key': {
    input: { overlapMs: 0 },
    activities: { ...steps, beginRotation: () => Promise.reject(refused()) },
  },
  'rotation-with-one-who-slept': {
    input: { overlapMs: 0 },
    activities: {
      ...steps,
      removePeriods: () =>
        Promise.resolve((removals += 1) === 1 ? { removed: [], left: 1 } : { removed: [1], left: 0 }),
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

test.each(Object.keys(scenarios))('the code of today would have made the history of %s', async (name) => {
  await replay(await readRecording(name))
})

test('a history that the code of today would not make is refused', async () => {
  const edited = await readRecording('rotation-done', (text) => text.replaceAll('switchPeriod', 'other'))
  await expect(replay(edited)).rejects.toThrow()
})

async function record(names: readonly string[]): Promise<void> {
  const world = await openWorld({ temporal: true, environment: recordingEnvironment })
  const temporal = await connectTemporal(temporalOptions(world.config))
  const { address } = temporalOptions(world.config)
  const connection = await NativeConnection.connect({ address })
  try {
    for (const name of names) {
      const scenario = scenarios[name]
      if (scenario === undefined) continue
      const workflowId = `keys/rotation/${name}`
      const worker = await Worker.create({
        connection,
        namespace: temporal.namespace,
        dataConverter: temporal.dataConverter,
        taskQueue: `record-${name}`,
        workflowBundle: { codePath: bundlePaths.bundle },
        activities: { ...scenario.activities },
      })
      await worker.runUntil(async () => {
        const handle = await temporal.client.workflow.start(rotationWorkflowType, {
          workflowId,
          taskQueue: `record-${name}`,
          args: [scenario.input],
        })
        await handle.result().catch(() => undefined)
        await writeRecording(name, temporal, workflowId, handle.firstExecutionRunId)
      })
    }
  } finally {
    await connection.close()
    await temporal.close()
    await world.close()
  }
}
