/**
 * Rows that were set aside (transparency-log/examine.ts): nobody was ever answered with one, no leaf stands for one, and no
 * search shows one. They are found by what stands in them, and one that is about the person, or names them, goes whole.
 */
import type { Filter } from 'mongodb'
import { eventIndexes, type EventCollection, type StoredEvent } from '../../events/store.js'
import { collectionNames } from '../../mongo/collections.js'
import type { ErasureTarget, ErasureWork } from './contract.js'

const beatEvery = 500
const deletedAtOnce = 500
const options = { hint: eventIndexes.setAside }

export function setAsideEvents(events: EventCollection): ErasureTarget {
  const rows = ({ organizationId }: ErasureWork): Filter<StoredEvent> => ({
    organizationId,
    setAside: { $exists: true },
  })

  /** Ids of the rows that concern the person. Whoever put one there chose its form: all of it is looked at, as text. */
  async function* concerning(work: ErasureWork): AsyncGenerator<string> {
    let seen = 0
    for await (const row of events.find(rows(work), options)) {
      if (seen++ % beatEvery === 0) work.beat()
      const text = JSON.stringify(row)
      const isTheirs = work.subjects.some((subject) => text.includes(subject))
      if (isTheirs || work.matcher.find(text).length > 0) yield row._id
    }
  }

  async function count(work: ErasureWork): Promise<number> {
    const ids: string[] = []
    for await (const id of concerning(work)) ids.push(id)
    return ids.length
  }

  return {
    name: 'set_aside_events',
    collections: [collectionNames.events],
    scope: count,
    async erase(work) {
      const ids: string[] = []
      let deleted = 0
      const flush = async () => {
        if (ids.length === 0) return
        const named = { ...rows(work), _id: { $in: ids.splice(0) } }
        deleted += (await events.deleteMany(named)).deletedCount
      }
      for await (const id of concerning(work)) {
        ids.push(id)
        if (ids.length >= deletedAtOnce) await flush()
      }
      await flush()
      return deleted
    },
    verify: count,
  }
}
