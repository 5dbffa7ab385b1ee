/** What each task queue's worker runs. A queue appears here once its domain has workflows. */
import { createScanActivities } from '../activities/scans.js'
import type { QueueName } from '../src/config.js'
import { scanTaskQueue } from '../src/scans/contract.js'
import type { ScanRecorder } from '../src/scans/recorder.js'

/** What the activities of all queues need. */
export interface WorkerDependencies {
  readonly scanRecorder: ScanRecorder
}

export interface TaskQueue {
  /** The published name of the queue in Temporal. */
  readonly taskQueue: string
  activities(deps: WorkerDependencies): object
}

export const taskQueues: Readonly<Partial<Record<QueueName, TaskQueue>>> = {
  scans: {
    taskQueue: scanTaskQueue,
    activities: (deps) => createScanActivities({ recorder: deps.scanRecorder }),
  },
}
