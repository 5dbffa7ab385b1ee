/**
 * A whole Annals in this process for one test file: its own database and key folder on the shared servers, the
 * real API on a real port. `close()` holds what was acknowledged, what is stored and what a search finds to each other
 * (search-oracle.ts), stops it, and drops what it made.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { openApi, type Api } from '../../src/api.js'
import { loadConfig, type Config } from '../../src/config.js'
import type { Role } from '../../src/access/contract.js'
import { startServer } from '../../src/http/server.js'
import { createLogger } from '../../src/logging.js'
import { createMetrics } from '../../src/metrics.js'
import { setup, setUpDatabase } from '../../src/operations/setup.js'
import { ensureCodecKeyFile } from '../../src/temporal/codec-keys.js'
import { Acknowledgements, type Acknowledged } from './acknowledged.js'
import { checkWorldsSearch } from './search-oracle.js'
import { mongoUri, temporalAddress, testDatabaseName } from './servers.js'

export interface Answer {
  readonly status: number
  readonly headers: Headers
  /** Parsed where it is JSON, else the text. */
  readonly body: unknown
  readonly text: string
}

export interface RequestOptions {
  readonly key?: string
  readonly headers?: Record<string, string>
  /** Sent as JSON; text and bytes go as they are. */
  readonly body?: unknown
}

export interface World {
  readonly config: Config
  readonly api: Api
  readonly url: string
  /** The first administrator's key: owner, all organizations, personal grant. */
  readonly ownerKey: string
  request(method: string, path: string, options?: RequestOptions): Promise<Answer>
  /** Makes a key and returns its secret. */
  key(wanted: { role: Role; [member: string]: unknown }): Promise<string>
  /** Ids of the events that `request` was answered as stored, by organization. */
  readonly acknowledged: Acknowledged
  /** Every line that was logged so far. */
  logs(): string
  close(): Promise<void>
}

export interface WorldOptions {
  readonly environment?: Record<string, string>
  /** Register namespace and search attributes too; without it Temporal is known and not used. */
  readonly temporal?: boolean
  /** Why, at the end, what is in the store may be another thing than what a search finds. Absent = they are held equal. */
  readonly unsearchable?: string
}

/** The environment of a deployment on the shared servers, with everything it keeps under `folder`. */
export function worldEnvironment(folder: string, database: string): Record<string, string> {
  return {
    ANNALS_MONGODB_URI: mongoUri(),
    ANNALS_MONGODB_DATABASE: database,
    ANNALS_TEMPORAL_ADDRESS: temporalAddress(),
    ANNALS_TEMPORAL_NAMESPACE: 'annals',
    ANNALS_DATA_DIR: folder,
    ANNALS_HTTP_PORT: '0',
    ANNALS_LOG_LEVEL: 'debug',
  }
}

export async function openWorld(options: WorldOptions = {}): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), 'annals-world-'))
  const config = loadConfig({ ...worldEnvironment(folder, testDatabaseName()), ...options.environment })
  const lines: string[] = []
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(chunk.toString())
      done()
    },
  })
  const logger = createLogger(config.logLevel, sink)
  await ensureCodecKeyFile(config.keys.codecKeyFile)
  const { firstKey } = await (options.temporal === true ? setup : setUpDatabase)(config, logger)
  if (firstKey === undefined) throw new Error('a fresh database had a key already')
  const api = await openApi(config, logger, createMetrics({ processFigures: false }))
  const server = await startServer(api.app, { host: '127.0.0.1', port: 0, drainMs: 5_000 })

  const acknowledgements = new Acknowledgements()

  async function request(method: string, path: string, sent: RequestOptions = {}): Promise<Answer> {
    const { body, key = firstKey } = sent
    const raw = typeof body === 'string' || body instanceof Uint8Array
    const response = await fetch(server.url + path, {
      method,
      headers: {
        ...(key === undefined || key === '' ? {} : { authorization: `Bearer ${key}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...sent.headers,
      },
      ...(body === undefined ? {} : { body: raw ? (body as string) : JSON.stringify(body) }),
    })
    const text = await response.text()
    const json = (response.headers.get('content-type') ?? '').includes('json')
    const answered: unknown = json ? JSON.parse(text) : text
    acknowledgements.note(method, path, body, response.status, answered)
    return { status: response.status, headers: response.headers, text, body: answered }
  }

  const world: World = {
    config,
    api,
    url: server.url,
    ownerKey: firstKey,
    request,
    async key(wanted) {
      const made = await request('POST', '/v1/keys', { body: { name: 'test', ...wanted } })
      if (made.status !== 201) throw new Error(`no key was made: ${made.text}`)
      return (made.body as { secret: string }).secret
    },
    acknowledged: acknowledgements.ids,
    logs: () => lines.join(''),
    async close() {
      try {
        if (options.unsearchable === undefined) await checkWorldsSearch(world, { otherWriters: true })
      } finally {
        await server.stop()
        await api.core.db.dropDatabase()
        await api.close()
        await rm(folder, { recursive: true, force: true })
      }
    },
  }
  return world
}
