/**
 * Do archive and ledger keep what they are given, once and whole, and let go of it? Asked of the stores themselves, with
 * small objects that are deleted again. What is found is said in words for whoever set the store up.
 */
import { createHash, randomBytes } from 'node:crypto'
import { stat, statfs } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import { Readable } from 'node:stream'
import { within, type StoreAddress } from '../archive/stores/address.js'
import {
  ArchiveStoreError,
  type ArchiveStore,
  type ArchiveStoreErrorCode,
} from '../archive/stores/contract.js'
import { openStore } from '../archive/stores/open.js'
import { createS3Probe, type ProbeAnswer } from '../archive/stores/s3-probe.js'
import { newId } from '../ids.js'

export interface StoreCheck {
  readonly name: string
  readonly run: () => Promise<ProbeAnswer>
}

export interface StoreChecks {
  /** Where the first finds nobody the others say nothing. */
  readonly first: StoreCheck
  readonly others: readonly StoreCheck[]
  /** Removes what is left. */
  readonly close: () => Promise<void>
}

/** What a store's refusal means to whoever set it up; one that is away has no words. */
const words: Readonly<Partial<Record<ArchiveStoreErrorCode, string>>> = {
  exists: 'an object of the same name is there already, with other bytes',
  mismatch: 'other bytes arrived than were sent',
  locked: 'what was written is under lock, and could not be deleted again',
  full: 'there is no room',
  read_only:
    'it may not be written to, or what was written may not be deleted: permissions, or a default retention',
}

async function inWords(run: () => Promise<ProbeAnswer>): Promise<ProbeAnswer> {
  try {
    return await run()
  } catch (error) {
    const failed = error instanceof ArchiveStoreError ? words[error.code] : undefined
    if (failed === undefined) throw error
    return { failed }
  }
}

/** Less than that is a day or two of a busy deployment. */
const fewBytes = 2 * 1024 ** 3

/** @param name `archive` or `ledger` */
export function storeChecks(name: string, address: StoreAddress): StoreChecks {
  const store = openStore(within(address, 'doctor'))
  const path = newId('probe')
  const first = { name, run: () => inWords(() => readsBack(store, path, address.kind)) }
  if (address.kind === 'folder') {
    const { folder } = address
    const others = [
      { name: `${name}: second write`, run: () => inWords(() => writesOnce(store, `${path}-once`)) },
      { name: `${name}: room`, run: () => room(folder) },
    ]
    return { first, others, close: () => store.delete(`${path}-once`).catch(() => undefined) }
  }
  const probe = createS3Probe(address, `doctor/${path}`)
  const others = [
    { name: `${name}: second write`, run: () => inWords(probe.writesOnce) },
    { name: `${name}: versions`, run: () => inWords(probe.versions) },
    { name: `${name}: object lock`, run: () => inWords(probe.lock) },
  ]
  return { first, others, close: () => probe.close() }
}

/** Writes, reads back, deletes. */
async function readsBack(
  store: ArchiveStore,
  path: string,
  kind: StoreAddress['kind'],
): Promise<ProbeAnswer> {
  const bytes = await write(store, path)
  try {
    const read = await store.get(path)
    if (read === undefined || !(await buffer(read)).equals(bytes))
      return { failed: 'what was written did not read back the same' }
  } finally {
    await store.delete(path)
  }
  if ((await store.head(path)) !== undefined) return { failed: 'what was deleted is still there' }
  return `${kind}: written, read back, deleted`
}

async function writesOnce(store: ArchiveStore, path: string): Promise<ProbeAnswer> {
  await write(store, path)
  try {
    await write(store, path)
    return { failed: 'a second write under the same path was taken: two workers may overwrite each other' }
  } catch (error) {
    if (!(error instanceof ArchiveStoreError) || error.code !== 'exists') throw error
    return 'a second write is refused'
  } finally {
    await store.delete(path)
  }
}

async function write(store: ArchiveStore, path: string): Promise<Buffer> {
  const bytes = randomBytes(64)
  const sha256 = createHash('sha256').update(bytes).digest()
  await store.put(path, () => Readable.from([bytes]), { sha256, bytes: bytes.length })
  return bytes
}

/** What is in a folder is read by whoever reads the folder. */
async function room(folder: string): Promise<ProbeAnswer> {
  const { mode } = await stat(folder)
  if ((mode & 0o077) !== 0)
    return { warning: 'others on this machine can read the folder: take their permissions away' }
  const { bavail, bsize } = await statfs(folder)
  const free = `${((bavail * bsize) / 1e9).toFixed(1)} GB free`
  return bavail * bsize < fewBytes ? { warning: `${free}: soon nothing can be archived any more` } : free
}
