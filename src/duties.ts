/**
 * The duties' half of the composition root: what keeps, archives, erases, redacts, offboards and rotates, over the services
 * that take events in and read them (composition.ts).
 */
import { join } from 'node:path'
import type { Db, MongoClient } from 'mongodb'
import { createArchivedProofs } from './archive/expiry-proof.js'
import { createErasedContent } from './archive/restores/erased-content.js'
import { createRestorer, type Restorer } from './archive/restores/restorer.js'
import { createRestoredRows, restoredCollection } from './archive/restores/rows.js'
import { createRestoreStore, type RestoreStore } from './archive/restores/store.js'
import { createNewestContent } from './archive/newest-content.js'
import { createArchiveKeys } from './archive/segment-keys.js'
import type { SegmentLookup } from './archive/segment-lookup.js'
import { createSegmentsStore } from './archive/segments-store.js'
import { createSegmentWriter } from './archive/segment-writer.js'
import type { ArchiveStore } from './archive/stores/contract.js'
import { openSegments, openStore } from './archive/stores/open.js'
import type { Config } from './config.js'
import { createDelivery, type Delivery } from './delivery/delivery.js'
import { createArchivedContent } from './erasure/archived-content.js'
import { createErasures, type Erasures } from './erasure/erasures.js'
import { createCertificateKeys, type CertificateKeys } from './certificates/keys.js'
import { createCertificateProver } from './certificates/proofs.js'
import { createCertificateStore } from './certificates/store.js'
import { createCompleting, type Completing } from './erasure/completing.js'
import { createErasureCertificates, type ErasureCertificates } from './erasure/issuing.js'
import { oplogsOf } from './erasure/oplog.js'
import { withErasedTexts } from './erasure/erased-texts.js'
import { createErasing, type Erasing, type ErasingDependencies } from './erasure/erasing.js'
import { createErasureLedger } from './erasure/ledger.js'
import { createReaderStores } from './erasure/reader-access.js'
import { createLogFiles } from './erasure/log-files.js'
import { createBackupGuard, type BackupGuard } from './erasure/backup-guard.js'
import { createReleasing, type Releasing } from './erasure/releasing.js'
import { createRevisedNote } from './erasure/revising.js'
import { createErasureJournal, type ErasureJournal } from './erasure/journal.js'
import { knownTo } from './erasure/journal-known.js'
import { reapplyErasures, type Reapplied, type ReapplyingDependencies } from './erasure/reapplying.js'
import { archivedEventSource } from './erasure/sources/archived-events.js'
import { hotEventSource } from './erasure/sources/hot-events.js'
import { createSealedProofs } from './erasure/sealed-proof.js'
import { createTargets } from './erasure/targets/registry.js'
import type { SystemEventWriter } from './events/contract.js'
import { idForKey } from './events/intake.js'
import type { EventOrganizations } from './events/organizations.js'
import type { EventFinder } from './events/finding.js'
import type { EventCollection } from './events/store.js'
import type { Keyring } from './keys/keyring.js'
import type { SigningKeys } from './keys/signing-keys.js'
import { createKeyHolders } from './key-rotation/holders.js'
import { createRotator, type Rotator } from './key-rotation/rotator.js'
import type { Logger } from './logging.js'
import { electedWithin } from './mongo/elections.js'
import type { OrganizationService } from './organizations/service.js'
import type { organizationCollection } from './organizations/store.js'
import { createOrganizationClosing } from './organizations/store.js'
import { createOffboardingCertificates, type OffboardingCertificates } from './offboarding/certificates.js'
import type { OffboarderDependencies } from './offboarding/offboarder.js'
import { offboardAgain } from './offboarding/reapplying.js'
import { createOffboardingStore } from './offboarding/store.js'
import { withRedactions } from './redaction/redacted-content.js'
import { createRedactor, type Redactor, type RedactorDependencies } from './redaction/redactor.js'
import { createFieldRemoval } from './redaction/removal.js'
import { createRedactionStore, type RedactionStore } from './redaction/store.js'
import { createArchiver, type Archiver } from './retention/archiver.js'
import { createContentExpiry } from './retention/content-expiry.js'
import { createExpirer, type Expirer } from './retention/expirer.js'
import { createRecordExpiry } from './retention/record-expiry.js'
import { createExpiryPlanner, type ExpiryPlanner } from './retention/expiry-planning.js'
import { createPlanner, type Planner } from './retention/planning.js'
import { createRetention, type Retention } from './retention/retention.js'
import { createFence, staleReadMs } from './subjects/fence.js'
import { systemClock } from './subjects/leases.js'
import type { createStoredCopies } from './transparency-log/checkpoint-copies/stored-copies.js'
import { createLogKeys } from './transparency-log/log-keys.js'
import type { LogReading } from './transparency-log/log-reading.js'
import type { Sealing } from './transparency-log/sealing.js'
import { logCollections, type LogStore } from './transparency-log/store.js'
import type { SubjectStore } from './subjects/store.js'
import type { ArchiveReader } from './archive/archive-reader.js'
import type { SubjectDirectory } from './subjects/directory.js'
import type { SubjectReader } from './subjects/readers.js'

