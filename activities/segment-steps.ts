/**
 * The steps that read or write a whole segment. Each waits for its turn, and its progress is kept in the row of the
 * execution that takes it: what `GET …/retention/runs` shows while it is under way.
 */
import type { ArchiveInput } from '../src/retention/contract.js'
import { runIdOf, type RunStore } from '../src/retention/runs.js'
import type { Reporting, Step } from './reporting.js'
import type { Turns } from './turns.js'

export interface SegmentSteps {
  readonly runs: Pick<RunStore, 'advance'>
  readonly reporting: Reporting
  readonly turns: Turns
}

export const createSegmentSteps =
  ({ runs, reporting, turns }: SegmentSteps) =>
  <T>({ organizationId, from, to }: ArchiveInput, body: (step: Step) => Promise<T>): Promise<T> =>
    reporting((step) => turns(to - from, step.signal, () => body(step)), {
      total: to - from,
      keep: (progress, { workflowId, runId }) =>
        runs.advance(organizationId, runIdOf(workflowId, runId), progress, new Date()),
    })
