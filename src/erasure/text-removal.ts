/**
 * Removes the clear fields, and others' blocks, that name the person. Each is listed in `erasureTexts` first, so that a
 * crash in the middle loses none of what the text manifest has to say.
 */
import type { AnyBulkWriteOperation, Collection, Db } from 'mongodb'
import { eventCollection, eventDocumentId, type StoredEvent } from '../events/store.js'
import { collectionNames } from '../mongo/collections.js'
import type { ErasureIdentifier, ErasureReference, JointFreeText } from './contract.js'
import type { FieldName, RemovedField } from './manifests.js'
import type { ErasureProgress, ErasureTextDocument } from './progress.js'
import type { TextsToRemove } from './targets/contract.js'
import type { TextHit } from './text-search.js'
import { needsConfirmation, type HitCount } from './whom.js'

const pageSize = 500

export const rowOf = (
  { organizationId, requestId }: ErasureReference,
  hit: TextHit,
): ErasureTextDocument => ({
  _id: `${organizationId}/${requestId}/${hit.eventId}/${hit.slot}`,
  organizationId,
  requestId,
  ...hit,
})

export function countHit(counts: HitCount[], hit: Pick<TextHit, 'identifiers' | 'joint' | 'own'>): void {
  for (const position of hit.identifiers) {
    const count = (counts[position] ??= { hits: 0, joint: 0, elsewhere: 0 })
    count.hits += 1
    if (hit.joint) count.joint += 1
    if (!hit.own) count.elsewhere += 1
  }
}

export interface Choice {
  readonly identifiers: readonly ErasureIdentifier[]
  /** How many of them the request itself named: only these can be confirmed. */
  readonly given: number
  readonly confirmed: readonly number[]
  readonly ambiguous: readonly number[]
}

/** The positions of the identifiers whose hits are removed. */
export function chosenPositions(counts: readonly (HitCount | undefined)[], choice: Choice): number[] {
  return choice.identifiers.flatMap((identifier, position) => {
    const confirmed = position < choice.given && choice.confirmed.includes(position)
    const count = counts[position] ?? { elsewhere: 0 }
    const doubtful = needsConfirmation(identifier, count, choice.ambiguous.includes(position))
    return confirmed || !doubtful ? [position] : []
  })
}

/** Does this field go? The other choice is that it stays, and the manifest says so. */
export function isRemoved(
  row: ErasureTextDocument,
  chosen: readonly number[],
  jointFreeText: JointFreeText,
  confirmed: readonly number[],
): boolean {
  const counting = row.identifiers.filter((position) => chosen.includes(position))
  if (row.exempt || counting.length === 0) return false
  if (!row.joint || jointFreeText === 'redact') return true
  return counting.some((position) => confirmed.includes(position))
}

export interface Removal extends ErasureReference {
  readonly chosen: readonly number[]
  readonly confirmed: readonly number[]
  readonly jointFreeText: JointFreeText
  readonly beat: () => void
}

export interface SplitTexts {
  readonly removed: RemovedField[]
  readonly kept: FieldName[]
  /** Of what is kept: what would go, were its event not exempt or held. */
  readonly exempt: FieldName[]
}

/** What goes and what stays, in the order of the manifest. */
export async function splitTexts(progress: ErasureProgress, removal: Removal): Promise<SplitTexts> {
  const removed: RemovedField[] = []
  const kept: FieldName[] = []
  const exempt: FieldName[] = []
  for await (const row of progress.textsOf(removal)) {
    const { eventId, slot, commitment } = row
    const goes = (one: ErasureTextDocument) =>
      isRemoved(one, removal.chosen, removal.jointFreeText, removal.confirmed)
    if (goes(row)) removed.push({ eventId, slot, commitment })
    else kept.push({ eventId, slot })
    if (row.exempt && goes({ ...row, exempt: false })) exempt.push({ eventId, slot })
  }
  return { removed, kept, exempt }
}

/** What goes, as targets ask for it. */
export function textsToRemove(progress: ErasureProgress, removal: Removal): TextsToRemove {
  const { organizationId, requestId, chosen, confirmed, jointFreeText } = removal
  const goes = (row: ErasureTextDocument) => isRemoved(row, chosen, jointFreeText, confirmed)
  return {
    async of(eventIds) {
      const found = new Map<string, Map<string, Buffer>>()
      for await (const row of progress.texts.find({
        organizationId,
        requestId,
        eventId: { $in: [...eventIds] },
      })) {
        if (!goes(row)) continue
        const slots = found.get(row.eventId) ?? new Map<string, Buffer>()
        found.set(row.eventId, slots.set(row.slot, row.commitment))
      }
      return found
    },
    async *eventIds() {
      let page: string[] = []
      for await (const row of progress.textsOf(removal)) {
        if (!goes(row)) continue
        page.push(row.eventId)
        if (page.length < pageSize) continue
        yield page
        page = []
      }
      if (page.length > 0) yield page
    },
  }
}

/** Takes what goes out of hot and restored events; safe to repeat. */
export async function removeTexts(db: Db, progress: ErasureProgress, removal: Removal): Promise<void> {
  const events = eventCollection(db)
  const restored = db.collection<StoredEvent>(collectionNames.restoredEvents)
  let page: ErasureTextDocument[] = []
  const flush = async () => {
    removal.beat()
    await removePage(events, removal.organizationId, page)
    await removePage(restored, removal.organizationId, page)
    page = []
  }
  for await (const row of progress.textsOf(removal)) {
    if (!isRemoved(row, removal.chosen, removal.jointFreeText, removal.confirmed)) continue
    page.push(row)
    if (page.length === pageSize) await flush()
  }
  if (page.length > 0) await flush()
}

/** The commitment takes the place of value, salt and terms in one update: the leaf can be rebuilt at every moment. */
export async function removePage(
  events: Collection<StoredEvent>,
  organizationId: string,
  rows: readonly Pick<ErasureTextDocument, 'eventId' | 'slot' | 'commitment'>[],
): Promise<void> {
  const ids = [...new Set(rows.map(({ eventId }) => eventDocumentId(organizationId, eventId)))]
  const projection = { 'fields.slot': 1 }
  const places = new Map<string, number>()
  for await (const { _id, fields } of events.find({ _id: { $in: ids } }, { projection })) {
    fields.forEach((field, index) => {
      if ('slot' in field) places.set(`${_id}/${field.slot}`, index)
    })
  }
  const writes = rows.flatMap(({ eventId, slot, commitment }): AnyBulkWriteOperation<StoredEvent>[] => {
    const _id = eventDocumentId(organizationId, eventId)
    const index = places.get(`${_id}/${slot}`)
    if (index === undefined) return []
    const at = `fields.${String(index)}`
    return [
      {
        updateOne: {
          filter: { _id, [`${at}.slot`]: slot, [`${at}.value`]: { $exists: true } },
          update: { $set: { [at]: { slot, commitment } }, $unset: { fingerprint: '' } },
        },
      },
      {
        updateOne: {
          filter: { _id, [`${at}.slot`]: slot, [`${at}.sealed`]: { $exists: true } },
          update: {
            $unset: {
              [`${at}.sealed`]: '',
              [`${at}.terms`]: '',
              [`${at}.restricted`]: '',
              fingerprint: '',
            },
          },
        },
      },
    ] as AnyBulkWriteOperation<StoredEvent>[]
  })
  if (writes.length > 0)
    await events.bulkWrite(writes, { ordered: false, writeConcern: { w: 'majority', journal: true } })
}
