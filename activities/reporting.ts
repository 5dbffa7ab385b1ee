/**
 * How an activity that runs long runs: it beats, ends early with its worker, and leaves a code alone when it fails, since
 * errors of stores and databases name paths and values.
 */
import { ApplicationFailure, CancelledFailure, Context } from '@temporalio/activity'
import type { StepProgress } from '../src/retention/contract.js'

export interface Step {
  /** What the next heartbeats say: leaves, or events, so far, and the bytes of them. */
  readonly onProgress: (done: number, bytes?: number) => void
  /** Tells Temporal where the step is, at once and in every heartbeat after: what its next attempt begins from. */
  readonly say: (place: unknown) => void
  /** The worker is stopping, or the activity was cancelled. */
  readonly signal: AbortSignal
}

/** Of whom a step is, to whoever keeps how far it is. */
export interface Execution {
  readonly workflowId: string
  /** Temporal's run id. */
  readonly runId: string
}

export interface Scope {
  /** Leaves, or events, in all. Absent = nobody knows. */
  readonly total?: number
  /** Keeps how far the step is where others see it: at each beat, and when it has ended well. A failure is passed over. */
  readonly keep?: (progress: StepProgress, execution: Execution) => Promise<void>
}

export type Reporting = <T>(body: (step: Step) => Promise<T>, scope?: Scope) => Promise<T>

export interface ReportingOptions {
  readonly stopping: AbortSignal
  /** The type of the failure, which is all that is said of it. */
  readonly codeOf: (error: unknown) => string
  readonly onFailure: (code: string, error: unknown) => void
  /**
   * The type of what is no failure: the worker is stopping. It is not tried again by Temporal, which would count it; its
   * workflow takes the step again, on another worker. Absent = it counts as any other.
   */
  readonly interruption?: string
}

const beatEveryMs = 5_000

/** Beats by a timer of its own: what answers slowly must not look like a dead worker. */
export function createReporting({ stopping, codeOf, onFailure, interruption }: ReportingOptions): Reporting {
  return async (body, { total, keep } = {}) => {
    const context = Context.current()
    let progress: StepProgress = { done: 0, total: total ?? null, bytes: null }
    let keeping: Promise<void> | undefined
    const { workflowExecution } = context.info
    const keepOne = async () => {
      if (workflowExecution !== undefined) await keep?.(progress, workflowExecution).catch(() => undefined)
      keeping = undefined
    }
    let place: unknown
    // One that runs within a workflow task is beaten for by its worker.
    const beat = (details: unknown) => {
      if (!context.info.isLocal) context.heartbeat(details)
    }
    const say = (told: unknown) => {
      place = told
      beat(place)
    }
    const timer = setInterval(() => {
      beat(place ?? progress)
      // One at a time: a database that answers slowly is not asked again meanwhile.
      if (progress.done > 0) keeping ??= keepOne()
    }, beatEveryMs)
    const signal = AbortSignal.any([stopping, context.cancellationSignal])
    const onProgress = (done: number, bytes?: number) => {
      progress = { ...progress, done, bytes: bytes ?? progress.bytes }
    }
    try {
      const result = await body({ onProgress, say, signal })
      await keeping
      if (progress.done > 0) await keepOne()
      return result
    } catch (error) {
      if (context.cancellationSignal.aborted) throw new CancelledFailure('cancelled')
      if (stopping.aborted && interruption !== undefined)
        throw ApplicationFailure.create({ message: interruption, type: interruption, nonRetryable: true })
      const type = codeOf(error)
      onFailure(type, error)
      throw ApplicationFailure.create({ message: type, type })
    } finally {
      clearInterval(timer)
    }
  }
}
