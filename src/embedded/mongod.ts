/** A real `mongod` as a replica set of one node, on a folder that it may find again at every start. */
import { mkdir } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { MongoClient, MongoNetworkError, MongoServerError, type Db } from 'mongodb'
import { z } from 'zod'
import { childEnvironment } from '../config.js'
import { AnnalsError } from '../errors.js'
import type { LogFile } from './log-file.js'
import { loopback, portAnswers } from './ports.js'
import { describeExit, spawnServer, type ServerProcess } from './server-process.js'

/** Generous: after `kill -9` the journal is replayed before the port answers. */
const startTimeoutMs = 120_000

/**
 * How long the transaction of a process that died is kept, and what it has written to held. No transaction of Annals takes
 * longer than 10 s (`mongo/transaction.ts`), so nothing that lives is ended by it; the server's own default is a minute.
 */
export const transactionLifetimeSeconds = 15

export interface MongodOptions {
  readonly command: string
  /** Holds the data files; made where it does not exist. */
  readonly dbPath: string
  readonly port: number
  /**
   * Names the set, and thereby this data folder: a client that asks for the set by name refuses any other server
   * that happens to answer on the port.
   */
  readonly replicaSet: string
  readonly log: LogFile
  /** The cache of the storage engine; its own default would be half of the machine's memory. */
  readonly cacheGigabytes?: number
  /** Called at once, long before the server is ready, so that it can be found again if we die meanwhile. */
  readonly onSpawn?: (server: ServerProcess) => void
}

export interface RunningMongod extends ServerProcess {
  readonly uri: string
  readonly port: number
}

/**
 * Starts mongod and waits until it takes writes.
 * @throws AnnalsError `unavailable` where it does not come up; nothing is left running then
 */
export async function startMongod(options: MongodOptions): Promise<RunningMongod> {
  await mkdir(options.dbPath, { recursive: true, mode: 0o700 })
  const server = await spawnServer({
    name: 'mongod',
    command: options.command,
    args: mongodArguments(options),
    env: childEnvironment({ ANNALS_ADMIN_KEY: undefined }),
    log: options.log,
    graceMs: 30_000,
  })
  options.onSpawn?.(server)
  const giveUp = new AbortController()
  try {
    await Promise.race([
      becomePrimary(options, AbortSignal.any([giveUp.signal, AbortSignal.timeout(startTimeoutMs)])),
      server.exited.then((exit) => {
        throw new AnnalsError('unavailable', `mongod did not start: ${explainExit(exit, options)}`)
      }),
    ])
  } catch (error) {
    giveUp.abort()
    await server.stop()
    if (error instanceof AnnalsError) throw error
    throw new AnnalsError('unavailable', `mongod did not start; its log is ${options.log.path}`, {
      cause: error,
    })
  }
  const uri = `mongodb://${loopback}:${options.port}/?replicaSet=${options.replicaSet}`
  return { ...server, uri, port: options.port }
}

function mongodArguments({ dbPath, port, replicaSet, cacheGigabytes = 0.5 }: MongodOptions): string[] {
  return [
    ['--dbpath', dbPath],
    ['--port', String(port), '--bind_ip', loopback, '--nounixsocket'],
    ['--replSet', replicaSet, '--oplogSize', '100'],
    ['--wiredTigerCacheSizeGB', String(cacheGigabytes)],
    ['--setParameter', `transactionLifetimeLimitSeconds=${transactionLifetimeSeconds}`],
    // A logged slow operation quotes its filter and its update. With the threshold at its largest value and the
    // sample rate at none, no operation is ever "slow"; `mongod-log.ts` says how the other lines are cleaned.
    ['--profile', '0', '--slowms', '2147483647', '--slowOpSampleRate', '0', '--quiet'],
  ].flat()
}

/** The few exit codes a person can do something about (MongoDB: "Exit codes and statuses"). */
function explainExit(exit: Parameters<typeof describeExit>[0], options: MongodOptions): string {
  switch (exit.code) {
    case 48:
      return `port ${options.port} is in use`
    case 62:
      return `the files in ${options.dbPath} were written by another MongoDB version; name that one in ANNALS_MONGOD`
    case 100:
      return `another mongod already uses ${options.dbPath}, or its files cannot be read (see ${options.log.path})`
    default:
      return `${describeExit(exit)}; its log is ${options.log.path}`
  }
}

const configSchema = z.object({
  config: z.looseObject({
    version: z.int(),
    members: z.array(z.looseObject({ host: z.string() })).length(1),
  }),
})

async function becomePrimary({ port, replicaSet }: MongodOptions, signal: AbortSignal): Promise<void> {
  await portAnswers(port, signal)
  const client = new MongoClient(`mongodb://${loopback}:${port}/?directConnection=true`, {
    serverSelectionTimeoutMS: startTimeoutMs,
    minHeartbeatFrequencyMS: 50,
  })
  const closeOnAbort = () => void client.close()
  signal.addEventListener('abort', closeOnAbort)
  try {
    await client.connect()
    const admin = client.db('admin')
    while (!(await stepTowardsPrimary(admin, replicaSet, `${loopback}:${port}`))) {
      await sleep(25, undefined, { signal })
    }
  } finally {
    signal.removeEventListener('abort', closeOnAbort)
    await client.close()
  }
}

/**
 * Looks at the node's state and does the one thing that it asks for, if any. Where the old port now belongs to a
 * program that accepts connections and says nothing, the server looks for itself there for 30 s first.
 * @returns whether it takes writes now
 */
async function stepTowardsPrimary(admin: Db, replicaSet: string, host: string): Promise<boolean> {
  try {
    const state = await replicaState(admin)
    if (state === 'NotYetInitialized') await initiate(admin, replicaSet, host)
    if (state === 'InvalidReplicaSetConfig') await moveTo(admin, host)
    return state === 'member' && (await admin.command({ hello: 1 }))['isWritablePrimary'] === true
  } catch (error) {
    // A change of state may close connections; the driver opens another for the next look.
    if (error instanceof MongoNetworkError) return false
    throw error
  }
}

async function replicaState(admin: Db): Promise<'member' | 'NotYetInitialized' | 'InvalidReplicaSetConfig'> {
  try {
    await admin.command({ replSetGetStatus: 1 })
    return 'member'
  } catch (error) {
    const state = error instanceof MongoServerError ? error.codeName : undefined
    if (state === 'NotYetInitialized' || state === 'InvalidReplicaSetConfig') return state
    throw error
  }
}

/** New, or an old one that has not read its configuration yet: then the server refuses, and the next look tells. */
async function initiate(admin: Db, replicaSet: string, host: string): Promise<void> {
  try {
    await admin.command({ replSetInitiate: { _id: replicaSet, members: [{ _id: 0, host }] } })
  } catch (error) {
    if (!(error instanceof MongoServerError && error.codeName === 'AlreadyInitialized')) throw error
  }
}

/** On another port than last time the node does not find itself in its own set (state REMOVED): say where it is now. */
async function moveTo(admin: Db, host: string): Promise<void> {
  const { config } = configSchema.parse(await admin.command({ replSetGetConfig: 1 }))
  const members = config.members.map((member) => ({ ...member, host }))
  await admin.command({ replSetReconfig: { ...config, version: config.version + 1, members }, force: true })
}
