/** Does this database know of what the journal says? Only what it has begun itself, as the journal's writers have. */
import type { Db } from 'mongodb'
import { collectionNames } from '../mongo/collections.js'
import type { JournalNote } from './journal.js'
import type { ErasureProgressDocument } from './progress.js'

export function knownTo(db: Db): (note: JournalNote) => Promise<boolean> {
  const progress = db.collection<ErasureProgressDocument>(collectionNames.erasureProgress)
  const redactions = db.collection<{ _id: string }>(collectionNames.redactions)
  const offboardings = db.collection<{ _id: string }>(collectionNames.offboardings)
  /** What goes whole, goes with everything that was to go of it. */
  const goes = async (offboarding: object) =>
    (await offboardings.countDocuments({
      ...offboarding,
      'steps.destroy_keys.intendedAt': { $exists: true },
    })) > 0
  return async ({ kind, organizationId, requestId, manifests }) => {
    if (kind === 'offboarded') return goes({ _id: requestId, organizationId })
    if (await goes({ organizationId })) return true
    const _id = `${organizationId}/${requestId}`
    switch (kind) {
      case 'begun':
        return (await progress.countDocuments({ _id, 'steps.fence.doneAt': { $exists: true } })) > 0
      case 'erased':
        return (await progress.countDocuments({ _id, 'steps.remove.doneAt': { $exists: true } })) > 0
      case 'released':
        return (await progress.countDocuments({ _id, 'releases.manifest': manifests.released ?? '' })) > 0
      case 'redacted':
        return (await redactions.countDocuments({ _id, state: { $in: ['redacting', 'redacted'] } })) > 0
    }
  }
}
