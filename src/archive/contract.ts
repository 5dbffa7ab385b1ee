/**
 * What is known of a segment: a contiguous range of leaves of one log that was moved to the archive. Pure types; the
 * bytes stand in segment.ts.
 *
 *     <org>/<generation>/<from>-<to>.records.ndjson.gz         a line a leaf: index, event id, sealedAt, leaf hash, record
 *     <org>/<generation>/<from>-<to>.records.manifest          signed, chained; both may be under object lock
 *     <org>/<generation>/<from>-<to>.content.<r>.ndjson.gz     a line an event: salts, values, ciphertexts, commitments
 *     <org>/<generation>/<from>-<to>.content.<r>.manifest      signed; revision r, from 1; never locked
 *     <org>/<generation>/<from>-<to>.expiry.<r>.proof          why the content of before revision r had to go
 *     <org>/<generation>/<from>-<to>.leaves.<r>.ndjson.gz      what is left of the records once some have expired: in the
 *     <org>/<generation>/<from>-<to>.leaves.<r>.manifest       place of the records file; the records manifest stays
 *     <org>/<generation>/<from>-<to>.leaves.<r>.proof          why those records had to go
 *
 * Numbers in paths have twelve digits, so that paths sort as leaves do. `to` is exclusive. Both data files are gzip of
 * many members, one for each tile of level 0 that the range touches, so that one event, or one entry bundle, is one
 * ranged read; manifests list the members.
 */
export interface SegmentRange {
  readonly organizationId: string
  /** From 1. */
  readonly generation: number
  /** First leaf. */
  readonly from: number
  /** The leaf after the last. */
  readonly to: number
}

/** A member of a data file: the lines of the leaves in one tile. */
export interface SegmentMember {
  /** First leaf in it. */
  readonly first: number
  readonly offset: number
  readonly bytes: number
}

export interface SegmentFile {
  readonly path: string
  readonly bytes: number
  /** 64 hex digits. */
  readonly sha256: string
  readonly members: readonly SegmentMember[]
}

/** `content` went by `archiveDays`, all of it (`expired`), or all but what is held or never expires (`reduced`). */
export type ContentState = 'kept' | 'reduced' | 'expired'

/** What is left of a segment's records, once some have expired. */
export interface SegmentLeaves {
  /** From 1. */
  readonly revision: number
  readonly manifestPath: string
  readonly manifestSha256: string
  /** Leaves whose record has expired. */
  readonly expired: number
}

/** A segment as MongoDB remembers it (collection `archiveSegments`). It stands there only once it was verified. */
export interface SegmentDocument extends SegmentRange {
  /** `<org>/<generation>/<from, twelve digits>` */
  readonly _id: string
  /** `sealedAt` of the first and the last leaf. */
  readonly sealedFrom: Date
  readonly sealedTo: Date
  /** Earliest and latest `occurredAt` in it: which segments a search has to read. */
  readonly occurredFrom: Date
  readonly occurredTo: Date
  readonly leaves: number
  /** Leaves whose event was damaged, or gone, when they were archived. */
  readonly damaged: number
  /** Bytes of the events' BSON in the hot store. */
  readonly hotBytes: number
  readonly records: {
    /** Where they are: the records file, or that of `leaves`. */
    readonly file: SegmentFile
    /** Of all records as they were archived: it stays, for the next segment names it. */
    readonly manifestPath: string
    readonly manifestSha256: string
    /** Absent = none has expired. */
    readonly leaves?: SegmentLeaves
  } | null
  readonly content: {
    readonly state: ContentState
    /** From 1. */
    readonly revision: number
    readonly file: SegmentFile
    readonly manifestPath: string
    readonly manifestSha256: string
  } | null
  readonly archivedAt: Date
  /**
   * SHA-256 of the content manifest of the revision that was read back in full before the segment was recorded: while
   * it is the one that counts, the same bytes are the same events.
   */
  readonly readBack?: string
  /** Nothing but what archiving wrote of itself is in it: it is no event of its own, or there would be no end to it. */
  readonly unlogged?: true
  /** When the exactly verified ids were gone from the hot store; null = that step is still to be finished. */
  readonly hotDeletedAt: Date | null
  readonly contentExpiredAt?: Date
  readonly recordsExpiredAt?: Date
  /** What expiry has found when it last looked at the content; absent = it has not looked yet. */
  readonly contentExpiry?: ExpiryLook | null
  /** The same of the records. */
  readonly recordExpiry?: ExpiryLook | null
  /** The archive lets nobody delete the records before: until then they are not looked at. */
  readonly recordsLockedUntil?: Date
  /** An expiry that is recorded, and whose bytes are not all gone yet. */
  readonly expiring?: Expiring
}

/** Where it says that nothing is held, it need never be looked at again. */
export interface ExpiryLook {
  readonly at: Date
  /** Events that stayed because a hold covers them. */
  readonly held: number
  /** Events that stayed because they never expire. */
  readonly kept: number
  /** Events that have expired, this time and before. */
  readonly expired: number
  /** When the first of them did: holds that were there before have been compared with each of them. */
  readonly since?: Date
  /** `hold_…` of each hold that covered one: when any is released, the content is looked at again. */
  readonly holds: readonly string[]
}

export interface Expiring {
  readonly kind: 'content' | 'records'
  /** Of the content, or of the leaves, that count since. */
  readonly revision: number
  /** Of the event that says so. */
  readonly eventId: string
  /** Of the policies that it rests on. */
  readonly policyEventIds: readonly string[]
  /** Events that expired this time. */
  readonly expired: number
  /** Bytes of the revision before. */
  readonly bytesBefore: number
  readonly at: Date
}
