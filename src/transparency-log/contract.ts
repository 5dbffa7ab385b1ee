/** The published names of sealing in Temporal. Pure. */
export const sealWorkflowType = 'seal'
export const sealTaskQueue = 'annals-seal'

/**
 * Organizations hash to one of these, so that several workers share the work. A constant: two workers that
 * disagreed about it would still be harmless, since sealing is exactly once whoever does it.
 */
export const sealPartitions = 4

export const sealWorkflowId = (region: string, partition: number): string =>
  `seal/${region}/${String(partition)}`

export interface SealInput {
  readonly region: string
  readonly partition: number
  /** Events sealed by the runs before this one. */
  readonly sealed?: number
  /** Turns of the activity after which a new history begins. For tests. */
  readonly turns?: number
}

/** What one turn of the activity did. */
export interface SealTurn {
  readonly sealed: number
  /** Rows that were never Annals', or are no longer what was accepted. */
  readonly alarms: number
}

export const anchorWorkflowType = 'anchor'

export const anchorWorkflowId = (region: string): string => `anchor/${region}`

/** The duties of every minute: copies of checkpoints, the anchor log, its witnesses. */
export interface AnchorInput {
  readonly region: string
  /** Turns after which a new history begins. For tests. */
  readonly turns?: number
  /** For tests. */
  readonly turnMs?: number
}

/** What copying the newest checkpoints came to. */
export interface CopyTurn {
  readonly written: number
  readonly failed: number
  /** Organizations (and `anchor`) whose logs are behind their copies, at most twenty of them. */
  readonly refused: readonly string[]
  readonly refusedCount: number
}

export interface AnchorTurn {
  /** `anchored`, or why there was no entry. */
  readonly outcome: string
  /** Entries of the anchor log now. */
  readonly size: number
  readonly witnesses: readonly WitnessTurn[]
}

export interface WitnessTurn {
  readonly witness: string
  readonly state: string
  /** Has it cosigned the newest checkpoint? */
  readonly cosigned: boolean
}
