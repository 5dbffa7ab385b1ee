/** Starts what erases that which holds had kept: by a Schedule, and for one organization when a hold is released. */
import type { TemporalConnection } from '../temporal/client.js'
import { ensureSchedule } from '../temporal/schedules.js'
import { kindAttribute, organizationAttribute, phaseAttribute } from '../temporal/search-attributes.js'
import {
  erasureTaskQueue,
  holdReleasedSignal,
  releaseKeptScheduleId,
  releaseKeptWorkflowId,
  releaseKeptWorkflowType,
} from './contract.js'

const dayMs = 86_400_000
const searchAttributes = [
  { key: kindAttribute, value: 'erasure' },
  { key: phaseAttribute, value: 'running' },
]

/** Makes the Schedule, one a day. */
export const ensureReleaseSchedule = (temporal: Pick<TemporalConnection, 'client'>): Promise<void> =>
  ensureSchedule(temporal, {
    scheduleId: releaseKeptScheduleId,
    everyMs: dayMs,
    catchupMs: dayMs,
    action: {
      workflowType: releaseKeptWorkflowType,
      workflowId: releaseKeptWorkflowId(null),
      taskQueue: erasureTaskQueue,
      args: [{ organizationId: null }],
      staticSummary: 'Erase what holds had kept, where they have ended',
      typedSearchAttributes: searchAttributes,
    },
  })

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
