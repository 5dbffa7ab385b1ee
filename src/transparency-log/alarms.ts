/** What sealing found that must not be: somebody, or something, wrote to the database beside Annals. */
import type { Logger } from '../logging.js'

/**
 * `invalid_mac`, `unknown_organization`, `already_sealed`: a row that intake did not accept, set aside.
 * `event_damaged`: a row that is no longer what was accepted, sealed by its acknowledged leaf.
 * `log_damaged`: head, tiles and records of a log do not fit together; it stands still, and proves nothing. Without an
 *   organization: the anchor log's.
 * `rolled_back`: a log is not what was published; it stands still until `annals log restart`.
 * `witness_conflict`: a witness has seen another anchor log than this one.
 */
export const alarmKinds = [
  'invalid_mac',
  'unknown_organization',
  'already_sealed',
  'event_damaged',
  'log_damaged',
  'rolled_back',
  'witness_conflict',
] as const
export type AlarmKind = (typeof alarmKinds)[number]

export interface Alarms {
  raise(kind: AlarmKind, what: { readonly organizationId?: string; readonly eventId?: string }): void
  /** Alarms since the start of the process, by kind. */
  counts(): ReadonlyMap<AlarmKind, number>
}

export function createAlarms(logger: Logger): Alarms {
  const counts = new Map<AlarmKind, number>(alarmKinds.map((kind) => [kind, 0]))
  return {
    raise(kind, { organizationId, eventId }) {
      counts.set(kind, (counts.get(kind) ?? 0) + 1)
      logger.error('log.alarm', { code: kind, organizationId, eventId })
    },
    counts: () => counts,
  }
}
