/**
 * What a scan is, and the published names and payloads by which a back-end job talks to its workflow. Pure: this
 * file runs in the workflow sandbox, so signals are checked here by hand, not by Zod.
 *
 * A job may use HTTP or these signals. Signals carry an outcome, counts and a link, never free text: what is
 * free-form goes over HTTP, which stores it in MongoDB and signals a reference. The payloads need not be encrypted by the
 * sender (the worker's codec lets other encodings through), but a sender that has the codec should use it.
 *
 * A signal that does not fit its type changes nothing but a counter: anybody's client may send one, and it must
 * neither fail the workflow nor keep it from going on.
 */

/** Workflow type, task queue and signals: other programs use these names, so they never change. */
export const scanWorkflowType = 'scan'
export const scanTaskQueue = 'annals-scans'
export const progressSignal = 'annals.scan.progress'
export const finishSignal = 'annals.scan.finish'
export const failSignal = 'annals.scan.fail'
export const cancelSignal = 'annals.scan.cancel'

/** Where a scan stands. The last three are final; `timed_out` still takes a late finish. */
export const scanStatuses = ['running', 'stalled', 'timed_out', 'finished', 'failed', 'cancelled'] as const
export type ScanStatus = (typeof scanStatuses)[number]
export type FinalStatus = Extract<ScanStatus, 'finished' | 'failed' | 'cancelled'>
export type ScanOutcome = 'success' | 'failure'

/** Numbers a job reports, by short names of its own: `{"hostsChecked": 412}`. */
export type Counts = Readonly<Record<string, number>>

export const scanLimits = {
  /** Names in `counts`. */
  maxCounts: 32,
  /** Characters of a link. */
  maxLinkLength: 2_048,
  /** Shortest and longest `expectedWithin`: one second, thirty days. */
  minExpectedWithinMs: 1_000,
  maxExpectedWithinMs: 30 * 86_400_000,
  /** Shortest `progressTimeout`. */
  minProgressTimeoutMs: 1_000,
} as const

export const enginePattern = /^[A-Za-z0-9_.:-]{1,128}$/
export const countNamePattern = /^[A-Za-z][A-Za-z0-9_]{0,63}$/
export const scanIdPattern = /^scan_[0-7][0-9a-hjkmnp-tv-z]{25}$/

/** Payload of `annals.scan.progress`. */
export interface ProgressSignal {
  /** 0 to 100. */
  readonly percent?: number
  readonly counts?: Counts
  /** Annals' own: the progress came over HTTP and is stored already. */
  readonly recorded?: boolean
}

/** Payload of `annals.scan.fail` and `annals.scan.cancel`; it may be left out. */
export interface EndSignal {
  readonly counts?: Counts
  /** http or https address of the job's own report. */
  readonly link?: string
  /** Names what HTTP stored for this end. */
  readonly findingsId?: string
}

/** Payload of `annals.scan.finish`. */
export interface FinishSignal extends EndSignal {
  readonly outcome: ScanOutcome
}

/** How a scan ended, as a signal told it. */
export interface ScanEnd extends EndSignal {
  readonly status: FinalStatus
  readonly outcome: ScanOutcome
}

/** The id of a scan's workflow: readable in Temporal UI, free of anything personal. */
export function scanWorkflowId(organizationId: string, scanId: string): string {
  return `scan/${organizationId}/${scanId}`
}

/** Which scan, and what it was started with: all that a payload ever says about it. Times are RFC 3339. */
export interface ScanReference {
  readonly organizationId: string
  readonly scanId: string
  readonly engine: string
  readonly startedAt: string
  readonly expectedWithinMs: number
  readonly progressTimeoutMs: number | null
  readonly lateWindowMs: number
}

/** The moment after which a scan has timed out, in milliseconds since 1970. */
export function scanDeadline(scan: Pick<ScanReference, 'startedAt' | 'expectedWithinMs'>): number {
  return Date.parse(scan.startedAt) + scan.expectedWithinMs
}

