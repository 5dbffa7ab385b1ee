/**
 * `annals/client`: the typed client of Annals. It needs nothing but `fetch`: Node 20 and later, browsers.
 *
 *     const annals = createClient({ url: 'https://annals.example', key: process.env.ANNALS_KEY })
 *     await annals.post({ organizationId: 'org_acme', action: 'team.member.invited', … })
 */
import { retrying } from './backoff.js'
import { postTexts } from './batches.js'
import { AnnalsClientError } from './errors.js'
import { withKey } from './keys.js'
import { pages } from './pages.js'
import { EventQueue, type QueueOptions } from './queue.js'
import { streamByBatch } from './stream-by-batch.js'
import type { StreamLinesOptions } from './stream-options.js'
import { streamLines } from './stream.js'
import { canStream } from './surroundings.js'
import { createTransport, requestJson, type Send } from './transport.js'
import type {
  CallOptions,
  ClientOptions,
  EventSearch,
  EventView,
  NewEvent,
  StoredEvent,
  StreamCounts,
} from './types.js'
import type { StreamItem } from './window.js'

export { AnnalsClientError, type ClientErrorCode, type Problem } from './errors.js'
export type { EventQueue, QueueOptions } from './queue.js'
export type { StreamLinesOptions } from './stream-options.js'
export type * from './types.js'
export type { StreamItem } from './window.js'

export interface RequestOptions extends CallOptions {
  readonly body?: unknown
  /** Makes a POST safe to repeat; without it a POST is tried once. */
  readonly idempotencyKey?: string
}

export interface AnnalsClient {
  /** Stores one event. @throws AnnalsClientError */
  post(event: NewEvent, options?: CallOptions): Promise<StoredEvent>
  /** Stores up to 1,000 events: for each what is stored, or why not. @throws AnnalsClientError for all of them */
  postBatch(events: readonly NewEvent[], options?: CallOptions): Promise<(StoredEvent | AnnalsClientError)[]>
  /** A bounded queue that sends in batches. */
  queue(options: QueueOptions): EventQueue
  /** Streams events; failures and progress name the place of an event in the source, from 0. */
  stream(
    events: AsyncIterable<NewEvent> | Iterable<NewEvent>,
    options?: StreamLinesOptions<number>,
  ): Promise<StreamCounts>
  /** The same for events that are JSON text already, each with an id or an idempotency key. */
  streamLines<Tag>(
    batches: AsyncIterable<readonly StreamItem<Tag>[]>,
    options?: StreamLinesOptions<Tag>,
  ): Promise<StreamCounts>
  /** Every event that the filters find, newest first, page by page. Filters go in the body. */
  search(organizationId: string, search?: EventSearch, options?: CallOptions): AsyncGenerator<EventView>
  /** One event. @throws AnnalsClientError `not_found` */
  get(organizationId: string, eventId: string, options?: CallOptions): Promise<EventView>
  /** Every entry of a list, such as `/v1/organizations`. */
  list(path: string, query?: Readonly<Record<string, string>>, options?: CallOptions): AsyncGenerator
  /** Any other request, with its JSON answer. */
  request(method: string, path: string, options?: RequestOptions): Promise<unknown>
}

const pageSize = 200

export function createClient(options: ClientOptions): AnnalsClient {
  const send = createTransport(options)
  const { retry, timeoutMs } = options
  const timeout = timeoutMs === undefined ? {} : { timeoutMs }

  const request: AnnalsClient['request'] = (method, path, { body, idempotencyKey, signal } = {}) => {
    const attempt = () =>
      requestJson(send, {
        method,
        path,
        ...(body === undefined ? {} : { json: body }),
        ...(idempotencyKey === undefined ? {} : { headers: { 'idempotency-key': idempotencyKey } }),
        signal,
        ...timeout,
      })
    const repeatable = method !== 'POST' || idempotencyKey !== undefined
    return repeatable ? retrying(attempt, retry, signal) : attempt()
  }

  return {
    async post(event, { signal } = {}) {
      const { idempotencyKey, ...body } = withKey(event)
      return retrying(() => postOne(send, body, idempotencyKey, { signal, ...timeout }), retry, signal)
    },
    async postBatch(events, { signal } = {}) {
      const texts = events.map((event) => JSON.stringify(withKey(event)))
      return postTexts(send, texts, { retry, signal, timeoutMs })
    },
    queue: (queueOptions) => new EventQueue(send, queueOptions, retry),
    stream: (events, streamOptions = {}) => {
      const batches = numbered(events)
      const withRetry = { ...streamOptions, retry }
      return canStream() ? streamLines(send, batches, withRetry) : streamByBatch(send, batches, withRetry)
    },
    streamLines: (batches, streamOptions = {}) => {
      const withRetry = { ...streamOptions, retry }
      return canStream() ? streamLines(send, batches, withRetry) : streamByBatch(send, batches, withRetry)
    },
    async *search(organizationId, search = {}, { signal } = {}) {
      const path = `/v1/organizations/${encodeURIComponent(organizationId)}/events/search`
      const load = (cursor: string | undefined) => {
        const json = { ...search, limit: pageSize, ...(cursor === undefined ? {} : { cursor }) }
        // A search stores nothing: it may be repeated.
        return retrying(
          () => requestJson(send, { method: 'POST', path, json, signal, ...timeout }),
          retry,
          signal,
        )
      }
      for await (const event of pages(load)) yield event as EventView
    },
    get: async (organizationId, eventId, callOptions) => {
      const path = `/v1/organizations/${encodeURIComponent(organizationId)}/events/${encodeURIComponent(eventId)}`
      return (await request('GET', path, callOptions)) as EventView
    },
    async *list(path, query = {}, callOptions = {}) {
      const load = (cursor: string | undefined) => {
        const search = new URLSearchParams({ ...query, ...(cursor === undefined ? {} : { cursor }) })
        return request('GET', search.size === 0 ? path : `${path}?${search.toString()}`, callOptions)
      }
      yield* pages(load)
    },
    request,
  }
}

async function postOne(
  send: Send,
  body: unknown,
  idempotencyKey: string | undefined,
  { signal, timeoutMs = 30_000 }: { signal?: AbortSignal | undefined; timeoutMs?: number },
): Promise<StoredEvent> {
  const response = await send({
    method: 'POST',
    path: '/v1/events',
    headers: {
      'content-type': 'application/json',
      ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
    },
    body: JSON.stringify(body),
    signal,
    timeoutMs,
  })
  const replayed = response.headers.get('idempotency-replayed') === 'true'
  const answer: unknown = await response.json().catch((cause: unknown) => {
    throw new AnnalsClientError('unreachable', 'The answer broke off.', { cause })
  })
  if (typeof answer === 'object' && answer !== null && 'id' in answer && 'leafHash' in answer) {
    return { id: String(answer.id), leafHash: String(answer.leafHash), replayed }
  }
  throw new AnnalsClientError('unexpected_answer', 'The answer is no stored event.')
}

/** Events as lines: what is there already goes together, what comes one by one goes at once. */
async function* numbered(
  events: AsyncIterable<NewEvent> | Iterable<NewEvent>,
): AsyncGenerator<StreamItem<number>[]> {
  let tag = 0
  if (Symbol.asyncIterator in events) {
    for await (const event of events) yield [{ text: JSON.stringify(withKey(event)), tag: tag++ }]
    return
  }
  let batch: StreamItem<number>[] = []
  for (const event of events) {
    batch.push({ text: JSON.stringify(withKey(event)), tag: tag++ })
    if (batch.length < 100) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}
