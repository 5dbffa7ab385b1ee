/** When to try again: exponentially later, spread by chance, and never before the server asked for. */
import { AnnalsClientError } from './errors.js'
import type { RetryOptions } from './types.js'

/** The pauses between the tries of one thing. */
export class Backoff {
  readonly #baseMs: number
  readonly #maxMs: number
  readonly #giveUpAfterMs: number
  #failures = 0
  #since: number | undefined

  constructor({ baseMs = 200, maxMs = 30_000, giveUpAfterMs = 120_000 }: RetryOptions = {}) {
    this.#baseMs = baseMs
    this.#maxMs = maxMs
    this.#giveUpAfterMs = giveUpAfterMs
  }

  /** Something went well: the next failure is a first one. */
  reset(): void {
    this.#failures = 0
    this.#since = undefined
  }

  /** Milliseconds to wait after a failure; undefined = give up. */
  next(retryAfterMs = 0): number | undefined {
    const now = performance.now()
    this.#since ??= now
    const doubled = Math.min(this.#maxMs, this.#baseMs * 2 ** this.#failures)
    this.#failures += 1
    // Half of it by chance, so that clients that failed together do not come back together.
    const pause = Math.max(retryAfterMs, doubled * (0.5 + Math.random() / 2))
    return now + pause - this.#since > this.#giveUpAfterMs ? undefined : pause
  }
}

/** @throws AnnalsClientError `aborted` */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(aborted(signal))
      return
    }
    const onAbort = () => {
      clearTimeout(timer)
      reject(aborted(signal))
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    }, ms)
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

export const aborted = (signal?: AbortSignal) =>
  new AnnalsClientError('aborted', 'The caller gave up.', { cause: signal?.reason })

/** Runs one thing until it succeeds, fails for good, or the time is over: then its last failure is thrown. */
export async function retrying<T>(
  attempt: () => Promise<T>,
  options: RetryOptions | undefined,
  signal?: AbortSignal,
): Promise<T> {
  const backoff = new Backoff(options)
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (!(error instanceof AnnalsClientError) || !error.temporary) throw error
      const ms = backoff.next(error.retryAfterMs)
      if (ms === undefined) throw error
      await pause(ms, signal)
    }
  }
}
