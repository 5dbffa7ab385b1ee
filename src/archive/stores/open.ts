/** From an address to a store, and where in an archive what lies. */
import { AddressError, within, type StoreAddress } from './address.js'
import type { ArchiveStore } from './contract.js'
import { createFolderStore } from './folder.js'

/** Opens no connection and makes no folder yet. */
export function openStore(address: StoreAddress): ArchiveStore {
  if (address.kind === 'folder') return createFolderStore(address)
  throw new AddressError('archives in S3 are not there yet')
}

/** The segments of an archive: organizations' names are under a folder of their own, and take no other part's. */
export const openSegments = (archive: StoreAddress): ArchiveStore => openStore(within(archive, 'segments'))
