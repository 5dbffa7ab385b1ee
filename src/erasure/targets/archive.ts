/**
 * The content of archived segments: a segment that holds something of the person is written anew without it, and every
 * version of what it was before is deleted. Commitments stay, so that every leaf can be rebuilt; the search terms that
 * were made from a value go with it.
 *
 * It comes behind the hot store: what the archiver read there before is not recorded any more (`closeBehind`).
 */
import { eventIdOf, type StoredEvent, type StoredField } from '../../events/store.js'
import { collectionNames } from '../../mongo/collections.js'
import type { LogStore } from '../../transparency-log/store.js'
import { archiveTarget } from '../archive-failure.js'
import type { ArchivedContent, ContentChange } from '../archived-content.js'
import { namesAny } from '../keeping-archived.js'
import type { ErasureLedger } from '../ledger.js'
import { subjectsIn } from '../text-search.js'
import { tilesOf } from '../tiles.js'
import type { ErasureTarget, ErasureWork } from './contract.js'

export interface ArchiveTargetDependencies {
  readonly archived: ArchivedContent
  readonly log: Pick<LogStore, 'locateAll'>
  readonly ledger: Pick<ErasureLedger, 'entries'>
}

type Slots = ReadonlyMap<string, Buffer>
const noSlots: Slots = new Map()

export function archiveContent({ archived, log, ledger }: ArchiveTargetDependencies): ErasureTarget {
  async function removal(work: ErasureWork): Promise<ContentChange> {
    const { organizationId, subjects, texts } = work
    // A text names its fields by their event.
    const tiles = await tilesOf(log, organizationId, texts?.eventIds() ?? [])
    const names = namesAny(subjects)
    const erased = new Set(subjects)
    return {
      concerns: (tile) => tiles.has(tile) || names(tile),
      async apply(leaves) {
        const ids = leaves.map(({ event }) => eventIdOf(event._id))
        const going = tiles.isEmpty ? undefined : await texts?.of(ids)
        return leaves.map(({ event }) => without(event, erased, going?.get(eventIdOf(event._id)) ?? noSlots))
      },
    }
  }

  /** Every erasure of the ledger was verified, so that no content holds anything of it any more. */
  async function ledgerSequence(organizationId: string): Promise<number> {
    let last = 0
    for await (const { sequence } of ledger.entries(organizationId)) last = sequence
    return last
  }

  return {
    name: archiveTarget,
    collections: [collectionNames.archiveSegments],
    reach: (organizationId) => archived.reach(organizationId),
    async scope({ organizationId, subjects, matcher, beat }) {
      const wanted = new Set(subjects)
      const concerned = ({ event }: { readonly event: StoredEvent }) =>
        subjectsIn(event).some((subject) => wanted.has(subject)) ||
        event.fields.some((field) => 'value' in field && matcher.find(field.value).length > 0)
      const picking = {
        concerns: () => true,
        of: (leaf: { readonly event: StoredEvent }) => (concerned(leaf) ? [true] : []),
      }
      let items = 0
      for await (const some of archived.pick(organizationId, picking, beat)) items += some.length
      return items
    },
    async erase(work) {
      const { organizationId, beat } = work
      const counter = await archived.closeBehind(organizationId)
      const options = { beat, ledgerSequence: await ledgerSequence(organizationId) }
      const changed = await archived.change(organizationId, await removal(work), options)
      await archived.deleteStale(organizationId, counter, options)
      return changed
    },
    verify: async (work) => archived.left(work.organizationId, await removal(work), work.beat),
  }
}

/** The event without what is to go; the same object where nothing of it is. */
function without(event: StoredEvent, erased: ReadonlySet<string>, going: Slots): StoredEvent {
  const fields = event.fields.map((field) => fieldWithout(field, erased, going))
  return fields.every((field, position) => field === event.fields[position]) ? event : { ...event, fields }
}

function fieldWithout(field: StoredField, erased: ReadonlySet<string>, going: Slots): StoredField {
  if (!('slot' in field)) return field
  const { slot } = field
  if (!('subject' in field)) {
    const commitment = going.get(slot)
    return commitment === undefined || !('value' in field) ? field : { slot, commitment }
  }
  const { subject, subjectSalt, sealed, commitment, terms, restricted } = field
  if (sealed === undefined && terms === undefined) return field
  if (!erased.has(subject) && !going.has(slot)) return field
  // What is kept for a request stays under its key; nothing is found by it.
  if (restricted !== undefined) {
    if (terms === undefined || sealed === undefined) return field
    return { slot, subject, subjectSalt, sealed, commitment, restricted }
  }
  return { slot, subject, subjectSalt, commitment }
}