/** Checks a progress signal. @returns undefined where it is none */
export function parseProgress(payload: unknown): ProgressSignal | undefined {
  if (!isObject(payload)) return undefined
  const { percent, counts, recorded } = payload
  if (percent !== undefined && !(typeof percent === 'number' && percent >= 0 && percent <= 100)) {
    return undefined
  }
  if (counts !== undefined && !isCounts(counts)) return undefined
  return {
    ...(percent === undefined ? {} : { percent }),
    ...(counts === undefined ? {} : { counts }),
    ...(recorded === true ? { recorded } : {}),
  }
}

/** Checks a finish signal. @returns undefined where it is none */
export function parseFinish(payload: unknown): ScanEnd | undefined {
  const end = parseEndMembers(payload)
  if (end === undefined || !isObject(payload)) return undefined
  const { outcome } = payload
  return outcome === 'success' || outcome === 'failure' ? { status: 'finished', outcome, ...end } : undefined
}

/** Checks a fail or cancel signal, which may have no payload at all. @returns undefined where it is none */
export function parseEnd(status: 'failed' | 'cancelled', payload: unknown): ScanEnd | undefined {
  const end = payload === undefined || payload === null ? {} : parseEndMembers(payload)
  return end === undefined ? undefined : { status, outcome: 'failure', ...end }
}

function parseEndMembers(payload: unknown): EndSignal | undefined {
  if (!isObject(payload)) return undefined
  const { counts, link, findingsId } = payload
  if (counts !== undefined && !isCounts(counts)) return undefined
  if (link !== undefined && !isLink(link)) return undefined
  if (findingsId !== undefined && !(typeof findingsId === 'string' && findingsIdPattern.test(findingsId))) {
    return undefined
  }
  return {
    ...(counts === undefined ? {} : { counts }),
    ...(link === undefined ? {} : { link }),
    ...(findingsId === undefined ? {} : { findingsId }),
  }
}

const findingsIdPattern = /^findings_[0-7][0-9a-hjkmnp-tv-z]{25}$/
// No `URL` in the sandbox: scheme, host, and nothing that breaks out of a line.
const linkPattern = /^https?:\/\/[^\s/?#]+[^\s]*$/

export function isLink(value: unknown): value is string {
  // The u flag makes a lone surrogate a code point of category Cs, which no link has.
  return (
    typeof value === 'string' &&
    value.length <= scanLimits.maxLinkLength &&
    linkPattern.test(value) &&
    !/[\p{Cs}\p{Cc}]/u.test(value)
  )
}

export function isCounts(value: unknown): value is Counts {
  if (!isObject(value)) return false
  const entries = Object.entries(value)
  return (
    entries.length <= scanLimits.maxCounts &&
    entries.every(([name, count]) => countNamePattern.test(name) && isCount(count))
  )
}

function isCount(value: unknown): boolean {
  return typeof value === 'number' && Math.abs(value) <= Number.MAX_SAFE_INTEGER
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Checks what a workflow was started with: another program may start one. @returns undefined where it does not fit */
export function parseScanReference(value: unknown): ScanReference | undefined {
  if (!isObject(value)) return undefined
  const { organizationId, scanId, engine, startedAt, expectedWithinMs, progressTimeoutMs, lateWindowMs } =
    value
  const fits =
    typeof organizationId === 'string' &&
    /^[A-Za-z0-9_-]{1,64}$/.test(organizationId) &&
    typeof scanId === 'string' &&
    scanIdPattern.test(scanId) &&
    typeof engine === 'string' &&
    enginePattern.test(engine) &&
    typeof startedAt === 'string' &&
    Number.isFinite(Date.parse(startedAt)) &&
    isDuration(expectedWithinMs) &&
    (progressTimeoutMs === null || isDuration(progressTimeoutMs)) &&
    isDuration(lateWindowMs)
  if (!fits) return undefined
  return { organizationId, scanId, engine, startedAt, expectedWithinMs, progressTimeoutMs, lateWindowMs }
}

function isDuration(value: unknown): value is number {
  return (
    typeof value === 'number' &&
    Number.isSafeInteger(value) &&
    value >= 0 &&
    value <= scanLimits.maxExpectedWithinMs
  )
}
