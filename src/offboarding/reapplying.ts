/**
 * An organization that an old backup of the database has brought back goes again, as the journal says: its key first, then
 * every row. Archive, ledger and Temporal are not restored with a database, and have nothing of it. Safe to repeat.
 */
import type { Db } from 'mongodb'
import type { JournalEntry } from '../erasure/journal.js'
import { collectionNames } from '../mongo/collections.js'
import { organizationCollection, tombstoneOf } from '../organizations/store.js'
import { removeRows } from './collections.js'
import type { OffboardingDocument } from './store.js'

const majority = { writeConcern: { w: 'majority' as const, journal: true } }

export async function offboardAgain(
  db: Db,
  region: string,
  { organizationId, requestId, submitter, approver, at }: JournalEntry,
  beat: () => void,
): Promise<void> {
  const moment = new Date(at)
  const done = { intendedAt: moment, doneAt: moment }
  const document: Omit<OffboardingDocument, '_id'> = {
    organizationId,
    offboardingId: requestId,
    state: 'completed',
    standing: true,
    reason: 'applied again from the journal, after a backup was restored',
    submitter,
    requestedAt: moment,
    approver,
    approvedAt: moment,
    coolingOffHours: 0,
    coolingOffEndsAt: moment,
    closedAt: moment,
    steps: { destroy_keys: done, remove_rows: done },
    operator: null,
    final: null,
    removed: null,
    keyPeriods: [],
    locked: 0,
    eventId: null,
    endedAt: moment,
    withdrawnBy: null,
    creation: null,
  }
  const organizations = organizationCollection(db)
  const there = await organizations.findOne({ _id: organizationId })
  await organizations.replaceOne(
    { _id: organizationId },
    tombstoneOf(there ?? { region, createdAt: moment, version: 1 }, { offboardingId: requestId, at: moment }),
    { upsert: true, ...majority },
  )
  await removeRows(db, organizationId, beat)
  const offboardings = db.collection<OffboardingDocument>(collectionNames.offboardings)
  // One that stood there before the backup was taken gives way: of an organization there is one.
  await offboardings.deleteMany({ organizationId, _id: { $ne: requestId } })
  await offboardings.replaceOne({ _id: requestId }, document, { upsert: true, ...majority })
}
