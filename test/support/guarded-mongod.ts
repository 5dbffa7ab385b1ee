/** A real mongod that asks everybody who they are, for tests of what credentials may do: a replica set of one node. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { MongoClient, type Document } from 'mongodb'
import { childEnvironment, loadConfig } from '../../src/config.js'
import { findBinary, mongodSource } from '../../src/embedded/find-binary.js'
import { lockDataDirectory } from '../../src/embedded/lock.js'
import { LogFile } from '../../src/embedded/log-file.js'
import { claimPort } from '../../src/embedded/port-claims.js'
import { loopback, portAnswers } from '../../src/embedded/ports.js'
import { recordProcess } from '../../src/embedded/records.js'
import { spawnServer } from '../../src/embedded/server-process.js'
import { serversPrefix } from './global-setup.js'

export interface GuardedMongod {
  /** Of one who may do everything. */
  readonly uri: string
  /** Without a name: answered, and allowed nothing. */
  readonly anonymousUri: string
  /** Makes a user, and answers the address by which it comes in. */
  user(name: string, roles: readonly Document[]): Promise<string>
  close(): Promise<void>
}

const replicaSet = 'annals-guarded'
const startTimeoutMs = 60_000

export async function startGuardedMongod(): Promise<GuardedMongod> {
  const folder = mkdtempSync(join(tmpdir(), serversPrefix))
  // What a killed run leaves behind is swept by the next one, as the shared servers are.
  const lock = lockDataDirectory(folder)
  const closing: (() => Promise<void> | void)[] = [
    () => rmSync(folder, { recursive: true, force: true }),
    () => lock.release(),
  ]
  const close = async () => {
    for (const one of closing.splice(0).reverse()) await one()
  }
  try {
    const { binaries, cacheDirectory } = loadConfig()
    const progress = () => undefined
    const { command } = await findBinary(mongodSource, { given: binaries.mongod, cacheDirectory, progress })
    const dbPath = join(folder, 'mongod')
    mkdirSync(dbPath)
    const keyFile = join(folder, 'members.key')
    writeFileSync(keyFile, randomBytes(96).toString('base64'), { mode: 0o600 })
    const port = await claimPort(0)
    const args = [
      ['--dbpath', dbPath, '--port', String(port), '--bind_ip', loopback, '--nounixsocket'],
      ['--replSet', replicaSet, '--oplogSize', '100', '--wiredTigerCacheSizeGB', '0.25', '--quiet'],
      ['--auth', '--keyFile', keyFile],
      ['--setParameter', 'shutdownTimeoutMillisForSignaledShutdown=0'],
    ].flat()
    const log = new LogFile({ path: join(folder, 'mongod.log') })
    const env = childEnvironment({})
    const server = await spawnServer({ name: 'mongod', command, args, env, log, graceMs: 10_000 })
    recordProcess(folder, 'mongod', server)
    closing.push(() => server.stop())
    await portAnswers(port, AbortSignal.timeout(startTimeoutMs))
    const host = `${loopback}:${String(port)}`
    const addressOf = (user: string) => `mongodb://${user}${host}/?replicaSet=${replicaSet}&authSource=admin`
    const password = randomBytes(12).toString('hex')
    await makeFirstUser(host, password)
    const uri = addressOf(`root:${password}@`)
    const root = new MongoClient(uri)
    closing.push(() => root.close())
    return {
      uri,
      anonymousUri: `mongodb://${host}/?replicaSet=${replicaSet}`,
      async user(name, roles) {
        await root.db('admin').command({ createUser: name, pwd: password, roles })
        return addressOf(`${name}:${password}@`)
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** Until there is a user, one who comes from the machine itself may make it. */
async function makeFirstUser(host: string, pwd: string): Promise<void> {
  const client = new MongoClient(`mongodb://${host}/?directConnection=true`)
  try {
    const admin = client.db('admin')
    await admin.command({ replSetInitiate: { _id: replicaSet, members: [{ _id: 0, host }] } })
    while ((await admin.command({ hello: 1 }))['isWritablePrimary'] !== true) await sleep(25)
    await admin.command({ createUser: 'root', pwd, roles: ['root'] })
  } finally {
    await client.close()
  }
}
