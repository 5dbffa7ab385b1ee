/** What a stream does where requests cannot be streamed (browsers, some runtimes): the same events, batch by batch. */
import { postTexts } from './batches.js'
import { aborted } from './backoff.js'
import { AnnalsClientError } from './errors.js'
import {
  callBack,
  defaultMaxFailures,
  letGo,
  tooManyFailures,
  type StreamLinesOptions,
} from './stream-options.js'
import type { Send } from './transport.js'
import type { RetryOptions, StreamCounts } from './types.js'
import type { StreamItem } from './window.js'

const maxBatchEvents = 500
const maxBatchCharacters = 4 * 1_048_576
/** An event waits so long for others to go with it. */
const lingerMs = 10

/** @throws as `streamLines` */
export async function streamByBatch<Tag>(
  send: Send,
  batches: AsyncIterable<readonly StreamItem<Tag>[]>,
  options: StreamLinesOptions<Tag> & { readonly retry?: RetryOptions | undefined },
): Promise<StreamCounts> {
  const { onFailure, onProgress, maxFailures = defaultMaxFailures, signal, retry } = options
  const counts = { accepted: 0, replayed: 0, rejected: 0 }

  async function flush(items: readonly StreamItem<Tag>[]): Promise<void> {
    const last = items.at(-1)
    if (last === undefined) return
    const texts = items.map(({ text }) => text)
    const outcomes = await postTexts(send, texts, { retry, signal, timeoutMs: 60_000 })
    items.forEach(({ tag }, index) => {
      const outcome = outcomes[index]
      if (outcome === undefined) return
      if (!(outcome instanceof AnnalsClientError)) counts[outcome.replayed ? 'replayed' : 'accepted'] += 1
      else if (outcome.temporary || outcome.problem === undefined) throw outcome
      else {
        const { problem } = outcome
        counts.rejected += 1
        callBack(() => onFailure?.({ tag, problem }))
      }
    })
    callBack(() => onProgress?.({ counts: { ...counts }, tag: last.tag }))
    if (counts.rejected >= maxFailures) throw tooManyFailures(maxFailures)
  }

  let waiting: StreamItem<Tag>[] = []
  let characters = 0
  async function flushAll(): Promise<void> {
    const items = waiting
    waiting = []
    characters = 0
    await flush(items)
  }

  const source = batches[Symbol.asyncIterator]()
  let next: Promise<IteratorResult<readonly StreamItem<Tag>[], unknown>> | undefined
  try {
    for (;;) {
      next ??= source.next()
      const result = await untilReady(next, waiting.length > 0 ? lingerMs : undefined, signal)
      if (result === 'not yet') {
        await flushAll()
        continue
      }
      next = undefined
      if (result.done === true) break
      for (const item of result.value) {
        waiting.push(item)
        characters += item.text.length
        if (waiting.length >= maxBatchEvents || characters >= maxBatchCharacters) await flushAll()
      }
    }
    await flushAll()
    return counts
  } finally {
    await letGo(source, next, signal)
  }
}

/** Waits for the source: so long where something is to be sent meanwhile, and until the caller gives up. */
function untilReady<Result>(
  next: Promise<Result>,
  ms: number | undefined,
  signal: AbortSignal | undefined,
): Promise<Result | 'not yet'> {
  return new Promise((resolve, reject) => {
    const timer = ms === undefined ? undefined : setTimeout(() => end(() => resolve('not yet')), ms)
    const onAbort = () => end(() => reject(aborted(signal)))
    // A stream may wait a million times: nothing of a wait stays at the caller's signal.
    const end = (settle: () => void) => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      settle()
    }
    const onReady = () => end(() => resolve(next))
    if (signal?.aborted === true) onAbort()
    else {
      signal?.addEventListener('abort', onAbort, { once: true })
      next.then(onReady, onReady)
    }
  })
}
