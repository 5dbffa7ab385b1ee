/** Starts rotations of the period key: by a Schedule, and when an operator asks. */
import type { TemporalConnection } from '../temporal/client.js'
import { ensureSchedule } from '../temporal/schedules.js'
import { kindAttribute, phaseAttribute } from '../temporal/search-attributes.js'
import {
  rotationScheduleId,
  rotationTaskQueue,
  rotationWorkflowId,
  rotationWorkflowType,
  type RotationInput,
} from './contract.js'

export interface RotationTiming {
  readonly everyDays: number
  readonly overlapDays: number
}

const dayMs = 86_400_000
const summary = 'Rotate the period key: what was erased goes out of reach of backups'

const inputOf = ({ overlapDays }: RotationTiming): RotationInput => ({ overlapMs: overlapDays * dayMs })
const searchAttributes = [
  { key: kindAttribute, value: 'rotation' },
  { key: phaseAttribute, value: 'begun' },
]

/** Makes the Schedule of rotations, or sets it to what is configured now. */
export const ensureRotationSchedule = (
  temporal: Pick<TemporalConnection, 'client'>,
  timing: RotationTiming,
): Promise<void> =>
  ensureSchedule(temporal, {
    scheduleId: rotationScheduleId,
    everyMs: timing.everyDays * dayMs,
    catchupMs: 3 * dayMs,
    action: {
      workflowType: rotationWorkflowType,
      workflowId: rotationWorkflowId,
      taskQueue: rotationTaskQueue,
      args: [inputOf(timing)],
      staticSummary: summary,
      typedSearchAttributes: searchAttributes,
    },
    configured: true,
  })

/**
 * Starts a rotation now, beside what the Schedule does; one that runs is joined.
 * @returns its workflow's id
 */
export async function startRotation(
  { client }: Pick<TemporalConnection, 'client'>,
  timing: Pick<RotationTiming, 'overlapDays'>,
): Promise<string> {
  const workflowId = `${rotationWorkflowId}/now`
  await client.workflow.start(rotationWorkflowType, {
    workflowId,
    taskQueue: rotationTaskQueue,
    workflowIdConflictPolicy: 'USE_EXISTING',
    workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    args: [inputOf({ ...timing, everyDays: 0 })],
    staticSummary: summary,
    typedSearchAttributes: searchAttributes,
  })
  return workflowId
}
