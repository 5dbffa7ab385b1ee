/** Members of replica sets that a test starts for itself, in a folder that is gone with them. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { childEnvironment, loadConfig } from '../../src/config.js'
import { findBinary, mongodSource } from '../../src/embedded/find-binary.js'
import { lockDataDirectory } from '../../src/embedded/lock.js'
import { LogFile } from '../../src/embedded/log-file.js'
import { claimPort } from '../../src/embedded/port-claims.js'
import { loopback } from '../../src/embedded/ports.js'
import { recordProcess } from '../../src/embedded/records.js'
import { startOnPort } from './child-server.js'
import { serversPrefix } from './global-setup.js'

export interface Members {
  readonly folder: string
  /** What has to be undone, the newest first, before the folder goes. */
  readonly closing: (() => Promise<void> | void)[]
  /** Starts one, which answers and has no configuration yet. @returns its port */
  readonly start: (name: string, replicaSet: string, more?: readonly string[]) => Promise<number>
  readonly close: () => Promise<void>
}

/** Opens the folder, and closes it again where `work` fails. */
export async function withMembers<Value>(work: (members: Members) => Promise<Value>): Promise<Value> {
  const folder = mkdtempSync(join(tmpdir(), serversPrefix))
  // What a killed run leaves behind is swept by the next one, as the shared servers are.
  const lock = lockDataDirectory(folder)
  const closing: Members['closing'] = [
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
    return await work({
      folder,
      closing,
      close,
      async start(name, replicaSet, more = []) {
        const dbPath = join(folder, name)
        mkdirSync(dbPath)
        const port = await claimPort(0)
        const args = [
          ['--dbpath', dbPath, '--port', String(port), '--bind_ip', loopback, '--nounixsocket'],
          ['--replSet', replicaSet, '--oplogSize', '100', '--wiredTigerCacheSizeGB', '0.25', '--quiet'],
          // A primary would wait a quarter of a minute for its clients to go.
          ['--setParameter', 'shutdownTimeoutMillisForSignaledShutdown=0'],
          more,
        ].flat()
        const log = new LogFile({ path: join(folder, `${name}.log`) })
        const env = childEnvironment({})
        await startOnPort(port, { name, command, args, env, log, graceMs: 10_000 }, (server) => {
          recordProcess(folder, name, server)
          closing.push(() => server.stop())
        })
        return port
      },
    })
  } catch (error) {
    await close()
    throw error
  }
}
