/**
 * The activities of a scan's workflow. Each may run any number of times: the recorder's writes happen once. What
 * goes to Temporal on failure is a code alone, since a database's error quotes values.
 */
import { ApplicationFailure } from '@temporalio/activity'
import { AnnalsError, type ErrorCode } from '../src/errors.js'
import type { Counts, ScanEnd, ScanReference, ScanStatus } from '../src/scans/contract.js'
import type { ScanRecorder } from '../src/scans/recorder.js'

/** Whether the scan's document says that the scan has ended, which a lost signal may have failed to tell. */
export interface EndCheck {
  readonly ended: boolean
}

export interface ScanActivities {
  /** Writes the scan and its start event where the API died before it did. */
  ensureScanStarted(scan: ScanReference): Promise<EndCheck>
  /** Stores progress that came by signal. */
  recordScanProgress(
    scan: ScanReference,
    progress: { percent: number | null; counts: Counts | null; atMs: number },
  ): Promise<EndCheck>
  /** Writes `annals.scan.stalled` unless the document knows of later progress. */
  lookIntoScanStall(
    scan: ScanReference,
    check: { number: number; atMs: number },
  ): Promise<EndCheck & { stalled: boolean; lastProgressAtMs: number }>
  /** Writes `annals.scan.timed_out` unless the scan has ended. */
  timeOutScan(scan: ScanReference, atMs: number): Promise<EndCheck>
  /** Writes `annals.scan.finished` for the signalled end, or the one in the document where there is one. */
  concludeScan(
    scan: ScanReference,
    signalled: { end: ScanEnd; atMs: number } | null,
  ): Promise<{ status: ScanStatus; late: boolean }>
}

/** Trying again cannot mend these: the organization is gone, or the event is refused as it is. */
const permanentCodes: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'not_found',
  'wrong_region',
  'invalid',
  'malformed',
  'too_large',
  'forbidden',
])

export function createScanActivities(deps: { readonly recorder: ScanRecorder }): ScanActivities {
  const { recorder } = deps
  return {
    ensureScanStarted: (scan) =>
      reporting(async () => {
        const { document } = await recorder.ensureStarted(scan)
        return { ended: document.end !== null }
      }),
    recordScanProgress: (scan, { percent, counts, atMs }) =>
      reporting(async () => {
        const at = new Date(atMs)
        const progress = { percent, counts, message: null, at }
        return { ended: !(await recorder.recordProgress(scan.organizationId, scan.scanId, progress)) }
      }),
    lookIntoScanStall: (scan, { number, atMs }) =>
      reporting(async () => {
        const { ended, stalled, lastProgressAt } = await recorder.lookIntoStall(scan, number, new Date(atMs))
        return { ended, stalled, lastProgressAtMs: lastProgressAt.getTime() }
      }),
    timeOutScan: (scan, atMs) =>
      reporting(async () => ({ ended: await recorder.timeOut(scan, new Date(atMs)) })),
    concludeScan: (scan, signalled) =>
      reporting(() =>
        recorder.conclude(
          scan,
          signalled === null ? null : { end: signalled.end, at: new Date(signalled.atMs) },
        ),
      ),
  }
}

/** Runs an activity's body; a failure leaves as its code, without message or cause. */
async function reporting<T>(body: () => Promise<T>): Promise<T> {
  try {
    return await body()
  } catch (error) {
    const code = error instanceof AnnalsError ? error.code : 'internal'
    throw ApplicationFailure.create({
      message: code,
      type: code,
      nonRetryable: error instanceof AnnalsError && permanentCodes.has(error.code),
    })
  }
}
