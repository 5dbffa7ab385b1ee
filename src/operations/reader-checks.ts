/** Can the second reader of erasures only read? Asked of MongoDB, which says so, and of the archive, by trying. */
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { within, type StoreAddress } from '../archive/stores/address.js'
import { ArchiveStoreError } from '../archive/stores/contract.js'
import { openStore } from '../archive/stores/open.js'
import type { ProbeAnswer } from '../archive/stores/s3-probe.js'
import type { Config } from '../config.js'
import { readerFault, type ReaderFault } from '../erasure/reader-access.js'
import { newId } from '../ids.js'
import { createMongoClient } from '../mongo/client.js'

const faults: Readonly<Record<ReaderFault, string>> = {
  refused: 'MongoDB does not know its user, or its password: erasures are not verified',
  not_authenticated: 'its address names no user, or MongoDB asks nobody: erasures are not verified',
  can_write: 'its user can do more than read: erasures are not verified',
  cannot_read_all: 'its user cannot read the whole database: erasures are not verified',
}

export async function checkDatabaseReader({ mongodb }: Pick<Config, 'mongodb'>): Promise<ProbeAnswer> {
  const { readerUri, database } = mongodb
  if (readerUri === undefined)
    return { warning: 'reads by the credentials of all else, which can write: ANNALS_MONGODB_READER_URI' }
  const client = createMongoClient(readerUri)
  try {
    const fault = await readerFault(client.db(database))
    return fault === undefined
      ? 'reads all of the database, and can write nothing'
      : { failed: faults[fault] }
  } finally {
    await client.close()
  }
}

/** @param profile by which the second reader reads an archive in S3 */
export async function checkArchiveReader(archive: StoreAddress, profile: string): Promise<ProbeAnswer> {
  if (archive.kind === 'folder')
    return { warning: 'ANNALS_ARCHIVE_READER_PROFILE says nothing of an archive in a folder' }
  const address = within(archive, 'doctor')
  const reader = openStore(address, { profile })
  const path = newId('probe')
  const bytes = Buffer.from('the second reader cannot write this')
  try {
    const sha256 = createHash('sha256').update(bytes).digest()
    await reader.put(path, () => Readable.from([bytes]), { sha256, bytes: bytes.length })
  } catch (error) {
    if (!(error instanceof ArchiveStoreError) || error.code !== 'read_only') throw error
    for await (const version of reader.versions('')) if (version.path !== '') break
    return 'lists versions, and may not write'
  }
  await openStore(address).delete(path)
  return { warning: 'its profile can write: give it one that can only list and read' }
}
