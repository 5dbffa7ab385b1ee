/** What the client sends and gets: types of the server's own schemas, nothing of which is loaded at run time. */
import type { z } from 'zod'
import type { searchBodySchema } from '../events/list-input.js'
import type { eventItemSchema } from '../events/schema.js'
import type { Problem } from './errors.js'

export type { EventView } from '../events/view.js'

/** An event as it is sent. Without `id` and `idempotencyKey` the client gives it a key of its own. */
export type NewEvent = z.input<typeof eventItemSchema>

/** A search without its page. */
export type EventSearch = Omit<z.input<typeof searchBodySchema>, 'cursor' | 'limit'>

/** An event that is stored. */
export interface StoredEvent {
  readonly id: string
  /** Standard base64 of 32 bytes. */
  readonly leafHash: string
  /** It had been stored before, under the same key or id. */
  readonly replayed: boolean
}

export interface RetryOptions {
  /** The first pause; each further one is twice as long. Default 200 ms. */
  readonly baseMs?: number
  /** The longest pause, but for a longer `Retry-After`. Default 30 s. */
  readonly maxMs?: number
  /** After this long without success the failure is the caller's. Default 120 s; 0 = no retry. */
  readonly giveUpAfterMs?: number
}

export interface ClientOptions {
  /** Such as `https://annals.example`. */
  readonly url: string
  /** The access key's secret. */
  readonly key: string
  readonly retry?: RetryOptions
  /** One try of one request (not of a stream) may take this long. Default 30 s. */
  readonly timeoutMs?: number
  /** Another `fetch`, for proxies and tests. */
  readonly fetch?: typeof globalThis.fetch
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined
}

export interface StreamCounts {
  /** Events that this stream stored. */
  readonly accepted: number
  /** Events that had been there: repeats, and what was sent again after a broken connection. */
  readonly replayed: number
  readonly rejected: number
}

/** An event that the server refused for good. */
export interface StreamFailure<Tag> {
  readonly tag: Tag
  readonly problem: Problem
}
