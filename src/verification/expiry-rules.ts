/**
 * What an event of retention says, and whether the policy allowed it: the second implementation of the rules of
 * docs/retention.md. Pure, and nobody's word: the events it is given have to make their leaves.
 *
 * Times are those that the records commit to (`receivedAt`). Sealing comes seconds later and clocks differ, so a day is
 * allowed for: content that went more than a day before its time is found.
 *
 * A record that is gone says no time. What is known then: it was sealed no earlier than any leaf before it that has its
 * record; and when the last leaf of its range was sealed is said by the statement, and was said by
 * `annals.retention.archived` of the same records manifest, years before anybody had a reason to say another time.
 */
import { jsonOf, membersOf, metadataOf } from './event-values.js'

export type ExpiredKind = 'content' | 'records'

export interface ExpiryStatement {
  readonly kind: ExpiredKind
  readonly generation: number
  /** Leaves, `to` exclusive. */
  readonly from: number
  readonly to: number
  /** Events that went with it, and leaves that had no event already; or records. */
  readonly gone: number
  /** When it was said, in milliseconds. */
  readonly atMs: number
  /** Version of the newest policy it rests on; 0 = the default. */
  readonly policy: number
  /** `archiveDays`, or `recordDays`. */
  readonly days: number
  /** Of records: when the last leaf of the range was sealed, in milliseconds. */
  readonly sealedToMs?: number
  /** Of records: SHA-256 of their manifest. */
  readonly recordsManifest?: string
}

/** What was said of a range when it was archived. */
export interface ArchivedStatement {
  readonly generation: number
  readonly from: number
  readonly to: number
  readonly recordsManifest: string
  /** undefined where it does not say. */
  readonly sealedToMs: number | undefined
}

export interface PolicyStatement {
  readonly version: number
  readonly atMs: number
  /** null = for ever. */
  readonly archiveDays: number | null
  /** Of the policy that it followed. */
  readonly before: number | null
  /** As `archiveDays` and `before`, for records. */
  readonly recordDays: number | null
  readonly recordDaysBefore: number | null
}

const dayMs = 86_400_000
export const defaultArchiveDays = 2_555
export const defaultRecordDays = null
/** A policy counts so long after another has followed it. */
export const graceMs = 7 * dayMs
export const toleranceMs = dayMs

const neverExpiring = ['retention.', 'subject.', 'field.', 'log.', 'organization.'].map(
  (domain) => `annals.${domain}`,
)

/** Does a record say that the content of its event never expires? */
export const neverExpires = (record: string): boolean => {
  const { category, action } = membersOf(jsonOf(record))
  return (
    category === 'system' &&
    typeof action === 'string' &&
    neverExpiring.some((prefix) => action.startsWith(prefix))
  )
}

/** When the event of a record was received, in milliseconds; undefined where it does not say. */
export function receivedAtOf(record: string): number | undefined {
  const [, text] = /"receivedAt":"([^"]{1,40})"/.exec(record) ?? []
  const time = text === undefined ? Number.NaN : Date.parse(text)
  return Number.isNaN(time) ? undefined : time
}

const expiredAction = 'annals.retention.expired'
const archivedAction = 'annals.retention.archived'
const policyAction = 'annals.retention.policy_changed'

/** Is it worth a look? */
export const isRetention = (event: unknown): boolean => {
  const { action } = membersOf(event)
  return action === expiredAction || action === policyAction || action === archivedAction
}

/** Is it the record of one that is? */
export const isRetentionRecord = (record: string): boolean =>
  record.startsWith('{"action":"annals.retention.')

/** What an expiry's event says; undefined for every other event. */
export function expiryOf(event: unknown): ExpiryStatement | undefined {
  const metadata = saidBy(event, expiredAction)
  const kind = metadata?.get('kind')
  if (metadata === undefined || (kind !== 'content' && kind !== 'records')) return undefined
  const [generation, from, to, expired, policy] = ['generation', 'from', 'to', 'expired', 'policy'].map(
    (name) => naturalOf(metadata.get(name)),
  )
  const days = naturalOf(metadata.get(kind === 'content' ? 'archiveDays' : 'recordDays'))
  const damaged = kind === 'content' ? naturalOf(metadata.get('damaged')) : 0
  const atMs = atOf(event)
  if (generation === undefined || from === undefined || to === undefined || expired === undefined)
    return undefined
  if (damaged === undefined || policy === undefined || days === undefined || atMs === undefined)
    return undefined
  const statement = { kind, generation, from, to, gone: expired + damaged, atMs, policy, days } as const
  if (kind === 'content') return statement
  const sealedToMs = timeOf(metadata.get('sealedTo'))
  const recordsManifest = metadata.get('recordsManifest')
  if (sealedToMs === undefined || typeof recordsManifest !== 'string') return undefined
  return { ...statement, sealedToMs, recordsManifest }
}

