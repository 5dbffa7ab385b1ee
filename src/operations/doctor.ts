/**
 * `annals doctor`: can this deployment do what it promises? It reaches for everything the processes need, tries archive and
 * ledger with small objects that it deletes again (store-checks.ts), and looks whether stores that must not be lost together
 * lie on one volume. It changes nothing else, and says nothing of what any store holds.
 */
import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Db } from 'mongodb'
import { z } from 'zod'
import type { StoreAddress } from '../archive/stores/address.js'
import { ArchiveStoreError } from '../archive/stores/contract.js'
import { openStore } from '../archive/stores/open.js'
import type { Config } from '../config.js'
import { errorIdentity } from '../errors.js'
import { createErasureJournal } from '../erasure/journal.js'
import { knownTo } from '../erasure/journal-known.js'
import { openKeyring } from '../keys/keyring.js'
import { periodKeyFiles } from '../keys/period-key-files.js'
import { periodStates } from '../keys/period-state.js'
import { connectMongo } from '../mongo/client.js'
import { isMongoUnavailable } from '../mongo/unavailable.js'
import { createRetentionClock } from '../retention/clock-store.js'
import { connectTemporal, isTemporalUnavailable, temporalOptions } from '../temporal/client.js'
import { checkArchiveReader, checkDatabaseReader } from './reader-checks.js'
import { storeChecks } from './store-checks.js'

/** `warning`: it works, and something about it may hurt one day. `unreachable`: nobody answered. */
export type FindingState = 'ok' | 'warning' | 'failed' | 'unreachable'

export interface Finding {
  readonly check: string
  readonly state: FindingState
  readonly detail: string
}

const timeoutMs = 5_000
/** Clocks that are further apart than that make times of events and of leaves disagree visibly. */
const maxClockDifferenceMs = 5_000

/** Looks at everything, whatever fails on the way. Never throws for what it looks at. */
export async function diagnose(config: Config): Promise<Finding[]> {
  const { archive, archiveReaderProfile } = config
  const [database, keyFiles, ...rest] = await Promise.all([
    checkDatabase(config),
    checkKeyFiles(config),
    check('temporal', isTemporalUnavailable, () => checkTemporal(config)).then((found) => [found]),
    checkStore('archive', config.archive),
    checkStore('ledger', config.ledger),
    archiveReaderProfile === undefined
      ? []
      : check('archive: second reader', storeAway, () =>
          checkArchiveReader(archive, archiveReaderProfile),
        ).then((found) => [found]),
  ])
  return [...database.findings, ...keyFiles, ...rest.flat(), ...(await checkVolumes(config, database.folder))]
}

type Answer = string | { readonly warning: string } | { readonly failed: string }

/** Runs one check. Messages of servers and of the system quote values and paths: the identity of a failure has to do. */
async function check(
  name: string,
  away: (error: unknown) => boolean,
  run: () => Promise<Answer>,
): Promise<Finding> {
  try {
    const answer = await run()
    if (typeof answer === 'string') return { check: name, state: 'ok', detail: answer }
    return 'warning' in answer
      ? { check: name, state: 'warning', detail: answer.warning }
      : { check: name, state: 'failed', detail: answer.failed }
  } catch (error) {
    const identity = errorIdentity(error)
    const detail = `${identity.name} ${identity.code ?? ''}`.trim()
    return { check: name, state: away(error) ? 'unreachable' : 'failed', detail }
  }
}

const never = () => false
const isAway = (error: unknown) => isMongoUnavailable(error) || storeAway(error)
const storeAway = (error: unknown) => error instanceof ArchiveStoreError && error.code === 'unavailable'

