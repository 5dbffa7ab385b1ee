/** How far the steps of a segment are, in the row of their run: what `GET …/retention/runs` shows while they are under way. */
import type { ArchiveInput } from '../src/retention/contract.js'
import { runIdOf, type RunStore } from '../src/retention/runs.js'
import type { Scope } from './reporting.js'

/** Keeps the progress of a step over a range in the row of the execution that takes it. */
export const keptIn = (
  runs: Pick<RunStore, 'advance'>,
  { organizationId, from, to }: ArchiveInput,
): Scope => ({
  total: to - from,
  keep: (progress, { workflowId, runId }) =>
    runs.advance(organizationId, runIdOf(workflowId, runId), progress, new Date()),
})
