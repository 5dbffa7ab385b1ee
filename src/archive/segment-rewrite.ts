/**
 * Writes the content of a segment anew, as its next revision: without what expired, or without what was erased. The
 * revision before is verified first, and the new one before anybody hears of it; both lie in the archive until
 * `deleteOtherContent`, so that readers of the old one end in peace.
 */
import type { StoredEvent } from '../events/store.js'
import { rebuildLeaf } from '../events/rebuild.js'
import type { ContentState, SegmentDocument, SegmentRange } from './contract.js'
import { SegmentFault } from './segment-fault.js'
import type { SegmentPublisher, WrittenContent } from './segment-publish.js'
import { readMembers } from './segment-reader.js'
import { withSpool, type Spool } from './segment-spool.js'
import { verifySegment } from './segment-verify.js'
import { formatContentLine, parseContentLines, verifiedEventOf } from './segment.js'
import type { ArchiveStore } from './stores/contract.js'

/** The segment whose content is written anew; a `SegmentDocument` is one. */
export type RewritableSegment = SegmentRange & {
  readonly content: Pick<NonNullable<SegmentDocument['content']>, 'revision'> | null
  readonly records: Pick<NonNullable<SegmentDocument['records']>, 'manifestSha256' | 'leaves'> | null
}

export interface ArchivedLeaf {
  readonly index: number
  readonly event: StoredEvent
}

/**
 * What becomes of the events of one tile (at most 256), in the same order: the same or less of an event, which must still
 * make its leaf; undefined where it expires.
 */
export type Transform = (
  leaves: readonly ArchivedLeaf[],
) => Promise<readonly (StoredEvent | undefined)[]> | readonly (StoredEvent | undefined)[]

export interface RewriteOptions {
  /** Absent = as the revision before has it. */
  readonly ledgerSequence?: number
  /** The new revision is this one at least: what an earlier attempt left under a later name than the next is left behind. */
  readonly firstRevision?: number
  /** Events so far. */
  readonly onProgress?: (events: number) => void
  /** Checked between tiles; throws its reason. */
  readonly signal?: AbortSignal
}

export interface RewrittenContent {
  readonly content: WrittenContent
  /** Events that are still there. */
  readonly kept: number
  /** Events that went with this revision. */
  readonly expired: number
}

export interface ContentRewriter {
  /**
   * Writes the next revision of a segment's content and verifies it against the records. The revision before stays where
   * it is: record the new one, then `deleteOtherContent`. The same transform again finds what is written.
   * @throws SegmentFault where the segment does not verify, before or after; SpoolFullError; ArchiveStoreError
   */
  rewriteContent(
    segment: RewritableSegment,
    transform: Transform,
    options?: RewriteOptions,
  ): Promise<RewrittenContent>
}

interface Dependencies {
  readonly store: ArchiveStore
  readonly publisher: SegmentPublisher
  readonly spoolFolder: string
  readonly maxSpoolBytes: number | undefined
}

export function createContentRewriter(deps: Dependencies): ContentRewriter {
  const { store, publisher, spoolFolder, maxSpoolBytes } = deps
  return {
    async rewriteContent(segment, transform, options = {}) {
      const { organizationId, generation, from, to, content, records } = segment
      const range = { organizationId, generation, from, to }
      if (content === null || records === null) throw new Error('what has expired is not written anew')
      const signing = await publisher.signing()
      const { signal } = options
      const verifying = {
        verifiers: signing.verifiers,
        leaves: records.leaves?.revision,
        ...(signal === undefined ? {} : { signal }),
      }
      const before = await verifySegment(store, range, { ...verifying, revision: content.revision })
      if (before.records.sha256 !== records.manifestSha256 || before.content === undefined)
        throw new SegmentFault('manifest_foreign', before.records.path, 'it is not the one that was recorded')
      const { manifest } = before.content

      const use = async (spool: Spool): Promise<RewrittenContent> => {
        const file = await spool.file('content')
        const rewriting = new Rewriting(organizationId, transform)
        for await (const { lines } of readMembers(store, manifest.file)) {
          signal?.throwIfAborted()
          const { first, text } = await rewriting.member(lines)
          if (first !== undefined) await file.add(first, text)
          options.onProgress?.(rewriting.kept + rewriting.expired)
        }
        const { kept, expired } = rewriting
        const state = stateAfter(manifest.state, kept, expired)
        const statement = {
          format: manifest.format,
          events: kept,
          damaged: state === 'expired' ? 0 : before.damaged,
          state,
          ledgerSequence: options.ledgerSequence ?? manifest.ledgerSequence,
          records: manifest.records,
        }
        const spooled = state === 'expired' ? undefined : file
        const revision = Math.max(content.revision + 1, options.firstRevision ?? 0)
        const written = await publisher.content(range, spooled, revision, statement, signing)
        await verifySegment(store, range, { ...verifying, revision: written.revision })
        return { content: written, kept, expired }
      }
      return withSpool(spoolFolder, use, maxSpoolBytes)
    },
  }
}

function stateAfter(before: ContentState, kept: number, expired: number): ContentState {
  if (expired === 0) return before
  return kept === 0 ? 'expired' : 'reduced'
}

class Rewriting {
  kept = 0
  expired = 0

  constructor(
    private readonly organizationId: string,
    private readonly transform: Transform,
  ) {}

  /** The new lines of a member, and the first leaf in it; undefined where none is left. */
  async member(bytes: Buffer): Promise<{ readonly first: number | undefined; readonly text: string }> {
    const lines = parseContentLines(bytes).map((line) => ({
      line,
      event: verifiedEventOf(this.organizationId, line),
    }))
    const leaves = lines.flatMap(({ line, event }) =>
      event === undefined ? [] : [{ index: line.index, event }],
    )
    const after = [...(await this.transform(leaves))]
    if (after.length !== leaves.length) throw new Error('a transform answers for every event')
    let first: number | undefined
    let text = ''
    for (const { line, event } of lines) {
      const now = event === undefined ? undefined : after.shift()
      if (event !== undefined && now === undefined) {
        this.expired += 1
        continue
      }
      if (event !== undefined && now !== undefined) {
        requireSameLeaf(event, now)
        this.kept += 1
      }
      first ??= line.index
      text += formatContentLine(line.index, line.id, now)
    }
    return { first, text }
  }
}

function requireSameLeaf(before: StoredEvent, after: StoredEvent): void {
  if (after !== before && rebuildLeaf(after)?.leafHash.equals(before.leafHash) !== true)
    throw new Error('a transform takes values out of an event and leaves their commitments')
}
