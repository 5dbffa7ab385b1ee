/**
 * What an erasure keeps, kept again in a database that was restored from before it (reapplying.ts): the key of the request
 * is lost with the newer database, so there is a new one, and the blocks that the subject manifest names go under it.
 */
import type { Collection, Db, MongoClient } from 'mongodb'
import { personSealPurpose } from '../events/protect.js'
import { eventDocumentId, eventIdOf, type EventCollection, type StoredEvent } from '../events/store.js'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import type { PeriodKeys } from '../keys/period-keys.js'
import { KeyError, openSeal, seal } from '../keys/wrapping.js'
import { collectionNames } from '../mongo/collections.js'
import { inTransaction } from '../mongo/transaction.js'
import { subjectDocumentId, subjectStore } from '../subjects/store.js'
import { openSubjectKey } from '../subjects/subject-keys.js'
import type { ErasureReference } from './contract.js'
import { restrictedPurpose } from './keeping.js'
import { slotsOf, type NamedSlot } from './named-manifests.js'
import type { ErasureProgress, ErasureProgressDocument } from './progress.js'
import { createRequestKey, openRequestKey, restrictedName } from './sealed.js'

export interface KeepingAgainDependencies {
  readonly client: MongoClient
  readonly db: Db
  readonly events: EventCollection
  readonly progress: ErasureProgress
  readonly periods: PeriodKeys
}

const eventsAtOnce = 500

/** The intent, as the erasing of before left it; one that this database has begun itself stands. */
export async function noteBegun(
  { client, progress, periods }: KeepingAgainDependencies,
  { organizationId, requestId }: ErasureReference,
  keyset: OrganizationKeyset,
  subjects: readonly string[],
): Promise<void> {
  const request = { organizationId, requestId }
  if ((await progress.find(request)) !== null) return
  await periods.refresh()
  const { period } = periods.current
  const restrictedKey = createRequestKey(keyset, periods, restrictedName(request)).wrapped
  await inTransaction(client, async (session) => {
    await periods.pin(period, session)
    const periodsOfKeys = { keyPeriods: [period], restrictedPeriods: [period] }
    await progress.begin(request, { subjects, restrictedKey, ...periodsOfKeys }, session)
  })
}

/** What was exempt or held stays readable for what it is kept for: under the request's key, as before. */
export async function keepRestricted(
  { db, events, periods }: KeepingAgainDependencies,
  { organizationId, requestId, restrictedKey }: ErasureProgressDocument,
  keyset: OrganizationKeyset,
  restricted: readonly NamedSlot[],
  beat: () => void,
): Promise<void> {
  if (restricted.length === 0) return
  if (restrictedKey === undefined)
    throw new KeyError('malformed_key', 'a request has no key for what it keeps')
  await periods.ensure([restrictedKey.period])
  const key = openRequestKey(keyset, periods, restrictedName({ organizationId, requestId }), restrictedKey)
  const slots = slotsOf(restricted)
  const ids = [...slots.keys()]
  const restored: Collection<StoredEvent> = db.collection(collectionNames.restoredEvents)
  for (const collection of [events, restored]) {
    for (let at = 0; at < ids.length; at += eventsAtOnce) {
      beat()
      const some = ids.slice(at, at + eventsAtOnce)
      const found = await collection
        .find({ _id: { $in: some.map((id) => eventDocumentId(organizationId, id)) } })
        .toArray()
      for (const event of found) await keepIn(collection, event)
    }
  }

  async function keepIn(collection: Collection<StoredEvent>, event: StoredEvent): Promise<void> {
    const eventId = eventIdOf(event._id)
    for (const [index, field] of event.fields.entries()) {
      if (!('subject' in field) || field.sealed === undefined || field.restricted !== undefined) continue
      const { slot, subject, sealed } = field
      if (slots.get(eventId)?.has(slot) !== true) continue
      const document = await subjectStore(db).subjects.findOne({
        _id: subjectDocumentId(organizationId, subject),
        key: { $exists: true },
      })
      if (document?.key === undefined) continue
      await periods.ensure([document.key.period])
      const open = openSubjectKey(keyset, periods, subject, document)
      const plaintext = openSeal(open, sealed, personSealPurpose(organizationId, eventId, slot))
      const kept = seal(key, plaintext, restrictedPurpose(organizationId, eventId, slot))
      const at = `fields.${String(index)}`
      await collection.updateOne(
        { _id: event._id, [`${at}.slot`]: slot, [`${at}.restricted`]: { $exists: false } },
        {
          $set: { [`${at}.sealed`]: kept, [`${at}.restricted`]: requestId },
          $unset: { [`${at}.terms`]: '' },
        },
      )
    }
  }
}
