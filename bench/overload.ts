/**
 * Overload: one noisy key offers ten times what can be written, on a clock that waits for no answer; a quiet key posts now
 * and then. Memory must stay bounded, the noisy key gets 503 with `Retry-After`, the quiet one is served, and what was
 * accepted is there.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { openCore } from '../src/composition.js'
import { createLogger } from '../src/logging.js'
import { sampleEvents } from './data.js'
import { jsonHeaders, startBenchServer, type BenchWorld } from './harness.js'
import { load, quantile, requestBytes } from './http-load.js'
import { offer } from './offer.js'

const times = 10
const noisyBatch = 500
const maxConnections = 512
const sustainableMs = 5_000
const quietEveryMs = 50
const answerTimeoutMs = 30_000

export async function benchOverload(world: BenchWorld, seconds = 60): Promise<void> {
  const { say } = world
  const core = await openCore(world.config, createLogger('silent'))
  const makeKey = async (name: string) =>
    (await core.accessKeys.create({ role: 'ingest', name }, 'setup')).secret
  const [noisyKey, quietKey] = [await makeKey('noisy'), await makeKey('quiet')]
  const server = await startBenchServer('annals', world)
  const event = { ...sampleEvents()[0], organizationId: 'org_overload' }
  const events = Array.from({ length: noisyBatch }, () => event)
  const batch = requestBytes('POST', '/v1/events/batch', jsonHeaders(noisyKey), JSON.stringify({ events }))
  const next = () => batch
  const sustained = await load({ port: server.port, connections: 4, durationMs: sustainableMs, next })
  const sustainable = (sustained.requests * noisyBatch) / sustained.seconds
  say(
    `\nOverload for ${String(seconds)} s: batches of ${String(noisyBatch)} at ${String(times)} × the ${sustainable.toFixed(0)} events/s that this machine sustains, and a quiet key:`,
  )
  let accepted = sustained.requests * noisyBatch
  let refused = 0
  let otherwise = 0
  const counts = { accepted: 0, refused: 0 }
  const quietLatencies: number[] = []
  let peakRss = 0
  let over = false

  const quiet = async () => {
    while (!over) {
      const sentAt = performance.now()
      const response = await fetch(`http://127.0.0.1:${String(server.port)}/v1/events`, {
        method: 'POST',
        headers: jsonHeaders(quietKey),
        body: JSON.stringify(event),
        signal: AbortSignal.timeout(answerTimeoutMs),
      })
      await response.arrayBuffer()
      quietLatencies.push(performance.now() - sentAt)
      if (response.status === 201) counts.accepted += 1
      else counts.refused += 1
      await sleep(quietEveryMs)
    }
  }
  const watch = async () => {
    while (!over) {
      peakRss = Math.max(peakRss, (await server.usage()).rss)
      await sleep(500)
    }
  }
  const noisy = offer({
    port: server.port,
    perSecond: (sustainable * times) / noisyBatch,
    durationMs: seconds * 1_000,
    maxConnections,
    next,
    onAnswer({ status, head, body }) {
      if (status === 200) {
        const good = body.match(/"status":201/g)?.length ?? 0
        accepted += good
        refused += noisyBatch - good
      } else {
        refused += noisyBatch
        if (status !== 503 || !/\r\nretry-after: \d/i.test(head)) otherwise += 1
      }
    },
  }).finally(() => {
    over = true
  })
  const [{ sent, unsent, broken }] = await Promise.all([noisy, watch(), quiet()])
  server.stop()
  const stored = await core.events.countDocuments({
    organizationId: 'org_overload',
    category: { $ne: 'system' },
  })
  await core.close()
  const sorted = Float64Array.from(quietLatencies).sort()
  const offered = ((sent * noisyBatch) / seconds / sustainable).toFixed(1)
  say(
    `  noisy key: ${String(sent)} batches sent, ${offered} × the sustainable (${String(unsent)} found no free connection of ${String(maxConnections)}), ${String(refused)} events refused`,
  )
  say(
    `  refusals that were not 503 with Retry-After: ${String(otherwise)}, connections broken: ${String(broken)}`,
  )
  say(
    `  quiet key: ${String(counts.accepted)} accepted, ${String(counts.refused)} refused, p50 ${quantile(sorted, 0.5).toFixed(0)} ms, p99 ${quantile(sorted, 0.99).toFixed(0)} ms`,
  )
  say(`  peak memory of the API: ${(peakRss / 1_048_576).toFixed(0)} MiB`)
  say(`  acknowledged ${String(accepted + counts.accepted)}, in the store ${String(stored)}`)
}
