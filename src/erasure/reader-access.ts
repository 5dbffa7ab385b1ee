/**
 * The second reader's own way into the database: credentials that can read everything and write nothing, so that what it
 * finds was not made by who looks. MongoDB itself says what they can do; a reader whose credentials are of another kind, or
 * lead to another database, finds nothing and proves nothing: it does not begin.
 */
import { MongoServerError, type Db } from 'mongodb'
import { z } from 'zod'
import { createLifecycle, type Lifecycle } from '../retention/lifecycle.js'
import { createLogStore, logCollections, type LogStore } from '../transparency-log/store.js'
import type { ErasureProgressDocument } from './progress.js'

/** What the reader reads, over its own connection. */
export interface ReaderStores {
  readonly db: Db
  readonly lifecycle: Pick<Lifecycle, 'current'>
  readonly log: Pick<LogStore, 'locate'>
}

export const createReaderStores = (db: Db): ReaderStores => ({
  db,
  lifecycle: createLifecycle(db),
  log: createLogStore(logCollections(db)),
})

/** What is wrong with a reader's credentials. */
export const readerFaults = ['refused', 'not_authenticated', 'can_write', 'cannot_read_all'] as const
export type ReaderFault = (typeof readerFaults)[number]

/** The reader cannot be what it is to be: trying again cannot help. */
export class ReaderUnfitError extends Error {
  override readonly name = 'ReaderUnfitError'

  constructor(readonly fault: ReaderFault | 'another_database') {
    super(`the second reader does not begin: ${fault}`)
  }
}

const connectionStatus = z.object({
  authInfo: z.object({
    authenticatedUsers: z.array(z.unknown()),
    authenticatedUserPrivileges: z.array(
      z.object({
        resource: z.looseObject({ db: z.string().optional(), collection: z.string().optional() }),
        actions: z.array(z.string()),
      }),
    ),
  }),
})

/** Actions of MongoDB that change nothing; whatever it may learn besides these counts as writing. */
const reading: ReadonlySet<string> = new Set([
  'changeStream',
  'collStats',
  'dbHash',
  'dbStats',
  'find',
  'indexStats',
  'killCursors',
  'listCollections',
  'listDatabases',
  'listIndexes',
  'listSearchIndexes',
  'planCacheRead',
])
const needed = ['find', 'listCollections']
const authenticationFailed = 18

/** @returns undefined where the credentials read all of the database and write nothing anywhere */
export async function readerFault(db: Db): Promise<ReaderFault | undefined> {
  let status: unknown
  try {
    status = await db.command({ connectionStatus: 1, showPrivileges: true })
  } catch (error) {
    if (error instanceof MongoServerError && error.code === authenticationFailed) return 'refused'
    throw error
  }
  const { authenticatedUsers, authenticatedUserPrivileges } = connectionStatus.parse(status).authInfo
  // A server without access control lets anybody do anything.
  if (authenticatedUsers.length === 0) return 'not_authenticated'
  if (authenticatedUserPrivileges.some(({ actions }) => actions.some((action) => !reading.has(action))))
    return 'can_write'
  const whole = authenticatedUserPrivileges.filter(
    ({ resource }) => (resource.db === db.databaseName || resource.db === '') && resource.collection === '',
  )
  const may = new Set(whole.flatMap(({ actions }) => actions))
  return needed.every((action) => may.has(action)) ? undefined : 'cannot_read_all'
}

/**
 * Held before each reading: it is only a reader, and what it sees is this erasure as it stands.
 * @throws ReaderUnfitError
 */
export async function requireReader(
  { db }: ReaderStores,
  begun: Pick<ErasureProgressDocument, '_id' | 'erasedEventId'>,
): Promise<void> {
  const fault = await readerFault(db)
  if (fault !== undefined) throw new ReaderUnfitError(fault)
  const seen = await db
    .collection<Pick<ErasureProgressDocument, '_id' | 'erasedEventId'>>('erasureProgress')
    .findOne({ _id: begun._id })
  // A copy, a backup, a member that lags behind: finding nothing there says nothing.
  if (seen === null || seen.erasedEventId !== begun.erasedEventId)
    throw new ReaderUnfitError('another_database')
}
