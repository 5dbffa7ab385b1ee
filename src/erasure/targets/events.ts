/**
 * Events in MongoDB, hot or restored: one common update takes the ciphertexts of the subjects, their search terms and the
 * fingerprints of the bodies. The key is gone by then; this takes what it would have opened.
 *
 * Rows that are still pending under a fenced subject after its drain were acknowledged to nobody (their process slept
 * through the fence, and takes them through intake again): they go whole.
 */
import type { Db, Filter } from 'mongodb'
import { eventIndexes, type EventCollection, type StoredEvent } from '../../events/store.js'
import { clearTerm } from '../../events/terms.js'
import { collectionNames, type CollectionName } from '../../mongo/collections.js'
import type { ErasureTarget, ErasureWork } from './contract.js'

/** Every event that names one of the subjects, led by an index. */
export function eventsOf({ organizationId, subjects }: Pick<ErasureWork, 'organizationId' | 'subjects'>) {
  const terms = subjects.flatMap((subject) => [
    clearTerm('actorSubject', subject),
    clearTerm('targetSubject', subject),
  ])
  return { organizationId, 'fields.terms': { $in: terms } } as Filter<StoredEvent>
}

const hint = { hint: eventIndexes.terms }

/** What holds something of the person: a ciphertext that no exemption keeps, terms beside a block, a fingerprint. */
const holding = (work: Pick<ErasureWork, 'organizationId' | 'subjects'>): Filter<StoredEvent> => {
  const subject = { $in: [...work.subjects] }
  return {
    $and: [
      eventsOf(work),
      {
        $or: [
          { fields: { $elemMatch: { subject, sealed: { $exists: true }, restricted: { $exists: false } } } },
          { fields: { $elemMatch: { subject, terms: { $exists: true } } } },
          { fingerprint: { $exists: true } },
        ],
      },
    ],
  }
}

export interface SweepLimits {
  /** Ids that are held at once: memory does not grow with the person. */
  readonly idsAtOnce: number
  /** Of one update: short enough for whoever waits to be told that it goes on. */
  readonly batchEvents: number
  /** An update runs on one core of the database. */
  readonly sideBySide: number
}

const usualLimits: SweepLimits = { idsAtOnce: 50_000, batchEvents: 1_000, sideBySide: 3 }

/**
 * The ids of every event that names the subjects, a batch at a time, from the index alone. They come by time and leave by
 * id, which is about the order in which events lie on disk: in any other a page would be read, changed and written again
 * for each of its events once the cache does not hold them all.
 */
async function* batchesOf(
  events: EventCollection,
  work: ErasureWork,
  { idsAtOnce, batchEvents }: SweepLimits,
): AsyncGenerator<string[]> {
  const found = events.find(eventsOf(work), { ...hint, projection: { _id: 1 }, batchSize: 10_000 })
  let ids: string[] = []
  function* sorted() {
    ids.sort()
    for (let at = 0; at < ids.length; at += batchEvents) yield ids.slice(at, at + batchEvents)
    ids = []
  }
  for await (const { _id } of found) {
    ids.push(_id)
    if (ids.length === idsAtOnce) yield* sorted()
  }
  yield* sorted()
}

/** One common update: what is gone already changes nothing. @returns events that lost something */
async function strip(events: EventCollection, work: ErasureWork, ids: readonly string[]): Promise<number> {
  const subject = { $in: [...work.subjects] }
  const { modifiedCount } = await events.updateMany(
    { _id: { $in: ids }, organizationId: work.organizationId },
    { $unset: { 'fields.$[block].sealed': '', 'fields.$[person].terms': '', fingerprint: '' } },
    {
      arrayFilters: [
        { 'block.subject': subject, 'block.restricted': { $exists: false } },
        { 'person.subject': subject },
      ],
      hint: '_id_',
      writeConcern: { w: 'majority', journal: true },
    },
  )
  return modifiedCount
}

function eventTarget(
  name: string,
  collection: CollectionName,
  events: EventCollection,
  limits: SweepLimits,
): ErasureTarget {
  return {
    name,
    collections: [collection],
    scope: (work) => events.countDocuments(eventsOf(work), hint),
    async erase(work) {
      if (work.subjects.length === 0) return 0
      const running = new Set<Promise<void>>()
      let changed = 0
      try {
        for await (const ids of batchesOf(events, work, limits)) {
          work.beat()
          const one = strip(events, work, ids).then((some) => {
            changed += some
            running.delete(one)
          })
          // Whoever waits for it gets its failure; until then it is nobody's.
          one.catch(() => undefined)
          running.add(one)
          if (running.size === limits.sideBySide) await Promise.race(running)
        }
        await Promise.all(running)
      } finally {
        await Promise.allSettled(running)
      }
      return changed
    },
    verify: (work) =>
      work.subjects.length === 0 ? Promise.resolve(0) : events.countDocuments(holding(work), hint),
  }
}

export const hotEvents = (events: EventCollection, limits = usualLimits): ErasureTarget =>
  eventTarget('hot_events', collectionNames.events, events, limits)

export const restoredEvents = (db: Db): ErasureTarget =>
  eventTarget(
    'restored_events',
    collectionNames.restoredEvents,
    db.collection<StoredEvent>(collectionNames.restoredEvents),
    usualLimits,
  )

export function pendingEvents(events: EventCollection): ErasureTarget {
  const waiting = ({ organizationId, subjects }: ErasureWork) =>
    ({ pending: true, organizationId, 'fields.subject': { $in: [...subjects] } }) as Filter<StoredEvent>
  const options = { hint: 'pending_received' }
  return {
    name: 'pending_events',
    collections: [collectionNames.events],
    scope: (work) => events.countDocuments(waiting(work), options),
    async erase(work) {
      const never = { ...waiting(work), answered: { $exists: false } }
      const { deletedCount } = await events.deleteMany(never, options)
      return deletedCount
    },
    verify: (work) => events.countDocuments(waiting(work), options),
  }
}
