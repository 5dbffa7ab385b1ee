/**
 * Are the bytes of a segment still those that its document names? Reads every byte, as verifying does, and unpacks none:
 * for a segment that was verified before, the same bytes are the same events.
 */
import { createHash } from 'node:crypto'
import { maxNoteBytes } from '../transparency-log/note.js'
import type { SegmentDocument, SegmentFile } from './contract.js'
import { SegmentFault } from './segment-fault.js'
import { sha256Of } from './segment-manifest.js'
import { readObject } from './segment-reader.js'
import type { ArchiveStore } from './stores/contract.js'

type Store = Pick<ArchiveStore, 'get'>

/** @throws SegmentFault `manifest_missing` | `manifest_foreign` | `object_missing` | `object_differs`; ArchiveStoreError */
export async function hashSegment(
  store: Store,
  { records, content }: Pick<SegmentDocument, 'records' | 'content'>,
  signal?: AbortSignal,
): Promise<void> {
  for (const part of [records, content]) {
    if (part === null) continue
    const note = await readObject(store, part.manifestPath, maxNoteBytes)
    if (note === undefined) throw new SegmentFault('manifest_missing', part.manifestPath, 'it is not there')
    if (sha256Of(note) !== part.manifestSha256)
      throw new SegmentFault('manifest_foreign', part.manifestPath, 'it is not the one that was recorded')
    await hashFile(store, part.file, signal)
  }
}

async function hashFile(
  store: Store,
  { path, bytes, sha256 }: SegmentFile,
  signal: AbortSignal | undefined,
): Promise<void> {
  // A file of no bytes is not stored.
  if (bytes === 0) return
  const stream = await store.get(path)
  if (stream === undefined) throw new SegmentFault('object_missing', path, 'it is not there')
  const hash = createHash('sha256')
  let total = 0
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      signal?.throwIfAborted()
      hash.update(chunk)
      total += chunk.length
      if (total > bytes)
        throw new SegmentFault('object_differs', path, 'it has more bytes than its manifest says')
    }
  } finally {
    stream.destroy()
  }
  if (total !== bytes || hash.digest('hex') !== sha256)
    throw new SegmentFault('object_differs', path, 'its bytes are not those of its manifest')
}
