/**
 * What the events domain asks of the archive. Implemented by `archive/archive-reader.ts`. What comes from it was
 * verified on the way: an event makes the leaf hash that its log has, or it is not given out.
 */
import type { StoredEvent } from './store.js'

/** A place in an archive, which runs by descending generation and leaf. */
export interface ArchivePosition {
  readonly generation: number
  readonly index: number
}

/** Before everything: where a walk begins. */
export const archiveStart: ArchivePosition = { generation: Number.MAX_SAFE_INTEGER, index: 0 }

export interface ArchivedEvent {
  readonly position: ArchivePosition
  /** With its search terms. */
  readonly event: StoredEvent
}

/** A stretch of the archive: at most the leaves of one tile, newest first. */
export interface ArchivedStretch {
  /** Those of them whose content is there. */
  readonly events: readonly ArchivedEvent[]
  /** Leaves that the stretch covers, with or without content. */
  readonly leaves: number
  /** The last of its leaves: a walk that goes on after it misses nothing. */
  readonly end: ArchivePosition
  /** Some of them may still lie in the hot store, where they count. */
  readonly alsoHot: boolean
}

export interface ArchiveWalk {
  /** Exclusive. */
  readonly after: ArchivePosition
  /** Segments without an event in [from, to) are passed over. */
  readonly from?: Date | undefined
  readonly to?: Date | undefined
}

export interface ArchivedEvents {
  /**
   * Those of these events whose content is in the archive, by id.
   * @throws AnnalsError `unavailable` where the archive cannot be read, `archive_damaged` where its bytes are not those
   *   that were archived
   */
  find(organizationId: string, eventIds: readonly string[]): Promise<ReadonlyMap<string, StoredEvent>>
  /** The archive of an organization from a place on, newest leaf first. Errors as `find`. */
  walk(organizationId: string, walk: ArchiveWalk): AsyncIterable<ArchivedStretch>
}

/** What is known of events that are there no more. */
export interface ExpiredEvents {
  /** Has the content of this event expired? False where it is there, or never was. Errors as `ArchivedEvents.find`. */
  hasExpired(organizationId: string, eventId: string): Promise<boolean>
}
