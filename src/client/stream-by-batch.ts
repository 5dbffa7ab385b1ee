/** What a stream does where requests cannot be streamed (browsers): the same events, batch by batch. */
import { postTexts } from './batches.js'
import { AnnalsClientError } from './errors.js'
import type { StreamLinesOptions } from './stream.js'
import type { Send } from './transport.js'
import type { RetryOptions, StreamCounts } from './types.js'
import type { StreamItem } from './window.js'

const maxBatchEvents = 500
const maxBatchCharacters = 4 * 1_048_576

/** @throws as `streamLines` */
export async function streamByBatch<Tag>(
  send: Send,
  batches: AsyncIterable<readonly StreamItem<Tag>[]>,
  options: StreamLinesOptions<Tag> & { readonly retry?: RetryOptions | undefined },
): Promise<StreamCounts> {
  const { onFailure, onProgress, maxFailures = 1_000, signal, retry } = options
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
        counts.rejected += 1
        onFailure?.({ tag, problem: outcome.problem })
      }
    })
    onProgress?.({ counts: { ...counts }, tag: last.tag })
    if (counts.rejected >= maxFailures) {
      throw new AnnalsClientError('too_many_failures', `${maxFailures} events were refused.`, { status: 422 })
    }
  }

  let waiting: StreamItem<Tag>[] = []
  let characters = 0
  for await (const batch of batches) {
    for (const item of batch) {
      waiting.push(item)
      characters += item.text.length
      if (waiting.length < maxBatchEvents && characters < maxBatchCharacters) continue
      await flush(waiting)
      waiting = []
      characters = 0
    }
  }
  await flush(waiting)
  return counts
}
