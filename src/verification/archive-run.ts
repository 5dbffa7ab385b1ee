/** `annals verify ARCHIVE`: a folder or a bucket, without a database, a server or a secret. */
import { stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { SegmentFault } from '../archive/segment-fault.js'
import { verifiersOf } from '../archive/segment-keys.js'
import { archiveKeysPath } from '../archive/segment-paths.js'
import { LRUCache } from 'lru-cache'
import { sha256Of } from '../archive/segment-manifest.js'
import { readObject } from '../archive/segment-reader.js'
import { parseStoreAddress, within, type StoreAddress } from '../archive/stores/address.js'
import type { ArchiveStore } from '../archive/stores/contract.js'
import { LogError } from '../transparency-log/errors.js'
import { sha256 } from '../transparency-log/node-crypto.js'
import { parseVerifierKey } from '../transparency-log/note-key.js'
import { maxNoteBytes } from '../transparency-log/note.js'
import { walkArchive, type ArchiveReport, type ArchiveWalkOptions } from './archive-walk.js'
import { TrustError } from './errors.js'
import { verifierUnder, type LogVerifiers } from './proved-event.js'
import { nameOfOrigin, originOfName } from './trust.js'

export interface ArchiveVerifyOptions extends Pick<
  ArchiveWalkOptions,
  'organizationId' | 'generation' | 'values' | 'excuse' | 'onProgress'
> {
  /** Verifier keys of manifests that were had from elsewhere; none = those that lie in the archive are taken. */
  readonly archiveKeys: readonly string[]
  /** Verifier keys of a log of the deployment; one key signs all of them, each under its name. */
  readonly logKeys: readonly string[]
}

export interface ArchiveVerification {
  readonly report: ArchiveReport
  /** The keys of manifests were not given, and taken from the archive. */
  readonly trustedOnFirstUse: boolean
  readonly keys: readonly string[]
}

/** What is read of an archive. */
export interface OpenArchive {
  readonly segments: Pick<ArchiveStore, 'get' | 'list'>
  /** The erasure ledger, where it lies beside them: its manifests say what had to go. */
  readonly ledger: Pick<ArchiveStore, 'get' | 'list'> | undefined
}

const maxKeysBytes = 100_000
/** As in the address of an archive. */
const segmentsFolder = 'segments'
const ledgerFolder = 'ledger'
const maxManifestBytes = 64 * 1_024 * 1_024
/** Hashes of manifests that are remembered. */
const maxManifests = 100_000

export const isArchiveAddress = (target: string): boolean => /^(?:file|s3):/.test(target)

/** Is a folder an archive, or the folder of segments in one? */
export async function isArchiveFolder(folder: string): Promise<boolean> {
  return (await isThere(join(folder, archiveKeysPath))) || isThere(join(folder, segmentsFolder))
}

/**
 * Opens an archive by its address (`file:`, `s3:`) or the path of its folder.
 * @throws AddressError
 */
export async function openArchive(target: string): Promise<OpenArchive> {
  const address: StoreAddress = isArchiveAddress(target)
    ? parseStoreAddress(target)
    : { kind: 'folder', folder: resolve(target) }
  // The client of S3 is loaded by who verifies an archive, and by nobody else.
  const { openStore } = await import('../archive/stores/open.js')
  const isSegments = address.kind === 'folder' && (await isThere(join(address.folder, archiveKeysPath)))
  if (isSegments) return { segments: openStore(address), ledger: undefined }
  return {
    segments: openStore(within(address, segmentsFolder)),
    ledger: openStore(within(address, ledgerFolder)),
  }
}

/** @throws TrustError; ArchiveStoreError */
export async function verifyArchive(
  { segments: store, ledger }: OpenArchive,
  { archiveKeys, logKeys, ...options }: ArchiveVerifyOptions,
): Promise<ArchiveVerification> {
  const given = archiveKeys.length > 0
  const keys = given ? archiveKeys : await publishedKeys(store)
  if (keys.length === 0)
    throw new TrustError(`There are no keys in this archive (${archiveKeysPath}): give --archive-key.`)
  const report = await walkArchive(store, {
    ...options,
    sha256: sha256Of,
    manifest: ledger === undefined ? undefined : manifestsIn(ledger),
    erasureProofs: ledger === undefined ? undefined : (organizationId) => proofsIn(ledger, organizationId),
    verifiers: readable(() => verifiersOf(keys)),
    logVerifiers: logKeys.length === 0 ? undefined : verifiersOfLogs(logKeys),
  })
  return { report, trustedOnFirstUse: !given, keys }
}

/** One key of a deployment signs the checkpoints of all its logs, under the origin of each. @throws TrustError */
function verifiersOfLogs(keys: readonly string[]): LogVerifiers {
  const pinned = keys.map((key) => {
    const { name, type } = readable(() => parseVerifierKey(key, sha256))
    const named = nameOfOrigin(name)
    if (named === undefined || type !== 'ed25519') throw new TrustError('A --log-key is not one of a log.')
    return { key, named }
  })
  return (organizationId, generation) =>
    pinned.flatMap(({ key, named }) => {
      const origin = originOfName({ ...named, organization: organizationId, generation })
      return verifierUnder(origin, key) ?? []
    })
}

/** Manifests of erasures by their hash. Nothing else says which one an event names, so those of an organization are hashed. */
function manifestsIn(ledger: Pick<ArchiveStore, 'get' | 'list'>) {
  const known = new LRUCache<string, string>({ max: maxManifests })
  const read = (path: string) => readUpTo(ledger, path, maxManifestBytes)
  return async (organizationId: string, named: string): Promise<Uint8Array | undefined> => {
    const name = (hash: string) => `${organizationId}/${hash}`
    if (!known.has(name(named)))
      for await (const { path } of ledger.list(erasuresOf(organizationId))) {
        if (path.endsWith(proofEnd)) continue
        const bytes = await read(path)
        if (bytes !== undefined) known.set(name(sha256Of(bytes)), path)
      }
    const path = known.get(name(named))
    return path === undefined ? undefined : read(path)
  }
}

/** Everything there that may be the proof of a sealed event. */
async function* proofsIn(
  ledger: Pick<ArchiveStore, 'get' | 'list'>,
  organizationId: string,
): AsyncGenerator<Uint8Array> {
  for await (const { path } of ledger.list(erasuresOf(organizationId))) {
    if (!path.endsWith(proofEnd)) continue
    const bytes = await readUpTo(ledger, path, maxNoteBytes)
    if (bytes !== undefined) yield bytes
  }
}

const erasuresOf = (organizationId: string) => `${organizationId}/erasures/`
const proofEnd = '.proof'

/** undefined for one that is not there, or larger than such a thing can be. */
const readUpTo = (store: Pick<ArchiveStore, 'get'>, path: string, maxBytes: number) =>
  readObject(store, path, maxBytes).catch((error: unknown) => {
    if (error instanceof SegmentFault) return undefined
    throw error
  })

async function publishedKeys(store: Pick<ArchiveStore, 'get'>): Promise<string[]> {
  try {
    const bytes = await readObject(store, archiveKeysPath, maxKeysBytes)
    return (bytes?.toString('utf8') ?? '').split('\n').filter((line) => line !== '')
  } catch (error) {
    if (error instanceof SegmentFault)
      throw new TrustError(`The keys of this archive are none: ${error.detail}.`)
    throw error
  }
}

function readable<Value>(read: () => Value): Value {
  try {
    return read()
  } catch (error) {
    if (error instanceof LogError) throw new TrustError(`A verifier key is none: ${error.detail}.`)
    throw error
  }
}

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  )
