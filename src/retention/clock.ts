/**
 * The time that retention goes by. Pure; `clock-store.ts` asks the clocks and keeps what was seen.
 *
 * A clock that runs ahead by years makes everything old at once, and what expires is gone. Two things hold it:
 *
 * 1. The time is the earlier one of this process's clock and the database's. One of them that runs ahead does nothing.
 * 2. Where both run ahead (one machine), it is a leap: the time is more than `maxStepMs` past the last one that
 *    retention saw, and it looks each hour. From then on time stands still for retention, where it was before the leap,
 *    until the new time has gone on for `settleMs` with no further leap. Somebody who sets the clock right meanwhile
 *    has lost nothing. A deployment that was switched off for a week looks the same, and waits as long.
 *
 * A clock that is set back is followed at once: an earlier time only delays (policy.ts). When it is set right again
 * after more than `maxStepMs`, that is a leap too.
 */
export interface ClockState {
  /** The last time that was trusted. */
  readonly trusted: Date
  /** The last time that was seen. */
  readonly seen: Date
  /** The first time seen after a leap that is not settled yet. */
  readonly leaptTo: Date | null
}

/** `leapt`: the clocks are far ahead of what was seen last, and are not believed yet. */
export type ClockVerdict = 'steady' | 'leapt'

export interface TrustedTime {
  readonly now: Date
  readonly verdict: ClockVerdict
  /** While `leapt`: what the clocks say, and when they will be believed if they go on. */
  readonly clocksSay: Date
  readonly believedAt: Date | null
}

/** Three days: a deployment that was off over a weekend has not leapt. */
export const maxStepMs = 3 * 86_400_000
export const settleMs = 3 * 86_400_000

/**
 * Takes a look at the clocks.
 * @param before undefined = they were never looked at
 * @param clocks what each of them says
 */
export function observeClocks(
  before: ClockState | undefined,
  clocks: readonly [Date, ...Date[]],
): { readonly time: TrustedTime; readonly state: ClockState } {
  const raw = new Date(Math.min(...clocks.map((clock) => clock.getTime())))
  const steady = {
    time: { now: raw, verdict: 'steady', clocksSay: raw, believedAt: null },
    state: { trusted: raw, seen: raw, leaptTo: null },
  } as const
  if (before === undefined || raw.getTime() <= before.trusted.getTime() + maxStepMs) return steady
  const { trusted, seen, leaptTo: earlier } = before
  const goesOn =
    earlier !== null && raw >= earlier && Math.abs(raw.getTime() - seen.getTime()) <= maxStepMs / 2
  const leaptTo = goesOn ? earlier : raw
  const believedAt = new Date(leaptTo.getTime() + settleMs)
  if (raw >= believedAt) return steady
  return {
    time: { now: trusted, verdict: 'leapt', clocksSay: raw, believedAt },
    state: { trusted, seen: raw, leaptTo },
  }
}
