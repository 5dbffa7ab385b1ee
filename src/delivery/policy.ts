/**
 * When a webhook is tried, and what an answer means. Pure: times are milliseconds since 1970, chance comes in.
 *
 * An attempt is written down before it is made, together with when the next one comes: a process that dies while it waits for
 * the answer leaves a webhook that is tried again, under the same `webhook-id`.
 */
import type { DeliveryFailure, DeliveryResult } from './contract.js'

export const deliveryTiming = {
  /** 15 s, 1 min, 4 min, 16 min, 64 min, then every four hours. */
  firstRetryMs: 15_000,
  factor: 4,
  maxRetryMs: 4 * 3_600_000,
  /** Up to so much of it is added, so that recipients that were away together are not called together. */
  jitter: 0.1,
  /** A `Retry-After` counts up to this. */
  maxRetryAfterMs: 12 * 3_600_000,
} as const

/**
 * A 4xx other than 410 counts as a refusal when it is the answer to this attempt, or a later one: for twenty minutes it
 * may be a deployment, a proxy, or a secret that was not set yet.
 */
const refusalAttempts = 5

/** Answers that ask to be called again later, whatever their class. */
const passingStatuses: ReadonlySet<number> = new Set([408, 421, 423, 425, 429])

/** How long after the attempt of this number (from 1) the next one comes. @param random in [0, 1) */
export function backoffMs(attempt: number, random: number): number {
  const { firstRetryMs, factor, maxRetryMs, jitter } = deliveryTiming
  const plain = Math.min(firstRetryMs * factor ** Math.min(attempt - 1, 20), maxRetryMs)
  return Math.round(plain * (1 + jitter * random))
}

/**
 * When the next attempt comes, where this one is not the last: at the moment of giving up there is one more.
 * @returns null where the time is over
 */
export function nextAttemptMs(
  attempt: number,
  nowMs: number,
  givesUpMs: number,
  { random, retryAfterMs = null }: { readonly random: number; readonly retryAfterMs?: number | null },
): number | null {
  if (nowMs >= givesUpMs) return null
  // Never sooner than by our own count: a recipient cannot make Annals call it all day.
  const asked = Math.min(retryAfterMs ?? 0, deliveryTiming.maxRetryAfterMs)
  return Math.min(nowMs + Math.max(backoffMs(attempt, random), asked), givesUpMs)
}

export type Verdict =
  | { readonly status: 'acknowledged' | 'refused'; readonly failure: DeliveryFailure | null }
  | { readonly status: 'retry'; readonly failure: DeliveryFailure }

/** What a result means for the delivery. Redirects are not followed: whoever moved says so with a new address. */
export function judge(attempt: number, result: DeliveryResult): Verdict {
  if (!result.answered) return { status: 'retry', failure: result.failure }
  const { status } = result
  if (status >= 200 && status < 300) return { status: 'acknowledged', failure: null }
  const failure = 'answered_otherwise'
  if (status === 410) return { status: 'refused', failure }
  const refusal = status >= 400 && status < 500 && !passingStatuses.has(status)
  return { status: refusal && attempt >= refusalAttempts ? 'refused' : 'retry', failure }
}

/**
 * `Retry-After` (RFC 9110): seconds, or a date.
 * @returns milliseconds from now; null where there is none that can be read
 */
export function parseRetryAfter(header: string | undefined, nowMs: number): number | null {
  if (header === undefined) return null
  const text = header.trim()
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1_000
  // An HTTP date names its day and its zone: `Date.parse` alone would take a bare number for a year.
  if (!/^[A-Z][a-z]{2}, .* GMT$/.test(text)) return null
  const moment = Date.parse(text)
  return Number.isNaN(moment) ? null : Math.max(moment - nowMs, 0)
}
