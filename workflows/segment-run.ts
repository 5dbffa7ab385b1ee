/**
 * What the workflows of one segment share: its steps, one after the other, each noted in the row of the run and shown to
 * operators. A step that does not succeed in its retries ends the run with `needs_operator`; the next sweep, one that is
 * asked for, or the update `retry` (which starts a run where none is under way) takes the same segment up again from what
 * is there.
 */
import {
  ActivityFailure,
  ApplicationFailure,
  defineQuery,
  defineUpdate,
  isCancellation,
  patched,
  proxyActivities,
  proxyLocalActivities,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
  type ActivityInterfaceFor,
} from '@temporalio/workflow'
import {
  retryUpdateName,
  runReasons,
  stateQueryName,
  type ArchiveInput,
  type RunReason,
  type RunStanding,
  type RunStep,
  type StepProgress,
} from '../src/retention/contract.js'

export const stepRetry = {
  initialInterval: '1s',
  backoffCoefficient: 3,
  maximumInterval: '1m',
  maximumAttempts: 6,
} as const

/** Of a step that reads or writes a whole segment, and waits for its turn among the others of a sweep. */
export const longStep = { startToCloseTimeout: '1d', heartbeatTimeout: '1m' } as const

/** A row says what happened: worth waiting for the database. */
const noting = {
  startToCloseTimeout: '30s',
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '1m', maximumAttempts: 30 },
} as const
/** Histories of before have an activity of its own for each note. */
const notesWithin = 'notes-within-workflow-tasks'

/**
 * The activities that write into the row of a run, for one execution. They run within its workflow tasks: six round trips
 * through the server for a segment would be more than the segment itself, and a sweep starts two hundred.
 */
export const notesOf = <Activities>(): ActivityInterfaceFor<Activities> =>
  patched(notesWithin)
    ? proxyLocalActivities<Activities>(noting)
    : proxyActivities<Activities>({ ...noting, summary: 'Note where the run is' })

export interface SegmentRun<Step extends RunStep> {
  /** What is done, and to what. */
  readonly title: string
  /** The steps before `done` in their order, in words. */
  readonly steps: Readonly<Record<Step, string>>
  readonly first: NoInfer<Step>
  /** Writes the row of the run. @returns `run_…` */
  readonly begin: () => Promise<string>
  /** @returns how far the step before came; nothing in histories of before there was such a thing */
  readonly note: (runId: string, step: NoInfer<Step>) => Promise<StepProgress | undefined>
  readonly stop: (runId: string, step: NoInfer<Step> | 'done', reason: RunReason) => Promise<void>
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

export interface Steps<Step extends RunStep> {
  /** `run_…` */
  readonly runId: string
  /** Says which step is taken now. */
  readonly at: (step: Step) => Promise<void>
  /** Says that all is done. @param last how far the last step came */
  readonly done: (last: StepProgress | undefined) => void
}

const retryUpdate = defineUpdate<RunStanding>(retryUpdateName)
const stateQuery = defineQuery<RunStanding>(stateQueryName)

/** @param body takes the steps, and says which one it is at */
export async function takeSteps<Step extends RunStep, Result>(
  run: SegmentRun<Step>,
  body: (steps: Steps<Step>) => Promise<Result>,
): Promise<Result | NeedsOperator> {
  let step: Step | 'done' = run.first
  let standing: RunStanding = { state: 'running', step, reason: null, runId: null, progress: {} }
  const operator = { asksAgain: false }
  const move = (change: Partial<RunStanding>) => {
    standing = { ...standing, ...change }
    show(run, standing)
    showPhase(standing)
  }
  const note = (of: Step | 'done', progress: StepProgress | undefined) => {
    // None is told where a step had nothing to count.
    if (progress === undefined) return
    standing = { ...standing, progress: { ...standing.progress, [of]: progress } }
    show(run, standing)
  }
  setHandler(stateQuery, () => standing, { description: 'Where the run is, and how far its steps came' })
  setHandler(
    retryUpdate,
    () => {
      operator.asksAgain = true
      return standing
    },
    { description: 'Take the steps once more instead of stopping, after seeing to what stops them' },
  )
  const runId = await run.begin()
  standing = { ...standing, runId }
  const steps: Steps<Step> = {
    runId,
    async at(next) {
      const before = step
      step = next
      move({ state: 'running', step, reason: null })
      note(before, await run.note(runId, next))
    },
    done(last) {
      note(step, last)
      step = 'done'
      move({ state: 'done', step, reason: null })
    },
  }
  for (;;) {
    try {
      return await body(steps)
    } catch (error) {
      if (isCancellation(error)) throw error
      const reason = (run.reasonOf ?? reasonOf)(error)
      if (!operator.asksAgain) await run.stop(runId, step, reason)
      if (!operator.asksAgain) {
        move({ state: 'needs_operator', reason })
        return { state: 'needs_operator', reason }
      }
      // Somebody has seen to it meanwhile: from the first step again, each of which finds what is there.
      operator.asksAgain = false
      step = run.first
    }
  }
}

const phaseAttribute = { name: 'AnnalsPhase', type: 'KEYWORD' } as const

function show(
  { title, steps }: Pick<SegmentRun<RunStep>, 'title'> & { readonly steps: Readonly<Record<string, string>> },
  { step, reason, progress }: RunStanding,
): void {
  const names = Object.keys(steps)
  const figures = new Map(Object.entries(progress))
  const reached = step === 'done' ? names.length : names.indexOf(step)
  const lines = Object.entries(steps).map(
    ([name, words], index) => `- [${index < reached ? 'x' : ' '}] ${words}${inFigures(figures.get(name))}`,
  )
  const stopped =
    reason === null ? [] : [`- stopped: **${reason}**; the next sweep, or \`retry\`, goes on from here`]
  setCurrentDetails([title, ...lines, ...stopped].join('\n'))
}

function showPhase({ step, reason }: RunStanding): void {
  upsertSearchAttributes([{ key: phaseAttribute, value: reason === null ? step : 'needs_operator' }])
}

/** `: 300 of 300 leaves, 1.4 MB` */
function inFigures(progress: StepProgress | undefined): string {
  if (progress === undefined) return ''
  const { done, total, bytes } = progress
  const leaves = `: ${String(done)}${total === null ? '' : ` of ${String(total)}`} leaves`
  return bytes === null ? leaves : `${leaves}, ${(bytes / 1e6).toFixed(1)} MB`
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
