/** What verification says. Pure. */

/**
 * `intact`: the value is there and makes its commitment. `withheld`: it is encrypted, and the reader has no grant to
 * see it; its commitment counts all the same. `erased` and `expired`: it is gone, and a sealed event with its manifest
 * says that it had to go. `missing`: it is gone, or not what was committed to, and nothing says why: tampering.
 */
export const fieldStates = ['intact', 'withheld', 'erased', 'expired', 'missing'] as const
export type FieldState = (typeof fieldStates)[number]

export interface FieldReport {
  readonly slot: string
  readonly state: FieldState
}

export const findingCodes = [
  // The checkpoint.
  'checkpoint_invalid',
  'checkpoint_foreign',
  'checkpoint_inconsistent',
  'rolled_back',
  'root_differs',
  // Tiles and entry bundles.
  'tile_missing',
  'tile_malformed',
  'tile_differs',
  'bundle_missing',
  'bundle_malformed',
  // One leaf.
  'record_missing',
  'record_differs',
  'event_missing',
  'event_malformed',
  'event_misplaced',
  'envelope_differs',
  'fields_differ',
  'field_missing',
  'events_unreadable',
  // Beside the log.
  'stray_event',
  'stray_line',
  // A receipt.
  'proof_invalid',
  // The anchor log.
  'anchor_invalid',
  'anchor_foreign',
  'anchor_differs',
  // An archive.
  'manifest_missing',
  'manifest_invalid',
  'manifest_foreign',
  'chain_broken',
  'object_missing',
  'object_differs',
  'object_unknown',
  'member_malformed',
  'counts_differ',
  'leaf_missing',
  // A certificate.
  'certificate_malformed',
  'certificate_invalid',
  'certificate_foreign',
  'certificate_differs',
] as const
export type FindingCode = (typeof findingCodes)[number]

export interface LeafName {
  readonly generation: number
  readonly index: number
  readonly eventId?: string | undefined
}

/** One thing that does not hold. */
export interface Finding {
  readonly code: FindingCode
  /** The object, such as `checkpoint` or `tile/0/003.p/12`, or the leaf it was found at. */
  readonly at: string
  readonly detail: string
  readonly leaf?: LeafName
  /** Slots of the event's fields, where it is about some. */
  readonly slots?: readonly string[]
}

/** What was checked of a log, and what does not hold. */
export interface LogReport {
  readonly origin: string
  readonly size: number
  /** Standard base64. */
  readonly root: string
  /** Leaves that an earlier checkpoint vouched for, and that were not read again. */
  readonly trustedLeaves: number
  readonly leaves: number
  readonly records: number
  /** Events whose values were checked; 0 where only records were. */
  readonly events: number
  /** Events whose content is gone, as a sealed event says and a policy allowed. */
  readonly expired: number
  /** Leaves whose record is gone too, as another sealed event says and a policy allowed. */
  readonly expiredRecords: number
  readonly fields: Readonly<Record<FieldState, number>>
  /** The first of them, in the order of the log; `findingCount` says how many there were. */
  readonly findings: readonly Finding[]
  readonly findingCount: number
}

/** What the anchor log says of the history that was verified. */
export interface AnchorReport {
  /** `unverified`: there is a proof, and no key of the anchor log to check it with. `invalid`: a finding says why. */
  readonly state: 'anchored' | 'not_anchored' | 'unverified' | 'invalid'
  /** The log's id in the anchor log, standard base64: the same in every proof of one log. */
  readonly logId?: string
  /** Leaves of the tree that is anchored. */
  readonly size?: number
  /** When its entry was made. */
  readonly at?: string
  /** Names of the given witnesses that have cosigned the anchor log with this entry in it. */
  readonly cosignedBy: readonly string[]
}

/** Says whether something sealed accounts for a value that is gone. Erasure and retention bring their manifests. */
export type Excuse = (
  leaf: LeafName,
  slot: string,
  subject: string | undefined,
) => 'erased' | 'expired' | undefined
