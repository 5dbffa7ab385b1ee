/** Retention in words that every part of it, and the workflows, share. Pure types and constants. */

/** How long what is kept, in days from `sealedAt`; null = for ever. `hotDays ≤ archiveDays ≤ recordDays`. */
export interface RetentionDays {
  /** 0 = archived as soon as sealed. */
  readonly hotDays: number
  readonly archiveDays: number | null
  readonly recordDays: number | null
}

export const defaultRetention: RetentionDays = { hotDays: 183, archiveDays: 2_555, recordDays: null }

/** A policy as an organization has it from a moment on. Versions are never changed, only followed. */
export interface RetentionPolicy extends RetentionDays {
  readonly organizationId: string
  /** From 1; 0 = the default, which nobody has set. */
  readonly version: number
  readonly since: Date
  /** `prn_…` */
  readonly author: string | null
}

/** What a hold covers; absent members cover everything. Identifiers were resolved when it was placed. */
export interface HoldScope {
  /** `sub_…`; an event is covered where it names one of them. */
  readonly subjects?: readonly string[]
  /** Exact, or `team.*`. */
  readonly action?: string
  /** `occurredAt`, inclusive; `to` exclusive. */
  readonly from?: Date
  readonly to?: Date
}

export interface Hold {
  /** `hold_…` */
  readonly id: string
  readonly organizationId: string
  readonly scope: HoldScope
  readonly reason: string
  readonly author: string
  readonly placedAt: Date
  readonly releasedAt: Date | null
  readonly releasedBy: string | null
}

/** Is an event covered by a hold? */
export type HeldEvent = {
  readonly action: string
  readonly occurredAt: Date
  readonly subjects: readonly string[]
}

/** `retention` task queue: ids of what runs there. */
export const retentionScheduleId = 'annals-retention'
export const sweepWorkflowId = 'retention/sweep'
/** At most so many children of one sweep at once. */
export const maxChildren = 200

/** What `archive/<org>/<generation>.<from>-<to>` is started with. References only. */
export interface ArchiveInput {
  readonly organizationId: string
  readonly generation: number
  readonly from: number
  readonly to: number
}
