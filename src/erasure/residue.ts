/** What the second reader is asked of one erasure: nothing of the identifiers, nothing of the subjects, and counts that add up. */
import type { Db, Document } from 'mongodb'
import type { LogStore } from '../transparency-log/store.js'
import type { ErasureIdentifier } from './contract.js'
import type { FieldName } from './manifests.js'
import type { CutOff, ErasureProgressDocument } from './progress.js'
import { readEverything, type ReadPlace } from './second-reader.js'

export interface ResidueReading {
  readonly db: Db
  readonly log: Pick<LogStore, 'locate'>
  readonly progress: ErasureProgressDocument
  readonly identifiers: readonly ErasureIdentifier[]
  /** Fields that stay. */
  readonly kept: readonly FieldName[]
  readonly cutOff: CutOff
  readonly onRead: (place: ReadPlace) => void
  readonly beat: () => void
}

/** @returns names of the places where something is left: collections, and `counts` */
export async function residueOf(reading: ResidueReading): Promise<string[]> {
  const { db, progress, identifiers, beat } = reading
  const { organizationId } = progress
  const residue = await readEverything(db, {
    organizationId,
    identifiers,
    kept: new Set(reading.kept.map(({ eventId, slot }) => `${eventId}/${slot}`)),
    isLater: (collection, document) => isLater(reading, collection, document),
    onRead: reading.onRead,
    beat,
  })
  const places = new Set(residue.keys())
  const { erased, exempt } = await countSubjects(db, progress, beat)
  const moved = (await db.collection('archiveSegments').countDocuments({ organizationId }, { limit: 1 })) > 0
  // An archive takes events out of the hot store while this goes on; then its own target counts.
  if (!moved && erased + exempt !== progress.before) places.add('counts')
  if (exempt !== (progress.exempt ?? 0)) places.add('counts')
  return [...places]
}

const isEvents = (collection: string) => collection === 'events' || collection === 'restoredEvents'

/** What came in after the cut-off is about the new subject, or said by others since. */
async function isLater(
  { log, progress, cutOff }: ResidueReading,
  collection: string,
  document: Document,
): Promise<boolean> {
  const { organizationId, steps } = progress
  const startedAt = steps.erasure_started?.doneAt
  const { _id: id, at, startedAt: began } = document
  if (collection === 'scans' || collection === 'scanFindings') {
    const moment: unknown = collection === 'scans' ? began : at
    return startedAt !== undefined && moment instanceof Date && moment > startedAt
  }
  if (!isEvents(collection) || typeof id !== 'string') return false
  const leaf = await log.locate(organizationId, id.slice(id.indexOf('/') + 1))
  // A pending one gets its leaf after the cut-off.
  if (leaf === undefined) return document['setAside'] === undefined && document['pending'] === true
  return (
    leaf.generation > cutOff.generation ||
    (leaf.generation === cutOff.generation && leaf.index > cutOff.index)
  )
}

/** Events that name the subjects: those whose blocks are gone, and those whose blocks wait under the request's key. */
async function countSubjects(
  db: Db,
  { organizationId, requestId, subjects }: ErasureProgressDocument,
  beat: () => void,
): Promise<{ readonly erased: number; readonly exempt: number }> {
  const wanted = new Set(subjects)
  let erased = 0
  let exempt = 0
  let seen = 0
  if (wanted.size === 0) return { erased, exempt }
  const projection = { 'fields.subject': 1, 'fields.sealed': 1, 'fields.restricted': 1 }
  const rows = db.collection('events').find({ organizationId }, { projection, batchSize: 2_000 })
  for await (const { fields } of rows) {
    if (seen++ % 2_000 === 0) beat()
    const theirs = (Array.isArray(fields) ? (fields as Document[]) : []).filter(({ subject }) =>
      wanted.has(String(subject)),
    )
    if (theirs.length === 0) continue
    if (theirs.some(({ restricted }) => restricted === requestId)) exempt += 1
    else if (theirs.every(({ sealed }) => sealed === undefined)) erased += 1
  }
  return { erased, exempt }
}
