/**
 * `npm run bench`: Annals beside what it is measured against, in one run on one machine, in turns. The figures that
 * count are ratios: machines are shared and noisy.
 *
 *     node dist/bench/main.js [--seconds N] [--rounds N] [--connections N]
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { openCore } from '../src/composition.js'
import { loadConfig, type Config } from '../src/config.js'
import { prepareMongod } from '../src/embedded/servers.js'
import { ensureEventIndexes, eventDocumentId, type StoredEvent } from '../src/events/store.js'
import { newId } from '../src/ids.js'
import { createLogger } from '../src/logging.js'
import { setUpDatabase } from '../src/operations/setup.js'
import { ensureCodecKeyFile } from '../src/temporal/codec-keys.js'
import { benchCollections, sampleEvents, storedTemplates } from './data.js'
import { benchSealing } from './sealing.js'
import { load, quantile, requestBytes, type LoadResult } from './http-load.js'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '3' },
    connections: { type: 'string', default: '64' },
  },
})
const durationMs = Number(values.seconds) * 1_000
const rounds = Number(values.rounds)
const connections = Number(values.connections)
/** Batches under way at once, and raw writes beside them. */
const writers = 4
const batchSize = 1_000

const say = (line: string) => process.stdout.write(`${line}\n`)

interface Server {
  readonly port: number
  /** Microseconds of CPU used so far. */
  cpu(): Promise<number>
  stop(): void
}

