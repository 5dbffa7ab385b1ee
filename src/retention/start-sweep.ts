/** Starts sweeps: by a Schedule, made once, and for one organization when somebody asks. */
import { AnnalsError } from '../errors.js'
import type { Logger } from '../logging.js'
import type { TemporalConnection } from '../temporal/client.js'
import { ensureSchedule } from '../temporal/schedules.js'
import { kindAttribute, organizationAttribute, phaseAttribute } from '../temporal/search-attributes.js'
import {
  retentionScheduleId,
  retentionTaskQueue,
  sweepWorkflowId,
  sweepWorkflowType,
  type SweepStarter,
} from './contract.js'

const hourMs = 3_600_000
const searchAttributes = [
  { key: kindAttribute, value: 'retention' },
  { key: phaseAttribute, value: 'running' },
]

/** Makes the Schedule of sweeps, one an hour; what was missed for a day is one sweep. */
export const ensureSweepSchedule = (temporal: Pick<TemporalConnection, 'client'>): Promise<void> =>
  ensureSchedule(temporal, {
    scheduleId: retentionScheduleId,
    everyMs: hourMs,
    catchupMs: 24 * hourMs,
    action: {
      workflowType: sweepWorkflowType,
      workflowId: sweepWorkflowId,
      taskQueue: retentionTaskQueue,
      args: [{}],
      staticSummary: 'Retention: move what is due to the archive',
      typedSearchAttributes: searchAttributes,
    },
  })

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
          typedSearchAttributes: [{ key: organizationAttribute, value: organizationId }, ...searchAttributes],
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
