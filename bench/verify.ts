/**
 * Verification: inclusion proofs in a log of a million leaves, and the verifier over a downloaded copy, records alone
 * and with values. The copy is one real tile of sample events, sealed and downloaded, that comes again and again: a
 * tree does not mind, and what is read, parsed and hashed for each leaf is what it always is.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { openCore, type Core } from '../src/composition.js'
import { eventSchema, parseEvent } from '../src/events/schema.js'
import { newId } from '../src/ids.js'
import { createLogger } from '../src/logging.js'
import { formatCheckpoint, parseCheckpoint, type Checkpoint } from '../src/transparency-log/checkpoint.js'
import { hashAt } from '../src/transparency-log/hash.js'
import { nodeHasher } from '../src/transparency-log/node-crypto.js'
import {
  entriesDocumentId,
  logCollections,
  tileDocumentId,
  type LogEntriesDocument,
  type LogTileDocument,
} from '../src/transparency-log/store.js'
import { tilePath, tileWidth } from '../src/transparency-log/tile.js'
import { TileAppender } from '../src/transparency-log/tile-appender.js'
import { openLogFolder } from '../src/verification/folder-source.js'
import type { LogSource } from '../src/verification/log-source.js'
import { walkLog } from '../src/verification/log-walk.js'
import { nodeRules } from '../src/verification/node-rules.js'
import { download } from '../src/verification/run.js'
import { sampleEvents } from './data.js'
import { startBenchServer, type BenchWorld } from './harness.js'
import { quantile } from './http-load.js'

const organization = 'org_bench_verify'
const provedOrganization = 'org_bench_proofs'
const millionLeaves = 1_000_000
const leavesWithValues = 200_000
const proofs = 2_000
const megabyte = 1_048_576

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

export async function benchVerify(world: BenchWorld): Promise<void> {
  const { config, say } = world
  say('\nVerification, over sample events:')
  const core = await openCore(config, createLogger('silent'))
  const folder = await mkdtemp(join(tmpdir(), 'annals-bench-verify-'))
  try {
    await sealOneTile(core)
    const server = await startBenchServer('annals', world)
    const url = `http://127.0.0.1:${String(server.port)}`
    await download({ url, key: world.key, organization, logKeys: [], values: true, download: folder })
    server.stop()
    const copy = await openLogFolder(folder, true)
    const tile = await copy?.source.tile({ level: 0, index: 0, width: tileWidth })
    if (copy === undefined || tile === undefined) throw new Error('the copy has a whole tile')
    const { checkpoint, source } = repeated(copy.source, tile, millionLeaves)
    const recordsOnly: LogSource = {
      tile: (asked) => source.tile(asked),
      bundle: (asked) => source.bundle(asked),
    }
    await walked('records, 1,000,000 leaves', recordsOnly, checkpoint, 60_000, say)
    const values = repeated(copy.source, tile, leavesWithValues)
    await walked('with values, 200,000 leaves', values.source, values.checkpoint, 20_000, say)
    await proofsAtAMillion(core, tile, say)
  } finally {
    await core.close()
    await rm(folder, { recursive: true, force: true })
  }
}

/** Events of one organization, enough for a full tile. */
async function sealOneTile(core: Core): Promise<void> {
  const target = await core.eventOrganizations.ensure(organization, 'system')
  const samples = sampleEvents()
  for (let from = 0; from < tileWidth; from += 1) {
    const result = parseEvent(
      { ...samples[(from * 37) % samples.length], organizationId: organization },
      eventSchema,
      Date.now(),
    )
    if (!result.ok) throw new Error('a sample was refused')
    await core.intake.submit({ event: result.parsed.event }, target)
  }
  await core.sealing.sealer.drainOrganization(organization)
}

/** The log in which the first tile of another one comes again and again. */
function repeated(
  source: LogSource,
  tile: Uint8Array,
  size: number,
): { source: LogSource; checkpoint: Checkpoint } {
  const tree = new TileAppender(nodeHasher)
  const upper = new Map<string, Uint8Array>()
  for (let leaf = 0; leaf < size; leaf += 1) {
    tree.append(hashAt(tile, leaf % tileWidth))
    if (leaf % tileWidth !== tileWidth - 1 && leaf !== size - 1) continue
    for (const made of tree.takeTiles()) if (made.tile.level > 0) upper.set(tilePath(made.tile), made.bytes)
  }
  const first = { level: 0, index: 0, width: tileWidth }
  const whole = size - (size % tileWidth)
  const text = formatCheckpoint({
    origin: 'annals.local/bench/1',
    size: whole,
    root: rootOf(tile, whole),
    extensions: [],
  })
  return {
    checkpoint: parseCheckpoint(text),
    source: {
      tile: (asked) => (asked.level === 0 ? source.tile(first) : Promise.resolve(upper.get(tilePath(asked)))),
      bundle: () => source.bundle(first),
      ...(source.events === undefined
        ? {}
        : { events: () => source.events?.(first) ?? Promise.resolve(undefined) }),
    },
  }
}

