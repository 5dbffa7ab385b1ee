/** Schedules: each starts one workflow again and again, and never two at once. */
import { ScheduleAlreadyRunning, ScheduleOverlapPolicy, type ScheduleOptions } from '@temporalio/client'
import type { TemporalConnection } from './client.js'

export interface ScheduledWorkflow {
  readonly scheduleId: string
  readonly everyMs: number
  /** What was missed for so long while Temporal was away is made up for, by one. */
  readonly catchupMs: number
  readonly action: Omit<ScheduleOptions['action'], 'type'>
  /** What is configured counts, and not what is there; absent = one that is there stays as it is. */
  readonly configured?: true
}

/** Makes the Schedule; safe to repeat. */
export async function ensureSchedule(
  { client }: Pick<TemporalConnection, 'client'>,
  { scheduleId, everyMs, catchupMs, action: starts, configured }: ScheduledWorkflow,
): Promise<void> {
  const spec = { intervals: [{ every: everyMs }] }
  const policies = { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: catchupMs }
  const action = { type: 'startWorkflow' as const, ...starts }
  try {
    await client.schedule.create({ scheduleId, spec, policies, action })
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error
    if (configured !== true) return
    // Whether it is paused is the operator's.
    await client.schedule.getHandle(scheduleId).update(({ state }) => ({ spec, policies, action, state }))
  }
}
