/** The duties that move events to the archive, copy them back for a while, and let them expire. */
import { createArchivedProofs } from './archive/expiry-proof.js'
import { createRestorer, type Restorer } from './archive/restores/restorer.js'
import type { ErasedContent } from './archive/restores/erased-content.js'
import { createRestoredRows, restoredCollection } from './archive/restores/rows.js'
import { createRestoreStore, type RestoreStore } from './archive/restores/store.js'
import type { createArchiveKeys } from './archive/segment-keys.js'
import type { SegmentWriter } from './archive/segment-writer.js'
import type { SegmentsStore } from './archive/segments-store.js'
import type { ErasureLedger } from './erasure/ledger.js'
import type { Foundation } from './foundation.js'
import { createArchiver, type Archiver } from './retention/archiver.js'
import { createContentExpiry } from './retention/content-expiry.js'
import { createExpirer, type Expirer } from './retention/expirer.js'
import { createExpiryPlanner, type ExpiryPlanner } from './retention/expiry-planning.js'
import { createPlanner, type Planner } from './retention/planning.js'
import { createRecordExpiry } from './retention/record-expiry.js'
import type { Retention } from './retention/retention.js'
import { createLogKeys } from './transparency-log/log-keys.js'
import { logCollections } from './transparency-log/store.js'

export interface ArchivingDuties {
  /** What plans and makes segments. */
  readonly archiving: { readonly archiver: Archiver; readonly planner: Planner }
  /** What lets segments expire. */
  readonly expiring: { readonly expirer: Expirer; readonly planner: ExpiryPlanner }
  readonly restores: { readonly store: RestoreStore; readonly restorer: Restorer }
}

/** What they share with the duties that erase. */
export interface ArchivingParts {
  readonly retention: Retention
  readonly archiveKeys: ReturnType<typeof createArchiveKeys>
  readonly segmentWriter: SegmentWriter
  readonly segmentsStore: SegmentsStore
  readonly erasureLedger: ErasureLedger
  /** What must not come back with a restore. */
  readonly erased: ErasedContent
}

export function assembleArchivingDuties(
  {
    client,
    db,
    config,
    events,
    systemEvents,
    archive,
    logStore,
    archived,
    finder,
    signingKeys,
    logReading,
  }: Foundation,
  { retention, archiveKeys, segmentWriter, segmentsStore, erasureLedger, erased }: ArchivingParts,
): ArchivingDuties {
  const archiver = createArchiver({
    client,
    events,
    log: logStore,
    entries: logCollections(db).entries,
    logKeys: createLogKeys(signingKeys, config.logOrigin),
    store: archive,
    keys: archiveKeys,
    writer: segmentWriter,
    segments: segmentsStore,
    lifecycle: retention.lifecycle,
    policies: retention.policies,
    ledger: erasureLedger,
    systemEvents,
  })

  const expiring = { store: archive, writer: segmentWriter, segments: segmentsStore }
  const expiryProofs = createArchivedProofs({ store: archive, log: logReading.log, finder })
  const expirer = createExpirer(
    { ...retention, client, segments: segmentsStore, proofs: expiryProofs, systemEvents },
    {
      content: createContentExpiry({ ...expiring, log: logStore, restored: restoredCollection(db) }),
      records: createRecordExpiry({ ...expiring, entries: logCollections(db).entries }),
    },
  )

  const store = createRestoreStore(db)
  const restorer = createRestorer({
    store,
    rows: createRestoredRows(db),
    archived,
    erased,
    lifecycle: retention.lifecycle,
    events: systemEvents,
    client,
  })

  return {
    archiving: { archiver, planner: createPlanner({ db, clock: retention.clock }) },
    expiring: { expirer, planner: createExpiryPlanner({ ...retention, db }) },
    restores: { store, restorer },
  }
}
