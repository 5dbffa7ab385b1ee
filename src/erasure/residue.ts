/**
 * What the second reader is asked of one erasure: nothing of the identifiers, nothing of the subjects, neither in the
 * database nor in the archive, and counts that add up over both.
 */
import type { Db, Document } from 'mongodb'
import type { ArchiveStore } from '../archive/stores/contract.js'
import type { Lifecycle } from '../retention/lifecycle.js'
import type { LogStore } from '../transparency-log/store.js'
import { archiveFailure, archiveTarget } from './archive-failure.js'
import type { ErasureIdentifier } from './contract.js'
import type { FieldName } from './manifests.js'
import type { CutOff, ErasureProgressDocument } from './progress.js'
import {
  readArchive,
  type ArchiveFound,
  type ArchiveReading,
  type ObjectCounts,
} from './second-reader-archive.js'
import { readEverything, type ReadPlace } from './second-reader.js'

export interface ResidueReading {
  readonly db: Db
  /** undefined: it was retired, and does not answer. */
  readonly archive: Pick<ArchiveStore, 'versions' | 'getVersion'> | undefined
  /** It was retired at some time: what was counted in it, or was not, says nothing. */
  readonly wasRetired: boolean
  readonly lifecycle: Pick<Lifecycle, 'current'>
  readonly log: Pick<LogStore, 'locate'>
  readonly progress: ErasureProgressDocument
  readonly identifiers: readonly ErasureIdentifier[]
  /** Fields that stay. */
  readonly kept: readonly FieldName[]
  readonly cutOff: CutOff
  readonly onRead: (place: ReadPlace) => void
  readonly beat: () => void
}

/** @returns names of the places where something is left: collections, `archive_content`, and `counts` @throws TargetError */
export async function residueOf(reading: ResidueReading): Promise<string[]> {
  const { db, progress, identifiers, beat, cutOff, onRead } = reading
  const { organizationId, requestId, subjects } = progress
  const kept = new Set(reading.kept.map(({ eventId, slot }) => `${eventId}/${slot}`))
  const residue = await readEverything(db, {
    organizationId,
    identifiers,
    kept,
    isLater: (collection, document) => isLater(reading, collection, document),
    onRead,
    beat,
  })
  const places = new Set(residue.keys())
  const archived: ArchiveReading = {
    organizationId,
    requestId,
    identifiers,
    subjects,
    kept,
    isLater: (generation, index) =>
      generation > cutOff.generation || (generation === cutOff.generation && index > cutOff.index),
    beat,
  }
  const { left, counts } = await fromArchive(reading, { ...archived, onRead })
  if (left > 0) places.add(archiveTarget)
  const { erased, exempt } = reading.wasRetired
    ? await countAll({ ...reading, archive: undefined }, archived, new Map())
    : await countAll(reading, archived, new Map(counts))
  if (!(await addsUp(reading, erased, exempt))) places.add('counts')
  return [...places]
}

async function fromArchive({ archive }: ResidueReading, archived: ArchiveReading): Promise<ArchiveFound> {
  if (archive === undefined) return { left: 0, counts: new Map() }
  try {
    return await readArchive(archive, archived)
  } catch (error) {
    throw archiveFailure(error)
  }
}

/** Content that expired since the events were counted took some with it; no more than that may be missing. */
async function addsUp({ db, progress, wasRetired }: ResidueReading, erased: number, exempt: number) {
  const { organizationId, steps, before, exempt: wanted = 0 } = progress
  // How many lie in an archive that was retired nobody can say: those that are hot were counted with them, or alone.
  if (wasRetired) return before !== undefined && erased + exempt <= before && exempt <= wanted
  if (erased + exempt === before && exempt === wanted) return true
  const since = steps.search?.doneAt
  if (before === undefined || since === undefined) return false
  const expired = { organizationId, contentExpiredAt: { $gte: since } }
  const any = await db.collection('archiveSegments').countDocuments(expired, { limit: 1 })
  return any > 0 && erased + exempt < before && exempt <= wanted
}

const maxMoves = 10

/**
 * Counts the events that name the subjects, each once, hot or archived, at a moment when nothing moved between the two.
 * @throws Error where something moves all the time
 */
async function countAll(
  reading: ResidueReading,
  archived: ArchiveReading,
  counted: Map<string, ObjectCounts>,
): Promise<{ readonly erased: number; readonly exempt: number }> {
  const { db, lifecycle, progress, beat } = reading
  const { organizationId, subjects } = progress
  if (subjects.length === 0) return { erased: 0, exempt: 0 }
  const known = new Set(counted.keys())
  for (let move = 0; move < maxMoves; move += 1) {
    const seen = await lifecycle.current(organizationId)
    const named = await namedObjects(db, organizationId)
    // Objects are never changed: those that were read need not be read again.
    const unread = new Set([...named].filter((path) => !known.has(path)))
    if (unread.size > 0) {
      const { counts } = await fromArchive(reading, { ...archived, only: unread })
      for (const [path, count] of counts) counted.set(path, count)
      for (const path of unread) known.add(path)
    }
    const inArchive = [...named].flatMap((path) => counted.get(path) ?? [])
    const there = new Set(inArchive.flatMap(({ erased, exempt }) => [...erased, ...exempt]))
    const hot = await countSubjects(db, progress, there, beat)
    if ((await lifecycle.current(organizationId)) !== seen) continue
    const sum = (of: (counts: ObjectCounts) => number) => inArchive.reduce((all, one) => all + of(one), 0)
    return {
      erased: hot.erased + sum(({ erased }) => erased.length),
      exempt: hot.exempt + sum(({ exempt }) => exempt.length),
    }
  }
  throw new Error('what an organization holds moves all the time')
}

/** The content that counts: what segments name. */
async function namedObjects(db: Db, organizationId: string): Promise<ReadonlySet<string>> {
  const projection = { 'content.file.path': 1 }
  const named = new Set<string>()
  for await (const { content } of db.collection('archiveSegments').find({ organizationId }, { projection })) {
    const path: unknown = Reflect.get(Object(Reflect.get(Object(content), 'file')), 'path')
    if (typeof path === 'string') named.add(path)
  }
  return named
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
  /** Ids of those that were counted in the archive. */
  there: ReadonlySet<string>,
  beat: () => void,
): Promise<{ readonly erased: number; readonly exempt: number }> {
  const wanted = new Set(subjects)
  let erased = 0
  let exempt = 0
  let seen = 0
  if (wanted.size === 0) return { erased, exempt }
  const projection = { 'fields.subject': 1, 'fields.sealed': 1, 'fields.restricted': 1 }
  const rows = db.collection('events').find({ organizationId }, { projection, batchSize: 2_000 })
  for await (const { _id: id, fields } of rows) {
    if (seen++ % 2_000 === 0) beat()
    if (there.has(String(id).slice(organizationId.length + 1))) continue
    const theirs = (Array.isArray(fields) ? (fields as Document[]) : []).filter(({ subject }) =>
      wanted.has(String(subject)),
    )
    if (theirs.length === 0) continue
    if (theirs.some(({ restricted }) => restricted === requestId)) exempt += 1
    else if (theirs.every(({ sealed }) => sealed === undefined)) erased += 1
  }
  return { erased, exempt }
}
