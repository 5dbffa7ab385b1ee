/**
 * Finds where a person is named in what others may read: every clear field of the organization's sealed events, hot or
 * archived, and every other person's block, opened. Nothing is changed here.
 *
 * The log says which events there are, so that "up to the cut-off" is exact whatever clocks and concurrent intake did.
 * A batch is some thousand events: memory does not grow with the log.
 */
import type { HeldEvent, Hold } from '../retention/contract.js'
import { actionFits, isHeld, neverExpires } from '../retention/policy.js'
import { fieldCommitment } from '../events/record.js'
import { personSealPurpose } from '../events/protect.js'
import { saltBytes } from '../events/record.js'
import { eventIdOf, type StoredEvent } from '../events/store.js'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import { openSeal } from '../keys/wrapping.js'
import type { Lease } from '../subjects/leases.js'
import type { SubjectReader } from '../subjects/readers.js'
import type { LogStore } from '../transparency-log/store.js'
import type { Exemption } from './contract.js'
import type { TextMatcher } from './matching.js'
import type { CutOff } from './progress.js'
import { readRawEvent } from './raw-events.js'
import { eventsBefore, type EventSieve, type EventSource } from './sources/contract.js'

export interface TextHit {
  readonly eventId: string
  readonly slot: string
  readonly commitment: Buffer
  readonly identifiers: readonly number[]
  readonly joint: boolean
  readonly own: boolean
  readonly exempt: boolean
}

export interface TextSearch {
  readonly keyset: OrganizationKeyset
  readonly subjects: readonly string[]
  readonly matcher: TextMatcher
  readonly exempt: readonly Exemption[]
  readonly holds: readonly Hold[]
  /** Leaves before it alone; absent = all. */
  readonly cutOff?: CutOff | undefined
  readonly beat: () => void
}

export interface TextSearchDependencies {
  readonly sources: readonly EventSource[]
  readonly log: Pick<LogStore, 'head' | 'leafIds'>
  readonly subjects: SubjectReader
}

/** What some events of the log came to. */
export interface TextFound {
  /** Where they lie: the name of a target. */
  readonly source: string
  readonly hits: readonly TextHit[]
  /** Events that name the subjects, whatever stands in their text. */
  readonly own: readonly StoredEvent[]
}

/** Events that are kept whatever the request says: exempt by their class, or under a hold. */
export function isExempt(
  event: Pick<StoredEvent, 'action' | 'category' | 'occurredAt'> & { readonly fields: StoredEvent['fields'] },
  exempt: readonly Exemption[],
  holds: readonly Hold[],
): boolean {
  if (exempt.some(({ class: kind }) => kind === event.category || actionFits(kind, event.action))) return true
  if (holds.length === 0) return false
  const held: HeldEvent = { ...event, subjects: subjectsIn(event) }
  return isHeld(held, holds)
}

export const subjectsIn = ({ fields }: Pick<StoredEvent, 'fields'>): string[] =>
  fields.flatMap((field) => ('subject' in field ? [field.subject] : []))

/** @throws KeyError where a person's key is missing or wrong; TargetError where a source cannot be read */
export async function* searchText(
  { sources, log, subjects }: TextSearchDependencies,
  search: TextSearch,
): AsyncGenerator<TextFound> {
  const { organizationId } = search.keyset
  const erased = new Set(search.subjects)
  const keys = leasedKeys(search.keyset, subjects)
  const sieve = sieveOf(search, keys)
  for await (const { source, events } of eventsBefore(log, sources, organizationId, search.cutOff, sieve)) {
    search.beat()
    const searched = events.filter(({ action }) => !isOwnOfErasures(action))
    const hits = await hitsIn(searched, keys, search)
    const own = events.filter((event) => subjectsIn(event).some((subject) => erased.has(subject)))
    if (hits.length + own.length > 0) yield { source, hits, own }
  }
}

/** Annals' own, which hold ids, hashes and dates alone. */
const isOwnOfErasures = (action: string): boolean =>
  neverExpires(action) || action.startsWith('annals.erasure.') || action.startsWith('annals.hold.')

export type KeysOf = (subjects: ReadonlySet<string>) => Promise<ReadonlyMap<string, Buffer>>

/** Keys that are held at once. */
const maxKeys = 10_000

/**
 * The keys of active subjects, read anew where a lease has run low: the same persons stand in batch after batch. What is
 * asked for is to be opened before anything else is waited for.
 */
