/**
 * What retention does when, decided purely, so that it can be tested one rule at a time and run in workflows.
 *
 * **Age** is counted from `sealedAt`, which grows with the leaf, so "old enough" is always a range of leaves from the
 * left. A leaf whose age has reached the days is due.
 *
 * **Moving** to the archive follows the newest policy at once: nothing is lost by it.
 *
 * **Expiry** deletes, so it asks more. Something expires at a moment only where *every* policy that was in force at any
 * time in the `policyGraceMs` before says that it does. So
 * - a shorter policy deletes nothing before the grace has passed, and a mistake in it can be taken back until then;
 * - a longer policy holds at once, also for a run that is under way: it asks again when it deletes;
 * - going short, long, short within the grace gains nobody a day;
 * - the default counts as a policy: the first one that is set has its grace too.
 *
 * **Clocks.** Every answer here is monotone in `now`: an earlier `now` makes fewer leaves due and puts more policies
 * into the grace. So a clock that was set back, even to before the newest `sealedAt`, delays and can never delete
 * early; leaves sealed after `now` are not due. A clock that runs ahead is held by clock.ts, before it comes here.
 */
import type { FieldError } from '../errors.js'
import type { HeldEvent, Hold, HoldScope, RetentionDays, RetentionPolicy } from './contract.js'

const dayMs = 86_400_000

/** A hundred years: beyond it say `null`, for ever. */
export const maxRetentionDays = 36_500

/** How long a policy still counts for expiry after another has followed it. */
export const policyGraceMs = 7 * dayMs

/** What is wrong with a policy's numbers, place by place; empty where they may be put in force. */
export function retentionProblems({ hotDays, archiveDays, recordDays }: RetentionDays): FieldError[] {
  const problems: FieldError[] = []
  const whole = (path: string, days: number) => {
    if (!Number.isSafeInteger(days))
      problems.push({ path, code: 'wrong_type', message: 'must be a whole number of days' })
    else if (days < 0) problems.push({ path, code: 'too_small', message: 'is under 0' })
    else if (days > maxRetentionDays)
      problems.push({
        path,
        code: 'too_large',
        message: `is over ${String(maxRetentionDays)}; for ever is null`,
      })
  }
  whole('hotDays', hotDays)
  if (archiveDays !== null) whole('archiveDays', archiveDays)
  if (recordDays !== null) whole('recordDays', recordDays)
  if (problems.length > 0) return problems
  if (archiveDays !== null && archiveDays < hotDays)
    problems.push({ path: 'archiveDays', code: 'too_small', message: 'must not be less than hotDays' })
  if (recordDays !== null && recordDays < (archiveDays ?? Infinity))
    problems.push({ path: 'recordDays', code: 'too_small', message: 'must not be less than archiveDays' })
  return problems
}

/** Leaves that were sealed at this moment or before are to be archived. */
export const archiveCutoff = (now: Date, { hotDays }: Pick<RetentionDays, 'hotDays'>): Date =>
  new Date(now.getTime() - hotDays * dayMs)

/** Content of leaves that were sealed at this moment or before expires; null = of none, ever. */
export const contentCutoff = (now: Date, { archiveDays }: Pick<RetentionDays, 'archiveDays'>): Date | null =>
  archiveDays === null ? null : new Date(now.getTime() - archiveDays * dayMs)

/** Records of leaves that were sealed at this moment or before expire; null = of none, ever. */
export const recordsCutoff = (now: Date, { recordDays }: Pick<RetentionDays, 'recordDays'>): Date | null =>
  recordDays === null ? null : new Date(now.getTime() - recordDays * dayMs)

/** When the content of a leaf expires, of a segment: that of its last leaf; null = never. */
export const contentExpiry = (
  sealedAt: Date,
  { archiveDays }: Pick<RetentionDays, 'archiveDays'>,
): Date | null => (archiveDays === null ? null : new Date(sealedAt.getTime() + archiveDays * dayMs))

/** When the record of a leaf expires; null = never. */
export const recordsExpiry = (
  sealedAt: Date,
  { recordDays }: Pick<RetentionDays, 'recordDays'>,
): Date | null => (recordDays === null ? null : new Date(sealedAt.getTime() + recordDays * dayMs))

