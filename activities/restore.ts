/** The activities of a restore's workflow. Each may run any number of times; what failed leaves as a code alone. */
import { Context } from '@temporalio/activity'
import { AnnalsError } from '../src/errors.js'
import {
  restoreWorkflowId,
  type RestoreFailure,
  type RestoreReference,
} from '../src/archive/restores/contract.js'
import type { Restorer } from '../src/archive/restores/restorer.js'
import type { Logger } from '../src/logging.js'
import { isMongoUnavailable } from '../src/mongo/unavailable.js'
import type { RunReason } from '../src/retention/contract.js'
import { runIdOf, type RunStore } from '../src/retention/runs.js'
import { createReporting, type Execution } from './reporting.js'

export interface RestoreActivities {
  /** Ends once the request is written. */
  awaitRestore(restore: RestoreReference): Promise<void>
  copyRestore(restore: RestoreReference): Promise<void>
  /** @returns when it goes again, in milliseconds */
  activateRestore(restore: RestoreReference): Promise<number>
  expireRestore(restore: RestoreReference): Promise<void>
  failRestore(restore: RestoreReference, failure: RestoreFailure): Promise<void>
}

export interface RestoreActivityDependencies {
  readonly restorer: Restorer
  /** Shows a restore beside the other runs of retention. */
  readonly runs: Pick<RunStore, 'begin' | 'advance' | 'finish' | 'fail'>
  readonly logger: Logger
  /** The worker is stopping: another one goes on from where this one is. */
  readonly stopping: AbortSignal
}

export function createRestoreActivities(deps: RestoreActivityDependencies): RestoreActivities {
  const { restorer, runs, logger, stopping } = deps

  const reporting = createReporting({
    stopping,
    codeOf,
    onFailure(code, error) {
      logger.warn('restores.interrupted', { code, error })
    },
  })

  return {
    awaitRestore: (restore) =>
      reporting(async () => {
        if (!(await restorer.known(restore))) throw new AnnalsError('unavailable', 'It is not written yet.')
        const { workflowId, runId: execution } = executionOf(restore)
        await runs.begin({
          organizationId: restore.organizationId,
          kind: 'restore',
          generation: null,
          from: null,
          to: null,
          workflowId,
          execution,
          step: 'copying',
          at: new Date(),
        })
      }),
    async copyRestore(restore) {
      const total = await reporting(async () => (await restorer.find(restore)).leavesToRead)
      await reporting(
        async ({ onProgress, signal }) => {
          const done = await restorer.copy(restore, { beat: onProgress, signal })
          if (!done) throw new AnnalsError('unavailable', 'The worker is stopping.')
        },
        {
          total,
          keep: (progress) => runs.advance(restore.organizationId, rowOf(restore), progress, new Date()),
        },
      )
    },
    activateRestore: (restore) =>
      reporting(async () => {
        const expiresAt = await restorer.activate(restore)
        const { leaves, events, bytes } = (await restorer.find(restore)).counts
        const done = { step: 'done', counts: { leaves, events }, bytes: { hot: bytes } } as const
        await runs.finish(restore.organizationId, rowOf(restore), done, new Date())
        return expiresAt.getTime()
      }),
    expireRestore: (restore) => reporting(() => restorer.expire(restore)),
    failRestore: (restore, failure) =>
      reporting(async () => {
        await restorer.fail(restore, failure)
        await runs.fail(restore.organizationId, rowOf(restore), reasons[failure], {}, new Date())
      }),
  }
}

/** Of the workflow that asks. */
function executionOf(restore: RestoreReference): Execution {
  const { workflowExecution } = Context.current().info
  return { workflowId: restoreWorkflowId(restore), runId: workflowExecution?.runId ?? '' }
}

function rowOf(restore: RestoreReference): string {
  const { workflowId, runId } = executionOf(restore)
  return runIdOf(workflowId, runId)
}

/** Why a restore was given up, in the words of runs. */
const reasons: Readonly<Record<RestoreFailure, RunReason>> = {
  archive_damaged: 'archive_altered',
  unavailable: 'archive_unavailable',
  cancelled: 'cancelled',
  internal: 'internal',
}

function codeOf(error: unknown): string {
  if (error instanceof AnnalsError) return error.code
  return isMongoUnavailable(error) ? 'unavailable' : 'internal'
}
