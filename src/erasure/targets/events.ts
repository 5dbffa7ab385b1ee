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

/** An update runs on one core of the database: where there is much, some run side by side. */
const parts = 4
const minPartEvents = 2_000

/** Parts of about as many events each, which leave none out. */
async function partsInTime(events: EventCollection, work: ErasureWork): Promise<Filter<StoredEvent>[]> {
  const count = await events.countDocuments(eventsOf(work), hint)
  if (count < parts * minPartEvents) return [{}]
  const ends: Date[] = []
  for (let part = 1; part < parts; part += 1) {
    work.beat()
    const [first] = await events
      .find(eventsOf(work), { ...hint, projection: { occurredAt: 1 } })
      .sort({ occurredAt: -1 })
      .skip(Math.floor((count * part) / parts))
      .limit(1)
      .toArray()
    if (first !== undefined) ends.push(first.occurredAt)
  }
  const newerThan = [...ends, undefined]
  const upTo = [undefined, ...ends]
  return newerThan.map((from, part) => {
    const to = upTo[part]
    const occurredAt = {
      ...(from === undefined ? {} : { $gt: from }),
      ...(to === undefined ? {} : { $lte: to }),
    }
    return { occurredAt }
  })
}

function eventTarget(name: string, collection: CollectionName, events: EventCollection): ErasureTarget {
  return {
    name,
    collections: [collection],
    scope: (work) => events.countDocuments(eventsOf(work), hint),
    async erase(work) {
      if (work.subjects.length === 0) return 0
      const subject = { $in: [...work.subjects] }
      const bounds = await partsInTime(events, work)
      const done = await Promise.all(
        bounds.map((part) =>
          events.updateMany(
            { $and: [holding(work), part] },
            {
              $unset: {
                'fields.$[block].sealed': '',
                'fields.$[person].terms': '',
                fingerprint: '',
              },
            },
            {
              arrayFilters: [
                { 'block.subject': subject, 'block.restricted': { $exists: false } },
                { 'person.subject': subject },
              ],
              ...hint,
              writeConcern: { w: 'majority', journal: true },
            },
          ),
        ),
      )
      return done.reduce((sum, { modifiedCount }) => sum + modifiedCount, 0)
    },
    verify: (work) =>
      work.subjects.length === 0 ? Promise.resolve(0) : events.countDocuments(holding(work), hint),
  }
}

export const hotEvents = (events: EventCollection): ErasureTarget =>
  eventTarget('hot_events', collectionNames.events, events)

export const restoredEvents = (db: Db): ErasureTarget =>
  eventTarget(
    'restored_events',
    collectionNames.restoredEvents,
    db.collection<StoredEvent>(collectionNames.restoredEvents),
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
