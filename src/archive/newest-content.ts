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
import {
  contentRevisions,
  leavesRevisions,
  type RevisedManifest,
  type Revisions,
} from './segment-manifest.js'
import { parseSegmentPath, segmentPrefix } from './segment-paths.js'
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

  /** The newest revision that lies in the archive; undefined where it is not newer than the one that is known. */
  async function newerThan<Manifest extends RevisedManifest>(
    known: number,
    { manifestKind, manifestPath: pathOf, open }: Revisions<Manifest>,
    segment: SegmentDocument,
    verifiers: readonly Verifier[],
  ) {
    let revision = known
    for await (const { path } of store.list(segmentPrefix(segment))) {
      const object = parseSegmentPath(path)
      if (object?.kind === manifestKind) revision = Math.max(revision, object.revision)
    }
    if (revision === known) return undefined
    const manifestPath = pathOf(segment, revision)
    const note = await readObject(store, manifestPath, maxManifestBytes)
    if (note === undefined)
      throw new SegmentFault('object_missing', manifestPath, 'it went while it was read')
    const { manifest, sha256 } = open(note, segment, revision, verifiers)
    return { manifest, written: { revision, file: manifest.file, manifestPath, manifestSha256: sha256 } }
  }

  /** Points to the newest leaves where what the row names is there no more. */
  async function pointToLeaves(segment: SegmentDocument, verifiers: readonly Verifier[]): Promise<boolean> {
    const { organizationId, records } = segment
    if (records === null || (await store.head(records.file.path)) !== undefined) return false
    const known = records.leaves?.revision
    const newest = await newerThan(known ?? 0, leavesRevisions, segment, verifiers)
    if (newest === undefined) return false
    const leaves = { ...newest.written, expired: newest.manifest.expired }
    return inTransaction(client, async (session) => {
      await advance(organizationId, session)
      return segments.recordLeaves(segment, known, leaves, session)
    })
  }

  async function pointToContent(segment: SegmentDocument, verifiers: readonly Verifier[]): Promise<boolean> {
    const { organizationId, content: old } = segment
    if (old === null) return false
    const newest = await newerThan(old.revision, contentRevisions, segment, verifiers)
    if (newest === undefined) return false
    const content = { ...newest.written, state: newest.manifest.state }
    return inTransaction(client, async (session) => {
      await advance(organizationId, session)
      return segments.recordContent(segment, old.revision, content, session)
    })
  }

  return async function pointToNewest(organizationId: string, beat: () => void): Promise<number> {
    const verifiers = await keys.verifiers()
    let moved = 0
    for await (const segment of rows.find({ organizationId, content: { $ne: null } })) {
      beat()
      if (await pointToLeaves(segment, verifiers)) moved += 1
      if (await pointToContent(segment, verifiers)) moved += 1
    }
    return moved
  }
}
