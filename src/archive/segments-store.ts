/**
 * Segments in MongoDB, as the workflow that makes them writes them (what reads them is segment-lookup.ts), and the claims
 * of ranges that are on their way to be one (collection `archiveClaims`).
 *
 * A claim is made before the first byte is written, and says where the segment that begins at a leaf will end. So two
 * sweeps that looked at different moments write one segment and not two that overlap. It keeps what was written until
 * that was verified and became the segment, in one transaction.
 */
import type { ClientSession, Collection, Db } from 'mongodb'
import { collectionNames } from '../mongo/collections.js'
import type { Expiring, ExpiryLook, SegmentDocument, SegmentRange } from './contract.js'
import { segmentId } from './segment-paths.js'
import type { WrittenContent, WrittenLeaves } from './segment-publish.js'
import type { WrittenSegment } from './segment-writer.js'

export interface SegmentClaim extends SegmentRange {
  /** As that of the segment: `<org>/<generation>/<from, twelve digits>`. */
  readonly _id: string
  readonly claimedAt: Date
  /** What was written; null until then. */
  readonly written: WrittenSegment | null
  /** The lifecycle counter before the first event of it was read. */
  readonly seen: number | null
  /** SHA-256 of the content manifest that was read back and found right; null until then. */
  readonly verified: string | null
}

/** Where a segment says what expiry of a kind has found, and when something of it went. */
export const lookMember = { content: 'contentExpiry', records: 'recordExpiry' } as const
const expiredAtMember = { content: 'contentExpiredAt', records: 'recordsExpiredAt' } as const

export interface SegmentsStore {
  /** The segment that begins at a leaf. */
  find(place: Omit<SegmentRange, 'to'>): Promise<SegmentDocument | undefined>
  /** The segment that ends right before a leaf. */
  before(place: Omit<SegmentRange, 'to'>): Promise<SegmentDocument | undefined>
  /** The claim of a range, made if there is none yet: it may say another end than asked for, which stands. */
  claim(range: SegmentRange, at: Date): Promise<SegmentClaim>
  claimOf(place: Omit<SegmentRange, 'to'>): Promise<SegmentClaim | undefined>
  /** Has a range that nothing was written of end earlier. @returns whether it does, by this call or another */
  shorten(range: SegmentRange, to: number): Promise<boolean>
  /** Keeps what was written of the range that is claimed; what was verified before counts no more. */
  keepWritten(range: SegmentRange, written: WrittenSegment, seen: number): Promise<void>
  keepVerified(range: SegmentRange, contentManifest: string): Promise<void>
  /** Forgets what was written under a counter that has moved on: it is written again. @returns whether it did */
  forgetWritten(claim: SegmentClaim): Promise<boolean>
  /** Gives a range free again: it became a segment without it. */
  dropClaim(range: SegmentRange): Promise<void>
  /** Makes the segment of a claim, in the caller's transaction. A duplicate key aborts it. */
  insert(segment: SegmentDocument, session: ClientSession): Promise<void>
  /** The segment as the caller's transaction sees it. */
  read(id: string, session: ClientSession): Promise<SegmentDocument | undefined>
  /** @returns whether this call did it */
  markHotDeleted(id: string, at: Date, session: ClientSession): Promise<boolean>
  /**
   * Puts a new revision of the content in the place of the one that was rewritten, in the caller's transaction.
   * @param revision the one that the caller rewrote
   * @returns false where the content is at another revision by now, and nothing was changed
   */
  recordContent(
    range: SegmentRange,
    revision: number,
    content: WrittenContent,
    session: ClientSession,
  ): Promise<boolean>
  /** Notes what expiry of one kind found, and what it has begun, in the caller's transaction. */
  noteExpiry(
    id: string,
    kind: Expiring['kind'],
    look: ExpiryLook,
    expiring: Expiring | undefined,
    session: ClientSession,
  ): Promise<void>
  /**
   * Puts leaves in the place of the records, or of leaves, that were rewritten, in the caller's transaction.
   * @param revision of the leaves that the caller rewrote; undefined = the records as they were archived
   * @returns false where something else stands there by now, and nothing was changed
   */
  recordLeaves(
    range: SegmentRange,
    revision: number | undefined,
    leaves: WrittenLeaves,
    session: ClientSession,
  ): Promise<boolean>
  /** Until then the records are not looked at. */
  noteRecordsLock(id: string, until: Date): Promise<void>
  /** The bytes of an expiry are gone. @returns whether this call says so */
  finishExpiry(id: string, eventId: string): Promise<boolean>
}

