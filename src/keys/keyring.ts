/**
 * All keys of a deployment, opened once at start.
 *
 * The database remembers which root key it belongs to. A start with another one, or with the file gone, is
 * refused with those words: it must never look like a mass erasure, and never quietly begin a second key.
 */
import { randomBytes } from 'node:crypto'
import type { Collection, Db } from 'mongodb'
import { collectionNames } from '../mongo/collections.js'
import { createOrganizationKeys, type OrganizationKeys } from './organization-keys.js'
import { systemClock } from '../subjects/leases.js'
import { periodKeyFiles, type PeriodKeyFiles } from './period-key-files.js'
import { ensureFirstPeriodKey, openPeriodKeys, type PeriodKeys } from './period-keys.js'
import { periodStates, type PeriodStates } from './period-state.js'
import { ensureRootKeyFile, readRootKeyFile, type RootKey } from './root-key.js'
import { deriveKey, KeyError } from './wrapping.js'

export interface Keyring {
  readonly root: RootKey
  readonly periods: PeriodKeys
  /** What a rotation of the period key works with. */
  readonly rotating: {
    readonly files: PeriodKeyFiles
    readonly states: PeriodStates
    readonly root: RootKey
    /** Is the root key's file still the one that this process started with? @throws KeyError */
    readonly checkRoot: () => Promise<void>
  }
  readonly organizations: OrganizationKeys
  /** 32 bytes that sign cursors: the same in every process of the deployment. */
  readonly cursorKey: Buffer
}

export interface KeyLocations {
  readonly rootKeyFile: string
  /** `file:` URL of a folder. */
  readonly periodKeysUrl: string
}

interface DeploymentDocument {
  readonly _id: 'keys'
  readonly rootKeyId: string
  /** A random secret of the deployment, wrapped under the root key. */
  readonly secret: Buffer
}

const secretPurpose = 'annals/deployment/v1'

const deployments = (db: Db): Collection<DeploymentDocument> => db.collection(collectionNames.deployment)

/**
 * Makes the keys of a new deployment and notes in the database which root key is its own; changes nothing in
 * one that has them.
 * @throws KeyError as `openKeyring`
 */
export async function ensureKeyring(db: Db, locations: KeyLocations): Promise<Keyring> {
  if ((await deployments(db).findOne({ _id: 'keys' })) === null) {
    await ensureRootKeyFile(locations.rootKeyFile)
    const root = await readRootKeyFile(locations.rootKeyFile)
    await ensureFirstPeriodKey(periodKeyFiles(locations.periodKeysUrl), root)
    // Files first, note second: if the process dies in between, the next start finds the files and notes them.
    const secret = await root.wrap(randomBytes(32), secretPurpose)
    await deployments(db).updateOne(
      { _id: 'keys' },
      { $setOnInsert: { rootKeyId: root.id, secret } },
      { upsert: true },
    )
  }
  return openKeyring(db, locations)
}

/**
 * Opens the keys of a deployment that `annals setup` has made.
 * @throws KeyError `root_key_missing` | `wrong_root_key` | `period_key_missing` | `malformed_key`
 */
export async function openKeyring(db: Db, locations: KeyLocations): Promise<Keyring> {
  const noted = await deployments(db).findOne({ _id: 'keys' })
  if (noted === null)
    throw new KeyError('root_key_missing', 'this database has no keys yet: run `annals setup` first')
  const root = await readRootOf(noted, locations)
  const secret = await root.unwrap(noted.secret, secretPurpose)
  const files = periodKeyFiles(locations.periodKeysUrl)
  const states = periodStates(db)
  if ((await states.read()) === undefined) await noteFirstPeriods(files, states)
  const periods = await openPeriodKeys({ files, states, root, clock: systemClock })
  const checkRoot = async () => {
    await readRootOf(noted, locations)
  }
  return {
    root,
    periods,
    rotating: { files, states, root, checkRoot },
    organizations: createOrganizationKeys(root),
    cursorKey: deriveKey(secret, Buffer.alloc(0), 'annals/cursor/v1'),
  }
}

/** @throws KeyError `root_key_missing` | `malformed_key` | `wrong_root_key` */
async function readRootOf(
  { rootKeyId }: DeploymentDocument,
  { rootKeyFile }: KeyLocations,
): Promise<RootKey> {
  const root = await readRootKeyFile(rootKeyFile)
  if (root.id === rootKeyId) return root
  throw new KeyError(
    'wrong_root_key',
    `the database belongs to root key ${rootKeyId}, but ${rootKeyFile} holds ${root.id}: ` +
      'nothing was erased, give the right file in ANNALS_ROOT_KEY_FILE',
  )
}

/** @throws KeyError `period_key_missing` where there is no period key at all */
async function noteFirstPeriods(files: PeriodKeyFiles, states: PeriodStates): Promise<void> {
  const periods = await files.list()
  if (periods.length === 0)
    throw new KeyError('period_key_missing', `no period key lies in ${files.place} (ANNALS_KEYS_URL)`)
  await states.ensure(periods)
}
