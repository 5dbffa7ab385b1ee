/**
 * Scans in MongoDB: `scans`, one document each, and `scanFindings`, what a job said in free form when it ended.
 *
 * The document decides what happened: the first write that fills `end` wins, wherever it came from (HTTP or a
 * signal), and the events and the workflow follow it. Free-form JSON is kept as text: a value may then hold any
 * key (`$set`, `a.b`, `_bsontype`) and reads back as it was sent.
 */
import type { ClientSession, Collection, Db, Filter } from 'mongodb'
import { collectionNames } from '../mongo/collections.js'
import type { Counts, FinalStatus, ScanOutcome, ScanStatus } from './contract.js'

export interface StoredProgress {
  readonly percent: number | null
  readonly counts: Counts | null
  readonly message: string | null
  readonly at: Date
}

/** How a scan ended. `principal` and the fingerprints are null where a signal told it. */
export interface StoredEnd {
  readonly status: FinalStatus
  readonly outcome: ScanOutcome
  readonly at: Date
  readonly late: boolean
  readonly counts: Counts | null
  readonly link: string | null
  readonly findingsId: string | null
  readonly principal: string | null
  readonly bodyFingerprint: Buffer | null
  readonly keyFingerprint: Buffer | null
}

export interface ScanDocument {
  /** `<organizationId>/<scanId>` */
  readonly _id: string
  readonly organizationId: string
  readonly scanId: string
  readonly engine: string
  readonly startedAt: Date
  readonly deadlineAt: Date
  readonly expectedWithinMs: number
  readonly progressTimeoutMs: number | null
  readonly lateWindowMs: number
  /** Which of the two wrote this document first. */
  readonly writtenBy: 'request' | 'workflow'
  /** Who started it. Null where the API died first and the workflow wrote the document. */
  readonly principal: string | null
  readonly metadataJson: string
  /** Keyed hash of the body that started it; null without an idempotency key, or as `principal`. */
  readonly bodyFingerprint: Buffer | null
  readonly status: ScanStatus
  readonly progress: StoredProgress | null
  readonly lastProgressAt: Date
  /** When the workflow was last told of progress: bounds how often it is. */
  readonly progressSignalledAt: Date | null
  readonly stalledAt: Date | null
  readonly timedOutAt: Date | null
  readonly end: StoredEnd | null
  readonly startedEventId: string | null
  readonly finishedEventId: string | null
}

export interface FindingsDocument {
  /** `<organizationId>/<findingsId>` */
  readonly _id: string
  readonly organizationId: string
  readonly scanId: string
  readonly at: Date
  readonly findingsJson: string | null
  readonly reason: string | null
}

export interface ScanPosition {
  readonly startedAt: Date
  readonly scanId: string
}

export interface ScanListQuery {
  readonly organizationId: string
  readonly engine?: string | undefined
  readonly status?: ScanStatus | undefined
  readonly after?: ScanPosition | undefined
  readonly limit: number
}

export type ScanStore = ReturnType<typeof createScanStore>

export function scanKey(organizationId: string, id: string): string {
  return `${organizationId}/${id}`
}

/** Creates the indexes of the scans domain; safe to repeat. */
export async function ensureScanIndexes(db: Db): Promise<void> {
  await db
    .collection<ScanDocument>(collectionNames.scans)
    .createIndex({ organizationId: 1, startedAt: -1, scanId: -1 }, { name: 'newestFirst' }, {})
}

