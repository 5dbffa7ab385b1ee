/** Which segments there are in an archive, from the paths of their objects. */
import type { SegmentRange } from '../archive/contract.js'
import { archiveKeysPath, parseSegmentPath, type SegmentObject } from '../archive/segment-paths.js'
import type { ArchiveStore } from '../archive/stores/contract.js'
import type { ExpiringSegment } from './archive-expiries.js'

export interface ListedSegment extends ExpiringSegment {
  readonly hasRecordsManifest: boolean
}

export interface ListedPart {
  readonly organizationId?: string | undefined
  readonly generation?: number | undefined
}

/**
 * Segments in the order of paths: those of one log follow each other, and one begins where the one before ends.
 * @param unknown is told the path of each object that no segment has
 */
export async function* listSegments(
  store: Pick<ArchiveStore, 'list'>,
  { organizationId, generation }: ListedPart,
  unknown: (path: string) => void = () => undefined,
): AsyncGenerator<ListedSegment> {
  const log = generation === undefined ? '' : `${String(generation)}/`
  const prefix = organizationId === undefined ? '' : `${organizationId}/${log}`
  let open: ListedSegment | undefined
  for await (const { path } of store.list(prefix)) {
    const object = parseSegmentPath(path)
    if (object === undefined) {
      if (path !== archiveKeysPath) unknown(path)
      continue
    }
    if (open !== undefined && !isOfSegment(object, open)) {
      yield open
      open = undefined
    }
    open = withObject(open, object, path)
  }
  if (open !== undefined) yield open
}

export const isOfLog = (
  a: Pick<SegmentRange, 'organizationId' | 'generation'>,
  b: Pick<SegmentRange, 'organizationId' | 'generation'>,
): boolean => a.organizationId === b.organizationId && a.generation === b.generation

const isOfSegment = (a: SegmentRange, b: SegmentRange): boolean =>
  isOfLog(a, b) && a.from === b.from && a.to === b.to

function withObject(segment: ListedSegment | undefined, object: SegmentObject, path: string): ListedSegment {
  const { organizationId, generation, from, to, kind, revision } = object
  const ascending = (a: number, b: number) => a - b
  return {
    organizationId,
    generation,
    from,
    to,
    hasRecordsManifest: segment?.hasRecordsManifest === true || kind === 'recordsManifest',
    hasRecords: segment?.hasRecords === true || kind === 'records',
    leaves: [...(segment?.leaves ?? []), ...(kind === 'leavesManifest' ? [revision] : [])].sort(ascending),
    revisions: [...(segment?.revisions ?? []), ...(kind === 'contentManifest' ? [revision] : [])].sort(
      ascending,
    ),
    proofs: [...(segment?.proofs ?? []), ...(kind === 'expiryProof' || kind === 'leavesProof' ? [path] : [])],
  }
}
