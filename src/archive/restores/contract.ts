/**
 * A restore: events of a stretch of time, copied out of the archive to where searches are quick (`source=restored`),
 * for some days. Pure: this file runs in the workflow sandbox.
 *
 * The archive stays as it is. What was erased meanwhile does not come back, and what is erased later goes from here too.
 */
export const restoreWorkflowType = 'restore'
export const restoreTaskQueue = 'annals-retention'

/** All that a workflow is told; the rest stands in MongoDB. */
export interface RestoreReference {
  readonly organizationId: string
  /** `restore_…` */
  readonly restoreId: string
}

export const restoreWorkflowId = ({ organizationId, restoreId }: RestoreReference) =>
  `restore/${organizationId}/${restoreId}`

/** `copying` until all of it is there, `restored` until its days are over. `expired` and `failed` are final. */
export const restoreStates = ['copying', 'restored', 'expired', 'failed'] as const
export type RestoreState = (typeof restoreStates)[number]

/**
 * Why a restore failed, or ended early: the archive's bytes are not those archived; it could not be read for days; an
 * operator cancelled the workflow.
 */
export const restoreFailures = ['archive_damaged', 'unavailable', 'cancelled', 'internal'] as const
export type RestoreFailure = (typeof restoreFailures)[number]

export const restoreLimits = {
  maxDays: 90,
  maxReasonCharacters: 500,
  /** Leaves of the segments that a restore has to read: some minutes to an hour of work. */
  maxLeaves: 5_000_000,
  /** Restores of one organization that have not ended. */
  maxUnended: 20,
} as const

export const restoreIdPattern = /^restore_[0-7][0-9a-hjkmnp-tv-z]{25}$/
const organizationIdPattern = /^[A-Za-z0-9_-]{1,64}$/

/** Any program with access to Temporal may start a workflow, with anything: undefined where it is no reference. */
export function parseRestoreReference(input: unknown): RestoreReference | undefined {
  if (typeof input !== 'object' || input === null) return undefined
  const { organizationId, restoreId }: { organizationId?: unknown; restoreId?: unknown } = input
  if (typeof organizationId !== 'string' || typeof restoreId !== 'string') return undefined
  return organizationIdPattern.test(organizationId) && restoreIdPattern.test(restoreId)
    ? { organizationId, restoreId }
    : undefined
}
