/** Workers of the queue `erasure`, as a deployment's are but for what a test says. */
import type { ErasingActivityDependencies } from '../../activities/erasing.js'
import type { Core } from '../../src/composition.js'
import { createWorkflowRuns } from '../../src/erasure/second-reader-workflows.js'
import { createLogger, type Logger } from '../../src/logging.js'
import type { TemporalConnection } from '../../src/temporal/client.js'
import { startWorkers, type RunningWorkers, type WorkersOptions } from '../../workers/main.js'
import type { WorkerDependencies } from '../../workers/task-queues.js'
import type { World } from './world.js'

export const silent = createLogger('error', { write: () => undefined })

/** The steps as they really are. */
export const realSteps = (
  core: Core,
  temporal: TemporalConnection,
  more: Partial<ErasingActivityDependencies> = {},
): ErasingActivityDependencies => ({
  erasing: core.erasing.steps,
  completing: core.erasing.completing,
  historyDays: () => Promise.resolve(7),
  workflows: createWorkflowRuns(temporal),
  scoping: core.erasing.deps,
  notices: core.delivery.notices,
  ...more,
})

export interface ErasureWorkersOptions extends Partial<Pick<WorkersOptions, 'queues' | 'versioning'>> {
  /** Absent = every request stops and waits for an operator. */
  readonly steps?: NonNullable<WorkerDependencies['erasure']>['steps']
  /** What else runs there. */
  readonly deps?: Partial<WorkerDependencies>
  readonly logger?: Logger
}

export function startErasureWorkers(
  { api: { core }, config }: World,
  { steps, deps, logger = silent, queues = ['erasure'], versioning = 'if_none' }: ErasureWorkersOptions,
): Promise<RunningWorkers> {
  const recorder = { recorder: core.erasures.recorder }
  return startWorkers({
    config,
    logger,
    deps: {
      scanRecorder: core.scans.recorder,
      sealing: { ...core.sealing, logger },
      erasure: steps === undefined ? recorder : { ...recorder, steps },
      ...deps,
    },
    queues,
    versioning,
  })
}
