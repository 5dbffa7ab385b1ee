/** What both ways to stream events share: over one request, and by batches. */
import { AnnalsClientError } from './errors.js'
import type { StreamCounts, StreamFailure } from './types.js'

export const defaultMaxFailures = 1_000

export interface StreamLinesOptions<Tag> {
  /** Called for each event that is refused for good, in no particular order. */
  readonly onFailure?: ((failure: StreamFailure<Tag>) => void) | undefined
  /** Everything up to the event with this tag is stored, or was handed to `onFailure`. */
  readonly onProgress?: ((progress: { readonly counts: StreamCounts; readonly tag: Tag }) => void) | undefined
  /** So many refusals end the stream. Default 1,000. */
  readonly maxFailures?: number | undefined
  readonly signal?: AbortSignal | undefined
}

export const tooManyFailures = (failures: number) =>
  new AnnalsClientError('too_many_failures', `${failures} events were refused.`, { status: 422 })

/** A callback that fails ends the stream: it is no failure of the connection. */
export function callBack(call: () => void): void {
  try {
    call()
  } catch (error) {
    throw new AnnalsClientError('aborted', 'A callback of the stream failed.', { cause: error })
  }
}

/** Lets go of a source. One that is busy is not waited for by who gave up. */
export async function letGo(
  source: AsyncIterator<unknown>,
  next: Promise<unknown> | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  const released = Promise.allSettled([next, source.return?.()])
  if (signal?.aborted !== true) await released
}
