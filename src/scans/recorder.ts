/**
 * The writes of a scan that happen once, however often they are tried: by a request, by an activity, by both.
 *
 * Each event is derived from the scan's document and written under a key of its own (`scan/<scanId>/started`),
 * so whoever writes it second changes nothing. A process may die between any two lines here: the next attempt
 * finds what is missing in the document and goes on from there.
 */
import type { MongoClient } from 'mongodb'
import type { SystemEvent, SystemEventWriter } from '../events/contract.js'
import { scanDeadline, type ScanEnd, type ScanReference, type ScanStatus } from './contract.js'
import { formatDuration } from './duration.js'
import { metadataOf } from './view.js'
import type { FindingsDocument, ScanDocument, ScanStore, StoredEnd, StoredProgress } from './store.js'

/** What the request that starts a scan knows, and no workflow payload ever holds. */
export interface StartDetails {
  readonly principal: string | null
  readonly metadataJson: string
  readonly bodyFingerprint: ScanDocument['bodyFingerprint']
}

export interface StallCheck {
  readonly ended: boolean
  readonly stalled: boolean
  readonly lastProgressAt: Date
}

export type ScanRecorder = ReturnType<typeof createScanRecorder>

const annals = { type: 'system', id: 'annals' } as const
const unknownDetails: StartDetails = { principal: null, metadataJson: '{}', bodyFingerprint: null }

export function createScanRecorder(deps: {
  readonly store: ScanStore
  readonly events: SystemEventWriter
  readonly mongo: Pick<MongoClient, 'withSession'>
}) {
  const { store, events, mongo } = deps

  async function read(scan: Pick<ScanReference, 'organizationId' | 'scanId'>): Promise<ScanDocument> {
    const document = await store.find(scan.organizationId, scan.scanId)
    if (document === null) throw new Error('a scan that was just written is not there')
    return document
  }

  async function writeStarted(document: ScanDocument): Promise<ScanDocument> {
    if (document.startedEventId !== null) return document
    // Two may write this at once, and both must write the same: what a late request adds to a document that the
    // workflow wrote is in the document only.
    const byRequest = document.writtenBy === 'request'
    const { id } = await events.write({
      ...about(document, 'annals.scan.started', document.startedAt, byRequest ? document.principal : null),
      onceKey: `scan/${document.scanId}/started`,
      metadata: {
        engine: document.engine,
        expectedWithin: formatDuration(document.expectedWithinMs),
        ...(document.progressTimeoutMs === null
          ? {}
          : { progressTimeout: formatDuration(document.progressTimeoutMs) }),
        // The job's own words about the scan: they belong to the vendor's engine, as in an event it posts itself.
        metadata: byRequest ? metadataOf(document) : {},
      },
    })
    await store.setEventId(document.organizationId, document.scanId, { startedEventId: id })
    return { ...document, startedEventId: id }
  }

  async function writeFinished(document: ScanDocument, end: StoredEnd): Promise<void> {
    if (document.finishedEventId !== null) return
    const { id } = await events.write({
      ...about(document, 'annals.scan.finished', end.at, end.principal),
      onceKey: `scan/${document.scanId}/finished`,
      outcome: end.outcome,
      metadata: {
        engine: document.engine,
        status: end.status,
        ...(end.late ? { late: true } : {}),
        ...(end.counts === null ? {} : { counts: { ...end.counts } }),
        ...(end.link === null ? {} : { link: end.link }),
        ...(end.findingsId === null ? {} : { findingsId: end.findingsId }),
      },
    })
    await store.setEventId(document.organizationId, document.scanId, { finishedEventId: id })
  }

  const recorder = {
    /**
     * Makes sure that the scan's document and its start event exist.
     * @param details what the request knew; absent where the workflow writes for an API that died
     * @returns the document, and whether this call brought `details` into it
     */
    async ensureStarted(
      scan: ScanReference,
      details?: StartDetails,
    ): Promise<{ document: ScanDocument; created: boolean }> {
      const { organizationId, scanId } = scan
      const fresh = newDocument(scan, details)
      if (await store.insert(fresh)) return { document: await writeStarted(fresh), created: true }
      const created = details !== undefined && (await store.adopt(organizationId, scanId, details))
      return { document: await writeStarted(await read(scan)), created }
    },

    /** Writes the start event of a stored scan if it is missing. */
    writeStarted,

    /** @returns whether the scan is there and has not ended */
    recordProgress(organizationId: string, scanId: string, progress: StoredProgress): Promise<boolean> {
      return store.setProgress(organizationId, scanId, progress)
    },

    /**
     * Ends a scan by a request. Where it brought findings, they are stored in the same transaction: nothing refers
     * to findings that are not there, and the loser of two requests leaves none behind.
     * @returns whether this call ended it
     */
    async claimEnd(
      organizationId: string,
      scanId: string,
      end: Omit<StoredEnd, 'late'>,
      findings: FindingsDocument | null,
    ): Promise<boolean> {
      if (findings === null) return store.claimEnd(organizationId, scanId, end)
      return mongo.withSession((session) =>
        session.withTransaction(async () => {
          const claimed = await store.claimEnd(organizationId, scanId, end, session)
          if (claimed) await store.insertFindings(findings, session)
          return claimed
        }),
      )
    },

    /**
     * Ends a scan by a signal, unless it has ended already, and writes the finish event of whichever end came first.
     * @param end null to write what is missing of an end that a request brought
     * @returns the scan's final status; that of a scan without end where there is none
     */
    async conclude(
      scan: ScanReference,
      end: { readonly end: ScanEnd; readonly at: Date } | null,
    ): Promise<{ status: ScanStatus; late: boolean }> {
      let { document } = await recorder.ensureStarted(scan)
      if (end !== null && document.end === null) {
        await store.claimEnd(scan.organizationId, scan.scanId, signalledEnd(end.end, end.at))
        document = await read(scan)
      }
      if (document.end === null) return { status: document.status, late: false }
      await writeFinished(document, document.end)
      return { status: document.end.status, late: document.end.late }
    },

    /**
     * Marks a scan as stalled and says so in an event, unless it has ended or progressed.
     * @param check number of this look within the scan: its event's own
     */
    async lookIntoStall(scan: ScanReference, check: number, at: Date): Promise<StallCheck> {
      const document = await read(scan)
      const { lastProgressAt } = document
      const quietMs = at.getTime() - lastProgressAt.getTime()
      if (document.end !== null || scan.progressTimeoutMs === null || quietMs < scan.progressTimeoutMs) {
        return { ended: document.end !== null, stalled: false, lastProgressAt }
      }
      await events.write({
        ...about(document, 'annals.scan.stalled', at, null),
        onceKey: `scan/${scan.scanId}/stalled/${check}`,
        outcome: 'failure',
        metadata: { engine: document.engine, progressTimeout: formatDuration(scan.progressTimeoutMs) },
      })
      await store.setStalled(scan.organizationId, scan.scanId, lastProgressAt, at)
      return { ended: false, stalled: true, lastProgressAt }
    },

    /**
     * Marks a scan as timed out and says so in an event, unless it has ended before.
     * @returns whether it has ended
     */
    async timeOut(scan: ScanReference, at: Date): Promise<boolean> {
      await store.setTimedOut(scan.organizationId, scan.scanId, at)
      const document = await read(scan)
      if (document.timedOutAt !== null) {
        await events.write({
          ...about(document, 'annals.scan.timed_out', document.timedOutAt, null),
          onceKey: `scan/${scan.scanId}/timed_out`,
          outcome: 'failure',
          metadata: { engine: document.engine, expectedWithin: formatDuration(scan.expectedWithinMs) },
        })
      }
      return document.end !== null
    },

    /** The reference of a stored scan, as its workflow knows it. */
    referenceOf,
  }
  return recorder
}

