/**
 * What an event of retention says, and whether the policy allowed it: the second implementation of the rules of
 * docs/retention.md. Pure, and nobody's word: the events it is given have to make their leaves.
 *
 * Times are those that the records commit to (`receivedAt`). Sealing comes seconds later and clocks differ, so a day is
 * allowed for: content that went more than a day before its time is found.
 */
export interface ExpiryStatement {
  readonly generation: number
  /** Leaves, `to` exclusive. */
  readonly from: number
  readonly to: number
  /** Events that went with it, and leaves that had no event already. */
  readonly gone: number
  /** When it was said, in milliseconds. */
  readonly atMs: number
  /** Version of the newest policy it rests on; 0 = the default. */
  readonly policy: number
  readonly archiveDays: number
}

export interface PolicyStatement {
  readonly version: number
  readonly atMs: number
  /** null = for ever. */
  readonly archiveDays: number | null
  /** Of the policy that it followed. */
  readonly before: number | null
}

const dayMs = 86_400_000
export const defaultArchiveDays = 2_555
/** A policy counts so long after another has followed it. */
export const graceMs = 7 * dayMs
export const toleranceMs = dayMs

const neverExpiring = ['retention.', 'subject.', 'field.', 'log.', 'organization.'].map(
  (domain) => `annals.${domain}`,
)

/** Does a record say that the content of its event never expires? */
export const neverExpires = (record: string): boolean => {
  const { category, action } = asObject(parsed(record)) ?? {}
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
const policyAction = 'annals.retention.policy_changed'

/** Is it worth a look? */
export const isRetention = (event: unknown): boolean => {
  const action = asObject(event)?.['action']
  return action === expiredAction || action === policyAction
}

/** What an expiry's event says; undefined for every other event. */
export function expiryOf(event: unknown): ExpiryStatement | undefined {
  const metadata = metadataOf(event, expiredAction)
  if (metadata?.get('kind') !== 'content') return undefined
  const [generation, from, to, expired, damaged, policy] = [
    'generation',
    'from',
    'to',
    'expired',
    'damaged',
    'policy',
  ].map((name) => naturalOf(metadata.get(name)))
  const archiveDays = naturalOf(metadata.get('archiveDays'))
  const atMs = atOf(event)
  if (generation === undefined || from === undefined || to === undefined || expired === undefined)
    return undefined
  if (damaged === undefined || policy === undefined || archiveDays === undefined || atMs === undefined)
    return undefined
  return { generation, from, to, gone: expired + damaged, atMs, policy, archiveDays }
}

/** What the event of a policy says; undefined for every other event. */
export function policyOf(event: unknown): PolicyStatement | undefined {
  const metadata = metadataOf(event, policyAction)
  if (metadata === undefined) return undefined
  const version = naturalOf(metadata.get('version'))
  const archiveDays = daysOf(metadata.get('archiveDays'))
  const before = daysOf(asObject(metadata.get('before'))?.['archiveDays'])
  const atMs = atOf(event)
  if (version === undefined || archiveDays === undefined || before === undefined || atMs === undefined)
    return undefined
  return { version, archiveDays, before, atMs }
}

/**
 * Up to when an event must have been received for its content to be allowed to go with this statement, in milliseconds;
 * undefined where no policy let anything go.
 * @param policies all that are known, in any order
 * @param complete they are all that there were before; otherwise one that the statement rests on, and that is not among
 *   them, is taken at the statement's own word
 */
export function allowedUntil(
  { atMs, policy, archiveDays }: ExpiryStatement,
  policies: readonly PolicyStatement[],
  complete: boolean,
): number | undefined {
  const ordered = policies
    .filter((one) => one.atMs <= atMs + toleranceMs)
    .sort((a, b) => a.version - b.version)
  const isKnown = policy === 0 || ordered.some(({ version }) => version === policy)
  if (!isKnown && complete) return undefined
  const graceBegins = atMs + toleranceMs - graceMs
  const [first] = ordered
  const counting = ordered
    .filter((_, index) => {
      const next = ordered[index + 1]
      return next === undefined || next.atMs > graceBegins
    })
    .map((one) => one.archiveDays)
  if (first === undefined) counting.push(isKnown ? defaultArchiveDays : archiveDays)
  else if (first.atMs > graceBegins) counting.push(first.before)
  if (!isKnown) counting.push(archiveDays)
  if (counting.includes(null)) return undefined
  const longest = Math.max(...counting.map((days) => days ?? 0))
  return atMs + toleranceMs - longest * dayMs
}

/** The metadata of one of Annals' own events in its verifiable form. */
function metadataOf(event: unknown, wanted: string): ReadonlyMap<unknown, unknown> | undefined {
  const { action, category, fields } = asObject(event) ?? {}
  if (action !== wanted || category !== 'system' || !Array.isArray(fields)) return undefined
  const metadata = new Map<unknown, unknown>()
  for (const field of fields as readonly unknown[]) {
    const { slot, value } = asObject(field) ?? {}
    if (typeof slot !== 'string' || !slot.startsWith('metadata/') || typeof value !== 'string') continue
    const pair = parsed(value)
    if (Array.isArray(pair)) metadata.set(pair[0], pair[1])
  }
  return metadata
}

function atOf(event: unknown): number | undefined {
  const receivedAt = asObject(event)?.['receivedAt']
  const time = typeof receivedAt === 'string' ? Date.parse(receivedAt) : Number.NaN
  return Number.isNaN(time) ? undefined : time
}

const naturalOf = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined

/** undefined where it is no number of days. */
const daysOf = (value: unknown): number | null | undefined => (value === null ? null : naturalOf(value))

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const asObject = (value: unknown): Record<string, unknown> | undefined =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
