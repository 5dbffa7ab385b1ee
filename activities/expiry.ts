/**
 * The activities of expiry. Each may run any number of times and goes on from what is there; what failed leaves as one of
 * `runReasons` alone, since errors of stores and databases name paths and values.
 */
import { AnnalsError } from '../src/errors.js'
import type { Logger } from '../src/logging.js'
import type { RunKind, RunReason, RunStep, StepProgress } from '../src/retention/contract.js'
import type { Expired, Expirer, RewriteState } from '../src/retention/expirer.js'
import {
  expireWorkflowId,
  notSealedYet,
  type ExpireInput,
  type ExpiryKind,
  type ExpiryPage,
} from '../src/retention/expiry-contract.js'
import type { ExpiryPlanner } from '../src/retention/expiry-planning.js'
import type { RunStore } from '../src/retention/runs.js'
import { createReporting } from './reporting.js'
import { reasonOf } from './retention-failures.js'
import { createSegmentSteps } from './segment-steps.js'
import type { Turns } from './turns.js'

export interface ExpiryActivities {
  /** Segments that are due, one of each organization, by organization. */
  findExpired(asOfMs: number, after: string | null, limit: number): Promise<ExpiryPage>
  findExpiredOf(asOfMs: number, organizationId: string): Promise<ExpiryPage>
  /** Writes the row of the run. @returns `run_…` */
  beginExpiry(input: ExpireInput, execution: string): Promise<string>
  rewriteExpired(input: ExpireInput): Promise<RewriteState>
  /** Fails with `not_sealed` until it is. */
  proveExpired(input: ExpireInput): Promise<void>
  deleteExpired(input: ExpireInput): Promise<Expired>
  noteExpiryStep(input: ExpireInput, runId: string, step: RunStep): Promise<StepProgress | undefined>
  finishExpiry(input: ExpireInput, runId: string, done: Expired): Promise<StepProgress | undefined>
  stopExpiry(input: ExpireInput, runId: string, step: RunStep, reason: RunReason): Promise<void>
}

export interface ExpiryActivityDependencies {
  readonly expirer: Expirer
  readonly planner: ExpiryPlanner
  readonly runs: RunStore
  readonly turns: Turns
  readonly logger: Logger
  /** The worker is stopping: another one takes the step again. */
  readonly stopping: AbortSignal
}

const runKind: Readonly<Record<ExpiryKind, RunKind>> = {
  content: 'content_expiry',
  records: 'record_expiry',
}

export function createExpiryActivities(deps: ExpiryActivityDependencies): ExpiryActivities {
  const { expirer, planner, runs, turns, logger, stopping } = deps

  const reporting = createReporting({
    stopping,
    codeOf,
    onFailure(code, error) {
      if (code !== notSealedYet) logger.warn('retention.interrupted', { code, error })
    },
  })
  const overSegment = createSegmentSteps({ runs, reporting, turns })

  return {
    findExpired: (asOfMs, after, limit) =>
      reporting(() => planner.due(new Date(asOfMs), after ?? undefined, limit)),
    findExpiredOf: (asOfMs, organizationId) =>
      reporting(async () => {
        const segment = await planner.dueOf(new Date(asOfMs), organizationId)
        return { segments: segment === undefined ? [] : [segment], next: null }
      }),
    beginExpiry: ({ kind, ...range }, execution) =>
      reporting(() =>
        runs.begin({
          ...range,
          kind: runKind[kind],
          workflowId: expireWorkflowId(range),
          execution,
          step: 'checking_holds',
          at: new Date(),
        }),
      ),
    rewriteExpired: (input) => overSegment(input, (options) => expirer.rewrite(input, options)),
    proveExpired: (input) =>
      reporting(async () => {
        if (!(await expirer.prove(input))) throw notSealed()
      }),
    deleteExpired: (input) => overSegment(input, (options) => expirer.remove(input, options)),
    noteExpiryStep: ({ organizationId }, runId, step) =>
      reporting(() => runs.progress(organizationId, runId, { step }, new Date())),
    finishExpiry: ({ organizationId }, runId, { counts, bytes }) =>
      reporting(() => runs.finish(organizationId, runId, { step: 'done', counts, bytes }, new Date())),
    stopExpiry: ({ organizationId }, runId, step, reason) =>
      reporting(() => runs.needOperator(organizationId, runId, reason, { step }, new Date())),
  }
}

const notSealed = () => new AnnalsError('not_sealed', 'What is to be proved is not sealed yet.')

function codeOf(error: unknown): RunReason | typeof notSealedYet {
  if (error instanceof AnnalsError) {
    if (error.code === 'not_sealed') return notSealedYet
    if (error.code === 'log_damaged') return 'log_unreadable'
    if (error.code === 'archive_damaged') return 'archive_altered'
    if (error.code === 'unavailable') return 'archive_unavailable'
  }
  return reasonOf(error)
}
