/**
 * The deadlines of GDPR Art. 12(3), by the calendar. Pure.
 *
 * A request is due one calendar month after it was received: on the same day of the next month, or on that month's last
 * day where it has no such day (Regulation 1182/71, Art. 3(2)(c)). One extension makes it three months in all, counted from
 * receipt and not from the first due date, for two months counted from a shortened 28 February would lose three days.
 *
 * Which calendar? The one of the offset that `receivedAt` was written with: `2026-02-28T23:30:00-05:00` was received on
 * 28 February by whoever wrote it, and is due on 28 March, though UTC had March already and would make it April: three
 * days too late. The due moment is at the same time of day, so never after the day on which the period ends. Weekends and
 * public holidays, which would allow more time, are not counted on. See docs/decisions/erasure-deadlines.md.
 */
import type { ErasureState } from './contract.js'
import { isFinal } from './contract.js'

/** When a request was received: the moment, and how far its writer's clock was ahead of UTC. */
export interface Receipt {
  readonly atMs: number
  readonly offsetMinutes: number
}

export const deadlineLimits = {
  monthsToAnswer: 1,
  monthsWithExtension: 3,
  /** Days before the due moment at which officers are reminded. */
  reminderDays: [14, 7, 2],
  /** Of `receivedAt`: a clock that is ahead is forgiven so much, and a request so old is a slip of the pen. */
  maxFutureMs: 5 * 60_000,
  maxAgeMs: 2 * 366 * 86_400_000,
} as const

const dayMs = 86_400_000
const minuteMs = 60_000

/**
 * The same time of day so many calendar months later, in the calendar of the offset; the last day of the month where
 * that month is shorter.
 */
export function addMonths({ atMs, offsetMinutes }: Receipt, months: number): number {
  // Shifted by the offset, the UTC fields of a Date are the local ones.
  const local = new Date(atMs + offsetMinutes * minuteMs)
  const year = local.getUTCFullYear()
  const month = local.getUTCMonth() + months
  const timeOfDayMs = ((local.getTime() % dayMs) + dayMs) % dayMs
  // Day 0 of a month is the last day of the one before.
  const lastDay = new Date(Date.UTC(year, month + 1, 0)).getUTCDate()
  const day = Math.min(local.getUTCDate(), lastDay)
  return Date.UTC(year, month, day) + timeOfDayMs - offsetMinutes * minuteMs
}

/** The end of the first month: until then an extension may be announced. */
export function firstDueMs(receipt: Receipt): number {
  return addMonths(receipt, deadlineLimits.monthsToAnswer)
}

/** When the request is due. */
export function dueMs(receipt: Receipt, extended: boolean): number {
  return extended ? addMonths(receipt, deadlineLimits.monthsWithExtension) : firstDueMs(receipt)
}

/** May the deadline be extended now? Once, within the first month. */
export function extension(
  receipt: Receipt,
  extended: boolean,
  nowMs: number,
): 'possible' | 'extended_already' | 'too_late' {
  if (extended) return 'extended_already'
  return nowMs > firstDueMs(receipt) ? 'too_late' : 'possible'
}

/** Does the deadline still bind? Not once the person's data is gone and everybody was told, nor when it ended otherwise. */
export function deadlineBinds(state: ErasureState): boolean {
  return !isFinal(state) && state !== 'awaiting_expiry'
}

/** What has been said about a due moment so far. */
export interface DeadlineNotes {
  readonly dueMs: number
  /** The moment whose reminder was written last. */
  readonly remindedMs: number | null
  /** The due moment that was said to have passed. */
  readonly overdueMs: number | null
}

export type DeadlineStep =
  | { readonly do: 'escalate' }
  /** `momentMs`: the latest reminder that is due; earlier ones that nobody wrote are passed over. */
  | { readonly do: 'remind'; readonly momentMs: number }
  /** `untilMs`: Infinity where nothing is left to be said. */
  | { readonly do: 'wait'; readonly untilMs: number }

/** What there is to say about a deadline now. */
export function deadlineStep(
  { dueMs: due, remindedMs, overdueMs }: DeadlineNotes,
  nowMs: number,
): DeadlineStep {
  if (nowMs >= due) {
    return overdueMs === due ? { do: 'wait', untilMs: Infinity } : { do: 'escalate' }
  }
  const moments = deadlineLimits.reminderDays.map((days) => due - days * dayMs)
  const passed = moments.filter((moment) => moment <= nowMs).at(-1)
  if (passed !== undefined && (remindedMs ?? -Infinity) < passed) return { do: 'remind', momentMs: passed }
  return { do: 'wait', untilMs: Math.min(due, ...moments.filter((moment) => moment > nowMs)) }
}
