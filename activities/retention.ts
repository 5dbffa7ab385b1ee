/**
 * The activities of retention. Each may run any number of times and goes on from what is there; what failed leaves as one
 * of `runReasons` alone, since errors of stores and databases name paths and values.
 */
import type { Logger } from '../src/logging.js'
import type { Archiver, ExportState } from '../src/retention/archiver.js'
import {
  archiveWorkflowId,
  lifecycleMoved,
  type ArchiveInput,
  type DuePage,
  type RunBytes,
  type RunCounts,
  type RunReason,
  type RunStep,
  type StepProgress,
} from '../src/retention/contract.js'
import { LifecycleMovedError } from '../src/retention/lifecycle.js'
import type { Planner } from '../src/retention/planning.js'
import type { RunStore } from '../src/retention/runs.js'
import { createReporting } from './reporting.js'
import { reasonOf } from './retention-failures.js'
import { createSegmentSteps } from './segment-steps.js'
import type { Turns } from './turns.js'

export interface ArchiveDone {
  readonly counts: RunCounts
  readonly bytes: RunBytes
}

export interface RetentionActivities {
  /** Ranges that are due, one of each organization, by organization. */
  findDue(asOfMs: number, after: string | null, limit: number): Promise<DuePage>
  findDueOf(asOfMs: number, organizationId: string): Promise<DuePage>
  /** Writes the row of the run. @returns `run_…` */
  beginArchive(range: ArchiveInput, execution: string): Promise<string>
  exportSegment(range: ArchiveInput): Promise<ExportState>
  verifySegment(range: ArchiveInput): Promise<void>
  recordSegment(range: ArchiveInput): Promise<void>
  deleteHot(range: ArchiveInput): Promise<ArchiveDone>
  /** @returns how far the step before came */
  noteStep(range: ArchiveInput, runId: string, step: RunStep): Promise<StepProgress | undefined>
  /** @returns how far the last step came */
  finishArchive(range: ArchiveInput, runId: string, done: ArchiveDone): Promise<StepProgress | undefined>
  stopArchive(range: ArchiveInput, runId: string, step: RunStep, reason: RunReason): Promise<void>
}

export interface RetentionActivityDependencies {
  readonly archiver: Archiver
  readonly planner: Planner
  readonly runs: RunStore
  readonly turns: Turns
  readonly logger: Logger
  /** The worker is stopping: another one takes the step again. */
  readonly stopping: AbortSignal
}

export function createRetentionActivities(deps: RetentionActivityDependencies): RetentionActivities {
  const { archiver, planner, runs, turns, logger, stopping } = deps

  const reporting = createReporting({
    stopping,
    codeOf: (error) => (error instanceof LifecycleMovedError ? lifecycleMoved : reasonOf(error)),
    onFailure(code, error) {
      logger.warn('retention.interrupted', { code, error })
    },
  })
  const overSegment = createSegmentSteps({ runs, reporting, turns })

  return {
    findDue: (asOfMs, after, limit) =>
      reporting(() => planner.due(new Date(asOfMs), after ?? undefined, limit)),
    findDueOf: (asOfMs, organizationId) =>
      reporting(async () => {
        const range = await planner.dueOf(new Date(asOfMs), organizationId)
        return { ranges: range === undefined ? [] : [range], next: null }
      }),
    beginArchive: (range, execution) =>
      reporting(() =>
        runs.begin({
          ...range,
          kind: 'archive',
          workflowId: archiveWorkflowId(range),
          execution,
          step: 'exporting',
          at: new Date(),
        }),
      ),
    exportSegment: (range) => overSegment(range, (options) => archiver.write(range, options)),
    verifySegment: (range) => overSegment(range, (options) => archiver.verify(range, options)),
    recordSegment: (range) => reporting(() => archiver.record(range)),
    deleteHot: (range) => overSegment(range, (options) => archiver.remove(range, options)),
    noteStep: ({ organizationId }, runId, step) =>
      reporting(() => runs.progress(organizationId, runId, { step }, new Date())),
    finishArchive: ({ organizationId }, runId, { counts, bytes }) =>
      reporting(() => runs.finish(organizationId, runId, { step: 'done', counts, bytes }, new Date())),
    stopArchive: ({ organizationId }, runId, step, reason) =>
      reporting(() => runs.needOperator(organizationId, runId, reason, { step }, new Date())),
  }
}
