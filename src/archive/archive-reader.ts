/**
 * Reads the archive for whoever asks for an event, a bundle, or a search: one ranged read for the leaves of a tile, kept
 * in memory for a while, and verified on the way (member-reader.ts).
 *
 * A segment's content may be written anew while it is read (an erasure, an expiry): then the object is gone, the segment
 * names another, and that one is read. An object that is gone while its segment still names it is damage.
 */
import type { AnnalsError } from '../errors.js'
import type { ArchivedEvents, ArchivedStretch, ArchiveWalk, ExpiredEvents } from '../events/archived.js'
import type { StoredEvent } from '../events/store.js'
import type { LeafLocation, LogLeaf, LogStore } from '../transparency-log/store.js'
import { tileWidth } from '../transparency-log/tile.js'
import type { ArchivedRecords } from './archived-records.js'
import type { SegmentDocument } from './contract.js'
import { MemberCache } from './member-cache.js'
import { createMemberReader, damaged, MemberGoneError, unavailable } from './member-reader.js'
import type { SegmentLookup } from './segment-lookup.js'
import type { ArchiveStore } from './stores/contract.js'

export type ArchiveReader = ArchivedEvents & ExpiredEvents & ArchivedRecords

export interface ArchiveReaderDependencies {
  readonly store: Pick<ArchiveStore, 'get' | 'head'>
  readonly segments: SegmentLookup
  readonly log: Pick<LogStore, 'leaves' | 'locateAll'>
}

/** Some thirty tiles of events, and as many of records. */
const cacheBytes = 32 * 1_024 * 1_024
const cacheMs = 60_000
/** Tiles that a walk reads ahead: an object store answers after tens of milliseconds. */
const readAhead = 3
/** Tiles that a look-up of many events reads at once. */
const tilesAtOnce = 4
const maxRewrites = 5

interface Range {
  readonly from: number
  readonly to: number
}

