/**
 * Writes what is left of a segment's records once some have expired, as the next revision of its leaves: a line for every
 * leaf, and the record of those that stay. The records of before are verified first, with the content, and the leaves
 * before anybody hears of them; both lie in the archive until `deleteOtherRecords`, so that readers of the old ones end
 * in peace. The records manifest stays for ever: it names no record, and the segment after it names it.
 */
import type { StoredEvent } from '../events/store.js'
import type { SegmentDocument, SegmentRange } from './contract.js'
import { SegmentFault } from './segment-fault.js'
import type { SegmentPublisher, WrittenLeaves } from './segment-publish.js'
import { readMembers } from './segment-reader.js'
import { deleteObjects } from './segment-removal.js'
import { withSpool, type Spool } from './segment-spool.js'
import { verifySegment } from './segment-verify.js'
import { formatLeafLine, parseContentLines, parseRecordLines, tileOf, verifiedEventOf } from './segment.js'
import type { ArchiveStore } from './stores/contract.js'

/** A leaf that has a record. */
export interface RecordedLeaf {
  readonly index: number
  /** Canonical JSON. */
  readonly record: string
  /** Its event, where the content is still there. */
  readonly event: StoredEvent | undefined
}

export interface LeavesOptions {
  /** The new revision is this one at least. */
  readonly firstRevision?: number
  /** Leaves so far. */
  readonly onProgress?: (leaves: number) => void
  /** Checked between tiles; throws its reason. */
  readonly signal?: AbortSignal
}

type RecordedSegment = SegmentRange & Pick<SegmentDocument, 'records' | 'content'>

export interface LeavesRewriter {
  /**
   * Writes the next revision of a segment's leaves and verifies it. The same answers again find what is written.
   * @param stays whether the record of a leaf stays; asked once for each that is there, in order
   * @returns undefined where every one stays: then nothing is written
   * @throws what `stays` throws, and then nothing is written; SegmentFault where the segment does not verify, before or
   *   after; SpoolFullError; ArchiveStoreError
   */
  rewriteRecords(
    segment: RecordedSegment,
    stays: (leaf: RecordedLeaf) => boolean,
    options?: LeavesOptions,
  ): Promise<WrittenLeaves | undefined>
  /**
   * Deletes the records of before this revision of the leaves, all versions of them. Manifests of leaves that are deleted go
   * first, that of the records stays. @throws ArchiveStoreError `locked` …
   */
  deleteOtherRecords(range: SegmentRange, revision: number): Promise<void>
}

interface Dependencies {
  readonly store: ArchiveStore
  readonly publisher: Pick<SegmentPublisher, 'signing' | 'leaves'>
  readonly spoolFolder: string
  readonly maxSpoolBytes: number | undefined
}

export function createLeavesRewriter(deps: Dependencies): LeavesRewriter {
  const { store, publisher, spoolFolder, maxSpoolBytes } = deps

  return {
    async rewriteRecords(segment, stays, options = {}) {
      const { organizationId, generation, from, to, content, records } = segment
      const range = { organizationId, generation, from, to }
      if (records === null) throw new Error('a segment has records, or leaves in their place')
      const { verifiers, ...signing } = await publisher.signing()
      const { signal } = options
      const verifying = {
        verifiers,
        revision: content?.revision,
        ...(signal === undefined ? {} : { signal }),
      }
      const before = await verifySegment(store, range, { ...verifying, leaves: records.leaves?.revision })
      if (before.records.sha256 !== records.manifestSha256)
        throw new SegmentFault('manifest_foreign', before.records.path, 'it is not the one that was recorded')

      const use = async (spool: Spool): Promise<WrittenLeaves | undefined> => {
        const file = await spool.file('records')
        let expired = before.recordsExpired
        for await (const { first, leaves } of tilesOf(store, segment)) {
          signal?.throwIfAborted()
          let text = ''
          for (const { line, event } of leaves) {
            const { index, record } = line
            const goes = record !== undefined && record !== '' && !stays({ index, record, event })
            if (goes) expired += 1
            text += formatLeafLine(goes ? { ...line, record: undefined } : line)
          }
          await file.add(first, text)
          options.onProgress?.(first + leaves.length - from)
        }
        if (expired === before.recordsExpired) return undefined
        const revision = Math.max((records.leaves?.revision ?? 0) + 1, options.firstRevision ?? 0)
        const statement = {
          format: 'annals/segment-leaves/v1',
          expired,
          records: before.records.sha256,
        } as const
        const written = await publisher.leaves(range, file, revision, statement, { ...signing, verifiers })
        await verifySegment(store, range, { ...verifying, leaves: written.revision })
        return written
      }
      return withSpool(spoolFolder, use, maxSpoolBytes)
    },

    async deleteOtherRecords(range, revision) {
      if (revision < 1) throw new Error('records go once leaves stand in their place')
      await deleteObjects(
        store,
        range,
        (object) =>
          object.kind === 'records' ||
          ((object.kind === 'leaves' || object.kind === 'leavesManifest') && object.revision < revision),
      )
    },
  }
}

/** The lines of records, or of leaves, tile by tile, each with its event where the content is there. */
async function* tilesOf(store: Pick<ArchiveStore, 'get'>, segment: RecordedSegment) {
  const { organizationId, records, content } = segment
  if (records === null) return
  const contents = content === null ? undefined : readMembers(store, content.file)
  let ahead = await contents?.next()
  try {
    for await (const { member, lines } of readMembers(store, records.file)) {
      const tile = tileOf(member.first)
      const events = new Map<number, StoredEvent>()
      if (ahead?.done === false && tileOf(ahead.value.member.first) === tile) {
        for (const line of parseContentLines(ahead.value.lines)) {
          const event = verifiedEventOf(organizationId, line)
          if (event !== undefined) events.set(line.index, event)
        }
        ahead = await contents?.next()
      }
      const leaves = parseRecordLines(lines).map((line) => ({ line, event: events.get(line.index) }))
      yield { first: member.first, leaves }
    }
  } finally {
    await contents?.return(undefined)
  }
}