export function leasedKeys(keyset: OrganizationKeyset, reader: SubjectReader): KeysOf {
  const held = new Map<string, { readonly key: Buffer | undefined; readonly lease: Lease }>()

  async function readAnew(subjects: readonly string[], keys: Map<string, Buffer>): Promise<void> {
    const read = await reader.read(keyset, subjects, true)
    if (held.size + subjects.length > maxKeys) held.clear()
    for (const subject of subjects) {
      const key = read.subjects.get(subject)?.key
      held.set(subject, { key, lease: read.lease })
      if (key !== undefined) keys.set(subject, key)
    }
  }

  return async (subjects) => {
    const keys = new Map<string, Buffer>()
    const leases = new Set<Lease>()
    const unread: string[] = []
    // Taken before anything is waited for: somebody else may empty what is held meanwhile.
    for (const subject of subjects) {
      const known = held.get(subject)
      if (known?.lease.fresh !== true) {
        unread.push(subject)
        continue
      }
      leases.add(known.lease)
      if (known.key !== undefined) keys.set(subject, known.key)
    }
    if (unread.length > 0) await readAnew(unread, keys)
    if ([...leases].some((lease) => !lease.valid)) {
      keys.clear()
      await readAnew([...subjects], keys)
    }
    return keys
  }
}

/**
 * Looks into events without decoding them: wanted are those that name the subjects, and those of whose texts the matcher
 * does not say at once that nobody stands in them; another person's block has to be opened for that.
 */
function sieveOf({ keyset, subjects, matcher }: TextSearch, keysOf: KeysOf): EventSieve {
  const erased = new Set(subjects)
  const { organizationId } = keyset
  return async (raw) => {
    const read = raw.map(readRawEvent)
    const wanted = new Set<string>()
    for (const event of read)
      if (event !== undefined)
        for (const { subject } of event.blocks) if (!erased.has(subject)) wanted.add(subject)
    const keys = await keysOf(wanted)
    return read.map((event, index) => {
      const bytes = raw[index]
      // Of another form than events have: the ordinary decoder says what it is.
      if (event === undefined || bytes === undefined) return true
      const { blocks, values } = event
      if (blocks.some(({ subject }) => erased.has(subject))) return true
      for (let at = 0; at < values.length; at += 2) {
        if (matcher.mayHold(bytes, values[at] ?? 0, values[at + 1] ?? 0)) return true
      }
      const eventId = eventIdOf(event.id)
      return blocks.some(({ slot, subject, sealed, restricted }) => {
        const key = keys.get(subject)
        if (sealed === null || restricted || key === undefined) return false
        const text = openSeal(key, sealed, personSealPurpose(organizationId, eventId, slot))
        return matcher.mayHold(text, saltBytes, text.length)
      })
    })
  }
}

async function hitsIn(
  events: readonly StoredEvent[],
  keysOf: KeysOf,
  { keyset, subjects, matcher, exempt, holds }: TextSearch,
): Promise<TextHit[]> {
  const erased = new Set(subjects)
  const others = new Set(
    events.flatMap(({ fields }) =>
      fields.flatMap((field) =>
        'subject' in field &&
        field.sealed !== undefined &&
        field.restricted === undefined &&
        !erased.has(field.subject)
          ? [field.subject]
          : [],
      ),
    ),
  )
  const keys = await keysOf(others)
  const hits: TextHit[] = []
  for (const event of events) {
    const eventId = eventIdOf(event._id)
    for (const field of event.fields) {
      if (!('slot' in field)) continue
      const { slot } = field
      let text: Buffer
      let commitment: () => Buffer
      let joint = false
      if ('value' in field) {
        text = Buffer.from(field.value)
        commitment = () => fieldCommitment(eventId, slot, field.salt, field.value)
      } else if ('subject' in field && field.sealed !== undefined && field.restricted === undefined) {
        const key = keys.get(field.subject)
        if (key === undefined) continue
        const purpose = personSealPurpose(keyset.organizationId, eventId, slot)
        text = openSeal(key, field.sealed, purpose).subarray(saltBytes)
        commitment = () => field.commitment
        joint = true
      } else continue
      // Most texts of the person's own events do not name anybody.
      if (!matcher.mayHold(text, 0, text.length)) continue
      const json = text.toString()
      const identifiers = matcher.find(json)
      if (identifiers.length === 0) continue
      hits.push({
        eventId,
        slot,
        commitment: commitment(),
        identifiers,
        joint: joint || namesAnother(json, matcher),
        own: subjectsIn(event).some((subject) => erased.has(subject)),
        exempt: isExempt(event, exempt, holds),
      })
    }
  }
  return hits
}

const address = /[\p{L}\p{N}._%+-]{1,64}@[\p{L}\p{N}-]{1,63}(?:\.[\p{L}\p{N}-]{1,63})+/gu

/** Does an e-mail address stand in it that is not the person's? */
function namesAnother(json: string, matcher: TextMatcher): boolean {
  if (!json.includes('@')) return false
  return (json.match(address) ?? []).some((one) => matcher.find(JSON.stringify(one)).length === 0)
}
