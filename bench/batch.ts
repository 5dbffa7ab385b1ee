/** Batches and streams beside raw `insertMany` of the same stored documents, with the same indexes and writers. */
import { openCore } from '../src/composition.js'
import { ensureEventIndexes, eventDocumentId, type StoredEvent } from '../src/events/store.js'
import { newId } from '../src/ids.js'
import { createLogger } from '../src/logging.js'
import { benchCollections, sampleEvents } from './data.js'
import { jsonHeaders, middle, rate, row, startBenchServer, type BenchWorld } from './harness.js'
import { load, requestBytes, type LoadResult } from './http-load.js'

/** Requests, or raw writes, under way at once. */
const writers = 4
const batchSize = 1_000
const warmUpMs = 2_000

export async function benchBatch(world: BenchWorld): Promise<void> {
  const { say } = world
  say(`\nBatches and streams of ${String(batchSize)}, ${String(writers)} at once, sample events in turn:`)
  const core = await openCore(world.config, createLogger('silent'))
  const templates = await core.db
    .collection<StoredEvent>(benchCollections.templates)
    .find({}, { useBigInt64: true })
    .toArray()
  const runs = groupsOfSamples(8)
  const headers = jsonHeaders(world.key)
  const batches = runs.map((events) =>
    requestBytes('POST', '/v1/events/batch', headers, JSON.stringify({ events })),
  )
  const ndjson = { ...headers, 'content-type': 'application/x-ndjson' }
  const streams = runs.map((events) =>
    requestBytes(
      'POST',
      '/v1/events/stream',
      ndjson,
      events.map((event) => `${JSON.stringify(event)}\n`).join(''),
    ),
  )
  const raw: LoadResult[] = []
  const batch: LoadResult[] = []
  const stream: LoadResult[] = []
  for (let round = 0; round < world.rounds; round += 1) {
    const collection = core.db.collection<StoredEvent>(benchCollections.raw)
    await collection.drop()
    await ensureEventIndexes(collection)
    let next = 0
    raw.push(
      await writeLoad(world.durationMs, async () => {
        const start = (next++ * batchSize) % templates.length
        const documents = Array.from({ length: batchSize }, (_, index) => {
          const template = templates[(start + index) % templates.length]
          if (template === undefined) throw new Error('no templates')
          return { ...template, _id: eventDocumentId(template.organizationId, newId('evt')) }
        })
        await collection.insertMany(documents, { ordered: false })
      }),
    )
    for (const [results, requests] of [
      [batch, batches],
      [stream, streams],
    ] as const) {
      await core.events.drop()
      await ensureEventIndexes(core.events)
      const server = await startBenchServer('annals', world)
      let index = 0
      const nextBody = () => requests[index++ % requests.length] ?? Buffer.alloc(0)
      const options = { port: server.port, connections: writers, next: nextBody }
      await load({ ...options, durationMs: warmUpMs })
      results.push(await load({ ...options, durationMs: world.durationMs }))
      server.stop()
    }
  }
  await core.close()
  const perSecond = (results: LoadResult[]) => rate(middle(results)) * batchSize
  say(row('raw insertMany, same documents', perSecond(raw), middle(raw)))
  say(row('Annals POST /v1/events/batch', perSecond(batch), middle(batch)))
  say(row('Annals POST /v1/events/stream', perSecond(stream), middle(stream)))
  say(`  batch to raw    ${(perSecond(batch) / perSecond(raw)).toFixed(2)}   (at least 0.35, then 0.45)`)
  say(`  stream to raw   ${(perSecond(stream) / perSecond(raw)).toFixed(2)}   (at least 0.45)`)
}

function groupsOfSamples(count: number): Record<string, unknown>[][] {
  const samples = sampleEvents()
  return Array.from({ length: count }, (_, group) =>
    Array.from(
      { length: batchSize },
      (__, index) => samples[(group * batchSize + index) % samples.length] ?? {},
    ),
  )
}

/** As `load`, for writes that go straight to the database. */
async function writeLoad(durationMs: number, write: () => Promise<void>): Promise<LoadResult> {
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