export function createScanStore(db: Db) {
  const scans: Collection<ScanDocument> = db.collection(collectionNames.scans)
  const findings: Collection<FindingsDocument> = db.collection(collectionNames.scanFindings)
  const unended = (organizationId: string, scanId: string): Filter<ScanDocument> => ({
    _id: scanKey(organizationId, scanId),
    end: null,
  })

  return {
    find: (organizationId: string, scanId: string) => scans.findOne({ _id: scanKey(organizationId, scanId) }),

    /** @returns whether this call made it; false where it exists already */
    async insert(document: ScanDocument): Promise<boolean> {
      const { upsertedCount } = await scans.updateOne(
        { _id: document._id },
        { $setOnInsert: document },
        { upsert: true },
      )
      return upsertedCount === 1
    },

    /** Adds what only the request knew to a document that the workflow wrote. @returns whether it was one */
    async adopt(
      organizationId: string,
      scanId: string,
      known: Pick<ScanDocument, 'principal' | 'metadataJson' | 'bodyFingerprint'>,
    ): Promise<boolean> {
      const filter = { _id: scanKey(organizationId, scanId), principal: null }
      return (await scans.updateOne(filter, { $set: known })).modifiedCount === 1
    },

    async setEventId(
      organizationId: string,
      scanId: string,
      event: Partial<Pick<ScanDocument, 'startedEventId' | 'finishedEventId'>>,
    ): Promise<void> {
      await scans.updateOne({ _id: scanKey(organizationId, scanId) }, { $set: event })
    },

    /** Stores progress; an older one changes nothing. @returns whether the scan is there and has not ended */
    async setProgress(organizationId: string, scanId: string, progress: StoredProgress): Promise<boolean> {
      const { matchedCount } = await scans.updateOne(unended(organizationId, scanId), [
        {
          $set: {
            progress: ifNewer(progress.at, { $literal: progress }, '$progress'),
            lastProgressAt: ifNewer(progress.at, progress.at, '$lastProgressAt'),
            status: { $cond: [{ $eq: ['$status', 'stalled'] }, 'running', '$status'] },
            stalledAt: null,
          },
        },
      ])
      return matchedCount === 1
    },

    /** Takes the right to tell the workflow of progress, at most once in `everyMs`. */
    async takeProgressSignal(
      organizationId: string,
      scanId: string,
      now: Date,
      everyMs: number,
    ): Promise<boolean> {
      const { modifiedCount } = await scans.updateOne(
        {
          ...unended(organizationId, scanId),
          $or: [
            { progressSignalledAt: null },
            { progressSignalledAt: { $lte: new Date(now.getTime() - everyMs) } },
          ],
        },
        { $set: { progressSignalledAt: now } },
      )
      return modifiedCount === 1
    },

    /** Marks a scan as stalled unless it progressed since `lastProgressAt` was read. */
    async setStalled(organizationId: string, scanId: string, lastProgressAt: Date, at: Date): Promise<void> {
      await scans.updateOne(
        { ...unended(organizationId, scanId), lastProgressAt, status: 'running' },
        { $set: { status: 'stalled', stalledAt: at } },
      )
    },

    /** Marks a scan as timed out unless it has ended. */
    async setTimedOut(organizationId: string, scanId: string, at: Date): Promise<void> {
      await scans.updateOne(
        { ...unended(organizationId, scanId), timedOutAt: null },
        { $set: { timedOutAt: at, status: 'timed_out' } },
      )
    },

    /**
     * Ends a scan: the first wins. Whether it is late is decided in the same write: it is once the scan was
     * marked as timed out, and, for an end that came by request, where its deadline had passed. A signal's moment
     * is when a worker read it, so a job must not be called late for it: no worker may have been there.
     * @returns whether this call ended it
     */
    async claimEnd(
      organizationId: string,
      scanId: string,
      end: Omit<StoredEnd, 'late'>,
      session?: ClientSession,
    ): Promise<boolean> {
      const overdue = end.bodyFingerprint === null ? false : { $gt: [end.at, '$deadlineAt'] }
      const late = { $or: [{ $ne: ['$timedOutAt', null] }, overdue] }
      const { modifiedCount } = await scans.updateOne(
        unended(organizationId, scanId),
        [{ $set: { end: { $mergeObjects: [{ $literal: end }, { late }] }, status: end.status } }],
        session === undefined ? {} : { session },
      )
      return modifiedCount === 1
    },

    async insertFindings(document: FindingsDocument, session: ClientSession): Promise<void> {
      await findings.insertOne(document, { session })
    },

    findFindings: (organizationId: string, findingsId: string) =>
      findings.findOne({ _id: scanKey(organizationId, findingsId) }),

    /** Newest first by start, then id. */
    list({ organizationId, engine, status, after, limit }: ScanListQuery): Promise<ScanDocument[]> {
      const filter: Filter<ScanDocument> = {
        organizationId,
        ...(engine === undefined ? {} : { engine }),
        ...(status === undefined ? {} : { status }),
        ...(after === undefined
          ? {}
          : {
              $or: [
                { startedAt: { $lt: after.startedAt } },
                { startedAt: after.startedAt, scanId: { $lt: after.scanId } },
              ],
            }),
      }
      return scans.find(filter).sort({ startedAt: -1, scanId: -1 }).limit(limit).toArray()
    },
  }
}

function ifNewer(at: Date, then: unknown, otherwise: string): object {
  return { $cond: [{ $gte: [at, '$lastProgressAt'] }, then, otherwise] }
}
