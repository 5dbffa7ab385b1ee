/** Starts rotations of the period key: by a Schedule, and when an operator asks. */
import { ScheduleAlreadyRunning, ScheduleOverlapPolicy } from '@temporalio/client'
import type { TemporalConnection } from '../temporal/client.js'
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
/** A rotation that was missed while Temporal was away is made up for; more than one is one. */
const catchupWindow = '3 days'
const summary = 'Rotate the period key: what was erased goes out of reach of backups'

const inputOf = ({ overlapDays }: RotationTiming): RotationInput => ({ overlapMs: overlapDays * dayMs })
const searchAttributes = [
  { key: kindAttribute, value: 'rotation' },
  { key: phaseAttribute, value: 'begun' },
]

/** Makes the Schedule of rotations, never two at once, or sets it to what is configured now. */
export async function ensureRotationSchedule(
  { client }: Pick<TemporalConnection, 'client'>,
  timing: RotationTiming,
): Promise<void> {
  const spec = { intervals: [{ every: timing.everyDays * dayMs }] }
  const policies = { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow } as const
  const action = {
    type: 'startWorkflow',
    workflowType: rotationWorkflowType,
    workflowId: rotationWorkflowId,
    taskQueue: rotationTaskQueue,
    args: [inputOf(timing)],
    staticSummary: summary,
    typedSearchAttributes: searchAttributes,
  } as const
  try {
    await client.schedule.create({ scheduleId: rotationScheduleId, spec, policies, action })
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error
    // Days may have been set anew; whether it is paused is the operator's.
    await client.schedule
      .getHandle(rotationScheduleId)
      .update(({ state }) => ({ spec, policies, action, state }))
  }
}

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
