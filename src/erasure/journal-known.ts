/** Does this database know of what the journal says? Only what it has begun itself, as the journal's writers have. */
import type { Db } from 'mongodb'
import { collectionNames } from '../mongo/collections.js'
import type { JournalNote } from './journal.js'
import type { ErasureProgressDocument } from './progress.js'

export function knownTo(db: Db): (note: JournalNote) => Promise<boolean> {
  const progress = db.collection<ErasureProgressDocument>(collectionNames.erasureProgress)
  const redactions = db.collection<{ _id: string }>(collectionNames.redactions)
  return async ({ kind, organizationId, requestId }) => {
    const _id = `${organizationId}/${requestId}`
    switch (kind) {
      case 'begun':
        return (await progress.countDocuments({ _id, 'steps.fence.doneAt': { $exists: true } })) > 0
      case 'erased':
        return (await progress.countDocuments({ _id, 'steps.remove.doneAt': { $exists: true } })) > 0
      case 'redacted':
        return (await redactions.countDocuments({ _id, state: { $in: ['redacting', 'redacted'] } })) > 0
    }
  }
}
