/** Expiry in words that its workflow, its activities and what they work with share. Pure types and constants. */
import type { ArchiveInput, RunReason, SweepPlace } from './contract.js'

/** What expires of a segment. */
export type ExpiryKind = 'content' | 'records'

/** What `expire/<org>/<generation>.<from>-<to>` is started with. References only. */
export interface ExpireInput extends ArchiveInput {
  readonly kind: ExpiryKind
}

export const expireWorkflowType = 'expire'

export const expireWorkflowId = ({ organizationId, generation, from, to }: ArchiveInput): string =>
  `expire/${organizationId}/${String(generation)}.${String(from)}-${String(to)}`

/**
 * `kept`: all that is left is held, or never expires. `not_due`: it is not, or not any more. `locked`: the archive lets
 * nobody delete it yet; it is looked at again when its lock has run out.
 */
export interface ExpireResult {
  readonly state: 'done' | 'kept' | 'not_due' | 'locked' | 'needs_operator'
  readonly reason?: RunReason
}

/** Segments that are due, one of each organization; `next` goes on after them, null = there are no more. */
export interface ExpiryPage {
  readonly segments: readonly ExpireInput[]
  readonly next: string | null
}

/** The sweep of expiry that a sweep starts: one over all organizations, and one for each that is asked for. */
export const expirySweepWorkflowId = (organizationId?: string): string =>
  organizationId === undefined ? 'retention/expiry' : `retention/expiry/${organizationId}`

export interface ExpirySweepInput extends SweepPlace {
  /** Absent = all organizations. */
  readonly organizationId?: string
  /** When the sweep began; what falls due later is the next one's. Absent = now. */
  readonly asOfMs?: number
}

/** The failure of a step that waits for the log: what it said is not sealed yet. */
export const notSealedYet = 'not_sealed'
