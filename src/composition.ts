/**
 * The composition root: from a `Config` to the services of one process. Every wire between domains is drawn
 * here and nowhere else; the API, the workers, `annals setup`, the CLI and the tests all start from it.
 */
import { join } from 'node:path'
import type { Db, MongoClient } from 'mongodb'
import { createAuthenticator, type AccessKeyAuthenticator } from './access/authenticator.js'
import { createLastUse, type LastUse } from './access/last-use.js'
import { createRateLimits, type RateLimits } from './access/rate-limits.js'
import { createAccessKeyService, type AccessKeyService } from './access/service.js'
import { accessKeyCollection } from './access/store.js'
import { createActionSchemaService, type ActionSchemaService } from './action-schemas/service.js'
import { actionSchemaCollection } from './action-schemas/store.js'
import { createArchivedProofs } from './archive/expiry-proof.js'
import { createArchiveReader } from './archive/archive-reader.js'
import { withArchivedRecords } from './archive/archived-records.js'
import { createErasedContent } from './archive/restores/erased-content.js'
import { createRestorer, type Restorer } from './archive/restores/restorer.js'
import { createRestoredRows, restoredCollection } from './archive/restores/rows.js'
import { createRestoreStore, type RestoreStore } from './archive/restores/store.js'
import { createNewestContent } from './archive/newest-content.js'
import { createArchiveKeys } from './archive/segment-keys.js'
import { createSegmentLookup, type SegmentLookup } from './archive/segment-lookup.js'
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
import { createBackupGuard, type BackupGuard } from './erasure/backup-guard.js'
import { createErasureJournal, type ErasureJournal } from './erasure/journal.js'
import { knownTo } from './erasure/journal-known.js'
import { reapplyErasures, type Reapplied, type ReapplyingDependencies } from './erasure/reapplying.js'
import { createErasureProgress } from './erasure/progress.js'
import { archivedEventSource } from './erasure/sources/archived-events.js'
import { hotEventSource } from './erasure/sources/hot-events.js'
import { createTargets } from './erasure/targets/registry.js'
import type { SealedEvents, SystemEventWriter } from './events/contract.js'
import { GroupCommitter } from './events/group-commit.js'
import { createIntake, idForKey, type Intake } from './events/intake.js'
import {
  createEventOrganizations,
  organizationInTransaction,
  type EventOrganizations,
} from './events/organizations.js'
import { createEventFinder, type EventFinder } from './events/finding.js'
import { createEventReader, type EventReader } from './events/reading.js'
import { eventCollection, type EventCollection } from './events/store.js'
import { createSystemEventWriter } from './events/system-events.js'
import { createCursorCodec, type CursorCodec } from './http/cursor.js'
import { ensureKeyring, openKeyring, type Keyring } from './keys/keyring.js'
import { createSigningKeys, type SigningKeys } from './keys/signing-keys.js'
import { createKeyHolders } from './key-rotation/holders.js'
import { createRotator, type Rotator } from './key-rotation/rotator.js'
import type { Logger } from './logging.js'
import { connectMongo } from './mongo/client.js'
import { electedWithin } from './mongo/elections.js'
import { createOrganizationService, type OrganizationService } from './organizations/service.js'
import { createOrganizationClosing, organizationCollection } from './organizations/store.js'
import type { OffboarderDependencies } from './offboarding/offboarder.js'
import { offboardAgain } from './offboarding/reapplying.js'
import { createOffboardingStore } from './offboarding/store.js'
import { withRedactions } from './redaction/redacted-content.js'
import { createRedactor, type Redactor, type RedactorDependencies } from './redaction/redactor.js'
import { createFieldRemoval } from './redaction/removal.js'
import { createRedactionStore, type RedactionStore } from './redaction/store.js'
import { createArchiver, type Archiver } from './retention/archiver.js'
import { createExpirer, type Expirer } from './retention/expirer.js'
import { createExpiryPlanner, type ExpiryPlanner } from './retention/expiry-planning.js'
import { createPlanner, type Planner } from './retention/planning.js'
import { createRetention, type Retention } from './retention/retention.js'
import { createSubjectDirectory } from './subjects/directory.js'
import { createFence, staleReadMs } from './subjects/fence.js'
import { systemClock } from './subjects/leases.js'
import { createSubjectReader } from './subjects/readers.js'
import { subjectStore } from './subjects/store.js'
import { createStoredCopies } from './transparency-log/checkpoint-copies/stored-copies.js'
import { importSigningPair } from './transparency-log/node-crypto.js'
import { createLogKeys } from './transparency-log/log-keys.js'
import { createLogReading, type LogReading } from './transparency-log/log-reading.js'
import { createSealedEvents } from './transparency-log/sealed-events.js'
import { createSealing, type Sealing } from './transparency-log/sealing.js'
import { createLogStore, logCollections } from './transparency-log/store.js'

