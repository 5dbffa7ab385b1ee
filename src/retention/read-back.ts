/** Reads segments back from the archive, and compares what they say of each leaf with what the tiles say. */
import type { SegmentRange } from '../archive/contract.js'
import { SegmentFault } from '../archive/segment-fault.js'
import type { ArchiveKeys } from '../archive/segment-keys.js'
import { recordsPath } from '../archive/segment-paths.js'
import { verifySegment } from '../archive/segment-verify.js'
import type { ArchiveStore } from '../archive/stores/contract.js'
import type { LogLeaf, LogStore } from '../transparency-log/store.js'
import { tileWidth } from '../transparency-log/tile.js'

export interface StepOptions {
  /** Leaves so far, and bytes that were read for them where that is known. */
  readonly onProgress?: (leaves: number, bytes?: number) => void
  /** Checked between tiles; throws its reason. */
  readonly signal?: AbortSignal
}

export interface ReadBackDependencies {
  readonly log: Pick<LogStore, 'leaves'>
  readonly store: ArchiveStore
  readonly keys: ArchiveKeys
}

/** What was read back. */
export interface ReadBack {
  /** SHA-256 of the content manifest. */
  readonly manifest: string
  /** Indexes of leaves whose event is not in the archive (it was damaged or gone). */
  readonly missing: ReadonlySet<number>
}

/** The leaves of a range that lie in one tile. */
export async function tileLeaves(
  log: Pick<LogStore, 'leaves'>,
  { organizationId, generation, from, to }: SegmentRange,
  tile: number,
): Promise<LogLeaf[]> {
  const leaves = (await log.leaves(organizationId, generation, tile)) ?? []
  return leaves.filter(({ index }) => index >= from && index < to)
}

/** Reads something of each tile, in order, and while one is used already that of the next. */
export function tilesAhead<Value>(
  { to }: SegmentRange,
  read: (tile: number) => Promise<Value>,
): (tile: number) => Promise<Value> {
  let ahead: { readonly tile: number; readonly value: Promise<Value> } | undefined
  return (tile) => {
    const value = ahead?.tile === tile ? ahead.value : read(tile)
    ahead = undefined
    if ((tile + 1) * tileWidth >= to) return value
    const next = value.then(() => read(tile + 1))
    // It may be that nobody asks for it.
    next.catch(() => undefined)
    ahead = { tile: tile + 1, value: next }
    return value
  }
}

/**
 * Reads a segment back: what it says of each leaf must be what the tiles say.
 * @throws SegmentFault, ArchiveStoreError
 */
export async function readBack(
  { log, store, keys }: ReadBackDependencies,
  range: SegmentRange,
  revision: number,
  previous: string | null,
  { onProgress, signal }: StepOptions,
): Promise<ReadBack> {
  const missing = new Set<number>()
  const tiles = tilesAhead(range, (tile) => tileLeaves(log, range, tile))
  const verified = await verifySegment(store, range, {
    verifiers: await keys.verifiers(),
    revision,
    previous,
    async onLeaves(found) {
      const [first] = found
      if (first === undefined) return
      const known = await tiles(Math.floor(first.index / tileWidth))
      const ids = new Map(known.map(({ index, eventId }) => [index, eventId]))
      for (const { index, eventId, content } of found) {
        if (ids.get(index) !== eventId)
          throw new SegmentFault('event_misplaced', recordsPath(range), 'the log has another event there', {
            index,
          })
        if (content !== 'archived') missing.add(index)
      }
    },
    ...(onProgress === undefined ? {} : { onProgress }),
    ...(signal === undefined ? {} : { signal }),
  })
  if (verified.content === undefined || verified.leaves !== range.to - range.from)
    throw new SegmentFault('counts_differ', recordsPath(range), 'not every leaf was read back')
  return { manifest: verified.content.sha256, missing }
}
