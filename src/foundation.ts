import type { Db, MongoClient } from 'mongodb'
import type { ArchiveReader } from './archive/archive-reader.js'
import type { SegmentLookup } from './archive/segment-lookup.js'
import type { ArchiveStore } from './archive/stores/contract.js'
import type { Config } from './config.js'
import type { SystemEventWriter } from './events/contract.js'
import type { EventFinder } from './events/finding.js'
import type { EventOrganizations } from './events/organizations.js'
import type { EventCollection } from './events/store.js'
import type { Keyring } from './keys/keyring.js'
import type { SigningKeys } from './keys/signing-keys.js'
import type { Logger } from './logging.js'
import type { OrganizationService } from './organizations/service.js'
import type { organizationCollection } from './organizations/store.js'
import type { SubjectDirectory } from './subjects/directory.js'
import type { SubjectReader } from './subjects/readers.js'
import type { SubjectStore } from './subjects/store.js'
import type { createStoredCopies } from './transparency-log/checkpoint-copies/stored-copies.js'
import type { LogReading } from './transparency-log/log-reading.js'
import type { Sealing } from './transparency-log/sealing.js'
import type { LogStore } from './transparency-log/store.js'

/** What the duties (duties.ts) stand on: the services that take events in and read them (composition.ts). */
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
