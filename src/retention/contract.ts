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
  /** Never before that of the version it follows, nor before the newest leaf was sealed. 1970 for the default. */
  readonly since: Date
  /** `prn_…`; null for the default. */
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
  /** The officer's own words: kept here, in no event, and shown to who may see holds. */
  readonly reason: string
  /** `prn_…` */
  readonly author: string
  readonly placedAt: Date
  readonly releasedAt: Date | null
  readonly releasedBy: string | null
}

/** What a hold looks at of an event. */
export interface HeldEvent {
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

/** What a run of retention does with a range of leaves. */
export const runKinds = ['archive', 'content_expiry', 'record_expiry', 'restore'] as const
export type RunKind = (typeof runKinds)[number]

/**
 * `superseded`: it needed an operator, and a later execution took the range up again. `failed`: a restore that was given
 * up, which nothing takes up again.
 */
export const runStates = ['running', 'done', 'needs_operator', 'superseded', 'failed'] as const
export type RunState = (typeof runStates)[number]

/** The steps of runs, in the order they are taken; each kind takes some of them. */
export const runSteps = [
  'planning',
  'exporting',
  'verifying',
  'recording',
  'checking_holds',
  'rewriting',
  'copying',
  'deleting',
  'logging',
  'done',
] as const
export type RunStep = (typeof runSteps)[number]

/** Why a run needs an operator. A closed list: it is shown to readers and counted in figures. */
export const runReasons = [
  'archive_unavailable',
  'archive_full',
  'archive_refused',
  'archive_conflict',
  'archive_altered',
  'verification_failed',
  'database_unavailable',
  'clock_refused',
  'log_unreadable',
  'keys_unavailable',
  'cancelled',
  'internal',
] as const
export type RunReason = (typeof runReasons)[number]

export interface RunCounts {
  readonly leaves?: number
  /** Content that was written to the archive, or back from it. */
  readonly events?: number
  /** Leaves whose event was damaged or gone when they were archived. */
  readonly damaged?: number
  /** Events that went: from the hot store, or whose content or record expired. */
  readonly deleted?: number
  /** Events that stayed because a hold covers them. */
  readonly held?: number
  /** Events that stayed because their content, or record, never expires. */
  readonly kept?: number
  /** Leaves whose records stayed because the archive locks them for longer than the policy says. */
  readonly locked?: number
}

export interface RunBytes {
  /** BSON in the hot store. */
  readonly hot?: number
  /** In the archive, both files of the segment. */
  readonly archived?: number
  /** In the archive: read back and found right, right before what they are a copy of was deleted. */
  readonly verified?: number
}

/** How far a step is; the workflow's details, heartbeats and `GET …/retention/runs` show it. */
export interface StepProgress {
  /** Leaves, or events, so far. */
  readonly done: number
  /** Leaves in all; null where nobody knows. */
  readonly total: number | null
  /** Bytes that the step has read; null where it does not say. */
  readonly bytes: number | null
}

/** What the query `state` and the update `retry` of the workflow of a segment answer. */
export interface RunStanding {
  readonly state: RunState
  readonly step: RunStep
  readonly reason: RunReason | null
  /** `run_…`; null before its row is written. */
  readonly runId: string | null
  /** Of steps that have ended. */
  readonly progress: Partial<Readonly<Record<RunStep, StepProgress>>>
}

/** Names that the workflows of segments are reached by. */
export const retryUpdateName = 'retry'
export const stateQueryName = 'state'

/** Starts a sweep outside of its schedule. Implemented over Temporal's client; asked by `POST …/retention/run`. */
export interface SweepStarter {
  /**
   * Starts what is due for one organization, or finds it under way.
   * @throws AnnalsError `temporal_unavailable`
   */
  startSweep(organizationId: string): Promise<{ readonly workflowId: string }>
}

/** Takes up again what stands still. Implemented over Temporal's client; asked by `POST …/retention/runs/:id/retry`. */
export interface RunRetrier {
  /**
   * Has the workflow of a run take its steps once more: starts it, or tells the one that is under way not to stop.
   * @throws AnnalsError `not_found`; `wrong_state` where the run needs no operator; `temporal_unavailable`
   */
  retry(organizationId: string, runId: string): Promise<RetryStarted>
}

export interface RetryStarted {
  readonly workflowId: string
  readonly state: RunState
  readonly step: RunStep
}

/** Ranges that are due, one of each organization; `next` goes on after them, null = there are no more. */
export interface DuePage {
  readonly ranges: readonly ArchiveInput[]
  readonly next: string | null
}

export const retentionTaskQueue = 'annals-retention'
export const sweepWorkflowType = 'retentionSweep'
export const archiveWorkflowType = 'archive'

/** The failure of a step that has to be taken again from the export: something else moved (lifecycle.ts). */
export const lifecycleMoved = 'lifecycle_moved'

export const archiveWorkflowId = ({ organizationId, generation, from, to }: ArchiveInput): string =>
  `archive/${organizationId}/${String(generation)}.${String(from)}-${String(to)}`

/**
 * What one archive run came to; `taken`: others had the range, and nothing was to be done; `shortened`: it ends earlier
 * now, and is to be planned anew.
 */
export interface ArchiveResult {
  readonly state: 'done' | 'taken' | 'shortened' | 'needs_operator'
  readonly reason?: RunReason
}

/** Where an earlier history of the same sweep stopped. */
export interface SweepPlace {
  /** Organizations after this one only. */
  readonly after?: string
  /** Something moved in this round so far: another one follows. */
  readonly moved?: boolean
  /** Organizations that are passed over until the next sweep. */
  readonly failed?: readonly string[]
}

export interface SweepInput extends SweepPlace {
  /** Absent = all organizations. */
  readonly organizationId?: string
  /** When the sweep began; later events are the next one's. Absent = now. */
  readonly asOfMs?: number
  /** Segments under way at once. Absent = `maxChildren`, which is also the most. */
  readonly atOnce?: number
  /** Segments that one history starts. Absent = as many as the server suggests. */
  readonly segments?: number
}