async function checkDatabase(config: Config): Promise<{ findings: Finding[]; folder?: string | undefined }> {
  const { uri, database } = config.mongodb
  if (uri === undefined) {
    const detail = 'ANNALS_MONGODB_URI is not set, and no annals up runs here'
    return { findings: [{ check: 'mongodb', state: 'unreachable', detail }] }
  }
  let mongo: Awaited<ReturnType<typeof connectMongo>> | undefined
  const reached = await check('mongodb', isMongoUnavailable, async () => {
    mongo = await connectMongo(uri, database)
    const { version, members } = await describeServer(mongo.db)
    if (members === 0)
      return { failed: `MongoDB ${version} is no replica set: nothing can be committed by a majority` }
    const said = `MongoDB ${version}, a replica set of ${String(members)}`
    return members < 3 ? { warning: `${said}: one machine lost is data lost` } : said
  })
  if (mongo === undefined) return { findings: [reached] }
  const { db } = mongo
  try {
    const keys = await check('keys', isMongoUnavailable, async () => {
      await openKeyring(db, config.keys)
      return 'root key and period keys belong to this database'
    })
    const clock = await check('clock', isMongoUnavailable, () => checkClock(db))
    const rotation = await check('period key rotation', isMongoUnavailable, () => checkRotation(db, config))
    const erasures = await check('erasures', isAway, () => checkErasures(db, config))
    const reader = await check('second reader', isMongoUnavailable, () => checkDatabaseReader(config))
    return {
      findings: [reached, keys, clock, rotation, erasures, reader],
      folder: await databaseFolder(db, uri),
    }
  } finally {
    await mongo.close()
  }
}

const dayMs = 86_400_000

/** Says when the period key was rotated last, and finds keys that were deleted and are back. */
async function checkRotation(db: Db, { keys }: Config): Promise<Answer> {
  const state = await periodStates(db).read()
  if (state === undefined) return { failed: 'the database does not say which period is the current one' }
  const { current, since, retired, deletedThrough, last } = state
  const back = (await periodKeyFiles(keys.periodKeysUrl).list()).filter((period) => period <= deletedThrough)
  if (back.length > 0)
    return { failed: `keys that were deleted are back, and what was erased with them: ${back.join(', ')}` }
  const days = (from: Date) => Math.floor((Date.now() - from.getTime()) / dayMs)
  const deleted = last === null ? 'none deleted yet' : `one last deleted ${String(days(last.at))} days ago`
  const said = `period ${String(current)} is ${String(days(since))} days old, ${deleted}`
  const { everyDays, overlapDays } = keys.rotation
  if (days(since) > 2 * everyDays) return { warning: `${said}: rotations do not run` }
  const late = retired.some(({ at }) => days(at) > overlapDays + everyDays)
  return late ? { warning: `${said}; an earlier key is kept for longer than it was to be` } : said
}

/** Is the database as new as the erasures, and are they all there? */
async function checkErasures(db: Db, config: Config): Promise<Answer> {
  const store = openStore(config.ledger)
  switch (await createErasureJournal({ db, store, knows: knownTo(db) }).compare()) {
    case 'fits':
      return 'everything that the ledger says was erased is erased here'
    case 'erasures_unapplied':
      return { failed: 'the database is older than the ledger: annals doctor --apply-erasures' }
    case 'ledger_behind':
      return { failed: 'the ledger is older than the database, or another: erasures are missing from it' }
    case 'ledger_damaged':
      return { failed: 'the entries of the ledger do not follow from each other' }
  }
}

const hello = z.object({ hosts: z.array(z.string()).default([]), localTime: z.date() })
const buildInfo = z.object({ version: z.string() })

async function describeServer(db: Db): Promise<{ version: string; members: number }> {
  const { hosts } = hello.parse(await db.command({ hello: 1 }))
  const { version } = buildInfo.parse(await db.command({ buildInfo: 1 }))
  return { version, members: hosts.length }
}

async function checkClock(db: Db): Promise<Answer> {
  const asked = Date.now()
  const { localTime } = hello.parse(await db.command({ hello: 1 }))
  const { verdict } = await createRetentionClock(db).peek()
  if (verdict === 'leapt')
    return {
      warning: 'far ahead of what retention saw last: nothing is archived or expires until it is believed',
    }
  const apart = Math.max(asked - localTime.getTime(), localTime.getTime() - Date.now(), 0)
  if (apart > maxClockDifferenceMs)
    return {
      warning: `this machine's clock and the database's are ${String(Math.round(apart / 1_000))} s apart`,
    }
  return 'agrees with the database'
}

