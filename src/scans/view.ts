/** A scan as the API shows it. */
import { z } from 'zod'
import type { JsonObject, JsonValue } from '../events/contract.js'
import {
  scanWorkflowId,
  type Counts,
  type FinalStatus,
  type ScanOutcome,
  type ScanStatus,
} from './contract.js'
import { formatDuration } from './duration.js'
import type { FindingsDocument, ScanDocument } from './store.js'

export interface ScanView {
  readonly id: string
  readonly organizationId: string
  readonly engine: string
  readonly status: ScanStatus
  readonly workflowId: string
  readonly startedAt: string
  /** When it times out. */
  readonly deadlineAt: string
  readonly expectedWithin: string
  readonly progressTimeout: string | null
  readonly metadata: JsonObject
  readonly progress: {
    readonly percent: number | null
    readonly counts: Counts | null
    readonly message: string | null
    readonly at: string
  } | null
  readonly stalledAt: string | null
  readonly timedOutAt: string | null
  readonly end: {
    readonly status: FinalStatus
    readonly outcome: ScanOutcome
    readonly at: string
    readonly late: boolean
    readonly counts: Counts | null
    readonly link: string | null
    readonly findingsId: string | null
  } | null
}

/** What only the read of one scan shows: free form as the job sent it. */
export interface ScanDetail extends ScanView {
  readonly findings: JsonValue
  readonly reason: string | null
}

export function viewOf(document: ScanDocument): ScanView {
  const { progress, end } = document
  return {
    ...startViewOf(document),
    status: document.status,
    progress:
      progress === null
        ? null
        : {
            percent: progress.percent,
            counts: progress.counts,
            message: progress.message,
            at: progress.at.toISOString(),
          },
    stalledAt: document.stalledAt?.toISOString() ?? null,
    timedOutAt: document.timedOutAt?.toISOString() ?? null,
    end:
      end === null
        ? null
        : {
            status: end.status,
            outcome: end.outcome,
            at: end.at.toISOString(),
            late: end.late,
            counts: end.counts,
            link: end.link,
            findingsId: end.findingsId,
          },
  }
}

/** The scan as it was when it started: what a repeat of the request answers, whatever happened since. */
export function startViewOf(document: ScanDocument): ScanView {
  const { organizationId, scanId, engine, progressTimeoutMs } = document
  return {
    id: scanId,
    organizationId,
    engine,
    status: 'running',
    workflowId: scanWorkflowId(organizationId, scanId),
    startedAt: document.startedAt.toISOString(),
    deadlineAt: document.deadlineAt.toISOString(),
    expectedWithin: formatDuration(document.expectedWithinMs),
    progressTimeout: progressTimeoutMs === null ? null : formatDuration(progressTimeoutMs),
    metadata: metadataOf(document),
    progress: null,
    stalledAt: null,
    timedOutAt: null,
    end: null,
  }
}

export function detailOf(document: ScanDocument, findings: FindingsDocument | null): ScanDetail {
  return {
    ...viewOf(document),
    findings: parseStored(findings?.findingsJson ?? 'null'),
    reason: findings?.reason ?? null,
  }
}

/** The metadata that the job started the scan with. */
export function metadataOf(document: Pick<ScanDocument, 'metadataJson'>): JsonObject {
  const metadata = parseStored(document.metadataJson)
  if (typeof metadata !== 'object' || metadata === null || Array.isArray(metadata)) {
    throw new Error('the stored metadata of a scan is no object')
  }
  return metadata
}

const json: z.ZodType<JsonValue> = z.json()

/** Text that this domain wrote with `JSON.stringify` from a checked value. */
function parseStored(text: string): JsonValue {
  return json.parse(JSON.parse(text))
}