/** The services of the duties. */
export interface Duties {
  /** Of certificates: what signs them, and what checks them. */
  readonly certificateKeys: CertificateKeys
  readonly erasures: Erasures
  /** The steps that erase, and what they work with. */
  readonly erasing: {
    readonly steps: Erasing
    readonly completing: Completing
    readonly certificates: ErasureCertificates
    /** What erases that which holds had kept. */
    readonly releasing: Releasing
    readonly deps: ErasingDependencies
  }
  /** Removal of single fields, on the word of two. */
  readonly redactions: {
    readonly store: RedactionStore
    readonly redactor: Redactor
    readonly deps: RedactorDependencies
  }
  /** Outgoing webhooks. */
  readonly delivery: Delivery
  /** What was erased in the whole deployment, and what refuses to serve a database that is older. */
  readonly backups: {
    readonly journal: ErasureJournal
    readonly guard: BackupGuard
    /** What applies the erasures that the database has not come to. */
    readonly reapplying: ReapplyingDependencies
    /** @throws LedgerError; KeyError; RolledBackError */
    readonly reapply: (beat: () => void) => Promise<Reapplied>
  }
  /** What rotates the period key. */
  readonly rotator: Rotator
  /** What takes an organization out, but for Temporal, which a worker has. */
  readonly offboarding: Omit<OffboarderDependencies, 'executions' | 'certificates'> & {
    readonly certificates: OffboardingCertificates
  }
  readonly restores: { readonly store: RestoreStore; readonly restorer: Restorer }
  /** Policies, holds, the lifecycle counter, the clock and the runs of retention. */
  readonly retention: Retention
  /** What plans and makes segments. */
  readonly archiving: { readonly archiver: Archiver; readonly planner: Planner }
  /** What lets segments expire. */
  readonly expiring: { readonly expirer: Expirer; readonly planner: ExpiryPlanner }
  /** Where the erasure ledger and its manifests lie. */
  readonly ledger: ArchiveStore
}

/** What the duties stand on. */
export interface Foundation {
  readonly client: MongoClient
  readonly db: Db
  readonly keyring: Keyring
  readonly logger: Logger
  readonly config: Config
  readonly events: EventCollection
  readonly organizationDocuments: ReturnType<typeof organizationCollection>
  readonly subjects: SubjectStore
  readonly directory: SubjectDirectory
  readonly systemEvents: SystemEventWriter
  readonly organizations: OrganizationService
  readonly eventOrganizations: EventOrganizations
  readonly subjectReader: SubjectReader
  readonly archive: ArchiveStore
  readonly segments: SegmentLookup
  readonly logStore: LogStore
  readonly archived: ArchiveReader
  readonly finder: EventFinder
  readonly signingKeys: SigningKeys
  readonly copies: ReturnType<typeof createStoredCopies>
  readonly sealing: Sealing
  readonly logReading: LogReading
  /** The database by the second reader's own credentials, where it has some. */
  readonly readerDb: Db | undefined
}

