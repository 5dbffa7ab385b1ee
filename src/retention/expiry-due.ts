/** Is what is left of a segment due to expire? By the policies that count, and by clocks that are believed. */
import type { SegmentDocument } from '../archive/contract.js'
import type { RetentionClock } from './clock-store.js'
import type { ExpiryKind } from './expiry-contract.js'
import { contentCutoff, expiryDays, recordsCutoff } from './policy.js'
import type { LoggedPolicy } from './policy-store.js'

export interface ExpiryDueDependencies {
  readonly policies: { counting(organizationId: string, now: Date): Promise<LoggedPolicy[]> }
  readonly clock: Pick<RetentionClock, 'look'>
}

/** Why it is due. */
export interface ExpiryDue {
  readonly now: Date
  readonly policies: readonly LoggedPolicy[]
  /** The days that were reached: `archiveDays`, or `recordDays`. */
  readonly days: number
}

/** @returns undefined where it is not due, or the clocks are not believed */
export async function expiryDue(
  deps: ExpiryDueDependencies,
  { organizationId, sealedTo }: Pick<SegmentDocument, 'organizationId' | 'sealedTo'>,
  kind: ExpiryKind,
): Promise<ExpiryDue | undefined> {
  const { now, verdict } = await deps.clock.look()
  const policies = await deps.policies.counting(organizationId, now)
  const counting = expiryDays(policies, now)
  const [days, cutoff] =
    kind === 'content'
      ? [counting.archiveDays, contentCutoff(now, counting)]
      : [counting.recordDays, recordsCutoff(now, counting)]
  if (verdict !== 'steady' || days === null || cutoff === null || sealedTo > cutoff) return undefined
  return { now, policies, days }
}

/** Version of the newest of them, which an event of expiry names. */
export const newestPolicy = ({ policies }: ExpiryDue): number =>
  Math.max(...policies.map(({ version }) => version))

/** Of the events that say so; the default has none. */
export const policyEventIds = ({ policies }: ExpiryDue): string[] =>
  policies.flatMap(({ eventId }) => eventId ?? [])
