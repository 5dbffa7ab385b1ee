/**
 * Takes what an exception had kept out of every place where an event lies: hot, restored, archived. Each may be repeated.
 * Afterwards it is looked for once more, in the rows as they are and in every version of every object of the archive.
 */
import type { Db, Document } from 'mongodb'
import type { ArchiveStore } from '../archive/stores/contract.js'
import {
  eventCollection,
  eventDocumentId,
  eventIdOf,
  type StoredEvent,
  type StoredField,
} from '../events/store.js'
import { collectionNames } from '../mongo/collections.js'
import type { LogStore } from '../transparency-log/store.js'
import { archiveFailure, archiveTarget } from './archive-failure.js'
import type { ArchivedContent, ContentChange } from './archived-content.js'
import type { RemovedRow } from './named-manifests.js'
import type { ErasureProgressDocument } from './progress.js'
import { readArchive } from './second-reader-archive.js'
import { removePage } from './text-removal.js'
import { tilesOf } from './tiles.js'

export interface ReleasedRemovalDependencies {
  readonly db: Db
  readonly archived: ArchivedContent
  readonly log: Pick<LogStore, 'locateAll'>
  readonly archive: Pick<ArchiveStore, 'versions' | 'getVersion'>
}

type Slots = ReadonlyMap<string, Buffer>

const pageSize = 500

function* pagesOf<Item>(items: readonly Item[]): Generator<readonly Item[]> {
  for (let at = 0; at < items.length; at += pageSize) yield items.slice(at, at + pageSize)
}

/** Out of the rows of the database alone. */
export async function removeReleasedRows(
  db: Db,
  organizationId: string,
  rows: readonly RemovedRow[],
  beat: () => void,
): Promise<void> {
  const restored = db.collection<StoredEvent>(collectionNames.restoredEvents)
  for (const page of pagesOf(rows)) {
    beat()
    await removePage(eventCollection(db), organizationId, page)
    await removePage(restored, organizationId, page)
  }
}

/** Out of everything. @throws TargetError where the archive cannot be reached */
export async function removeReleased(
  deps: ReleasedRemovalDependencies,
  { organizationId }: ErasureProgressDocument,
  rows: readonly RemovedRow[],
  beat: () => void,
): Promise<void> {
  await removeReleasedRows(deps.db, organizationId, rows, beat)
  // The hot rows are as they stay: what the archiver read before they were is not recorded any more.
  const counter = await deps.archived.closeBehind(organizationId)
  await deps.archived.change(organizationId, await withoutReleased(deps, organizationId, rows), { beat })
  await deps.archived.deleteStale(organizationId, counter, { beat })
}

async function withoutReleased(
  { log }: ReleasedRemovalDependencies,
  organizationId: string,
  rows: readonly RemovedRow[],
): Promise<ContentChange> {
  const slots = new Map<string, Map<string, Buffer>>()
  for (const { eventId, slot, commitment } of rows)
    slots.set(eventId, (slots.get(eventId) ?? new Map<string, Buffer>()).set(slot, commitment))
  const tiles = await tilesOf(log, organizationId, pagesOf([...slots.keys()]))
  return {
    concerns: (tile) => tiles.has(tile),
    apply: (leaves) => leaves.map(({ event }) => without(event, slots.get(eventIdOf(event._id)))),
  }
}

/** The same object where nothing of it is to go. */
function without(event: StoredEvent, slots: Slots | undefined): StoredEvent {
  if (slots === undefined) return event
  const fields = event.fields.map((field): StoredField => {
    const commitment = 'slot' in field ? slots.get(field.slot) : undefined
    if (commitment === undefined || !('slot' in field)) return field
    const { slot } = field
    if ('value' in field) return { slot, commitment }
    if (!('subject' in field) || field.sealed === undefined) return field
    const { subject, subjectSalt } = field
    return { slot, subject, subjectSalt, commitment: field.commitment }
  })
  return fields.every((field, position) => field === event.fields[position]) ? event : { ...event, fields }
}

/** @returns names of the places that hold something of it still @throws TargetError */
export async function releasedLeft(
  deps: ReleasedRemovalDependencies,
  progress: ErasureProgressDocument,
  rows: readonly RemovedRow[],
  beat: () => void,
): Promise<string[]> {
  const { organizationId, requestId, subjects } = progress
  const left = new Set<string>()
  const wanted = new Set(rows.map(({ eventId, slot }) => `${eventId}/${slot}`))
  const eventIds = [...new Set(rows.map(({ eventId }) => eventId))]
  for (const name of [collectionNames.events, collectionNames.restoredEvents]) {
    for (const page of pagesOf(eventIds)) {
      beat()
      const _id = page.map((id) => eventDocumentId(organizationId, id))
      const found = deps.db.collection<Document & { _id: string }>(name).find({ _id: { $in: _id } })
      for await (const { _id: id, fields } of found)
        for (const field of Array.isArray(fields) ? (fields as Document[]) : [])
          if (
            wanted.has(`${eventIdOf(id)}/${String(field['slot'])}`) &&
            (field['sealed'] !== undefined || field['value'] !== undefined)
          )
            left.add(name)
    }
  }
  if ((await deps.archived.left(organizationId, await withoutReleased(deps, organizationId, rows), beat)) > 0)
    left.add(archiveTarget)
  // A second reader over every version, whether a segment names it or not.
  const nothing = { identifiers: [], kept: new Set<string>(), isLater: () => false }
  const reading = { organizationId, requestId, subjects, ...nothing, beat }
  const { counts } = await readArchive(deps.archive, reading).catch((error: unknown) => {
    throw archiveFailure(error)
  })
  const released = new Set(eventIds)
  for (const { exempt } of counts.values())
    if (exempt.some((eventId) => released.has(eventId))) left.add(archiveTarget)
  return [...left]
}
