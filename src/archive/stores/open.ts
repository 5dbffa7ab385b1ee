/** From an address to a store, and where in an archive what lies. */
import { within, type StoreAddress } from './address.js'
import type { ArchiveStore } from './contract.js'
import { createFolderStore } from './folder.js'
import { createS3Store } from './s3.js'

export interface OpenOptions {
  /** Of an S3 store: whose credentials are taken, by the name of a profile in the SDK's own configuration. */
  readonly profile?: string | undefined
}

/** Opens no connection and makes no folder yet. */
export function openStore(address: StoreAddress, { profile }: OpenOptions = {}): ArchiveStore {
  return address.kind === 'folder' ? createFolderStore(address) : createS3Store({ ...address, profile })
}

/** The segments of an archive: organizations' names are under a folder of their own, and take no other part's. */
export const openSegments = (archive: StoreAddress, options?: OpenOptions): ArchiveStore =>
  openStore(within(archive, 'segments'), options)