/** Ten years: a lock that nobody may take back is not set for ever, whatever the policy says today. */
export const maxLockDays = 3_650

/** Until when the records of a segment are put under lock, where the archive can: until they expire, or as long as locks go. */
export const recordsLock = (sealedTo: Date, { recordDays }: Pick<RetentionDays, 'recordDays'>): Date =>
  new Date(sealedTo.getTime() + Math.min(recordDays ?? maxLockDays, maxLockDays) * dayMs)

/** A version of a policy as far as expiry looks at it. */
export type PolicyVersion = RetentionDays & Pick<RetentionPolicy, 'version' | 'since'>

/**
 * The days that expiry goes by at a moment: the longest of each among the policies that were in force in the grace
 * before it. `hotDays` is the newest policy's.
 * @param versions in any order; all that were in force in the grace, the default (version 0) where it was. Versions
 *   that say they begin after `now` (a clock was set back) count too.
 */
export function expiryDays(
  versions: readonly PolicyVersion[],
  now: Date,
  graceMs: number = policyGraceMs,
): RetentionDays {
  const ordered = [...versions].sort((a, b) => a.version - b.version)
  const newest = ordered.at(-1)
  if (newest === undefined) throw new Error('there is always a policy: the default, where none was set')
  const graceBegins = now.getTime() - graceMs
  const counting = ordered.filter((_, index) => {
    const next = ordered[index + 1]
    return next === undefined || next.since.getTime() > graceBegins
  })
  const longest = (days: (policy: PolicyVersion) => number | null): number | null =>
    counting.reduce<number | null>((most, policy) => longer(most, days(policy)), 0)
  return {
    hotDays: newest.hotDays,
    archiveDays: longest(({ archiveDays }) => archiveDays),
    recordDays: longest(({ recordDays }) => recordDays),
  }
}

const longer = (a: number | null, b: number | null): number | null =>
  a === null || b === null ? null : Math.max(a, b)

/** Annals' own events that prove what was deleted, and why: their content and records never expire. */
const neverExpiring = [
  'annals.retention.',
  'annals.subject.',
  'annals.field.',
  'annals.log.',
  'annals.organization.',
] as const

/** Does the event outlive every policy? Clients cannot use these actions. */
export const neverExpires = (action: string): boolean =>
  neverExpiring.some((prefix) => action.startsWith(prefix))

/**
 * Is it the record of an event that says that something was archived, or has expired? A segment of nothing else is not
 * logged itself: its event would be archived one day, and that event's event, for ever.
 */
export const isOfArchiving = (record: string): boolean =>
  record.startsWith('{"action":"annals.retention.archived"') ||
  record.startsWith('{"action":"annals.retention.expired"')

/** Does the scope cover the event? Every member that the scope has must fit. */
export function covers(scope: HoldScope, event: HeldEvent): boolean {
  const { subjects, action, from, to } = scope
  return (
    (subjects === undefined || event.subjects.some((subject) => subjects.includes(subject))) &&
    (action === undefined || actionFits(action, event.action)) &&
    (from === undefined || event.occurredAt >= from) &&
    (to === undefined || event.occurredAt < to)
  )
}

/** `team.*` covers what begins with `team.`; anything else itself. */
export function actionFits(pattern: string, action: string): boolean {
  return pattern.endsWith('.*') ? action.startsWith(pattern.slice(0, -1)) : action === pattern
}

/** Is the hold in force? */
export const isActive = ({ releasedAt }: Pick<Hold, 'releasedAt'>): boolean => releasedAt === null

/** Does any hold that is in force cover the event? */
export const isHeld = (event: HeldEvent, holds: readonly Pick<Hold, 'scope' | 'releasedAt'>[]): boolean =>
  holds.some((hold) => isActive(hold) && covers(hold.scope, event))

/**
 * Can the hold cover anything that occurred between these moments (both inclusive)? False = nothing of such a segment
 * has to be looked at for it.
 */
export function mayCover(scope: HoldScope, occurredFrom: Date, occurredTo: Date): boolean {
  return (
    (scope.from === undefined || occurredTo >= scope.from) &&
    (scope.to === undefined || occurredFrom < scope.to)
  )
}
