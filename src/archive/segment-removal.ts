/** Deletes objects of a segment that count no more. */
import type { SegmentRange } from './contract.js'
import { parseSegmentPath, segmentPrefix, type SegmentObject } from './segment-paths.js'
import type { ArchiveStore } from './stores/contract.js'

/**
 * Deletes every version of those that are to go, manifests first: data without one is nothing, a manifest without its
 * data is damage. @throws ArchiveStoreError `locked` …
 */
export async function deleteObjects(
  store: Pick<ArchiveStore, 'versions' | 'delete'>,
  range: SegmentRange,
  goes: (object: SegmentObject) => boolean,
): Promise<void> {
  const paths = new Set<string>()
  for await (const { path } of store.versions(segmentPrefix(range))) {
    const object = parseSegmentPath(path)
    if (object !== undefined && goes(object)) paths.add(path)
  }
  const manifests = [...paths].filter((path) => path.endsWith('.manifest'))
  for (const path of new Set([...manifests, ...paths])) await store.delete(path)
}