async function startBenchServer(kind: string, environment: Record<string, string>): Promise<Server> {
  const child: ChildProcess = fork(fileURLToPath(new URL('./server.js', import.meta.url)), [kind], {
    env: environment,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const port = await new Promise<number>((resolve, reject) => {
    child.once('message', (message: { port: number }) => resolve(message.port))
    child.once('exit', () => reject(new Error(`the ${kind} server did not start`)))
  })
  const cpu = async () => {
    const answer = once(child, 'message') as Promise<[{ cpu: NodeJS.CpuUsage }]>
    child.send('cpu')
    const [{ cpu: used }] = await answer
    return used.user + used.system
  }
  return { port, cpu, stop: () => child.kill('SIGKILL') }
}

/** The middle one of several runs, by requests a second. */
function middle(results: readonly LoadResult[]): LoadResult {
  const sorted = [...results].sort((a, b) => a.requests / a.seconds - b.requests / b.seconds)
  const result = sorted[Math.floor(sorted.length / 2)]
  if (result === undefined) throw new Error('nothing was measured')
  return result
}

const rate = ({ requests, seconds }: LoadResult) => requests / seconds

function row(name: string, perSecond: number, result: LoadResult): string {
  const ms = (share: number) => quantile(result.latencies, share).toFixed(1).padStart(8)
  const failed = result.failures === 0 ? '' : `  ${String(result.failures)} FAILED`
  return `${name.padEnd(34)}${perSecond.toFixed(0).padStart(9)}/s   p50 ${ms(0.5)} ms   p99 ${ms(0.99)} ms${failed}`
}

async function benchSingle(environment: Record<string, string>, key: string): Promise<void> {
  say(`\nSingle posts, ${String(connections)} connections, sample events in turn:`)
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
  const requests = sampleEvents().map((event) =>
    requestBytes('POST', '/v1/events', headers, JSON.stringify(event)),
  )
  const kinds = ['echo', 'naive', 'annals'] as const
  const cpuPerRequest = new Map<string, number>()
  const results = new Map<string, LoadResult[]>(kinds.map((kind) => [kind, []]))
  for (let round = 0; round < rounds; round += 1) {
    for (const kind of kinds) {
      const server = await startBenchServer(kind, environment)
      let index = 0
      const next = () => requests[index++ % requests.length] ?? Buffer.alloc(0)
      await load({ port: server.port, connections, durationMs: 1_500, next })
      const before = await server.cpu()
      const result = await load({ port: server.port, connections, durationMs, next })
      results.get(kind)?.push(result)
      cpuPerRequest.set(kind, ((await server.cpu()) - before) / result.requests)
      server.stop()
    }
  }
  const [echo, naive, annals] = kinds.map((kind) => middle(results.get(kind) ?? []))
  if (echo === undefined || naive === undefined || annals === undefined) return
  say(row('bare Express echo', rate(echo), echo))
  say(row('Express + insertOne (majority)', rate(naive), naive))
  say(row('Annals POST /v1/events', rate(annals), annals))
  say(`  ratio to echo   ${(rate(annals) / rate(echo)).toFixed(2)}   (at least 0.50)`)
  say(`  ratio to naive  ${(rate(annals) / rate(naive)).toFixed(2)}   (at least 1.60)`)
  const cpu = kinds.map((kind) => `${kind} ${(cpuPerRequest.get(kind) ?? 0).toFixed(0)}`).join(', ')
  say(`  server CPU, µs a request: ${cpu}`)
  say(`  p99 to echo's   ${(quantile(annals.latencies, 0.99) / quantile(echo.latencies, 0.99)).toFixed(2)}`)
}

async function benchBatch(config: Config, environment: Record<string, string>, key: string): Promise<void> {
  say(`\nBatches of ${String(batchSize)}, ${String(writers)} at once, sample events in turn:`)
  const core = await openCore(config, createLogger('silent'))
  const templates = await core.db
    .collection<StoredEvent>(benchCollections.templates)
    .find({}, { useBigInt64: true })
    .toArray()
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
  const samples = sampleEvents()
  const bodies = Array.from({ length: 8 }, (_, batch) => {
    const events = Array.from(
      { length: batchSize },
      (__, index) => samples[(batch * batchSize + index) % samples.length],
    )
    return requestBytes('POST', '/v1/events/batch', headers, JSON.stringify({ events }))
  })
  const raw: LoadResult[] = []
  const annals: LoadResult[] = []
  for (let round = 0; round < rounds; round += 1) {
    const collection = core.db.collection<StoredEvent>(benchCollections.raw)
    await collection.drop()
    await ensureEventIndexes(collection)
    let next = 0
    raw.push(
      await writeLoad(async () => {
        const start = (next++ * batchSize) % templates.length
        const documents = Array.from({ length: batchSize }, (_, index) => {
          const template = templates[(start + index) % templates.length]
          if (template === undefined) throw new Error('no templates')
          return { ...template, _id: eventDocumentId(template.organizationId, newId('evt')) }
        })
        await collection.insertMany(documents, { ordered: false })
      }),
    )
    await core.events.drop()
    await ensureEventIndexes(core.events)
    const server = await startBenchServer('annals', environment)
    let index = 0
    const nextBody = () => bodies[index++ % bodies.length] ?? Buffer.alloc(0)
    await load({ port: server.port, connections: writers, durationMs: 1_500, next: nextBody })
    annals.push(await load({ port: server.port, connections: writers, durationMs, next: nextBody }))
    server.stop()
  }
  await core.close()
  const rawRate = rate(middle(raw)) * batchSize
  const annalsRate = rate(middle(annals)) * batchSize
  say(row('raw insertMany, same documents', rawRate, middle(raw)))
  say(row('Annals POST /v1/events/batch', annalsRate, middle(annals)))
  say(`  ratio to raw    ${(annalsRate / rawRate).toFixed(2)}   (at least 0.35)`)
}

/** As `load`, for writes that go straight to the database. */
async function writeLoad(write: () => Promise<void>): Promise<LoadResult> {
  const latencies: number[] = []
  const startedAt = performance.now()
  const run = async () => {
    while (performance.now() < startedAt + durationMs) {
      const sentAt = performance.now()
      await write()
      latencies.push(performance.now() - sentAt)
    }
  }
  await Promise.all(Array.from({ length: writers }, run))
  const seconds = (performance.now() - startedAt) / 1_000
  return { requests: latencies.length, failures: 0, seconds, latencies: Float64Array.from(latencies).sort() }
}

const folder = await mkdtemp(join(tmpdir(), 'annals-bench-'))
const outer = loadConfig()
const start = await prepareMongod({
  binary: outer.binaries.mongod,
  dataDirectory: folder,
  cacheDirectory: outer.cacheDirectory,
  preferredPort: 0,
  progress: say,
})
const mongod = await start()
try {
  const environment = {
    ANNALS_MONGODB_URI: mongod.uri,
    ANNALS_TEMPORAL_ADDRESS: '127.0.0.1:7233',
    ANNALS_DATA_DIR: folder,
    ANNALS_LOG_LEVEL: 'info',
  }
  const config = loadConfig(environment)
  await ensureCodecKeyFile(config.keys.codecKeyFile)
  const { firstKey } = await setUpDatabase(config, createLogger('silent'))
  if (firstKey === undefined) throw new Error('a fresh database had a key')
  const core = await openCore(config, createLogger('silent'))
  await core.db.collection<StoredEvent>(benchCollections.templates).insertMany(await storedTemplates(core))
  await core.close()
  await benchSingle(environment, firstKey)
  await benchBatch(config, environment, firstKey)
  await benchSealing(config, say)
} finally {
  await mongod.stop()
  await rm(folder, { recursive: true, force: true })
}
