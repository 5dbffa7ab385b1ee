/**
 * What becomes of a webhook that Annals sends, in words that the API, the certificate and the steps of a duty share.
 * Pure. The bytes on the wire are Standard Webhooks' (https://www.standardwebhooks.com): see docs/webhooks.md.
 */

export const deliveryStatuses = ['pending', 'acknowledged', 'refused', 'timed_out'] as const
/**
 * `pending`: not told yet, to be tried again. `acknowledged`: answered 2xx. `refused`: said for good that it takes none
 * (410, or another 4xx again and again). `timed_out`: neither, in all the time there was.
 */
export type DeliveryStatus = (typeof deliveryStatuses)[number]

/** Why an attempt did not end in an answer of 2xx. A closed list: shown and counted, free of names and addresses. */
export const deliveryFailures = [
  /** Answered, and not with 2xx: `lastStatus` says with what. */
  'answered_otherwise',
  /** The address is one that Annals does not call: private, or not https. */
  'address_not_allowed',
  'name_unknown',
  'unreachable',
  'tls_refused',
  'no_answer_in_time',
  /** What came was no HTTP, or its head was too large. */
  'answer_malformed',
] as const
export type DeliveryFailure = (typeof deliveryFailures)[number]

/** What one attempt came to. */
export type DeliveryResult =
  | { readonly answered: true; readonly status: number; readonly retryAfterMs: number | null }
  | { readonly answered: false; readonly failure: Exclude<DeliveryFailure, 'answered_otherwise'> }

/** One recipient of a request, as it stands: its position in the request's list, never its name or address. */
export interface DeliveryOutcome {
  readonly position: number
  readonly status: DeliveryStatus
  /** Attempts that were begun. */
  readonly attempts: number
  readonly lastAttemptAt: Date | null
  /** null once it is not `pending`. */
  readonly nextAttemptAt: Date | null
  /** When it was acknowledged, refused, or given up; null while `pending`. */
  readonly endedAt: Date | null
  /** The status of the last answer; null where there was none. */
  readonly lastStatus: number | null
  readonly lastFailure: DeliveryFailure | null
}

export type DeliveryCounts = Readonly<Record<DeliveryStatus, number>>

/** How many ended how: what a certificate says of them. */
export function countOutcomes(outcomes: readonly Pick<DeliveryOutcome, 'status'>[]): DeliveryCounts {
  const counts = { pending: 0, acknowledged: 0, refused: 0, timed_out: 0 }
  for (const { status } of outcomes) counts[status] += 1
  return counts
}
