/**
 * `annals up`: everything on one machine with one command. Servers, then setup, then API and worker as supervised
 * children; Ctrl-C stops them in the reverse order and leaves no process behind.
 */
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../../config.js'
import { startAnnalsProcess } from '../../embedded/annals-process.js'
import { lockDataDirectory } from '../../embedded/lock.js'
import { LogFile } from '../../embedded/log-file.js'
import { loopback } from '../../embedded/ports.js'
import { killRecorded, recordProcess, stopLeftovers } from '../../embedded/records.js'
import { randomFromFile } from '../../embedded/random-file.js'
import type { ServerProcess } from '../../embedded/server-process.js'
import { announcedPort, both, prepareMongod, prepareTemporal } from '../../embedded/servers.js'
import { Supervised } from '../../embedded/supervisor.js'
import { createLogger } from '../../logging.js'
import { setup } from '../../operations/setup.js'
import type { Output } from '../output.js'
import { runFileName } from '../running.js'
import { reportAsJson, reportAsText } from './up-banner.js'
import { listenForStop, type Stop } from './up-stop.js'

/** Not the servers' usual ports where a person's own may run; 7233 is where the `temporal` CLI looks by itself. */
const preferredMongodPort = 27_117
const preferredTemporalPort = 7_233

/** Above what `serve` and `work` take at most to drain (15 s and 20 s). */
const serveGraceMs = 25_000
const workGraceMs = 30_000
const readyTimeoutMs = 90_000

/** API first, so that nothing new comes in; then what works on it; the stores last. */
const stopOrder = ['annals serve', 'annals work', 'temporal', 'mongod']

/**
 * Runs until Ctrl-C or SIGTERM, and then stops everything.
 * @throws AnnalsError `unavailable` where another `up` has the data folder, a server cannot be had or started, or a
 *   process keeps dying; everything is stopped then
 */
export async function up(config: Config, output: Output): Promise<void> {
  const stop = listenForStop(() => killRecorded(config.dataDirectory))
  const runFile = join(config.dataDirectory, runFileName)
  const running: Supervised<ServerProcess>[] = []
  try {
    const lock = lockDataDirectory(config.dataDirectory)
    try {
      for (const name of await stopLeftovers(config.dataDirectory)) {
        output.note(`${name}: one was left over from a start that was killed; stopped it`)
      }
      const starting = startEverything({ config, output, running, runFile, stop })
      try {
        await Promise.race([starting, stop.asked])
        await stop.asked
        output.note('Stopping …')
      } finally {
        // What is being started must be there, or have failed, before it can be stopped.
        stop.cancel()
        await starting.catch(() => undefined)
        for (const name of stopOrder) await running.find((one) => one.name === name)?.stop()
      }
    } finally {
      rmSync(runFile, { force: true })
      lock.release()
    }
  } finally {
    stop.dispose()
  }
  output.note('Everything is stopped.')
}

interface Starting {
  readonly config: Config
  readonly output: Output
  /** Everything that was started, for the one who stops it. */
  readonly running: Supervised<ServerProcess>[]
  readonly runFile: string
  readonly stop: Stop
}

async function startEverything(starting: Starting): Promise<void> {
  const { output, runFile, stop } = starting
  const config = await startServers(starting)
  // Other commands (`annals keys …`) find the database by this file. A given address may hold a password.
  const { mongodb, temporal } = config
  const found = {
    mongodbUri: mongodb.uri,
    temporalAddress: temporal.address,
    apiUrl: config.http.publicUrl ?? `http://${config.http.host}:${String(config.http.port)}`,
  }
  writeFileSync(runFile, JSON.stringify(found), { mode: 0o600 })

  stop.signal.throwIfAborted()
  output.note('setup: keys, indexes, namespace …')
  const setupLog = new LogFile({ path: join(config.dataDirectory, 'logs', 'setup.log') })
  const logger = createLogger(config.logLevel, {
    write: (line) => void setupLog.append([line.trimEnd()]),
  })
  const { firstKey } = await setup(config, logger)
  await setupLog.close()

  stop.signal.throwIfAborted()
  output.note('API and worker: starting …')
  const apiUrl = await startChildren(starting, config)
  const report = {
    apiUrl: config.http.publicUrl ?? apiUrl,
    temporalUiUrl:
      starting.config.temporal.address === undefined
        ? `http://${loopback}:${config.temporal.uiPort}`
        : undefined,
    dataDirectory: config.dataDirectory,
    firstKey,
  }
  output.result(reportAsJson(report), () => reportAsText(report, new Date()))
}

