/**
 * The content of an organization's archived segments, as an erasure changes it: each segment that has something to change
 * is written anew as its next revision, verified, recorded, and then every version of what was before is deleted. Others
 * are read, and left as they are.
 *
 * Whoever calls this has changed the hot rows before, and moved the lifecycle counter after (`closeBehind`): what the
 * archiver read earlier it may not record any more, and reads again; what it had recorded is found here. Others (an expiry,
 * another erasure) may write the same segment anew: who records first has it, the other begins again from that.
 */
import type { Db, MongoClient } from 'mongodb'
import type { SegmentDocument, SegmentRange } from '../archive/contract.js'
import { parseSegmentPath, segmentId } from '../archive/segment-paths.js'
import { SegmentFault } from '../archive/segment-fault.js'
import { readMembers } from '../archive/segment-reader.js'
import type { ArchivedLeaf, Transform } from '../archive/segment-rewrite.js'
import type { SegmentWriter } from '../archive/segment-writer.js'
import type { SegmentsStore } from '../archive/segments-store.js'
import { isEmptyLine, parseContentLines, storedEventOf, tileOf } from '../archive/segment.js'
import type { ArchiveStore } from '../archive/stores/contract.js'
import { collectionNames } from '../mongo/collections.js'
import { inTransaction } from '../mongo/transaction.js'
import type { Lifecycle } from '../retention/lifecycle.js'
import { archiveFailure, archiveTarget } from './archive-failure.js'
import { TargetError } from './targets/contract.js'

export interface ArchivedContentDependencies {
  readonly client: MongoClient
  readonly db: Db
  readonly store: ArchiveStore
  readonly segments: Pick<SegmentsStore, 'claimOf' | 'find' | 'forgetWritten' | 'recordContent'>
  readonly writer: Pick<SegmentWriter, 'rewriteContent' | 'deleteOtherContent' | 'deleteUnrecordedContent'>
  readonly lifecycle: Lifecycle
}

/** The lines of a tile, unpacked: most are looked through as they are, and never parsed. */
export interface TileLines {
  readonly generation: number
  readonly tile: number
  readonly lines: Buffer
}

/** What is to become of events: those that it gives back as the same objects stay as they are. */
export interface ContentChange {
  /** May something of it change? */
  concerns(tile: TileLines): boolean
  apply(leaves: readonly ArchivedLeaf[]): ReturnType<Transform>
}

export interface ChangeOptions {
  /** Place in the erasure ledger up to which erasures are in the content. */
  readonly ledgerSequence?: number
  readonly beat: () => void
}

/** Every method that reads the archive fails with a TargetError that names it. */
export interface ArchivedContent {
  /** Is every object there that segments name? Nothing is changed by asking. */
  reach(organizationId: string): Promise<void>
  /** What is picked of the events of tiles that concern, a segment at a time. */
  pick<Value>(
    organizationId: string,
    picking: { concerns(tile: TileLines): boolean; of(leaf: ArchivedLeaf): readonly Value[] },
    beat: () => void,
  ): AsyncGenerator<readonly Value[]>
  /**
   * Moves the lifecycle counter: what was read from the hot store before can be recorded no more.
   * @returns where it stands then
   */
  closeBehind(organizationId: string): Promise<number>
  /** @returns events that were changed; none on a repeat */
  change(organizationId: string, change: ContentChange, options: ChangeOptions): Promise<number>
  /** Events that the change would change. */
  left(organizationId: string, change: ContentChange, beat: () => void): Promise<number>
  /**
   * Deletes content that no segment names: what a rewriting that died left behind, and what the archiver wrote under a
   * counter before the one given and has not recorded.
   */
  deleteStale(organizationId: string, counter: number, options: ChangeOptions): Promise<void>
}

const maxRewrites = 20

