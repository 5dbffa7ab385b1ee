/**
 * After a database was restored from a backup: its rows name revisions of content that an erasure has replaced since, and
 * whose bytes are gone. The newest revision that lies in the archive is the one that counts. The same of records that have
 * expired since: the newest leaves stand in their place, if the records are there no more.
 */
import type { ClientSession, Collection, Db, MongoClient } from 'mongodb'
import { collectionNames } from '../mongo/collections.js'
import { inTransaction } from '../mongo/transaction.js'
import type { SegmentDocument } from './contract.js'
import type { ArchiveKeys } from './segment-keys.js'
import { SegmentFault } from './segment-fault.js'
import { openContentManifest, openLeavesManifest } from './segment-manifest.js'
import { contentManifestPath, leavesManifestPath, parseSegmentPath, segmentPrefix } from './segment-paths.js'
import { readObject } from './segment-reader.js'
import type { Verifier } from '../transparency-log/note.js'
import type { SegmentsStore } from './segments-store.js'
import type { ArchiveStore } from './stores/contract.js'

export interface NewestContentDependencies {
  readonly client: MongoClient
  readonly db: Db
  readonly store: ArchiveStore
  readonly keys: ArchiveKeys
  readonly segments: Pick<SegmentsStore, 'recordContent' | 'recordLeaves'>
  /** Moves the lifecycle counter of an organization on. */
  readonly advance: (organizationId: string, session: ClientSession) => Promise<unknown>
}

const maxManifestBytes = 64 * 1024 * 1024

/**
 * Points every segment of an organization to the newest content that lies in the archive, signed by the deployment.
 * @returns how many pointed to an older one
 * @throws ArchiveStoreError; SegmentFault where the newest manifest does not open
 */
export function createNewestContent(deps: NewestContentDependencies) {
  const { client, db, store, keys, segments, advance } = deps
  const rows: Collection<SegmentDocument> = db.collection(collectionNames.archiveSegments)

  async function newestRevision(segment: SegmentDocument): Promise<number> {
    let newest = 0
    for await (const { path } of store.list(segmentPrefix(segment))) {
      const object = parseSegmentPath(path)
      if (object?.kind === 'contentManifest') newest = Math.max(newest, object.revision)
    }
    return newest
  }

  /** Points to the newest leaves where what the row names is there no more. */
  async function pointToLeaves(segment: SegmentDocument, verifiers: readonly Verifier[]): Promise<boolean> {
    const { organizationId, records } = segment
    if (records === null || (await store.head(records.file.path)) !== undefined) return false
    let revision = 0
    for await (const { path } of store.list(segmentPrefix(segment))) {
      const object = parseSegmentPath(path)
      if (object?.kind === 'leavesManifest') revision = Math.max(revision, object.revision)
    }
    if (revision <= (records.leaves?.revision ?? 0)) return false
    const manifestPath = leavesManifestPath(segment, revision)
    const note = await readObject(store, manifestPath, maxManifestBytes)
    if (note === undefined)
      throw new SegmentFault('object_missing', manifestPath, 'it went while it was read')
    const { manifest, sha256 } = openLeavesManifest(note, segment, revision, verifiers)
    const { file, expired } = manifest
    const leaves = { revision, file, manifestPath, manifestSha256: sha256, expired }
    return inTransaction(client, async (session) => {
      await advance(organizationId, session)
      return segments.recordLeaves(segment, records.leaves?.revision, leaves, session)
    })
  }

  return async function pointToNewest(organizationId: string, beat: () => void): Promise<number> {
    const verifiers = await keys.verifiers()
    let moved = 0
    for await (const segment of rows.find({ organizationId, content: { $ne: null } })) {
      beat()
      if (await pointToLeaves(segment, verifiers)) moved += 1
      const old = segment.content
      if (old === null) continue
      const revision = await newestRevision(segment)
      if (revision <= old.revision) continue
      const manifestPath = contentManifestPath(segment, revision)
      const note = await readObject(store, manifestPath, maxManifestBytes)
      if (note === undefined)
        throw new SegmentFault('object_missing', manifestPath, 'it went while it was read')
      const { manifest, sha256 } = openContentManifest(note, segment, revision, verifiers)
      const { file, state } = manifest
      const content = { state, revision, file, manifestPath, manifestSha256: sha256 }
      const recorded = await inTransaction(client, async (session) => {
        await advance(organizationId, session)
        return segments.recordContent(segment, old.revision, content, session)
      })
      if (recorded) moved += 1
    }
    return moved
  }
}
