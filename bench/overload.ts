/**
 * Overload: one noisy key offers many times what can be written, a quiet key posts now and then. Memory must stay
 * bounded, the noisy key gets 503 with `Retry-After`, the quiet one is served, and what was accepted is there.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { openCore } from '../src/composition.js'
import { createLogger } from '../src/logging.js'
import { sampleEvents } from './data.js'
import { jsonHeaders, startBenchServer, type BenchWorld } from './harness.js'
import { quantile } from './http-load.js'

const noisyConnections = 64
const noisyBatch = 500
const quietEveryMs = 50

export async function benchOverload(world: BenchWorld, seconds = 60): Promise<void> {
  const { say } = world
  say(
    `\nOverload for ${String(seconds)} s: ${String(noisyConnections)} connections of batches of ${String(noisyBatch)}, and a quiet key:`,
  )
  const core = await openCore(world.config, createLogger('silent'))
  const makeKey = async (name: string) =>
    (await core.accessKeys.create({ role: 'ingest', name }, 'setup')).secret
  const [noisyKey, quietKey] = [await makeKey('noisy'), await makeKey('quiet')]
  const server = await startBenchServer('annals', world)
  const url = `http://127.0.0.1:${String(server.port)}`
  const before = await core.events.estimatedDocumentCount()
  const event = { ...sampleEvents()[0], organizationId: 'org_overload' }
  const body = JSON.stringify({ events: Array.from({ length: noisyBatch }, () => event) })
  const endsAt = performance.now() + seconds * 1_000
  const totals = {
    offered: 0,
    accepted: 0,
    refused: 0,
    withoutRetryAfter: 0,
    quietAccepted: 0,
    quietRefused: 0,
  }
  const quietLatencies: number[] = []
  let peakRss = 0

  const noisy = async () => {
    while (performance.now() < endsAt) {
      const response = await fetch(`${url}/v1/events/batch`, {
        method: 'POST',
        headers: jsonHeaders(noisyKey),
        body,
      })
      totals.offered += noisyBatch
      const answer = (await response.json()) as { results?: { status: number }[] }
      if (response.status === 200) {
        const good = answer.results?.filter(({ status }) => status === 201).length ?? 0
        totals.accepted += good
        totals.refused += noisyBatch - good
      } else {
        totals.refused += noisyBatch
        if (response.status !== 503 || response.headers.get('retry-after') === null)
          totals.withoutRetryAfter += 1
      }
    }
  }
  const quiet = async () => {
    while (performance.now() < endsAt) {
      const sentAt = performance.now()
      const response = await fetch(`${url}/v1/events`, {
        method: 'POST',
        headers: jsonHeaders(quietKey),
        body: JSON.stringify(event),
      })
      await response.arrayBuffer()
      quietLatencies.push(performance.now() - sentAt)
      if (response.status === 201) totals.quietAccepted += 1
      else totals.quietRefused += 1
      await sleep(quietEveryMs)
    }
  }
  const watch = async () => {
    while (performance.now() < endsAt) {
      peakRss = Math.max(peakRss, (await server.usage()).rss)
      await sleep(500)
    }
  }
  await Promise.all([watch(), quiet(), ...Array.from({ length: noisyConnections }, noisy)])
  server.stop()
  const stored = await core.events.countDocuments({
    organizationId: 'org_overload',
    category: { $ne: 'system' },
  })
  await core.close()
  const acknowledged = totals.accepted + totals.quietAccepted
  const sorted = Float64Array.from(quietLatencies).sort()
  const times = (totals.offered / Math.max(1, totals.accepted)).toFixed(1)
  say(
    `  noisy key: offered ${String(totals.offered)} events (${times} × what was accepted), refused ${String(totals.refused)}`,
  )
  say(`  refusals that were not 503 with Retry-After: ${String(totals.withoutRetryAfter)}`)
  say(
    `  quiet key: ${String(totals.quietAccepted)} accepted, ${String(totals.quietRefused)} refused, p50 ${quantile(sorted, 0.5).toFixed(0)} ms, p99 ${quantile(sorted, 0.99).toFixed(0)} ms`,
  )
  say(`  peak memory of the API: ${(peakRss / 1_048_576).toFixed(0)} MiB`)
  say(
    `  acknowledged ${String(acknowledged)}, in the store ${String(stored)} (${String(before)} events before)`,
  )
}
