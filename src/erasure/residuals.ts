/**
 * What remains of a person for technical reasons once the erasure is verified, and until when. Pure: the facts are looked
 * up elsewhere (oplog.ts, completing.ts).
 *
 * All of it was written before the moment of verification, so whatever keeps what was written before that moment is a
 * residue, and is over once it keeps nothing that old. What can be looked at is looked at; what cannot be is counted from
 * what the operator has said; and what nobody has said is unknown, and is called so.
 */
export const residualKinds = ['period_keys', 'request_key', 'oplog', 'backups', 'workflow_histories'] as const
export type ResidualKind = (typeof residualKinds)[number]

export interface Residual {
  readonly what: ResidualKind
  /** `unknown`: it cannot be looked at, and nobody has said. */
  readonly state: 'gone' | 'until' | 'unknown'
  /** RFC 3339. Of `until`: when it is gone; null where that is known only once it is. */
  readonly until: string | null
  /** `until` goes by the pace of late, and is no promise. */
  readonly estimated: boolean
  /** Of the oplog: which member of the replica set, from 1. */
  readonly member?: number
  /** Of period keys: which. */
  readonly periods?: readonly number[]
}

/** Of one member of the replica set: the oldest entry of its oplog; null where it cannot be read. */
export interface OplogLook {
  readonly oldest: Date | null
}

export interface ResidualFacts {
  /** When the second reader found nothing. */
  readonly verifiedAt: Date
  readonly periods: readonly { readonly period: number; readonly deleted: boolean }[]
  /**
   * Something went that lay under the key of the request, which stays for what it keeps still. Nothing waits for that:
   * nobody knows when a hold ends.
   */
  readonly keyStays?: boolean
  readonly oplog: readonly OplogLook[]
  /** How long backups of the database are kept; 0 = there are none, undefined = nobody has said. */
  readonly backupDays: number | undefined
  /** How long Temporal keeps the histories of closed runs; undefined = it was not to be reached. */
  readonly historyDays: number | undefined
}

export interface Residue {
  readonly residuals: readonly Residual[]
  /** null: nothing is waited for any more. Else when to look again. */
  readonly lookAgainAt: Date | null
}

const dayMs = 86_400_000
/**
 * An oplog is overwritten by its size, on a quiet deployment perhaps never. So long it is waited for; then the certificate
 * says what is still there.
 */
export const oplogPatienceMs = 30 * dayMs
/** How often it is looked at what only a look can tell. */
const lookMs = dayMs

export function residueOf(facts: ResidualFacts, now: Date): Residue {
  const residuals = [
    periodKeys(facts),
    ...(facts.keyStays === true
      ? [{ what: 'request_key', state: 'until', until: null, estimated: false } as const]
      : []),
    ...oplog(facts, now),
    dated('backups', facts.backupDays, facts.verifiedAt, now),
    dated('workflow_histories', facts.historyDays, facts.verifiedAt, now),
  ]
  const patient = now.getTime() < facts.verifiedAt.getTime() + oplogPatienceMs
  const awaited = residuals.filter(
    ({ what, state }) => state === 'until' && what !== 'request_key' && (what !== 'oplog' || patient),
  )
  if (awaited.length === 0) return { residuals, lookAgainAt: null }
  const dates = awaited.map(({ until, estimated }) =>
    until === null || estimated ? now.getTime() + lookMs : Date.parse(until),
  )
  return { residuals, lookAgainAt: new Date(Math.max(...dates)) }
}

/** Keys that lay in the database wrapped under them: their copies in oplog and backups are out of reach without them. */
function periodKeys({ periods }: ResidualFacts): Residual {
  const gone = periods.every(({ deleted }) => deleted)
  return {
    what: 'period_keys',
    state: gone ? 'gone' : 'until',
    until: null,
    estimated: false,
    periods: periods.map(({ period }) => period),
  }
}

function oplog({ oplog: members, verifiedAt }: ResidualFacts, now: Date): Residual[] {
  if (members.length === 0) return [{ what: 'oplog', state: 'unknown', until: null, estimated: false }]
  return members.map(({ oldest }, index) => {
    const about = { what: 'oplog', member: index + 1 } as const
    if (oldest === null) return { ...about, state: 'unknown', until: null, estimated: false }
    if (oldest > verifiedAt) return { ...about, state: 'gone', until: null, estimated: false }
    const window = now.getTime() - oldest.getTime()
    const until = new Date(verifiedAt.getTime() + window)
    return { ...about, state: 'until', until: until.toISOString(), estimated: true }
  })
}

function dated(
  what: 'backups' | 'workflow_histories',
  days: number | undefined,
  verifiedAt: Date,
  now: Date,
): Residual {
  if (days === undefined) return { what, state: 'unknown', until: null, estimated: false }
  const until = new Date(verifiedAt.getTime() + days * dayMs)
  return { what, state: until <= now ? 'gone' : 'until', until: until.toISOString(), estimated: false }
}
