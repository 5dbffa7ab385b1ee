/**
 * How an activity that runs long runs: it beats, ends early with its worker, and leaves a code alone when it fails, since
 * errors of stores and databases name paths and values.
 */
import { ApplicationFailure, CancelledFailure, Context } from '@temporalio/activity'

export interface Step {
  /** What the next heartbeats say: leaves, or events, so far. */
  readonly onProgress: (done: number) => void
  /** The worker is stopping, or the activity was cancelled. */
  readonly signal: AbortSignal
}

export type Reporting = <T>(body: (step: Step) => Promise<T>) => Promise<T>

export interface ReportingOptions {
  readonly stopping: AbortSignal
  /** The type of the failure, which is all that is said of it. */
  readonly codeOf: (error: unknown) => string
  readonly onFailure: (code: string, error: unknown) => void
}

const beatEveryMs = 5_000

/** Beats by a timer of its own: what answers slowly must not look like a dead worker. */
export function createReporting({ stopping, codeOf, onFailure }: ReportingOptions): Reporting {
  return async (body) => {
    const context = Context.current()
    let progress = 0
    const timer = setInterval(() => context.heartbeat(progress), beatEveryMs)
    const signal = AbortSignal.any([stopping, context.cancellationSignal])
    try {
      return await body({ onProgress: (done) => (progress = done), signal })
    } catch (error) {
      if (context.cancellationSignal.aborted) throw new CancelledFailure('cancelled')
      const type = codeOf(error)
      onFailure(type, error)
      throw ApplicationFailure.create({ message: type, type })
    } finally {
      clearInterval(timer)
    }
  }
}
