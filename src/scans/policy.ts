/**
 * What a scan's workflow does next: pure decisions over its state and the time, so that they can be tested one
 * by one and replayed for ever. The workflow (`workflows/scan.ts`) only carries them out.
 */
import { scanDeadline, type Counts, type ScanEnd, type ScanReference } from './contract.js'

export const scanTiming = {
  /** How long the workflow leaves the API to write the scan and its start before it does so itself. */
  graceMs: 2_000,
  defaultExpectedWithinMs: 86_400_000,
  /** How long after timing out a scan's workflow still takes its finish. */
  lateWindowMs: 86_400_000,
  /** Progress that came by signal is written to MongoDB at most this often. */
  recordProgressEveryMs: 10_000,
  /** The workflow starts a new history after so many events, so that Temporal UI stays quick. */
  historyEvents: 2_000,
} as const

/** All that a workflow knows; carried whole into a new history. Times are milliseconds since 1970. */
export interface ScanState {
  /** The scan and its start event are known to be stored. */
  started: boolean
  phase: 'running' | 'stalled' | 'timed_out'
  percent: number | null
  counts: Counts | null
  lastProgressAtMs: number
  /** Progress told by signal and not yet in MongoDB. */
  unrecorded: boolean
  lastRecordedAtMs: number | null
  /** How often a stall was looked into; each look has its own number, so no two share an event. */
  stallChecks: number
  /** The first end that a signal told, and when. */
  end: ScanEnd | null
  endedAtMs: number | null
  /** An activity found that the scan was ended over HTTP. */
  claimed: boolean
  /** Signals that did not fit their type, and ends after the first: ignored, and shown to the operator. */
  badSignals: number
  repeatedEnds: number
}

export function newScanState(scan: ScanReference): ScanState {
  return {
    started: false,
    phase: 'running',
    percent: null,
    counts: null,
    lastProgressAtMs: Date.parse(scan.startedAt),
    unrecorded: false,
    lastRecordedAtMs: null,
    stallChecks: 0,
    end: null,
    endedAtMs: null,
    claimed: false,
    badSignals: 0,
    repeatedEnds: 0,
  }
}

export type ScanStep =
  | { readonly do: 'conclude' | 'time_out' | 'look_into_stall' | 'record_progress' | 'close' }
  | { readonly do: 'wait'; readonly untilMs: number }

/** The next step of a started scan. An end comes first: whatever else is due is settled by it. */
export function nextStep(scan: ScanReference, state: ScanState, nowMs: number): ScanStep {
  if (state.end !== null || state.claimed) return { do: 'conclude' }
  const deadlineMs = scanDeadline(scan)
  const closesAtMs = deadlineMs + scan.lateWindowMs
  if (state.phase === 'timed_out') {
    return nowMs >= closesAtMs ? { do: 'close' } : { do: 'wait', untilMs: closesAtMs }
  }
  if (nowMs >= deadlineMs) return { do: 'time_out' }

  const recordAtMs = state.unrecorded
    ? (state.lastRecordedAtMs ?? -Infinity) + scanTiming.recordProgressEveryMs
    : Infinity
  if (nowMs >= recordAtMs) return { do: 'record_progress' }

  const stallAtMs =
    scan.progressTimeoutMs === null || state.phase === 'stalled'
      ? Infinity
      : state.lastProgressAtMs + scan.progressTimeoutMs
  if (nowMs >= stallAtMs) return { do: 'look_into_stall' }
  return { do: 'wait', untilMs: Math.min(deadlineMs, recordAtMs, stallAtMs) }
}

/** What an operator reads in Temporal UI under "current details" (Markdown); nothing personal can get in. */
export function scanChecklist(scan: ScanReference, state: ScanState): string {
  const line = (done: boolean, text: string): string => `- [${done ? 'x' : ' '}] ${text}`
  const counts = Object.entries(state.counts ?? {})
    .map(([name, count]) => `${name} ${count}`)
    .join(', ')
  const progress = [state.percent === null ? 'no percentage yet' : `${state.percent} %`, counts]
  const ended = state.end?.status ?? (state.claimed ? 'ended over HTTP' : 'finished')
  return [
    line(state.started, `started ${scan.startedAt}, engine ${scan.engine}`),
    line(state.percent === 100, `progress: ${progress.filter((part) => part !== '').join(', ')}`),
    ...(state.phase === 'running' ? [] : [line(true, state.phase === 'stalled' ? 'stalled' : 'timed out')]),
    line(state.end !== null || state.claimed, `${ended}, expected by ${toIso(scanDeadline(scan))}`),
    ...(state.badSignals + state.repeatedEnds === 0
      ? []
      : [`\nIgnored signals: ${state.badSignals} malformed, ${state.repeatedEnds} after the end`]),
  ].join('\n')
}

function toIso(timeMs: number): string {
  return new Date(timeMs).toISOString()
}
