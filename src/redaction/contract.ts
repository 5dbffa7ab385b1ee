/**
 * A redaction: single fields that should never have been logged (a password in a description) are removed, on the word of
 * two privacy officers. Every proof stays valid, for the log commits to digests. Pure: this file runs in the workflow
 * sandbox.
 *
 *     requested ─ approved ─┬─ redacting ─ redacted
 *                           ├─ on_hold      a legal hold covers one of the events; goes on by itself
 *                           └─ failed       a field is not there any more, or its event is damaged: nothing was done
 *
 * With `redacting` there is no way back: it is set in the transaction that writes `annals.field.redacted`.
 */
export const redactionWorkflowType = 'redaction'
export const redactionTaskQueue = 'annals-erasure'

/** All that a workflow is told; the rest stands in MongoDB. */
export interface RedactionReference {
  readonly organizationId: string
  /** `redaction_…` */
  readonly redactionId: string
}

export const redactionWorkflowId = ({ organizationId, redactionId }: RedactionReference): string =>
  `redaction/${organizationId}/${redactionId}`

export const redactionStates = [
  'requested',
  'approved',
  'on_hold',
  'redacting',
  'redacted',
  'failed',
] as const
export type RedactionState = (typeof redactionStates)[number]

/** `field_gone`: its value went before this began. `event_damaged`: the event does not make its leaf. */
export const redactionFailures = ['field_gone', 'event_damaged'] as const
export type RedactionFailure = (typeof redactionFailures)[number]

export const redactionLimits = {
  maxFields: 100,
  maxReasonCharacters: 500,
  /** Requests of one organization that are not final. */
  maxOpen: 200,
  /** A request that nobody approved in so many days can be approved no more. */
  lapseDays: 30,
} as const

/** How often it is looked whether a hold is gone; each time twice as long as before. */
export const redactionTiming = { holdRecheckMs: 15 * 60_000, maxHoldRecheckMs: 24 * 3_600_000 } as const

export const redactionIdPattern = /^redaction_[0-7][0-9a-hjkmnp-tv-z]{25}$/
const organizationIdPattern = /^[A-Za-z0-9_-]{1,64}$/

/** The slots whose values can be removed: a block, or a clear field; never the reference of a person. */
export const redactableSlot = /^(?:actor|context|description|(?:target|metadata)\/(?:0|[1-9]\d{0,4}))$/

/** Any program with access to Temporal may start a workflow, with anything: undefined where it is no reference. */
export function parseRedactionReference(input: unknown): RedactionReference | undefined {
  if (typeof input !== 'object' || input === null) return undefined
  const { organizationId, redactionId }: { organizationId?: unknown; redactionId?: unknown } = input
  if (typeof organizationId !== 'string' || typeof redactionId !== 'string') return undefined
  return organizationIdPattern.test(organizationId) && redactionIdPattern.test(redactionId)
    ? { organizationId, redactionId }
    : undefined
}
