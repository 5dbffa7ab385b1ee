/** Posting many events by `POST /v1/events/batch`: each item until it is stored or refused for good. */
import { Backoff, pause } from './backoff.js'
import { AnnalsClientError, errorOfProblem, isTemporaryStatus, type Problem } from './errors.js'
import { requestJson, type Send } from './transport.js'
import type { RetryOptions, StoredEvent } from './types.js'

interface BatchResult {
  readonly index: number
  readonly status: number
  readonly id?: string
  readonly leafHash?: string
  readonly replayed?: boolean
  readonly problem?: Problem
}

export interface BatchOptions {
  readonly retry?: RetryOptions | undefined
  readonly signal?: AbortSignal | undefined
  readonly timeoutMs?: number | undefined
  readonly keepalive?: boolean
}

/**
 * Posts up to 1,000 events, each as JSON text with an id or an idempotency key.
 * @returns for each event what is stored, or why not
 * @throws AnnalsClientError where the whole batch is refused, or does not get through in time
 */
export async function postTexts(
  send: Send,
  texts: readonly string[],
  options: BatchOptions,
): Promise<(StoredEvent | AnnalsClientError)[]> {
  const outcomes = new Map<number, StoredEvent | AnnalsClientError>()
  const backoff = new Backoff(options.retry)
  let left = texts.map((_text, index) => index)
  while (left.length > 0) {
    let failure: AnnalsClientError | undefined
    try {
      const results = await post(
        send,
        left.map((index) => texts[index] ?? ''),
        options,
      )
      const again: number[] = []
      left.forEach((index, at) => {
        const result = results[at]
        if (result === undefined) throw new AnnalsClientError('unexpected_answer', 'A result is missing.')
        const outcome = outcomeOf(result)
        outcomes.set(index, outcome)
        if (outcome instanceof AnnalsClientError && isTemporaryStatus(outcome.status)) {
          failure = outcome
          again.push(index)
        }
      })
      if (again.length < left.length) backoff.reset()
      left = again
    } catch (error) {
      if (!(error instanceof AnnalsClientError) || !error.temporary) throw error
      failure = error
    }
    if (failure === undefined) continue
    const ms = backoff.next(failure.retryAfterMs)
    if (ms === undefined) {
      if (left.length === texts.length && outcomes.size === 0) throw failure
      for (const index of left) outcomes.set(index, failure)
      break
    }
    await pause(ms, options.signal)
  }
  return texts.map((_text, index) => outcomes.get(index) ?? missing())
}

async function post(
  send: Send,
  texts: readonly string[],
  { signal, timeoutMs, keepalive }: BatchOptions,
): Promise<readonly BatchResult[]> {
  const response = await requestJson(
    async (request) => send({ ...request, body: `{"events":[${texts.join(',')}]}` }),
    {
      method: 'POST',
      path: '/v1/events/batch',
      headers: { 'content-type': 'application/json' },
      signal,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      ...(keepalive === undefined ? {} : { keepalive }),
    },
  )
  if (typeof response === 'object' && response !== null && 'results' in response) {
    const { results } = response
    if (Array.isArray(results)) return results as BatchResult[]
  }
  throw new AnnalsClientError('unexpected_answer', 'The answer is no list of results.')
}

function outcomeOf({
  id,
  leafHash,
  replayed = false,
  problem,
}: BatchResult): StoredEvent | AnnalsClientError {
  if (problem !== undefined) return errorOfProblem(problem)
  return id !== undefined && leafHash !== undefined ? { id, leafHash, replayed } : missing()
}

const missing = () => new AnnalsClientError('unexpected_answer', 'A result says neither id nor problem.')
