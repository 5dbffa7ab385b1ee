/** Starts what erases that which holds had kept: by a Schedule, and for one organization when a hold is released. */
import { ScheduleAlreadyRunning, ScheduleOverlapPolicy } from '@temporalio/client'
import type { TemporalConnection } from '../temporal/client.js'
import { kindAttribute, organizationAttribute, phaseAttribute } from '../temporal/search-attributes.js'
import {
  erasureTaskQueue,
  holdReleasedSignal,
  releaseKeptScheduleId,
  releaseKeptWorkflowId,
  releaseKeptWorkflowType,
} from './contract.js'

const catchupWindow = '1 day'
const searchAttributes = [
  { key: kindAttribute, value: 'erasure' },
  { key: phaseAttribute, value: 'running' },
]

/** Makes the Schedule, one a day and never two at once; one that is there stays as it is. */
export async function ensureReleaseSchedule({ client }: Pick<TemporalConnection, 'client'>): Promise<void> {
  try {
    await client.schedule.create({
      scheduleId: releaseKeptScheduleId,
      spec: { intervals: [{ every: '1 day' }] },
      policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow },
      action: {
        type: 'startWorkflow',
        workflowType: releaseKeptWorkflowType,
        workflowId: releaseKeptWorkflowId(null),
        taskQueue: erasureTaskQueue,
        args: [{ organizationId: null }],
        staticSummary: 'Erase what holds had kept, where they have ended',
        typedSearchAttributes: searchAttributes,
      },
    })
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error
  }
}

/** One that runs looks once more. */
export async function startReleases(
  { client }: Pick<TemporalConnection, 'client'>,
  organizationId: string,
): Promise<void> {
  await client.workflow.signalWithStart(releaseKeptWorkflowType, {
    workflowId: releaseKeptWorkflowId(organizationId),
    taskQueue: erasureTaskQueue,
    workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    args: [{ organizationId }],
    signal: holdReleasedSignal,
    signalArgs: [],
    staticSummary: `Erase what holds of ${organizationId} had kept`,
    typedSearchAttributes: [...searchAttributes, { key: organizationAttribute, value: organizationId }],
  })
}
