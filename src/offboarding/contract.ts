/**
 * The offboarding of an organization: on the word of two owners, everything of it goes. Pure: this file runs in the
 * workflow sandbox.
 *
 *     requested ─ cooling_off ─ offboarding ─ awaiting_expiry ─ completed
 *                   │  ▲             │  ▲            what nothing can delete yet: objects under lock, backups
 *                  on_hold      needs_operator
 *     withdrawn: before `offboarding`, which is the point of no return
 */
export const offboardingWorkflowType = 'offboarding'
export const offboardingTaskQueue = 'annals-erasure'
/** The state may have changed: look. Its payload is nothing. */
export const offboardingWakeSignal = 'annals.offboarding.wake'

export interface OffboardingReference {
  readonly organizationId: string
  /** `offboarding_…` */
  readonly offboardingId: string
}

/** One for each organization: of two offboardings at once there is one. */
export const offboardingWorkflowId = ({
  organizationId,
}: Pick<OffboardingReference, 'organizationId'>): string => `offboard/${organizationId}`

export const offboardingStates = [
  'requested',
  'cooling_off',
  'on_hold',
  'offboarding',
  'needs_operator',
  'awaiting_expiry',
  'completed',
  'withdrawn',
] as const
export type OffboardingState = (typeof offboardingStates)[number]

/** In the order in which they are taken; each is recorded when it is begun and when it is done. */
export const offboardingSteps = [
  'stop_workflows',
  'settle',
  'seal',
  'destroy_keys',
  'remove_rows',
  'remove_archive',
  'remove_workflows',
  'verify',
  'certify',
] as const
export type OffboardingStep = (typeof offboardingSteps)[number]

/** Why one stands still until an operator acts. A closed list: it is shown, and the type of a step's failure. */
export const offboardingReasons = [
  'residue_found',
  'archive_unavailable',
  'database_unavailable',
  'temporal_unavailable',
  'log_unreadable',
  'internal',
] as const
export type OffboardingReason = (typeof offboardingReasons)[number]

/** The type of a step's failure that is none: its worker stopped, and another one takes it again. */
export const offboardingInterruption = 'interrupted'
/** Workers that stop over one step; more is something else. */
export const maxInterruptions = 100

export const offboardingLimits = { maxReasonCharacters: 500 } as const

export const offboardingTiming = {
  /** Processes know an organization for 5 s without asking: after this, none takes anything of it. */
  settleMs: 6_000,
  holdRecheckMs: 15 * 60_000,
  maxHoldRecheckMs: 24 * 3_600_000,
  expiryLookMs: 24 * 3_600_000,
} as const

/** How it stands, as far as the workflow goes by it. */
export interface OffboardingSnapshot {
  readonly state: OffboardingState
  readonly coolingOffEndsMs: number | null
}

export const offboardingIdPattern = /^offboarding_[0-7][0-9a-hjkmnp-tv-z]{25}$/
const organizationIdPattern = /^[A-Za-z0-9_-]{1,64}$/

/** Any program with access to Temporal may start a workflow, with anything: undefined where it is no reference. */
export function parseOffboardingReference(input: unknown): OffboardingReference | undefined {
  if (typeof input !== 'object' || input === null) return undefined
  const { organizationId, offboardingId }: { organizationId?: unknown; offboardingId?: unknown } = input
  if (typeof organizationId !== 'string' || typeof offboardingId !== 'string') return undefined
  return organizationIdPattern.test(organizationId) && offboardingIdPattern.test(offboardingId)
    ? { organizationId, offboardingId }
    : undefined
}