function referenceOf(document: ScanDocument): ScanReference {
  const { organizationId, scanId, engine, expectedWithinMs, progressTimeoutMs, lateWindowMs } = document
  const startedAt = document.startedAt.toISOString()
  return { organizationId, scanId, engine, startedAt, expectedWithinMs, progressTimeoutMs, lateWindowMs }
}

function newDocument(scan: ScanReference, details: StartDetails | undefined): ScanDocument {
  const startedAt = new Date(scan.startedAt)
  return {
    _id: `${scan.organizationId}/${scan.scanId}`,
    organizationId: scan.organizationId,
    scanId: scan.scanId,
    engine: scan.engine,
    startedAt,
    deadlineAt: new Date(scanDeadline(scan)),
    expectedWithinMs: scan.expectedWithinMs,
    progressTimeoutMs: scan.progressTimeoutMs,
    lateWindowMs: scan.lateWindowMs,
    ...(details ?? unknownDetails),
    writtenBy: details === undefined ? 'workflow' : 'request',
    status: 'running',
    progress: null,
    lastProgressAt: startedAt,
    progressSignalledAt: null,
    stalledAt: null,
    timedOutAt: null,
    end: null,
    startedEventId: null,
    finishedEventId: null,
  }
}

function signalledEnd(end: ScanEnd, at: Date): Omit<StoredEnd, 'late'> {
  return {
    status: end.status,
    outcome: end.outcome,
    at,
    counts: end.counts ?? null,
    link: end.link ?? null,
    // A reference is only ever set by the request that stored what it names.
    findingsId: null,
    principal: null,
    bodyFingerprint: null,
    keyFingerprint: null,
  }
}

/** What the events of one scan have in common. */
function about(
  document: ScanDocument,
  action: SystemEvent['action'],
  occurredAt: Date,
  principal: string | null,
): Pick<SystemEvent, 'organizationId' | 'action' | 'occurredAt' | 'actor' | 'targets'> {
  return {
    organizationId: document.organizationId,
    action,
    occurredAt,
    actor: principal === null ? annals : { type: 'principal', id: principal },
    targets: [
      { type: 'scan', id: document.scanId },
      { type: 'engine', id: document.engine },
    ],
  }
}
