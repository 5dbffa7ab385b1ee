/**
 * Every target, and every collection that is none with the reason why. An architecture test fails when a collection is in
 * neither: whoever adds a place for data decides here how a person goes from it.
 */
import type { Db } from 'mongodb'
import { eventCollection } from '../../events/store.js'
import type { CollectionName } from '../../mongo/collections.js'
import type { PeriodKeys } from '../../keys/period-keys.js'
import { subjectStore } from '../../subjects/store.js'
import { archiveContent, type ArchiveTargetDependencies } from './archive.js'
import type { ErasureTarget } from './contract.js'
import { directoryTarget } from './directory.js'
import { hotEvents, pendingEvents, restoredEvents } from './events.js'
import type { LogFiles } from '../log-files.js'
import { logFilesTarget } from './log-files.js'
import { openRequests } from './open-requests.js'
import { reasonsTarget } from './reasons.js'
import { scansTarget } from './scans.js'
import { setAsideEvents } from './set-aside.js'

/** In the order in which they are erased: the archive, which may not be there, comes last. */
export function createTargets(
  db: Db,
  archive: ArchiveTargetDependencies,
  logs: LogFiles,
  periods: PeriodKeys,
): readonly ErasureTarget[] {
  const events = eventCollection(db)
  return [
    pendingEvents(events),
    setAsideEvents(events),
    hotEvents(events),
    restoredEvents(db),
    directoryTarget(subjectStore(db)),
    scansTarget(db),
    reasonsTarget(db),
    openRequests(db, periods),
    logFilesTarget(logs),
    archiveContent(archive),
  ]
}

/** Collections that hold no person's data, or hold it so that it goes by itself. The second reader looks at them too. */
export const exemptCollections: Readonly<Partial<Record<CollectionName, string>>> = {
  accessKeys: 'keys of principals, with names that their owner chose; hashes of secrets',
  actionSchemas: 'JSON Schemas of actions: the vendor’s own, and no event',
  anchorHeads: 'hashes',
  anchorLogs: 'hashes',
  anchorTiles: 'hashes',
  anchorWitnesses: 'keys and addresses of witnesses',
  archiveClaims: 'ranges of leaves that a run has taken',
  deployment: 'the id of the root key',
  erasureProgress: 'references and counts; identifiers under a key that goes when the request ends',
  erasureTexts: 'event ids, slots and commitments; rows go when the request ends',
  lifecycles: 'counters',
  logEntries: 'records: nothing free-form',
  logHeads: 'hashes and signatures',
  logTiles: 'hashes and event ids',
  organizations: 'settings and a wrapped key',
  retentionPolicies: 'numbers of days',
  retentionRuns: 'ranges and counts',
  signingKeys: 'wrapped keys',
  webhookDeliveries: 'positions, counts, moments and codes; names and addresses stay in the request, sealed',
  webhookSecrets: 'wrapped keys',
}
