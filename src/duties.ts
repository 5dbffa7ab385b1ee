/**
 * The duties' half of the composition root: what keeps, archives, erases, redacts, offboards and rotates, over the services
 * that take events in and read them (composition.ts).
 */
import { join } from 'node:path'
import { createErasedContent } from './archive/restores/erased-content.js'
import { createNewestContent } from './archive/newest-content.js'
import { createArchiveKeys } from './archive/segment-keys.js'
import { createSegmentsStore } from './archive/segments-store.js'
import { createSegmentWriter } from './archive/segment-writer.js'
import type { ArchiveStore } from './archive/stores/contract.js'
import { openSegments, openStore } from './archive/stores/open.js'
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
import { idForKey } from './events/intake.js'
import { createKeyHolders } from './key-rotation/holders.js'
import { createRotator, type Rotator } from './key-rotation/rotator.js'
import { electedWithin } from './mongo/elections.js'
import { createOrganizationClosing } from './organizations/store.js'
import { createOffboardingCertificates, type OffboardingCertificates } from './offboarding/certificates.js'
import type { OffboarderDependencies } from './offboarding/offboarder.js'
import { offboardAgain } from './offboarding/reapplying.js'
import { createOffboardingStore } from './offboarding/store.js'
import { withRedactions } from './redaction/redacted-content.js'
import { createRedactor, type Redactor, type RedactorDependencies } from './redaction/redactor.js'
import { createFieldRemoval } from './redaction/removal.js'
import { createRedactionStore, type RedactionStore } from './redaction/store.js'
import { createRetention, type Retention } from './retention/retention.js'
import { createFence, staleReadMs } from './subjects/fence.js'
import { systemClock } from './subjects/leases.js'
import { assembleArchivingDuties, type ArchivingDuties } from './archiving-duties.js'
import type { Foundation } from './foundation.js'

/** The services of the duties. */
export interface Duties extends ArchivingDuties {
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
  /** Policies, holds, the lifecycle counter, the clock and the runs of retention. */
  readonly retention: Retention
  /** Where the erasure ledger and its manifests lie. */
  readonly ledger: ArchiveStore
}

/** Draws the wires of the duties. Opens nothing: no server is asked here. */
export function assembleDuties(foundation: Foundation): Duties {
  const {
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
  } = foundation
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

  const certificateKeys = createCertificateKeys(signingKeys, config.logOrigin)
  const certifying = {
    prover: createCertificateProver({ ...logReading, finder }),
    keys: certificateKeys,
    store: createCertificateStore(ledger),
  }
  const offboardingCertificates = createOffboardingCertificates({ ...certifying, log: logReading.log })
  const certificates = createErasureCertificates({
    requests: erasures.store,
    deliveries: delivery.deliveries,
    ledger: erasing.ledger,
    finder,
    ...certifying,
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

  const erased = createErasedContent(subjects.subjects)
  const archiving = assembleArchivingDuties(foundation, {
    retention,
    archiveKeys,
    segmentWriter,
    segmentsStore,
    erasureLedger,
    erased: withErasedTexts(withRedactions(erased, redactions), erasing),
  })

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
    retention,
    ledger,
    ...archiving,
  }
}
