/** The workflow of a request, as the API starts it. */
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/client'
import { AnnalsError } from '../errors.js'
import type { Logger } from '../logging.js'
import { isTemporalUnavailable, type TemporalConnection } from '../temporal/client.js'
import {
  deadlineAttribute,
  kindAttribute,
  organizationAttribute,
  phaseAttribute,
} from '../temporal/search-attributes.js'
import {
  erasureTaskQueue,
  erasureWorkflowId,
  erasureWorkflowType,
  type ErasureReference,
} from './contract.js'

export const temporalTimeoutMs = 10_000
export const retryAfterSeconds = 5

export type StartRequestWorkflow = (request: ErasureReference, dueAt: Date, again: boolean) => Promise<void>

/**
 * Starts the workflow of a request unless it runs, or has ended well.
 * @throws AnnalsError `temporal_unavailable`
 */
export function createRequestStarter({
  temporal,
  logger,
}: {
  readonly temporal: Pick<TemporalConnection, 'client' | 'withTimeout'>
  readonly logger: Logger
}): StartRequestWorkflow {
  return async (request, dueAt, again) => {
    try {
      await temporal.withTimeout(temporalTimeoutMs, () =>
        temporal.client.workflow.start(erasureWorkflowType, {
          workflowId: erasureWorkflowId(request.organizationId, request.requestId),
          taskQueue: erasureTaskQueue,
          workflowIdConflictPolicy: 'USE_EXISTING',
          // Somebody may have terminated it in Temporal: the request is what is true, and goes on.
          workflowIdReusePolicy: again ? 'ALLOW_DUPLICATE_FAILED_ONLY' : 'REJECT_DUPLICATE',
          // Its two ids and no more: what is given may be a whole document.
          args: [{ request: { organizationId: request.organizationId, requestId: request.requestId } }],
          staticSummary: `Erasure ${request.requestId} for ${request.organizationId}`,
          typedSearchAttributes: [
            { key: organizationAttribute, value: request.organizationId },
            { key: kindAttribute, value: 'erasure' },
            { key: phaseAttribute, value: 'received' },
            { key: deadlineAttribute, value: dueAt },
          ],
        }),
      )
    } catch (error) {
      if (error instanceof WorkflowExecutionAlreadyStartedError) return
      const fields = { organizationId: request.organizationId, erasureId: request.requestId, error }
      if (isTemporalUnavailable(error)) logger.warn('erasures.temporal_away', fields)
      else logger.error('erasures.start_refused', fields)
      throw temporalAway(error)
    }
  }
}

/** What a caller is told while it cannot be reached. */
export function temporalAway(cause: unknown): AnnalsError {
  return new AnnalsError(
    'temporal_unavailable',
    'The workflow of the request could not be reached; try again.',
    {
      retryAfterSeconds,
      cause,
    },
  )
}
