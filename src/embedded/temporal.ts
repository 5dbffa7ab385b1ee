/** The real Temporal server with its UI, as the `temporal` CLI's development server, on a file it finds again. */
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Connection } from '@temporalio/client'
import { childEnvironment } from '../config.js'
import { AnnalsError } from '../errors.js'
import type { LogFile } from './log-file.js'
import { loopback, portAnswers } from './ports.js'
import { describeExit, spawnServer, type ServerProcess } from './server-process.js'

const startTimeoutMs = 60_000

export interface TemporalOptions {
  readonly command: string
  /** The SQLite file that holds every workflow; made where it does not exist. */
  readonly databaseFile: string
  readonly port: number
  /** Absent: no UI. */
  readonly uiPort?: number | undefined
  /** Where the UI sends payloads to be decoded, without the final `/decode`. */
  readonly codecEndpoint?: string | undefined
  readonly namespace: string
  readonly log: LogFile
  /** Called at once, long before the server is ready, so that it can be found again if we die meanwhile. */
  readonly onSpawn?: (server: ServerProcess) => void
}

export interface RunningTemporal extends ServerProcess {
  readonly address: string
  readonly port: number
  readonly uiPort: number | undefined
}

/**
 * Starts the server and waits until it answers for the namespace.
 * @throws AnnalsError `unavailable` where it does not come up; nothing is left running then
 */
export async function startTemporal(options: TemporalOptions): Promise<RunningTemporal> {
  await mkdir(dirname(options.databaseFile), { recursive: true, mode: 0o700 })
  const server = await spawnServer({
    name: 'temporal',
    command: options.command,
    args: temporalArguments(options),
    env: childEnvironment({ ANNALS_ADMIN_KEY: undefined }),
    log: options.log,
    graceMs: 15_000,
  })
  options.onSpawn?.(server)
  const giveUp = new AbortController()
  try {
    await Promise.race([
      answersFor(options, AbortSignal.any([giveUp.signal, AbortSignal.timeout(startTimeoutMs)])),
      server.exited.then((exit) => {
        const tail = server.logTail().slice(-3).join(' | ')
        throw new AnnalsError('unavailable', `temporal did not start: ${describeExit(exit)} ${tail}`)
      }),
    ])
  } catch (error) {
    giveUp.abort()
    await server.stop()
    if (error instanceof AnnalsError) throw error
    throw new AnnalsError('unavailable', `temporal did not start; its log is ${options.log.path}`, {
      cause: error,
    })
  }
  return {
    ...server,
    address: `${loopback}:${options.port}`,
    port: options.port,
    uiPort: options.uiPort,
  }
}

function temporalArguments(options: TemporalOptions): string[] {
  const ui =
    options.uiPort === undefined
      ? ['--headless']
      : ['--ui-port', String(options.uiPort), '--ui-disable-news-fetch']
  return [
    ['server', 'start-dev'],
    ['--ip', loopback, '--port', String(options.port)],
    ['--db-filename', options.databaseFile, '--namespace', options.namespace],
    ui,
    options.codecEndpoint === undefined ? [] : ['--ui-codec-endpoint', options.codecEndpoint],
    // Warnings only: at info the server writes a line per task queue and shard. Nobody's profile applies here.
    ['--log-level', 'warn', '--log-format', 'json', '--disable-config-file', '--disable-config-env'],
  ].flat()
}

async function answersFor(options: TemporalOptions, signal: AbortSignal): Promise<void> {
  await portAnswers(options.port, signal)
  const connection = await Connection.connect({
    address: `${loopback}:${options.port}`,
    connectTimeout: startTimeoutMs,
  })
  try {
    for (;;) {
      // The namespace is registered a moment after the port opens.
      const known = await connection.workflowService
        .describeNamespace({ namespace: options.namespace })
        .then(() => true)
        .catch(() => false)
      if (known) return
      await sleep(50, undefined, { signal })
    }
  } finally {
    await connection.close()
  }
}