/** Starts the servers that have no address yet. @returns the configuration with every address and port filled in */
async function startServers({ config, output, running, stop }: Starting): Promise<Config> {
  const { dataDirectory, cacheDirectory } = config
  const progress = output.note
  const httpPort = await announcedPort('API', config.http.port, progress)
  const codecPathSecret =
    config.codecPathSecret ?? randomFromFile(join(dataDirectory, 'codec-path-secret'), 32)
  const supervise = async <Running extends ServerProcess>(name: string, start: () => Promise<Running>) => {
    const supervised = new Supervised({ name, start, progress, onGiveUp: stop.fail })
    running.push(supervised)
    return await supervised.start()
  }
  const mongodb = async () => {
    if (config.mongodb.uri !== undefined) return config.mongodb.uri
    const start = await prepareMongod({
      binary: config.binaries.mongod,
      dataDirectory,
      cacheDirectory,
      preferredPort: preferredMongodPort,
      progress,
      signal: stop.signal,
    })
    progress('mongod: starting …')
    return (await supervise('mongod', start)).uri
  }
  const temporal = async () => {
    const { address, namespace, uiPort } = config.temporal
    if (address !== undefined) return { address, uiPort }
    const prepared = await prepareTemporal({
      binary: config.binaries.temporal,
      dataDirectory,
      cacheDirectory,
      preferredPort: preferredTemporalPort,
      preferredUiPort: uiPort,
      codecEndpoint: `http://${loopback}:${httpPort}/temporal/codec/${codecPathSecret}`,
      namespace,
      progress,
      signal: stop.signal,
    })
    progress('temporal: starting …')
    const server = await supervise('temporal', prepared)
    return { address: server.address, uiPort: server.uiPort ?? uiPort }
  }
  const [uri, reached] = await both(mongodb(), temporal())
  return {
    ...config,
    codecPathSecret,
    http: { ...config.http, port: httpPort },
    mongodb: { ...config.mongodb, uri },
    temporal: { ...config.temporal, ...reached },
  }
}

/** @returns the address of the API */
async function startChildren({ output, running, stop }: Starting, config: Config): Promise<string> {
  const environment = {
    ANNALS_HTTP_HOST: config.http.host,
    ANNALS_HTTP_PORT: String(config.http.port),
    ANNALS_MONGODB_URI: config.mongodb.uri,
    ANNALS_TEMPORAL_ADDRESS: config.temporal.address,
    ANNALS_TEMPORAL_UI_PORT: String(config.temporal.uiPort),
    ANNALS_CODEC_PATH_SECRET: config.codecPathSecret,
    ANNALS_DATA_DIR: config.dataDirectory,
    // Setup has used it; nobody else needs it.
    ANNALS_ADMIN_KEY: undefined,
  }
  const start = async (args: readonly [name: 'serve' | 'work', ...string[]], graceMs: number) => {
    const [name] = args
    const log = new LogFile({ path: join(config.dataDirectory, 'logs', `${name}.log`) })
    const supervised = new Supervised({
      name: `annals ${name}`,
      progress: output.note,
      onGiveUp: stop.fail,
      start: () =>
        startAnnalsProcess({
          name: `annals ${name}`,
          entryFile: process.argv[1] ?? '',
          args,
          environment,
          log,
          readyTimeoutMs,
          graceMs,
          onSpawn: (child) => recordProcess(config.dataDirectory, name, child),
        }),
    })
    running.push(supervised)
    return await supervised.start()
  }
  const [api] = await both(
    start(['serve'], serveGraceMs),
    // On one machine there is no older build that should go on getting the tasks.
    start(['work', '--make-current'], workGraceMs),
  )
  return api.url ?? `http://${loopback}:${config.http.port}`
}