/** What the event of a segment says; undefined for every other event. */
export function archivedOf(event: unknown): ArchivedStatement | undefined {
  const metadata = saidBy(event, archivedAction)
  if (metadata === undefined) return undefined
  const [generation, from, to] = ['generation', 'from', 'to'].map((name) => naturalOf(metadata.get(name)))
  const recordsManifest = metadata.get('recordsManifest')
  if (generation === undefined || from === undefined || to === undefined) return undefined
  if (typeof recordsManifest !== 'string') return undefined
  return { generation, from, to, recordsManifest, sealedToMs: timeOf(metadata.get('sealedTo')) }
}

/** What the event of a policy says; undefined for every other event. */
export function policyOf(event: unknown): PolicyStatement | undefined {
  const metadata = saidBy(event, policyAction)
  if (metadata === undefined) return undefined
  const version = naturalOf(metadata.get('version'))
  const archiveDays = daysOf(metadata.get('archiveDays'))
  const recordDays = daysOf(metadata.get('recordDays'))
  const followed = membersOf(metadata.get('before'))
  const before = daysOf(followed['archiveDays'])
  const recordDaysBefore = daysOf(followed['recordDays'])
  const atMs = atOf(event)
  if (version === undefined || archiveDays === undefined || before === undefined || atMs === undefined)
    return undefined
  if (recordDays === undefined || recordDaysBefore === undefined) return undefined
  return { version, archiveDays, before, recordDays, recordDaysBefore, atMs }
}

/**
 * Up to when an event must have been received for its content, or its record, to be allowed to go with this statement, in
 * milliseconds; undefined where no policy let anything go.
 * @param policies all that are known, in any order
 * @param complete they are all that there were before; otherwise one that the statement rests on, and that is not among
 *   them, is taken at the statement's own word
 */
export function allowedUntil(
  { kind, atMs, policy, days }: ExpiryStatement,
  policies: readonly PolicyStatement[],
  complete: boolean,
): number | undefined {
  const ordered = policies
    .filter((one) => one.atMs <= atMs + toleranceMs)
    .sort((a, b) => a.version - b.version)
  const isKnown = policy === 0 || ordered.some(({ version }) => version === policy)
  if (!isKnown && complete) return undefined
  const ofContent = kind === 'content'
  const graceBegins = atMs + toleranceMs - graceMs
  const counting = ordered
    .filter((_, index) => {
      const next = ordered[index + 1]
      return next === undefined || next.atMs > graceBegins
    })
    .map((one) => (ofContent ? one.archiveDays : one.recordDays))
  if (ordered.length === 0)
    counting.push(isKnown ? (ofContent ? defaultArchiveDays : defaultRecordDays) : days)
  // One that is not known counts by what the one after it says of it.
  for (const [index, one] of ordered.entries()) {
    const isUnknown = ordered[index - 1]?.version !== one.version - 1
    if (isUnknown && one.atMs > graceBegins) counting.push(ofContent ? one.before : one.recordDaysBefore)
  }
  if (!isKnown) counting.push(days)
  if (counting.includes(null)) return undefined
  const longest = Math.max(...counting.map((each) => each ?? 0))
  return atMs + toleranceMs - longest * dayMs
}

/** The metadata of an event of Annals' own; undefined for every other one. */
function saidBy(event: unknown, wanted: string): ReadonlyMap<unknown, unknown> | undefined {
  const { action, category } = membersOf(event)
  return action === wanted && category === 'system' ? metadataOf(event) : undefined
}

const atOf = (event: unknown): number | undefined => timeOf(membersOf(event)['receivedAt'])

function timeOf(text: unknown): number | undefined {
  const time = typeof text === 'string' ? Date.parse(text) : Number.NaN
  return Number.isNaN(time) ? undefined : time
}

const naturalOf = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined

/** undefined where it is no number of days. */
const daysOf = (value: unknown): number | null | undefined => (value === null ? null : naturalOf(value))
