/**
 * The composition root: from a `Config` to the services of one process. Every wire between domains is drawn
 * here and nowhere else; the API, the workers, `annals setup`, the CLI and the tests all start from it.
 */
import type { Db, MongoClient } from 'mongodb'
import { createAuthenticator, type AccessKeyAuthenticator } from './access/authenticator.js'
import { createLastUse, type LastUse } from './access/last-use.js'
import { createRateLimits, type RateLimits } from './access/rate-limits.js'
import { createAccessKeyService, type AccessKeyService } from './access/service.js'
import { accessKeyCollection } from './access/store.js'
import { createActionSchemaService, type ActionSchemaService } from './action-schemas/service.js'
import { actionSchemaCollection } from './action-schemas/store.js'
import { createArchiveReader } from './archive/archive-reader.js'
import { withArchivedRecords } from './archive/archived-records.js'
import { restoredCollection } from './archive/restores/rows.js'
import { createSegmentLookup, type SegmentLookup } from './archive/segment-lookup.js'
import type { ArchiveStore } from './archive/stores/contract.js'
import { openSegments, openStore } from './archive/stores/open.js'
import type { Config } from './config.js'
import type { SealedEvents, SystemEventWriter } from './events/contract.js'
import { GroupCommitter } from './events/group-commit.js'
import { createIntake, type Intake } from './events/intake.js'
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
import { createScanRecorder, type ScanRecorder } from './scans/recorder.js'
import { createScanStore, type ScanStore } from './scans/store.js'
import { createSigningKeys, type SigningKeys } from './keys/signing-keys.js'
import type { Logger } from './logging.js'
import { connectMongo, createMongoClient } from './mongo/client.js'
import { createOrganizationService, type OrganizationService } from './organizations/service.js'
import { organizationCollection } from './organizations/store.js'
import { createSubjectDirectory } from './subjects/directory.js'
import { systemClock } from './subjects/leases.js'
import { createSubjectReader } from './subjects/readers.js'
import { subjectStore } from './subjects/store.js'
import { createStoredCopies } from './transparency-log/checkpoint-copies/stored-copies.js'
import { importSigningPair } from './transparency-log/node-crypto.js'
import { createLogReading, type LogReading } from './transparency-log/log-reading.js'
import { createSealedEvents } from './transparency-log/sealed-events.js'
import { createSealing, type Sealing } from './transparency-log/sealing.js'
import { createLogStore, logCollections } from './transparency-log/store.js'
import { assembleDuties, type Duties } from './duties.js'

/** An address that must be known and is not. */
export class AddressMissingError extends Error {
  override readonly name = 'AddressMissingError'
}

/** What every process of a deployment has: the database, the keys, and the services over them. */
export interface Core extends Duties {
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
  readonly scans: { readonly store: ScanStore; readonly recorder: ScanRecorder }
  readonly sealedEvents: SealedEvents
  /** The transparency logs: their store, and what seals events into them. */
  readonly sealing: Sealing
  readonly logReading: LogReading
  /** Events by id, hot or archived. */
  readonly finder: EventFinder
  readonly segments: SegmentLookup
  /** Where segments lie. */
  readonly archive: ArchiveStore
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

  const scanStore = createScanStore(db)
  const { readerUri, database } = config.mongodb
  const secondReader = readerUri === undefined ? undefined : createMongoClient(readerUri)

  const keyDocuments = accessKeyCollection(db)
  const lastUse: LastUse = createLastUse(keyDocuments, logger)
  const authenticator = createAuthenticator(keyDocuments, lastUse)
  const accessKeys = createAccessKeyService({ client, keys: keyDocuments, systemEvents, authenticator })
  const duties = assembleDuties({
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
    readerDb: secondReader?.db(database),
  })
  return {
    ...duties,
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
    scans: {
      store: scanStore,
      recorder: createScanRecorder({ store: scanStore, events: systemEvents, mongo: client }),
    },
    sealedEvents,
    sealing,
    logReading,
    finder,
    segments,
    archive,
    async close() {
      await committer.close()
      await lastUse.stop()
      await secondReader?.close()
      await client.close()
    },
  }
}
