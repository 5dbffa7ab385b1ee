/**
 * Why officers placed a hold, restored, redacted or offboarded, in words of their own: they stand in clear beside what was
 * done. One that names the person goes whole; who did it, when and to what stays.
 */
import type { Collection, Db } from 'mongodb'
import { collectionNames } from '../../mongo/collections.js'
import type { ErasureTarget, ErasureWork } from './contract.js'

interface Reasoned {
  readonly _id: string
  readonly organizationId: string
  readonly reason: string
  readonly bodyFingerprint?: Buffer | null
}

const places = ['holds', 'restores', 'redactions', 'offboardings'] as const
const pageSize = 500
/** What stands there afterwards. */
const erased = 'erased'

export function reasonsTarget(db: Db): ErasureTarget {
  const collections = places.map((name) => db.collection<Reasoned>(collectionNames[name]))

  /** Whenever it was written: an officer who writes of the person now writes of whom the request is about. */
  async function* naming(
    work: ErasureWork,
  ): AsyncGenerator<{ readonly _id: string; readonly from: Collection<Reasoned> }> {
    const { organizationId, matcher, beat } = work
    for (const from of collections) {
      let seen = 0
      const options = { projection: { reason: 1 }, batchSize: pageSize }
      for await (const { _id, reason } of from.find({ organizationId }, options)) {
        if (seen++ % pageSize === 0) beat()
        if (matcher.find(JSON.stringify(reason)).length > 0) yield { _id, from }
      }
    }
  }

  async function count(work: ErasureWork): Promise<number> {
    let items = 0
    const ones = naming(work)
    while ((await ones.next()).done !== true) items += 1
    return items
  }

  return {
    name: 'reasons',
    collections: places.map((name) => collectionNames[name]),
    scope: count,
    async erase(work) {
      let changed = 0
      for await (const { _id, from } of naming(work)) {
        // A repeat of the request is no longer compared: the fingerprint would outlive what it was made of.
        await from.updateOne({ _id }, [
          {
            $set: {
              reason: erased,
              bodyFingerprint: {
                $cond: [{ $eq: [{ $type: '$bodyFingerprint' }, 'missing'] }, '$$REMOVE', null],
              },
            },
          },
        ])
        changed += 1
      }
      return changed
    },
    verify: count,
  }
}
