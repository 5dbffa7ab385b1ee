/** Records the histories of workflows whose activities are stand-ins: a worker for each scenario, with a queue of its own. */
import type { WorkflowHandle } from '@temporalio/client'
import { NativeConnection, Worker } from '@temporalio/worker'
import { connectTemporal, temporalOptions, type TemporalConnection } from '../../src/temporal/client.js'
import { bundlePaths } from '../../workers/paths.js'
import { openWorld } from '../support/world.js'
import { recordingEnvironment, writeRecording } from './recordings.js'

export interface Scenario {
  readonly type: string
  readonly workflowId: string
  readonly input: object
  readonly activities: object
  /** Moves it on from outside; resolves when the history is to end. Absent = it ends by itself. */
  readonly drive?: (handle: WorkflowHandle) => Promise<void>
}

export async function record(
  scenarios: Readonly<Record<string, Scenario>>,
  names: readonly string[],
): Promise<void> {
  const world = await openWorld({ temporal: true, environment: recordingEnvironment })
  const temporal = await connectTemporal(temporalOptions(world.config))
  const connection = await NativeConnection.connect({ address: temporalOptions(world.config).address })
  try {
    await Promise.all(names.map((name) => recordOne(temporal, connection, name, scenarios[name])))
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
  scenario: Scenario | undefined,
): Promise<void> {
  if (scenario === undefined) throw new Error(`there is no scenario ${name}`)
  const { type, workflowId, input, activities, drive } = scenario
  const taskQueue = `recording-${name}`
  const worker = await Worker.create({
    connection,
    namespace: temporal.namespace,
    dataConverter: temporal.dataConverter,
    workflowBundle: { codePath: bundlePaths.bundle },
    taskQueue,
    activities,
  })
  await worker.runUntil(async () => {
    const handle = await temporal.client.workflow.start(type, { workflowId, taskQueue, args: [input] })
    await drive?.(handle)
    await temporal.client.workflow
      .getHandle(workflowId)
      .result()
      .catch(() => undefined)
    await writeRecording(name, temporal, workflowId, handle.firstExecutionRunId)
  })
}

/** Whoever waits for the `n`-th call. */
export class Calls {
  #count = 0
  readonly #waiting: { readonly at: number; readonly resolve: () => void }[] = []
  made(): number {
    this.#count += 1
    for (const { at, resolve } of this.#waiting) if (at <= this.#count) resolve()
    return this.#count
  }
  reach(at: number): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ at, resolve })
    })
  }
}