export function createArchivedContent(deps: ArchivedContentDependencies): ArchivedContent {
  const { client, store, segments, writer, lifecycle } = deps
  const documents = deps.db.collection<SegmentDocument>(collectionNames.archiveSegments)

  /** Segments with content, each as it is when its turn comes: no cursor stays open for hours. */
  async function* withContent(organizationId: string): AsyncGenerator<SegmentDocument> {
    let last = `${organizationId}/`
    for (;;) {
      const next = await documents.findOne(
        { _id: { $gt: last, $lt: `${organizationId}0` }, organizationId },
        { sort: { _id: 1 } },
      )
      if (next === null) return
      last = next._id
      if (hasContent(next)) yield next
    }
  }

  /** The events of each tile of a segment that concerns; those that make no leaf are damage. */
  async function* leavesOf(
    segment: SegmentDocument,
    concerns: ContentChange['concerns'],
  ): AsyncGenerator<readonly ArchivedLeaf[]> {
    if (segment.content === null) return
    const { file } = segment.content
    const { generation } = segment
    for await (const { lines, member } of readMembers(store, file)) {
      if (!concerns({ generation, tile: tileOf(member.first), lines })) {
        yield []
        continue
      }
      yield parseContentLines(lines).flatMap((line): ArchivedLeaf[] => {
        if (isEmptyLine(line)) return []
        const event = storedEventOf(segment.organizationId, line)
        if (event === undefined)
          throw new SegmentFault('event_malformed', file.path, 'it is no event', { index: line.index })
        return [{ index: line.index, event }]
      })
    }
  }

  /** Reads a segment as it is by now, if what it named is gone. */
  async function current<Value>(
    segment: SegmentDocument,
    read: (segment: SegmentDocument) => Promise<Value>,
    gone: Value,
  ): Promise<Value> {
    let now = segment
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await read(now)
      } catch (error) {
        if (!(error instanceof SegmentFault) || attempt === maxRewrites) throw error
        const again = await segments.find(now)
        if (again === undefined || !hasContent(again)) return gone
        if (again.content?.manifestSha256 === now.content?.manifestSha256) throw error
        now = again
      }
    }
  }

  const countIn = (segment: SegmentDocument, change: ContentChange, beat: () => void, max: number) =>
    current(
      segment,
      async (now) => {
        let found = 0
        for await (const leaves of leavesOf(now, (tile) => change.concerns(tile))) {
          beat()
          if (leaves.length === 0) continue
          found += changed(leaves, await change.apply(leaves))
          if (found >= max) break
        }
        return found
      },
      0,
    )

  /** Writes a segment anew and records it. @returns events that were changed */
  async function rewrite(
    segment: SegmentDocument,
    change: Pick<ContentChange, 'apply'>,
    { beat, ledgerSequence }: ChangeOptions,
    firstRevision = 0,
  ): Promise<number> {
    let now: SegmentDocument | undefined = segment
    for (let attempt = 0; attempt < maxRewrites; attempt += 1) {
      if (now === undefined || now.content === null) return 0
      const { revision } = now.content
      let count = 0
      const transform: Transform = async (leaves) => {
        const after = await change.apply(leaves)
        count += changed(leaves, after)
        return after
      }
      const options = {
        onProgress: beat,
        firstRevision,
        ...(ledgerSequence === undefined ? {} : { ledgerSequence }),
      }
      const range = now
      const written = await writer.rewriteContent(range, transform, options).catch(async (error: unknown) => {
        // Another was quicker, and what this one read from is gone.
        if (error instanceof SegmentFault && (await segments.find(range))?.content?.revision !== revision)
          return undefined
        throw error
      })
      const recorded =
        written !== undefined &&
        (await inTransaction(client, async (session) => {
          await lifecycle.advance(range.organizationId, session)
          return segments.recordContent(range, revision, written.content, session)
        }))
      if (recorded) {
        // If the process dies before this, `deleteStale` finds what is left.
        await writer.deleteOtherContent(range, written.content.revision)
        return count
      }
      now = await segments.find(range)
    }
    throw new Error('the content of a segment was written anew by others all the time')
  }

  /** Of one range, everything that lies there and is no recorded revision. */
  async function deleteStaleOf(
    range: SegmentRange,
    revisions: ReadonlySet<number>,
    counter: number,
    options: ChangeOptions,
  ): Promise<void> {
    // In this order: a claim becomes a segment, and never the other way round.
    const claim = await segments.claimOf(range)
    const segment = await segments.find(range)
    if (segment?.to === range.to) {
      const recorded = segment.content?.revision ?? 0
      await writer.deleteOtherContent(range, recorded)
      // A later one may be recorded at any moment by who wrote it, unless this one is written under a later name still.
      const newest = Math.max(...revisions)
      const same = { apply: (leaves: readonly ArchivedLeaf[]) => leaves.map(({ event }) => event) }
      if (recorded > 0 && newest > recorded) await rewrite(segment, same, options, newest + 1)
      return
    }
    const isClaimed = claim?.to === range.to
    if (isClaimed && claim.seen !== null && claim.seen >= counter) return
    if (isClaimed && claim.written !== null && !(await segments.forgetWritten(claim))) return
    await writer.deleteUnrecordedContent(range, 0)
  }

  return {
    reach: (organizationId) =>
      reading(async () => {
        const wanted = new Set<string>()
        for await (const { content } of withContent(organizationId)) {
          if (content === null) continue
          wanted.add(content.manifestPath)
          if (content.file.bytes > 0) wanted.add(content.file.path)
        }
        const [one] = wanted
        if (one === undefined) return
        for await (const { path } of store.list(`${organizationId}/`)) wanted.delete(path)
        if (wanted.size > 0) throw new TargetError(archiveTarget, 'archive_unavailable')
        const stream = await store.get(one, { offset: 0, length: 1 })
        if (stream === undefined) throw new TargetError(archiveTarget, 'archive_unavailable')
        await stream.resume().toArray()
      }),

    async *pick<Value>(
      organizationId: string,
      picking: { concerns(tile: TileLines): boolean; of(leaf: ArchivedLeaf): readonly Value[] },
      beat: () => void,
    ) {
      const ofSegment = async (segment: SegmentDocument): Promise<readonly Value[]> => {
        const picked: Value[] = []
        for await (const leaves of leavesOf(segment, (tile) => picking.concerns(tile))) {
          beat()
          for (const leaf of leaves) picked.push(...picking.of(leaf))
        }
        return picked
      }
      for await (const segment of withContent(organizationId)) {
        const picked = await reading(() => current(segment, ofSegment, []))
        if (picked.length > 0) yield picked
      }
    },

    closeBehind: (organizationId) =>
      inTransaction(client, (session) => lifecycle.advance(organizationId, session)),

    async change(organizationId, change, options) {
      let count = 0
      const ofSegment = async (segment: SegmentDocument) => {
        if ((await countIn(segment, change, options.beat, 1)) === 0) return
        count += await rewrite(segment, change, options)
      }
      await reading(
        async () => {
          for await (const segment of withContent(organizationId)) await ofSegment(segment)
        },
        () => count,
      )
      return count
    },

    left: (organizationId, change, beat) =>
      reading(async () => {
        let left = 0
        for await (const segment of withContent(organizationId))
          left += await countIn(segment, change, beat, Number.POSITIVE_INFINITY)
        return left
      }),

    deleteStale: (organizationId, counter, options) =>
      reading(async () => {
        const ranges = new Map<string, { range: SegmentRange; revisions: Set<number> }>()
        for await (const { path } of store.versions(`${organizationId}/`)) {
          options.beat()
          const object = parseSegmentPath(path)
          if (object?.kind !== 'content' && object?.kind !== 'contentManifest') continue
          const { generation, from, to, revision } = object
          const range = { organizationId, generation, from, to }
          const name = `${segmentId(range)}-${String(to)}`
          const known = ranges.get(name)
          if (known === undefined) ranges.set(name, { range, revisions: new Set([revision]) })
          else known.revisions.add(revision)
        }
        for (const { range, revisions } of ranges.values()) {
          options.beat()
          const segment = await segments.find(range)
          const isOnly =
            segment?.to === range.to && revisions.size === 1 && revisions.has(segment.content?.revision ?? 0)
          if (!isOnly) await deleteStaleOf(range, revisions, counter, options)
        }
      }),
  }
}

const hasContent = ({ content }: SegmentDocument): boolean => content !== null && content.state !== 'expired'

const changed = (leaves: readonly ArchivedLeaf[], after: Awaited<ReturnType<Transform>>): number =>
  leaves.filter(({ event }, position) => after[position] !== event).length

async function reading<Value>(body: () => Promise<Value>, removed?: () => number): Promise<Value> {
  try {
    return await body()
  } catch (error) {
    throw archiveFailure(error, removed?.())
  }
}