async function checkTemporal(config: Config): Promise<Answer> {
  if (config.temporal.address === undefined) return { warning: 'ANNALS_TEMPORAL_ADDRESS is not set' }
  const temporal = await connectTemporal(temporalOptions(config))
  try {
    const { namespace } = temporal
    await temporal.withTimeout(timeoutMs, () =>
      temporal.connection.workflowService.describeNamespace({ namespace }),
    )
    return 'reached, the namespace is there'
  } finally {
    await temporal.close()
  }
}

/** Whoever reads these files reads what they protect. */
async function checkKeyFiles({ keys }: Config): Promise<Finding[]> {
  const places = [
    ['root key file', keys.rootKeyFile],
    ['codec key file', keys.codecKeyFile],
    ['period keys', fileURLToPath(keys.periodKeysUrl)],
  ] as const
  return Promise.all(
    places.map(([name, path]) =>
      check(name, never, async () => {
        const { mode } = await stat(path)
        return (mode & 0o077) === 0
          ? 'for its owner alone'
          : { warning: 'others on this machine can read it: take their permissions away' }
      }),
    ),
  )
}

async function checkStore(name: string, address: StoreAddress): Promise<Finding[]> {
  const checks = storeChecks(name, address)
  try {
    const found = [await check(name, storeAway, checks.first.run)]
    // Whoever is not reached is not asked three times more.
    if (found[0]?.state !== 'unreachable')
      for (const other of checks.others) found.push(await check(other.name, storeAway, other.run))
    return found
  } finally {
    await checks.close()
  }
}

/** Where `mongod` keeps its files, where it runs on this machine and says so. */
async function databaseFolder(db: Db, uri: string): Promise<string | undefined> {
  if (!/^mongodb:\/\/(?:[^@/]*@)?(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?(?:[/?]|$)/.test(uri))
    return undefined
  const options = z.object({ parsed: z.object({ storage: z.object({ dbPath: z.string() }) }) })
  try {
    return options.parse(await db.admin().command({ getCmdLineOpts: 1 })).parsed.storage.dbPath
  } catch {
    // It takes a right that an application's user rarely has.
    return undefined
  }
}

/** Two stores that must not be lost, or stolen, with one volume, and why. */
const apart = [
  ['ledger', 'archive', 'a volume that is lost takes what was erased, and the proof of it, together'],
  ['archive', 'database', 'a volume that is lost takes hot and archived events together'],
  ['ledger', 'database', 'a database restored from an old copy of the volume brings its old ledger along'],
  ['period keys', 'database', 'a copy of the volume has erased persons and the keys to them'],
] as const

async function checkVolumes(config: Config, database: string | undefined): Promise<Finding[]> {
  const volumes = new Map<string, string>()
  const place = async (name: string, address: StoreAddress | undefined) => {
    const volume = address === undefined ? undefined : await volumeOf(address)
    if (volume !== undefined) volumes.set(name, volume)
  }
  await place('archive', config.archive)
  await place('ledger', config.ledger)
  await place('period keys', { kind: 'folder', folder: fileURLToPath(config.keys.periodKeysUrl) })
  await place('database', database === undefined ? undefined : { kind: 'folder', folder: database })
  return apart.flatMap(([one, other, why]): Finding[] => {
    const [a, b] = [volumes.get(one), volumes.get(other)]
    if (a === undefined || b === undefined) return []
    return a === b
      ? [{ check: 'volumes', state: 'warning', detail: `${one} and ${other} share one: ${why}` }]
      : [{ check: 'volumes', state: 'ok', detail: `${one} and ${other} lie apart` }]
  })
}

/** What two stores share where they would be lost together; undefined where it cannot be told. */
async function volumeOf(address: StoreAddress): Promise<string | undefined> {
  if (address.kind === 's3') return `s3 ${address.endpoint ?? ''} ${address.bucket}`
  // A folder that is not there yet will lie where its parent lies.
  for (let folder = address.folder; ; folder = dirname(folder)) {
    try {
      return `volume ${String((await stat(folder)).dev)}`
    } catch {
      if (folder === dirname(folder)) return undefined
    }
  }
}
