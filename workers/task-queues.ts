/** What each task queue's worker runs. A queue appears here once its domain has workflows. */
import { createAnchorActivities, type AnchorActivityDependencies } from '../activities/anchor.js'
import { createErasingActivities, type ErasingActivityDependencies } from '../activities/erasing.js'
import { unavailableSteps } from '../activities/erasing-unavailable.js'
import { createErasureActivities } from '../activities/erasure.js'
import {
  createOffboardingActivities,
  type OffboardingActivityDependencies,
} from '../activities/offboarding.js'
import { createRedactionActivities, type RedactionActivityDependencies } from '../activities/redaction.js'
import { createExpiryActivities, type ExpiryActivityDependencies } from '../activities/expiry.js'
import { createReleasingActivities, type ReleasingActivityDependencies } from '../activities/releasing.js'
import { createRestoreActivities, type RestoreActivityDependencies } from '../activities/restore.js'
import { createRetentionActivities, type RetentionActivityDependencies } from '../activities/retention.js'
import { createRotationActivities, type RotationActivityDependencies } from '../activities/rotation.js'
import { createScanActivities } from '../activities/scans.js'
import { createSealActivities, type SealActivityDependencies } from '../activities/seal.js'
import { createTurns } from '../activities/turns.js'
import { restoreTaskQueue } from '../src/archive/restores/contract.js'
import type { Config, QueueName } from '../src/config.js'
import { erasureTaskQueue, type ErasingActivities } from '../src/erasure/contract.js'
import type { ErasureRecorder } from '../src/erasure/recorder.js'
import { maxChildren } from '../src/retention/contract.js'
import { scanTaskQueue } from '../src/scans/contract.js'
import type { ScanRecorder } from '../src/scans/recorder.js'
import type { TemporalConnection } from '../src/temporal/client.js'
import { startAnchoring } from '../src/transparency-log/anchor/start-anchoring.js'
import { sealTaskQueue } from '../src/transparency-log/contract.js'
import { startSealing } from '../src/transparency-log/start-sealing.js'

/** What the activities of all queues need. */
export interface WorkerDependencies {
  readonly scanRecorder: ScanRecorder
  readonly sealing: Omit<SealActivityDependencies & AnchorActivityDependencies, 'stopping'>
  /** Needed by the queue `retention` alone. */
  readonly retention?: {
    readonly restoring: Omit<RestoreActivityDependencies, 'runs' | 'stopping'>
    readonly archiving: Omit<RetentionActivityDependencies, 'turns' | 'stopping'>
    readonly expiring: Omit<ExpiryActivityDependencies, 'turns' | 'stopping'>
  }
  /** Needed by the queue `erasure` alone. Without `steps` every request stops and waits for an operator. */
  readonly erasure?: {
    readonly recorder: ErasureRecorder
    readonly steps?: ErasingActivities | ErasingActivityDependencies
  }
  /** Of the queue `erasure`, too. Without it redactions wait for a worker that has it. */
  readonly redacting?: Omit<RedactionActivityDependencies, 'stopping'>
  /** Likewise. */
  readonly offboarding?: Omit<OffboardingActivityDependencies, 'stopping'>
  /** Likewise. */
  readonly releasing?: Omit<ReleasingActivityDependencies, 'stopping'>
  /** Of the queue `erasure`, too. Without it rotations of the period key wait for a worker that has it. */
  readonly rotating?: Omit<RotationActivityDependencies, 'stopping'>
}

export interface TaskQueue {
  /** The published name of the queue in Temporal. */
  readonly taskQueue: string
  /** Activities that one process takes at once. Absent = what the SDK thinks best. */
  readonly activitiesAtOnce?: number
  /** @param stopping aborted when the worker begins to stop: what runs long should end soon */
  activities(deps: WorkerDependencies, stopping: AbortSignal): object
  /** Starts what must always run where such a worker is; safe to repeat. */
  startDuties?(temporal: TemporalConnection, config: Pick<Config, 'region'>): Promise<void>
}

export const taskQueues: Readonly<Partial<Record<QueueName, TaskQueue>>> = {
  seal: {
    taskQueue: sealTaskQueue,
    activities: (deps, stopping) => ({
      ...createSealActivities({ ...deps.sealing, stopping }),
      ...createAnchorActivities({ ...deps.sealing, stopping }),
    }),
    async startDuties(temporal, { region }) {
      await startSealing(temporal, region.name)
      await startAnchoring(temporal, region.name)
    },
  },
  erasure: {
    taskQueue: erasureTaskQueue,
    activities({ erasure, redacting, offboarding, releasing, rotating }, stopping) {
      if (erasure === undefined) throw new Error('the queue erasure was asked for without what erases')
      const { steps = unavailableSteps } = erasure
      return {
        ...createErasureActivities(erasure),
        ...('erasing' in steps ? createErasingActivities(steps) : steps),
        ...(redacting === undefined ? {} : createRedactionActivities({ ...redacting, stopping })),
        ...(offboarding === undefined ? {} : createOffboardingActivities({ ...offboarding, stopping })),
        ...(releasing === undefined ? {} : createReleasingActivities({ ...releasing, stopping })),
        ...(rotating === undefined ? {} : createRotationActivities({ ...rotating, stopping })),
      }
    },
  },
  retention: {
    taskQueue: restoreTaskQueue,
    // Whoever waits for a turn keeps no short step waiting: two sweeps, and room beside them.
    activitiesAtOnce: 2 * maxChildren + 100,
    activities({ retention }, stopping) {
      if (retention === undefined)
        throw new Error('the queue retention was asked for without what it works with')
      const turns = createTurns()
      return {
        ...createRestoreActivities({ ...retention.restoring, runs: retention.archiving.runs, stopping }),
        ...createRetentionActivities({ ...retention.archiving, turns, stopping }),
        ...createExpiryActivities({ ...retention.expiring, turns, stopping }),
      }
    },
  },
  scans: {
    taskQueue: scanTaskQueue,
    activities: (deps) => createScanActivities({ recorder: deps.scanRecorder }),
  },
}