export function createSegmentsStore(db: Db): SegmentsStore {
  const segments: Collection<SegmentDocument> = db.collection(collectionNames.archiveSegments)
  const claims: Collection<SegmentClaim> = db.collection(collectionNames.archiveClaims)
  return {
    find: async (place) => (await segments.findOne({ _id: segmentId(place) })) ?? undefined,
    async before({ organizationId, generation, from }) {
      const [last] = await segments
        .find({ organizationId, generation, from: { $lt: from } })
        .sort({ generation: -1, from: -1 })
        .limit(1)
        .toArray()
      return last?.to === from ? last : undefined
    },
    async claim(range, at) {
      const _id = segmentId(range)
      const fresh: SegmentClaim = { ...range, _id, claimedAt: at, written: null, seen: null, verified: null }
      const claim = await claims.findOneAndUpdate(
        { _id },
        { $setOnInsert: fresh },
        { upsert: true, returnDocument: 'after' },
      )
      return claim ?? fresh
    },
    claimOf: async (place) => (await claims.findOne({ _id: segmentId(place) })) ?? undefined,
    async shorten(range, to) {
      const _id = segmentId(range)
      await claims.updateOne({ _id, to: range.to, written: null }, { $set: { to } })
      return (await claims.findOne({ _id }))?.to === to
    },
    async keepWritten(range, written, seen) {
      await claims.updateOne(
        { _id: segmentId(range), to: range.to },
        { $set: { written, seen, verified: null } },
      )
    },
    async keepVerified(range, contentManifest) {
      await claims.updateOne(
        { _id: segmentId(range), 'written.content.manifestSha256': contentManifest },
        { $set: { verified: contentManifest } },
      )
    },
    async forgetWritten({ _id, seen }) {
      const { modifiedCount } = await claims.updateOne(
        { _id, seen, written: { $ne: null } },
        { $set: { written: null, seen: null, verified: null } },
      )
      return modifiedCount === 1
    },
    async dropClaim(range) {
      await claims.deleteOne({ _id: segmentId(range) })
    },
    async insert(segment, session) {
      await segments.insertOne(segment, { session })
      await claims.deleteOne({ _id: segment._id }, { session })
    },
    read: async (_id, session) => (await segments.findOne({ _id }, { session })) ?? undefined,
    async markHotDeleted(_id, at, session) {
      const { modifiedCount } = await segments.updateOne(
        { _id, hotDeletedAt: null },
        { $set: { hotDeletedAt: at } },
        { session },
      )
      return modifiedCount === 1
    },
    async recordContent(range, revision, content, session) {
      const { modifiedCount } = await segments.updateOne(
        { _id: segmentId(range), to: range.to, 'content.revision': revision },
        { $set: { content } },
        { session },
      )
      return modifiedCount === 1
    },
    async noteExpiry(_id, kind, look, expiring, session) {
      const begun = expiring === undefined ? {} : { expiring, [expiredAtMember[kind]]: look.at }
      const unlocked = kind === 'records' ? { $unset: { recordsLockedUntil: '' as const } } : {}
      await segments.updateOne(
        { _id },
        { $set: { [lookMember[kind]]: look, ...begun }, ...unlocked },
        { session },
      )
    },
    async recordLeaves(range, revision, { file, ...leaves }, session) {
      const before = revision ?? { $exists: false }
      const { modifiedCount } = await segments.updateOne(
        { _id: segmentId(range), to: range.to, records: { $ne: null }, 'records.leaves.revision': before },
        { $set: { 'records.file': file, 'records.leaves': leaves } },
        { session },
      )
      return modifiedCount === 1
    },
    async noteRecordsLock(_id, until) {
      await segments.updateOne({ _id }, { $set: { recordsLockedUntil: until } })
    },
    async finishExpiry(_id, eventId) {
      const filter = { _id, 'expiring.eventId': eventId }
      const { modifiedCount } = await segments.updateOne(filter, { $unset: { expiring: '' } })
      return modifiedCount === 1
    },
  }
}

/** Makes the collections and the index of what is to be finished; changes nothing where they are there. */
export async function ensureSegmentsIndexes(db: Db): Promise<void> {
  await db.collection<SegmentDocument>(collectionNames.archiveSegments).createIndexes([
    {
      key: { hotDeletedAt: 1, _id: 1 },
      name: 'hot_deletion_unfinished',
      partialFilterExpression: { hotDeletedAt: null },
    },
    {
      key: { organizationId: 1, generation: 1, from: 1 },
      name: 'never_looked_at_for_expiry',
      partialFilterExpression: { contentExpiry: null },
    },
    {
      key: { organizationId: 1, generation: 1, from: 1, 'contentExpiry.holds': 1 },
      name: 'kept_by_holds',
      partialFilterExpression: { 'contentExpiry.held': { $gt: 0 } },
    },
    {
      key: { organizationId: 1, generation: 1, from: 1, recordsLockedUntil: 1 },
      name: 'records_never_looked_at_for_expiry',
      partialFilterExpression: { recordExpiry: null },
    },
    {
      key: { organizationId: 1, generation: 1, from: 1, 'recordExpiry.holds': 1 },
      name: 'records_kept_by_holds',
      partialFilterExpression: { 'recordExpiry.held': { $gt: 0 } },
    },
    {
      key: { organizationId: 1, expiring: 1 },
      name: 'expiry_unfinished',
      partialFilterExpression: { expiring: { $exists: true } },
    },
  ])
  await db
    .collection<SegmentClaim>(collectionNames.archiveClaims)
    .createIndexes([{ key: { _id: 1 }, name: '_id_' }])
}
