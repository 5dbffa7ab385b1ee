/** The one way Annals opens MongoDB: majority, journaled, and giving up soon enough to answer 503. */
import { MongoClient, type Db } from 'mongodb'
import { failWritesToClosedSockets } from './closed-socket.js'

export interface MongoConnection {
  readonly client: MongoClient
  readonly db: Db
  close(): Promise<void>
}

/**
 * Connects with Annals' guarantees: writes are acknowledged by a majority and journaled, reads that decide
 * something see majority-committed data only.
 * No operation waits longer than 10 s for a connection.
 * @throws MongoServerSelectionError where no primary answers within 5 s
 */
export async function connectMongo(uri: string, database: string): Promise<MongoConnection> {
  const client = createMongoClient(uri)
  await client.connect()
  return { client, db: client.db(database), close: () => client.close() }
}

/** With the same guarantees, connected by its first operation. */
export function createMongoClient(uri: string): MongoClient {
  failWritesToClosedSockets()
  return new MongoClient(uri, {
    appName: 'annals',
    writeConcern: { w: 'majority', journal: true },
    readConcern: { level: 'majority' },
    readPreference: 'primary',
    retryWrites: true,
    retryReads: true,
    serverSelectionTimeoutMS: 5_000,
    connectTimeoutMS: 5_000,
    // By default an operation waits for a free connection for ever.
    waitQueueTimeoutMS: 10_000,
    // A BSON string is refused rather than mended where it is no UTF-8: what is read is what was written.
    enableUtf8Validation: true,
    ignoreUndefined: false,
    promoteBuffers: true,
  })
}
