/**
 * The rotation of the period key, in words that the workflow, its activities and operators share. Pure.
 *
 *     begin      the next period is noted, its key is made and read back; nothing uses it yet
 *     switch     it becomes the current one; every lease on the one before runs out
 *     rewrap     every key that is left under an earlier period is wrapped anew, until a count finds none
 *     (overlap)  the earlier keys are kept for backups that are to be restored whole
 *     remove     counted once more, then the earlier keys are deleted
 *
 * Each step may run any number of times, and two rotations at once: both wrap under whatever is current.
 */

/** Published names. */
export const rotationWorkflowType = 'rotatePeriodKey'
export const rotationTaskQueue = 'annals-erasure'
export const rotationScheduleId = 'annals-key-rotation'
export const rotationWorkflowId = 'keys/rotation'

export interface RotationInput {
  /** How long earlier keys are kept after the switch. */
  readonly overlapMs: number
}

/** All places that hold keys wrapped under a period, by the names that counts have. */
export const keyHolders = ['subjects', 'erasure_requests', 'erasure_progress'] as const
export type KeyHolder = (typeof keyHolders)[number]

/** Keys that are wrapped under earlier periods than the current one. */
export type KeysLeft = Readonly<Record<KeyHolder, number>>

export const leftOf = (left: KeysLeft): number => keyHolders.reduce((sum, holder) => sum + left[holder], 0)

/** Why a rotation stands still: a closed list, the type of an activity's failure. */
export const rotationReasons = [
  'wrong_root_key',
  'root_key_missing',
  'period_key_missing',
  'cannot_open',
  'malformed_key',
  'keys_left',
  'database_unavailable',
  'internal',
] as const
export type RotationReason = (typeof rotationReasons)[number]

/** Trying again cannot help before somebody has put a key right. */
export const permanentReasons = [
  'wrong_root_key',
  'root_key_missing',
  'period_key_missing',
  'cannot_open',
  'malformed_key',
] as const satisfies readonly RotationReason[]

export interface RotationResult {
  /** The period that is current now. */
  readonly period: number
  /** Keys that this rotation wrapped anew. */
  readonly rewrapped: number
  /** The periods whose keys it deleted; a rotation at the same time may have been quicker. */
  readonly removed: readonly number[]
}

export interface RemoveOutcome {
  readonly removed: readonly number[]
  /** Keys that are left under periods that were to go: nothing was deleted then. */
  readonly left: number
}

/** After so many passes that leave something, an operator is to look. */
export const maxPasses = 5