export function createArchiveReader(deps: ArchiveReaderDependencies): ArchiveReader {
  const { store, segments, log } = deps
  const members = createMemberReader(store)
  const options = { maxBytes: cacheBytes, maxAgeMs: cacheMs }
  const contents = new MemberCache<ReadonlyMap<number, StoredEvent>>(options)
  const recordLists = new MemberCache<ReadonlyMap<number, string>>(options)

  async function leavesOf(segment: SegmentDocument, tile: number): Promise<readonly LogLeaf[]> {
    const { organizationId, generation, from, to } = segment
    const leaves = (await log.leaves(organizationId, generation, tile)) ?? []
    return leaves.filter(({ index }) => index >= from && index < to)
  }

  /** A segment without any of its objects is in an archive that is not there: a disk that is not mounted. */
  async function goneFor({ records, content }: SegmentDocument, path: string): Promise<AnnalsError> {
    const others = [records?.file.path, content?.file.path].filter(
      (other) => other !== undefined && other !== path,
    )
    const found = await Promise.all(others.map((other) => store.head(other ?? '').catch(() => undefined)))
    return found.some((object) => object !== undefined) ? damaged(path, 'it is not there') : unavailable()
  }

  /** Reads from the segment as it is by now, if what it named is gone. */
  async function current<Value>(
    segment: SegmentDocument,
    read: (segment: SegmentDocument) => Promise<Value>,
  ): Promise<Value> {
    let now = segment
    for (let rewrite = 0; ; rewrite += 1) {
      try {
        return await read(now)
      } catch (error) {
        if (!(error instanceof MemberGoneError)) throw error
        const again = await segments.again(now)
        const moved =
          again !== undefined &&
          (again.content?.file.path !== now.content?.file.path ||
            again.records?.file.path !== now.records?.file.path)
        if (!moved || rewrite === maxRewrites) throw await goneFor(now, error.path)
        now = again
      }
    }
  }

  /** The events of a segment under one tile, by leaf. */
  const eventsUnder = (segment: SegmentDocument, tile: number) =>
    current(segment, async (now) => {
      const { content } = now
      if (content === null || content.state === 'expired') return new Map<number, StoredEvent>()
      return contents.get(`${content.file.path}\0${String(tile)}`, async () =>
        members.content(now, content, await leavesOf(now, tile), tile),
      )
    })

  const recordsUnder = (segment: SegmentDocument, tile: number) =>
    current(segment, async (now) => {
      const { records } = now
      if (records === null) return new Map<number, string>()
      return recordLists.get(`${records.file.path}\0${String(tile)}`, async () =>
        members.records(records, await leavesOf(now, tile), tile),
      )
    })

  async function stretchOf(segment: SegmentDocument, range: Range): Promise<ArchivedStretch> {
    const { generation } = segment
    const events = await eventsUnder(segment, Math.floor(range.from / tileWidth))
    const found = [...events]
      .filter(([index]) => index >= range.from && index < range.to)
      .sort(([a], [b]) => b - a)
      .map(([index, event]) => ({ position: { generation, index }, event }))
    return {
      events: found,
      leaves: range.to - range.from,
      end: { generation, index: range.from },
      alsoHot: segment.hotDeletedAt === null,
    }
  }

  /** The tiles of the archive that a walk reads, newest first. */
  async function* rangesOf(
    organizationId: string,
    { after, from, to }: ArchiveWalk,
  ): AsyncGenerator<{ segment: SegmentDocument; range: Range }> {
    for await (const segment of segments.newestFirst(organizationId, { before: after, from, to })) {
      if (segment.content === null || segment.content.state === 'expired') continue
      let end = segment.generation === after.generation ? Math.min(segment.to, after.index) : segment.to
      while (end > segment.from) {
        const start = Math.max(segment.from, Math.floor((end - 1) / tileWidth) * tileWidth)
        yield { segment, range: { from: start, to: end } }
        end = start
      }
    }
  }

  async function findUnder(
    organizationId: string,
    wanted: readonly (LeafLocation & { eventId: string })[],
    found: Map<string, StoredEvent>,
  ): Promise<void> {
    const [first] = wanted
    if (first === undefined) return
    const tile = Math.floor(first.index / tileWidth)
    const covering = await segments.over(
      organizationId,
      first.generation,
      tile * tileWidth,
      (tile + 1) * tileWidth,
    )
    for (const { eventId, index } of wanted) {
      const segment = covering.find(({ from, to }) => index >= from && index < to)
      const event = segment && (await eventsUnder(segment, tile)).get(index)
      if (event !== undefined) found.set(eventId, event)
    }
  }

  return {
    async find(organizationId, eventIds) {
      const byTile = new Map<string, (LeafLocation & { eventId: string })[]>()
      for (const [eventId, leaf] of await log.locateAll(organizationId, eventIds)) {
        const key = `${String(leaf.generation)}/${String(Math.floor(leaf.index / tileWidth))}`
        const under = byTile.get(key)
        if (under === undefined) byTile.set(key, [{ ...leaf, eventId }])
        else under.push({ ...leaf, eventId })
      }
      const found = new Map<string, StoredEvent>()
      const tiles = [...byTile.values()]
      for (let first = 0; first < tiles.length; first += tilesAtOnce) {
        const some = tiles.slice(first, first + tilesAtOnce)
        await Promise.all(some.map((wanted) => findUnder(organizationId, wanted, found)))
      }
      return found
    },
    async hasExpired(organizationId, eventId) {
      const leaf = (await log.locateAll(organizationId, [eventId])).get(eventId)
      if (leaf === undefined) return false
      const { generation, index } = leaf
      const [segment] = await segments.over(organizationId, generation, index, index + 1)
      if (segment?.content === undefined || segment.content?.state === 'kept') return false
      return !(await eventsUnder(segment, Math.floor(index / tileWidth))).has(index)
    },
    async *walk(organizationId, walk) {
      const ranges = rangesOf(organizationId, walk)
      const ahead: Promise<ArchivedStretch>[] = []
      let more = true
      try {
        // One tile at first, for most pages are full soon.
        for (let width = 1; ; width = Math.min(width + 1, readAhead)) {
          while (more && ahead.length < width) {
            const next = await ranges.next()
            if (next.done === true) more = false
            else {
              const stretch = stretchOf(next.value.segment, next.value.range)
              // A failure is met when its turn comes, and not before.
              stretch.catch(() => undefined)
              ahead.push(stretch)
            }
          }
          const stretch = ahead.shift()
          if (stretch === undefined) return
          yield await stretch
        }
      } finally {
        await ranges.return(undefined)
      }
    },
    async records(organizationId, generation, tile) {
      const first = tile * tileWidth
      const found: (string | undefined)[] = []
      for (const segment of await segments.over(organizationId, generation, first, first + tileWidth)) {
        const records = await recordsUnder(segment, tile)
        for (
          let index = Math.max(first, segment.from);
          index < Math.min(first + tileWidth, segment.to);
          index += 1
        )
          found[index - first] = records.get(index) ?? ''
      }
      return found
    },
  }
}
