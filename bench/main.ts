/**
 * `npm run bench`: Annals beside what it is measured against, in one run on one machine, in turns. The figures that
 * count are ratios: machines are shared and noisy.
 *
 *     npm run bench -- [--only single,batch,…] [--seconds N] [--rounds N] [--connections N]
 *         [--events N]   (of search, import and erasure; a million take some ten minutes)
 *         [--person N]   (events of the person with very many whom `erasure` erases; 300,000 take some five minutes)
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { openCore } from '../src/composition.js'
import { loadConfig } from '../src/config.js'
import { prepareMongod } from '../src/embedded/servers.js'
import type { StoredEvent } from '../src/events/store.js'
import { createLogger } from '../src/logging.js'
import { setUpDatabase } from '../src/operations/setup.js'
import { ensureCodecKeyFile } from '../src/temporal/codec-keys.js'
import { benchBatch } from './batch.js'
import { benchCollections, storedTemplates } from './data.js'
import type { BenchWorld } from './harness.js'
import { benchErasure } from './erasure.js'
import { benchImport } from './import.js'
import { benchLag } from './lag.js'
import { benchOverload } from './overload.js'
import { benchRetention } from './retention.js'
import { benchSealing } from './sealing.js'
import { benchSearch } from './search.js'
import { benchSingle } from './single.js'
import { benchVerify } from './verify.js'

/** Every benchmark, in the order in which they run. */
const benchmarks: Record<string, (world: BenchWorld) => Promise<void>> = {
  single: benchSingle,
  batch: benchBatch,
  sealing: ({ config, say }) => benchSealing(config, say),
  lag: (world) => benchLag(world),
  overload: (world) => benchOverload(world),
  import: (world) => benchImport(world, { events: Number(values.events) }),
  verify: (world) => benchVerify(world),
  retention: (world) => benchRetention(world, { events: Math.min(Number(values.events), 40_000) }),
  erasure: (world) => benchErasure(world, { many: Number(values.person), events: Number(values.events) }),
  search: (world) => benchSearch(world, { events: Number(values.events) }),
}

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: 'single,batch,sealing' },
    seconds: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '3' },
    connections: { type: 'string', default: '64' },
    events: { type: 'string', default: '100000' },
    person: { type: 'string', default: '300000' },
  },
})
const chosen = values.only.split(',')
const unknown = chosen.filter((name) => benchmarks[name] === undefined)
if (unknown.length > 0) throw new Error(`no such benchmark; there are ${Object.keys(benchmarks).join(', ')}`)

const say = (line: string) => process.stdout.write(`${line}\n`)
const folder = await mkdtemp(join(tmpdir(), 'annals-bench-'))
const outer = loadConfig()
const start = await prepareMongod({
  binary: outer.binaries.mongod,
  dataDirectory: folder,
  cacheDirectory: outer.cacheDirectory,
  preferredPort: 0,
  // A million events and their indexes are some 4 GB: a database of that size is given that much.
  ...(['search', 'import', 'erasure'].some((name) => chosen.includes(name)) ? { cacheGigabytes: 4 } : {}),
  progress: say,
})
const starting = start()
let ended: Promise<void> | undefined
/** Stops the database, also one that is about to start, and takes its folder away; once. */
function end(): Promise<void> {
  ended ??= starting
    .then((running) => running.stop())
    .catch(() => undefined)
    .then(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  return ended
}
// Somebody who stops a run finds nothing of it left.
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => void end().finally(() => process.exit(1)))
try {
  const mongod = await starting
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
  const world: BenchWorld = {
    config,
    environment,
    key: firstKey,
    durationMs: Number(values.seconds) * 1_000,
    rounds: Number(values.rounds),
    connections: Number(values.connections),
    say,
  }
  for (const [name, run] of Object.entries(benchmarks)) if (chosen.includes(name)) await run(world)
} finally {
  await end()
}
