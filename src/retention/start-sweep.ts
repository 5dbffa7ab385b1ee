/** Starts sweeps: by a Schedule, made once, and for one organization when somebody asks. */
import { ScheduleAlreadyRunning, ScheduleOverlapPolicy } from '@temporalio/client'
import { AnnalsError } from '../errors.js'
import type { Logger } from '../logging.js'
import type { TemporalConnection } from '../temporal/client.js'
import { kindAttribute, organizationAttribute, phaseAttribute } from '../temporal/search-attributes.js'
import {
  retentionScheduleId,
  retentionTaskQueue,
  sweepWorkflowId,
  sweepWorkflowType,
  type SweepStarter,
} from './contract.js'

/** What was missed while Temporal was away is one sweep: a day of it is enough to begin one. */
const catchupWindow = '1 day'

/** Makes the Schedule of sweeps, one an hour and never two at once; one that is there stays as it is. */
export async function ensureSweepSchedule({ client }: Pick<TemporalConnection, 'client'>): Promise<void> {
  try {
    await client.schedule.create({
      scheduleId: retentionScheduleId,
      spec: { intervals: [{ every: '1 hour' }] },
      policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow },
      action: {
        type: 'startWorkflow',
        workflowType: sweepWorkflowType,
        workflowId: sweepWorkflowId,
        taskQueue: retentionTaskQueue,
        args: [{}],
        staticSummary: 'Retention: move what is due to the archive',
        typedSearchAttributes: [
          { key: kindAttribute, value: 'retention' },
          { key: phaseAttribute, value: 'running' },
        ],
      },
    })
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error
  }
}

export function createSweepStarter(
  { client }: Pick<TemporalConnection, 'client'>,
  logger: Logger,
): SweepStarter {
  return {
    async startSweep(organizationId) {
      const workflowId = `${sweepWorkflowId}/${organizationId}`
      try {
        await client.workflow.start(sweepWorkflowType, {
          workflowId,
          taskQueue: retentionTaskQueue,
          workflowIdConflictPolicy: 'USE_EXISTING',
          workflowIdReusePolicy: 'ALLOW_DUPLICATE',
          args: [{ organizationId }],
          staticSummary: `Retention of ${organizationId}: move what is due to the archive`,
          typedSearchAttributes: [
            { key: organizationAttribute, value: organizationId },
            { key: kindAttribute, value: 'retention' },
            { key: phaseAttribute, value: 'running' },
          ],
        })
      } catch (error) {
        logger.warn('retention.start_failed', { error })
        throw new AnnalsError('temporal_unavailable', 'The sweep could not be started; try again.', {
          retryAfterSeconds: 5,
        })
      }
      return { workflowId }
    },
  }
}
