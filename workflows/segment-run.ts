/**
 * What the workflows of one segment share: its steps, one after the other, each noted in the row of the run and shown to
 * operators. A step that does not succeed in its retries ends the run with `needs_operator`; the next sweep, or one that
 * is asked for, takes the same segment up again from what is there.
 */
import {
  ActivityFailure,
  ApplicationFailure,
  isCancellation,
  setCurrentDetails,
  upsertSearchAttributes,
  workflowInfo,
  type ActivityOptions,
} from '@temporalio/workflow'
import { runReasons, type ArchiveInput, type RunReason, type RunStep } from '../src/retention/contract.js'

export const stepRetry = {
  initialInterval: '1s',
  backoffCoefficient: 3,
  maximumInterval: '1m',
  maximumAttempts: 6,
} as const

/** Of a step that reads or writes a whole segment. */
export const longStep = { startToCloseTimeout: '6h', heartbeatTimeout: '1m' } as const

/** A row says what happened: worth waiting for the database. */
export const noting = {
  startToCloseTimeout: '30s',
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '1m', maximumAttempts: 30 },
  summary: 'Note where the run is',
} as const satisfies ActivityOptions

export interface SegmentRun<Step extends RunStep> {
  /** What is done, and to what. */
  readonly title: string
  /** The steps before `done` in their order, in words. */
  readonly steps: Readonly<Record<Step, string>>
  readonly first: NoInfer<Step>
  readonly note: (step: NoInfer<Step>) => Promise<void>
  readonly stop: (step: NoInfer<Step> | 'done', reason: RunReason) => Promise<void>
  /** Absent = `reasonOf`. */
  readonly reasonOf?: (error: unknown) => RunReason
}

export interface NeedsOperator {
  readonly state: 'needs_operator'
  readonly reason: RunReason
}

/** @returns the id of this execution @throws ApplicationFailure where the input is another run's */
export function executionOf(workflowIdOfInput: string): string {
  const { workflowId, runId } = workflowInfo()
  if (workflowIdOfInput !== workflowId)
    throw ApplicationFailure.nonRetryable('not the input of this run', 'invalid')
  return runId
}

/** @param body takes the steps, and says which one it is at */
export async function takeSteps<Step extends RunStep, Result>(
  run: SegmentRun<Step>,
  body: (at: (step: Step | 'done') => Promise<void>) => Promise<Result>,
): Promise<Result | NeedsOperator> {
  let step: Step | 'done' = run.first
  try {
    return await body(async (next) => {
      step = next
      show(run, next)
      if (next !== 'done') await run.note(next)
    })
  } catch (error) {
    if (isCancellation(error)) throw error
    const reason = (run.reasonOf ?? reasonOf)(error)
    await run.stop(step, reason)
    show(run, step, reason)
    return { state: 'needs_operator', reason }
  }
}

const phaseAttribute = { name: 'AnnalsPhase', type: 'KEYWORD' } as const

function show(
  { title, steps }: Pick<SegmentRun<RunStep>, 'title'> & { readonly steps: Readonly<Record<string, string>> },
  step: RunStep,
  reason?: RunReason,
): void {
  const names = Object.keys(steps)
  const reached = step === 'done' ? names.length : names.indexOf(step)
  const lines = Object.values(steps).map((words, index) => `- [${index < reached ? 'x' : ' '}] ${words}`)
  const stopped = reason === undefined ? [] : [`- stopped: **${reason}**; the next sweep goes on from here`]
  setCurrentDetails([title, ...lines, ...stopped].join('\n'))
  upsertSearchAttributes([{ key: phaseAttribute, value: reason === undefined ? step : 'needs_operator' }])
}

/** What an activity failed with; undefined where it was not an activity, or says no code. */
export function failureType(error: unknown): string | undefined {
  const cause = error instanceof ActivityFailure ? error.cause : undefined
  return cause instanceof ApplicationFailure ? (cause.type ?? undefined) : undefined
}

/** The reason of a failure: its type, where that is one. */
export function reasonOf(error: unknown): RunReason {
  const type = failureType(error)
  return runReasons.find((reason) => reason === type) ?? 'internal'
}

/** `leaves 0 to 256 of generation 1` */
export const leavesOf = ({ generation, from, to }: ArchiveInput): string =>
  `leaves ${String(from)} to ${String(to)} of generation ${String(generation)}`