/** Draws the wires of the duties. Opens nothing: no server is asked here. */
export function assembleDuties({
  client,
  db,
  keyring,
  logger,
  config,
  events,
  organizationDocuments,
  subjects,
  directory,
  systemEvents,
  organizations,
  eventOrganizations,
  subjectReader,
  archive,
  segments,
  logStore,
  archived,
  finder,
  signingKeys,
  copies,
  sealing,
  logReading,
  readerDb,
}: Foundation): Duties {
  const retention = createRetention({
    client,
    db,
    subjects,
    directory,
    log: logStore,
    systemEvents,
    keysetOf: async (id) => (await eventOrganizations.require(id)).keyset,
    idForKey,
  })

  const erasures = createErasures({
    client,
    db,
    systemEvents,
    organizations,
    eventOrganizations,
    retentionPolicies: retention.policies,
    periods: keyring.periods,
  })
  const delivery = createDelivery({
    db,
    root: keyring.root,
    requests: erasures.requests,
    webhooks: config.webhooks,
  })
  const ledger = openStore(config.ledger)
  const journal = createErasureJournal({ db, store: ledger, knows: knownTo(db) })
  const archiveKeys = createArchiveKeys(signingKeys, config.logOrigin)
  const segmentWriter = createSegmentWriter({
    store: archive,
    keys: archiveKeys,
    spoolFolder: join(config.dataDirectory, 'spool'),
  })
  const segmentsStore = createSegmentsStore(db)
  const archivedContent = createArchivedContent({
    client,
    db,
    store: archive,
    segments: segmentsStore,
    writer: segmentWriter,
    lifecycle: retention.lifecycle,
  })
  const erasureLedger = createErasureLedger(ledger)
  const proofs = createSealedProofs({ store: ledger, log: logReading.log, finder })
  const erasing: ErasingDependencies = {
    proofs,
    client,
    db,
    requests: erasures.requests,
    progress: erasures.progress,
    fence: createFence(subjects, keyring.periods, systemClock, () => electedWithin(db, 2 * staleReadMs)),
    directory,
    subjects: subjectReader,
    periods: keyring.periods,
    holds: retention.holds,
    lifecycle: retention.lifecycle,
    sealer: sealing.sealer,
    log: logStore,
    systemEvents,
    ledger: erasureLedger,
    journal,
    logsElsewhere: config.logsElsewhere,
    reader: readerDb === undefined ? undefined : createReaderStores(readerDb),
    sources: [hotEventSource(events), archivedEventSource({ store: archive, segments, log: logStore })],
    archived: archivedContent,
    archive:
      config.archiveReaderProfile === undefined
        ? archive
        : openSegments(config.archive, { profile: config.archiveReaderProfile }),
    targets: createTargets(
      db,
      { archived: archivedContent, log: logStore, ledger: erasureLedger },
      createLogFiles({ folder: join(config.dataDirectory, 'logs'), paths: config.logPaths }),
      keyring.periods,
    ),
    keysetOf: async (id) => (await eventOrganizations.require(id)).keyset,
  }

  const rotator = createRotator({
    ...keyring.rotating,
    periods: keyring.periods,
    holders: createKeyHolders({ db, periods: keyring.periods, keysetOf: erasing.keysetOf }),
    waitOutLeases: (beat) => erasing.fence.waitOutLeases(beat),
    systemEvents,
  })

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
    ledger: erasing.ledger,
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

  const certificateKeys = createCertificateKeys(signingKeys, config.logOrigin)
  const offboardingCertificates = createOffboardingCertificates({
    prover: createCertificateProver({ ...logReading, finder }),
    keys: certificateKeys,
    store: createCertificateStore(ledger),
    log: logReading.log,
  })
  const certificates = createErasureCertificates({
    requests: erasures.store,
    deliveries: delivery.deliveries,
    ledger: erasing.ledger,
    finder,
    prover: createCertificateProver({ ...logReading, finder }),
    keys: certificateKeys,
    store: createCertificateStore(ledger),
  })

  const completing = createCompleting({
    ...erasing,
    certificates,
    noteRevised: createRevisedNote({ client, store: erasures.store, events: systemEvents }),
    oplogs: () => oplogsOf(client),
    backupDays: config.backupDays,
  })

  const redactions = createRedactionStore(db)
  const removal = createFieldRemoval({
    client,
    db,
    lifecycle: retention.lifecycle,
    log: logStore,
    segments,
    segmentsStore,
    writer: segmentWriter,
    archived,
    store: archive,
  })
  const reapplying: ReapplyingDependencies = {
    ...erasing,
    journal,
    events,
    removal,
    waitOutLeases: (beat) => erasing.fence.waitOutLeases(beat),
    pointToNewest: createNewestContent({
      client,
      db,
      store: archive,
      keys: archiveKeys,
      segments: segmentsStore,
      advance: (id, session) => retention.lifecycle.advance(id, session),
    }),
    isThere: async (id) =>
      (await organizationDocuments.countDocuments({ _id: id, key: { $exists: true } })) > 0,
    offboardAgain: (entry, lives) => offboardAgain(db, config.region.name, entry, lives),
  }

  const redacting: RedactorDependencies = {
    client,
    store: redactions,
    finder,
    log: logStore,
    sealer: sealing.sealer,
    ledger: erasing.ledger,
    proofs,
    journal,
    holds: retention.holds,
    lifecycle: retention.lifecycle,
    systemEvents,
    removal,
  }

  const restoreStore = createRestoreStore(db)

  return {
    erasures,
    delivery,
    erasing: {
      steps: createErasing(erasing),
      completing,
      releasing: createReleasing({ ...erasing, requests: erasures.store, finder, completing }),
      deps: erasing,
      certificates,
    },
    certificateKeys,
    offboarding: {
      client,
      db,
      store: createOffboardingStore(db),
      holds: retention.holds,
      lifecycle: retention.lifecycle,
      organizations: createOrganizationClosing(organizationDocuments, (id) => organizations.forget(id)),
      systemEvents,
      sealer: sealing.sealer,
      log: logStore,
      archive,
      ledger,
      copies,
      certificates: offboardingCertificates,
      periodIsDeleted: (period) => keyring.periods.isDeleted(period),
      journal,
    },
    redactions: { store: redactions, redactor: createRedactor(redacting), deps: redacting },
    backups: {
      journal,
      guard: createBackupGuard(journal, logger),
      reapplying,
      reapply: (beat) => reapplyErasures(reapplying, beat),
    },
    rotator,
    restores: {
      store: restoreStore,
      restorer: createRestorer({
        store: restoreStore,
        rows: createRestoredRows(db),
        archived,
        erased: withErasedTexts(withRedactions(createErasedContent(subjects.subjects), redactions), erasing),
        lifecycle: retention.lifecycle,
        events: systemEvents,
        client,
      }),
    },
    retention,
    archiving: { archiver, planner: createPlanner({ db, clock: retention.clock }) },
    expiring: { expirer, planner: createExpiryPlanner({ ...retention, db }) },
    ledger,
  }
}
