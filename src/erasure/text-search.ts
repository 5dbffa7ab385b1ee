/**
 * Finds where a person is named in what others may read: every clear field of the organization's sealed events, and every
 * other person's block, opened. Nothing is changed here.
 *
 * The log says which events there are, so that "up to the cut-off" is exact whatever clocks and concurrent intake did.
 * A batch is some thousand events: memory does not grow with the log.
 */
import type { HeldEvent, Hold } from '../retention/contract.js'
import { actionFits, isHeld, neverExpires } from '../retention/policy.js'
import { fieldCommitment } from '../events/record.js'
import { personSealPurpose } from '../events/protect.js'
import { saltBytes } from '../events/record.js'
import { eventDocumentId, eventIdOf, type EventCollection, type StoredEvent } from '../events/store.js'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import { openSeal } from '../keys/wrapping.js'
import type { SubjectReader } from '../subjects/readers.js'
import type { LogLeaf, LogStore } from '../transparency-log/store.js'
import { tileWidth } from '../transparency-log/tile.js'
import type { Exemption } from './contract.js'
import type { TextMatcher } from './matching.js'
import type { CutOff } from './progress.js'

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
  readonly events: EventCollection
  readonly log: Pick<LogStore, 'head' | 'leaves'>
  readonly subjects: SubjectReader
}

const tilesAtOnce = 8
const projection = { 'fields.terms': 0, mac: 0, fingerprint: 0 } as const

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

const subjectsIn = ({ fields }: Pick<StoredEvent, 'fields'>): string[] =>
  fields.flatMap((field) => ('subject' in field ? [field.subject] : []))

/** @throws KeyError where a person's key is missing or wrong */
export async function* searchText(
  { events, log, subjects }: TextSearchDependencies,
  search: TextSearch,
): AsyncGenerator<readonly TextHit[]> {
  const { organizationId } = search.keyset
  for await (const leaves of leavesBefore(log, organizationId, search.cutOff)) {
    search.beat()
    const ids = leaves.map(({ eventId }) => eventDocumentId(organizationId, eventId))
    const found = await events.find({ _id: { $in: ids } }, { projection }).toArray()
    const searched = found.filter(({ action }) => !isOwnOfErasures(action))
    const hits = await hitsIn(searched, subjects, search)
    if (hits.length > 0) yield hits
  }
}

/** Annals' own, which hold ids, hashes and dates alone. */
const isOwnOfErasures = (action: string): boolean =>
  neverExpires(action) || action.startsWith('annals.erasure.') || action.startsWith('annals.hold.')

/** The leaves of every generation before the cut-off, some tiles at a time. */
async function* leavesBefore(
  log: TextSearchDependencies['log'],
  organizationId: string,
  cutOff: CutOff | undefined,
): AsyncGenerator<LogLeaf[]> {
  const newest = cutOff?.generation ?? (await log.head(organizationId))?.generation ?? 0
  for (let generation = 1; generation <= newest; generation += 1) {
    const head = await log.head(organizationId, generation)
    if (head === undefined) continue
    const size = cutOff?.generation === generation ? cutOff.index : head.size
    for (let tile = 0; tile * tileWidth < size; tile += tilesAtOnce) {
      const numbers = Array.from({ length: tilesAtOnce }, (_, offset) => tile + offset)
      const wanted = numbers.filter((number) => number * tileWidth < size)
      const tiles = await Promise.all(wanted.map((number) => log.leaves(organizationId, generation, number)))
      yield tiles.flatMap((leaves) => leaves ?? []).filter(({ index }) => index < size)
    }
  }
}

async function hitsIn(
  events: readonly StoredEvent[],
  reader: SubjectReader,
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
  const { subjects: readable } = await reader.read(keyset, [...others], true)
  const hits: TextHit[] = []
  for (const event of events) {
    const eventId = eventIdOf(event._id)
    for (const field of event.fields) {
      if (!('slot' in field)) continue
      const { slot } = field
      let json: string
      let commitment: () => Buffer
      let joint = false
      if ('value' in field) {
        json = field.value
        commitment = () => fieldCommitment(eventId, slot, field.salt, field.value)
      } else if ('subject' in field && field.sealed !== undefined && field.restricted === undefined) {
        const key = readable.get(field.subject)?.key
        if (key === undefined) continue
        const purpose = personSealPurpose(keyset.organizationId, eventId, slot)
        json = openSeal(key, field.sealed, purpose).toString('utf8', saltBytes)
        commitment = () => field.commitment
        joint = true
      } else continue
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
