/**
 * Takes up a run of retention that needs an operator, at once: by the update `retry` of its workflow, which is started where
 * it has ended (update with start). The row of the run that stood still is `superseded` by that of the new execution.
 */
import { WithStartWorkflowOperation, type Workflow } from '@temporalio/client'
import { AnnalsError, notFound } from '../errors.js'
import type { Logger } from '../logging.js'
import { isTemporalUnavailable, type TemporalConnection } from '../temporal/client.js'
import { kindAttribute, organizationAttribute, phaseAttribute } from '../temporal/search-attributes.js'
import {
  archiveWorkflowType,
  retentionTaskQueue,
  retryUpdateName,
  type ArchiveInput,
  type RunKind,
  type RunRetrier,
  type RunStanding,
  type RunStep,
} from './contract.js'
import { expireWorkflowType, type ExpireInput, type ExpiryKind } from './expiry-contract.js'
import type { RetentionRunDocument, RunStore } from './runs.js'

const temporalTimeoutMs = 10_000
const retryAfterSeconds = 5

export interface RunRetrierDependencies {
  readonly runs: Pick<RunStore, 'find'>
  readonly temporal: Pick<TemporalConnection, 'client' | 'withTimeout'>
  readonly logger: Logger
}

export function createRunRetrier({ runs, temporal, logger }: RunRetrierDependencies): RunRetrier {
  return {
    async retry(organizationId, runId) {
      const run = await runs.find(organizationId, runId)
      if (run === undefined) throw notFound()
      const begun = run.state === 'needs_operator' ? beginningOf(run) : undefined
      if (begun === undefined) throw new AnnalsError('wrong_state', 'The run does not wait for an operator.')
      const { workflowId } = run
      const start = new WithStartWorkflowOperation(begun.type, {
        workflowId,
        taskQueue: retentionTaskQueue,
        workflowIdConflictPolicy: 'USE_EXISTING',
        workflowIdReusePolicy: 'ALLOW_DUPLICATE',
        args: [begun.input],
        staticSummary: begun.summary,
        typedSearchAttributes: [
          { key: organizationAttribute, value: organizationId },
          { key: kindAttribute, value: 'retention' },
          { key: phaseAttribute, value: begun.phase },
        ],
      })
      // Its failure is that of the update.
      start.workflowHandle().catch(() => undefined)
      try {
        const { state, step } = await temporal.withTimeout(temporalTimeoutMs, () =>
          temporal.client.workflow.executeUpdateWithStart<Workflow, RunStanding, []>(retryUpdateName, {
            startWorkflowOperation: start,
          }),
        )
        return { workflowId, state, step }
      } catch (error) {
        const fields = { organizationId, error }
        if (isTemporalUnavailable(error)) logger.warn('retention.temporal_away', fields)
        else logger.warn('retention.retry_failed', fields)
        throw new AnnalsError(
          'temporal_unavailable',
          'The workflow of the run could not be reached; try again.',
          {
            retryAfterSeconds,
            cause: error,
          },
        )
      }
    },
  }
}

interface Beginning {
  readonly type: string
  readonly input: ArchiveInput | ExpireInput
  readonly phase: RunStep
  readonly summary: string
}

/** What each kind of run lets expire; undefined: it is no expiry. */
const expiryKinds: Readonly<Partial<Record<RunKind, ExpiryKind>>> = {
  content_expiry: 'content',
  record_expiry: 'records',
}

/** How the workflow of a run begins, as a sweep begins it; undefined for one that is not of leaves. */
function beginningOf(run: RetentionRunDocument): Beginning | undefined {
  const { organizationId, generation, from, to, kind } = run
  if (generation === null || from === null || to === null) return undefined
  const range = { organizationId, generation, from, to }
  const leaves = `of leaves ${String(from)} to ${String(to)} of ${organizationId}, asked for again`
  if (kind === 'archive')
    return { type: archiveWorkflowType, input: range, phase: 'exporting', summary: `Archive ${leaves}` }
  const expires = expiryKinds[kind]
  if (expires === undefined) return undefined
  const input = { ...range, kind: expires }
  return { type: expireWorkflowType, input, phase: 'rewriting', summary: `Expiry ${leaves}` }
}