function rootOf(tile: Uint8Array, size: number): Uint8Array {
  const tree = new TileAppender(nodeHasher)
  for (let leaf = 0; leaf < size; leaf += 1) {
    tree.append(hashAt(tile, leaf % tileWidth))
    if (leaf % 65_536 === 0) tree.takeTiles()
  }
  return tree.root()
}

async function walked(
  name: string,
  source: LogSource,
  checkpoint: Checkpoint,
  atLeast: number,
  say: (line: string) => void,
): Promise<void> {
  const memory: number[] = []
  const cpu = process.cpuUsage()
  const startedAt = performance.now()
  const report = await walkLog(source, checkpoint, {
    ...nodeRules,
    generation: 1,
    onProgress: (leaves) => {
      // Few enough collections to cost nothing.
      if (leaves % 65_536 === 0) memory.push(heldBytes())
    },
  })
  const seconds = (performance.now() - startedAt) / 1_000
  const { user, system } = process.cpuUsage(cpu)
  const perCpuSecond = report.leaves / ((user + system) / 1_000_000)
  if (report.findingCount > 0)
    throw new Error(`the copy does not verify: ${JSON.stringify(report.findings[0])}`)
  const megabytes = (bytes: number | undefined) => ((bytes ?? 0) / megabyte).toFixed(1)
  say(
    `${name.padEnd(34)}${(report.leaves / seconds).toFixed(0).padStart(9)}/s   (at least ${String(atLeast)})` +
      `   ${perCpuSecond.toFixed(0)} a second of CPU` +
      `   held ${megabytes(memory[0])} MB after 65,536 leaves, ${megabytes(memory.at(-1))} MB at the end`,
  )
}

/** What is held, garbage aside. */
function heldBytes(): number {
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** A log of a million leaves, written as sealing leaves it; the hashes are one tile's, over and over. */
async function proofsAtAMillion(core: Core, tile: Uint8Array, say: (line: string) => void): Promise<void> {
  const { heads, tiles, entries } = logCollections(core.db)
  const real = await entries.findOne({ _id: entriesDocumentId(organization, 1, 0) })
  const tree = new TileAppender(nodeHasher)
  const place = { organizationId: provedOrganization, generation: 1 }
  const asked: string[] = []
  const at = new Date()
  let tileBatch: LogTileDocument[] = []
  let entryBatch: LogEntriesDocument[] = []
  const flush = async () => {
    if (tileBatch.length > 0) await tiles.insertMany(tileBatch, { ordered: false })
    if (entryBatch.length > 0) await entries.insertMany(entryBatch, { ordered: false })
    tileBatch = []
    entryBatch = []
  }
  const upper = new Map<string, LogTileDocument>()
  for (let leaf = 0; leaf < millionLeaves; leaf += 1) {
    tree.append(hashAt(tile, leaf % tileWidth))
    if (leaf % tileWidth !== tileWidth - 1 && leaf !== millionLeaves - 1) continue
    for (const { tile: made, bytes } of tree.takeTiles()) {
      const _id = tileDocumentId(provedOrganization, 1, made.level, made.index)
      const document = { _id, ...place, ...made, hashes: Buffer.from(bytes) }
      if (made.level > 0) {
        upper.set(_id, document)
        continue
      }
      const eventIds = Array.from({ length: made.width }, () => newId('evt'))
      asked.push(eventIds[made.index % made.width] ?? '')
      tileBatch.push({ ...document, eventIds, sealings: [{ at, count: made.width }] })
      const records = real?.records.slice(0, made.width) ?? []
      const entryId = entriesDocumentId(provedOrganization, 1, made.index)
      entryBatch.push({ _id: entryId, ...place, index: made.index, records })
    }
    if (tileBatch.length >= 64) await flush()
  }
  tileBatch.push(...upper.values())
  await flush()
  const root = Buffer.from(tree.root())
  const origin = core.sealing.keys.origin(provedOrganization, 1)
  const checkpoint = formatCheckpoint({ origin, size: millionLeaves, root, extensions: [] })
  const head = { ...place, size: millionLeaves, root, checkpoint, sealedAt: at, logId: Buffer.alloc(16) }
  await heads.insertOne({ _id: provedOrganization, ...head })
  const took: number[] = []
  for (let round = 0; round < proofs; round += 1) {
    const eventId = asked[(round * 7_919) % asked.length] ?? ''
    const startedAt = performance.now()
    const proof = await core.logReading.log.prove(provedOrganization, eventId)
    took.push(performance.now() - startedAt)
    if (proof === undefined) throw new Error('the event is in the log')
  }
  const sorted = Float64Array.from(took).sort()
  const ms = (share: number) => quantile(sorted, share).toFixed(1)
  say(
    `${'inclusion proof, 1,000,000 leaves'.padEnd(34)}p50 ${ms(0.5)} ms   p95 ${ms(0.95)} ms   (p95 below 10)`,
  )
}