/** An address that must be known and is not. */
export class AddressMissingError extends Error {
  override readonly name = 'AddressMissingError'
}

/** What every process of a deployment has: the database, the keys, and the services over them. */
export interface Core {
  readonly client: MongoClient
  readonly db: Db
  readonly keyring: Keyring
  readonly events: EventCollection
  readonly committer: GroupCommitter
  readonly intake: Intake
  readonly reader: EventReader
  readonly systemEvents: SystemEventWriter
  readonly eventOrganizations: EventOrganizations
  readonly organizations: OrganizationService
  readonly actionSchemas: ActionSchemaService
  readonly accessKeys: AccessKeyService
  readonly authenticator: AccessKeyAuthenticator
  readonly rateLimits: RateLimits
  readonly cursors: CursorCodec
  readonly signingKeys: SigningKeys
  /** Of certificates: what signs them, and what checks them. */
  readonly certificateKeys: CertificateKeys
  readonly sealedEvents: SealedEvents
  /** The transparency logs: their store, and what seals events into them. */
  readonly sealing: Sealing
  readonly logReading: LogReading
  readonly erasures: Erasures
  /** The steps that erase, and what they work with. */
  readonly erasing: {
    readonly steps: Erasing
    readonly completing: Completing
    readonly certificates: ErasureCertificates
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
  readonly offboarding: Omit<OffboarderDependencies, 'executions'>
  /** Events by id, hot or archived. */
  readonly finder: EventFinder
  readonly segments: SegmentLookup
  readonly restores: { readonly store: RestoreStore; readonly restorer: Restorer }
  /** Policies, holds, the lifecycle counter, the clock and the runs of retention. */
  readonly retention: Retention
  /** What plans and makes segments. */
  readonly archiving: { readonly archiver: Archiver; readonly planner: Planner }
  /** What lets segments expire. */
  readonly expiring: { readonly expirer: Expirer; readonly planner: ExpiryPlanner }
  /** Where segments lie. */
  readonly archive: ArchiveStore
  /** Where the erasure ledger and its manifests lie. */
  readonly ledger: ArchiveStore
  /** Drains the group commit, writes what waits, and closes the database. */
  close(): Promise<void>
}

export interface CoreOptions {
  /** Make the keys of a new deployment; without it, a database without keys is refused. */
  readonly createKeys?: boolean
}

/**
 * Opens the services of one process.
 * @throws AddressMissingError, MongoServerSelectionError, KeyError
 */
export async function openCore(config: Config, logger: Logger, options: CoreOptions = {}): Promise<Core> {
  const { uri, database } = config.mongodb
  if (uri === undefined) {
    throw new AddressMissingError(
      'ANNALS_MONGODB_URI is not set: start `annals up`, or give the address of a MongoDB replica set',
    )
  }
  const mongo = await connectMongo(uri, database)
  const { client, db } = mongo
  try {
    const keyring = await (options.createKeys === true ? ensureKeyring : openKeyring)(db, config.keys)
    return assemble(config, logger, client, db, keyring)
  } catch (error) {
    await mongo.close()
    throw error
  }
}

function assemble(config: Config, logger: Logger, client: MongoClient, db: Db, keyring: Keyring): Core {
  const events = eventCollection(db)
  const organizationDocuments = organizationCollection(db)
  const subjects = subjectStore(db)
  const directory = createSubjectDirectory(subjects, keyring.periods, systemClock)
  const committer = new GroupCommitter(events, undefined, (error) =>
    logger.warn('events.commit_failed', { error }),
  )
  const sealedEvents = createSealedEvents(createLogStore(logCollections(db)))
  const intake = createIntake({
    events,
    committer,
    directory,
    sealed: sealedEvents,
    rules: { of: (action, version) => actionSchemas.of(action, version) },
  })

  // Organizations write events and events need organizations: the writer looks its organization up when it writes.
  const systemEvents: SystemEventWriter = createSystemEventWriter({
    intake,
    events,
    sealed: sealedEvents,
    organization: (id, session) =>
      session === undefined
        ? eventOrganizations.require(id)
        : organizationInTransaction(organizationDocuments, keyring.organizations, id, session),
  })
  const organizations = createOrganizationService({
    client,
    organizations: organizationDocuments,
    createOrganizationKey: (id) => keyring.organizations.createOrganizationKey(id),
    systemEvents,
    region: config.region,
    autoProvision: config.autoProvision,
  })
  const eventOrganizations = createEventOrganizations(organizations, keyring.organizations)
  const actionSchemas = createActionSchemaService({
    client,
    schemas: actionSchemaCollection(db),
    systemEvents,
  })
  const subjectReader = createSubjectReader(subjects, keyring.periods, systemClock)
  const archive = openSegments(config.archive)
  const segments = createSegmentLookup(db)
  const logStore = createLogStore(logCollections(db))
  const archived = createArchiveReader({ store: archive, segments, log: logStore })
  const finder = createEventFinder(events, archived)
  const reader = createEventReader({
    events,
    restored: restoredCollection(db),
    archived,
    finder,
    directory,
    subjects: subjectReader,
    systemEvents,
  })

  const signingKeys = createSigningKeys({
    db,
    root: keyring.root,
    importSeed: importSigningPair,
  })
  const copies = createStoredCopies(openStore(config.checkpointCopies))
  const sealing = createSealing({
    client,
    db,
    events,
    subjects: subjects.subjects,
    organizations: eventOrganizations,
    systemEvents,
    signingKeys,
    logOrigin: config.logOrigin,
    copies,
    witnesses: config.witnesses,
    logger,
  })
  const logReading = createLogReading({
    db,
    events,
    finder,
    sealing: { ...sealing, store: withArchivedRecords(sealing.store, archived) },
    subjects: subjectReader,
    systemEvents,
  })

  const retention = createRetention({
    client,
    db,
    subjects,
    directory,
    log: createLogStore(logCollections(db)),
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
  const erasing: ErasingDependencies = {
    client,
    db,
    requests: erasures.requests,
    progress: createErasureProgress(db),
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
    sources: [hotEventSource(events), archivedEventSource({ store: archive, segments, log: logStore })],
    archived: archivedContent,
    archive,
    targets: createTargets(db, { archived: archivedContent, log: logStore, ledger: erasureLedger }),
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
    segments: createSegmentsStore(db),
    lifecycle: retention.lifecycle,
    policies: retention.policies,
    ledger: erasing.ledger,
    systemEvents,
  })

  const expirer = createExpirer({
    ...retention,
    client,
    log: logStore,
    store: archive,
    writer: segmentWriter,
    segments: createSegmentsStore(db),
    proofs: createArchivedProofs({ store: archive, log: logReading.log, finder }),
    restored: restoredCollection(db),
    systemEvents,
  })

  const certificateKeys = createCertificateKeys(signingKeys, config.logOrigin)
  const certificates = createErasureCertificates({
    requests: erasures.store,
    deliveries: delivery.deliveries,
    ledger: erasing.ledger,
    finder,
    prover: createCertificateProver({ ...logReading, finder }),
    keys: certificateKeys,
    store: createCertificateStore(ledger),
  })

  const redactions = createRedactionStore(db)
  const removal = createFieldRemoval({
    client,
    db,
    lifecycle: retention.lifecycle,
    log: logStore,
    segments,
    segmentsStore: createSegmentsStore(db),
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
    journal,
    holds: retention.holds,
    lifecycle: retention.lifecycle,
    systemEvents,
    removal,
  }

  const restoreStore = createRestoreStore(db)
  const keyDocuments = accessKeyCollection(db)
  const lastUse: LastUse = createLastUse(keyDocuments, logger)
  const authenticator = createAuthenticator(keyDocuments, lastUse)
  const accessKeys = createAccessKeyService({ client, keys: keyDocuments, systemEvents, authenticator })
  return {
    client,
    db,
    keyring,
    events,
    committer,
    intake,
    reader,
    systemEvents,
    eventOrganizations,
    organizations,
    actionSchemas,
    accessKeys,
    authenticator,
    rateLimits: createRateLimits(),
    cursors: createCursorCodec(keyring.cursorKey),
    signingKeys,
    sealedEvents,
    sealing,
    logReading,
    erasures,
    delivery,
    erasing: {
      steps: createErasing(erasing),
      completing: createCompleting({
        ...erasing,
        certificates,
        oplogs: () => oplogsOf(client),
        backupDays: config.backupDays,
      }),
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
    finder,
    segments,
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
    archive,
    ledger,
    async close() {
      await committer.close()
      await lastUse.stop()
      await client.close()
    },
  }
}
