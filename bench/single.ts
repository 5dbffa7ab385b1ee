/** Single posts beside a bare Express echo and beside one `insertOne` a request: same bodies, same client, in turns. */
import { sampleEvents } from './data.js'
import { jsonHeaders, middle, rate, row, startBenchServer, type BenchWorld } from './harness.js'
import { load, quantile, requestBytes, type LoadResult } from './http-load.js'

const kinds = ['echo', 'naive', 'annals'] as const
const warmUpMs = 2_000

export async function benchSingle(world: BenchWorld): Promise<void> {
  const { connections, durationMs, rounds, say } = world
  say(`\nSingle posts, ${String(connections)} connections, sample events in turn:`)
  const requests = sampleEvents().map((event) =>
    requestBytes('POST', '/v1/events', jsonHeaders(world.key), JSON.stringify(event)),
  )
  const cpuPerRequest = new Map<string, number>()
  const results = new Map<string, LoadResult[]>(kinds.map((kind) => [kind, []]))
  for (let round = 0; round < rounds; round += 1) {
    for (const kind of kinds) {
      const server = await startBenchServer(kind, world)
      let index = 0
      const next = () => requests[index++ % requests.length] ?? Buffer.alloc(0)
      await load({ port: server.port, connections, durationMs: warmUpMs, next })
      const before = await server.usage()
      const result = await load({ port: server.port, connections, durationMs, next })
      results.get(kind)?.push(result)
      cpuPerRequest.set(kind, ((await server.usage()).cpu - before.cpu) / result.requests)
      server.stop()
    }
  }
  const [echo, naive, annals] = kinds.map((kind) => middle(results.get(kind) ?? []))
  if (echo === undefined || naive === undefined || annals === undefined) return
  say(row('bare Express echo', rate(echo), echo))
  say(row('Express + insertOne (majority)', rate(naive), naive))
  say(row('Annals POST /v1/events', rate(annals), annals))
  say(`  ratio to echo   ${(rate(annals) / rate(echo)).toFixed(2)}   (at least 0.50, then 0.55)`)
  say(`  ratio to naive  ${(rate(annals) / rate(naive)).toFixed(2)}   (at least 1.60, then 1.80)`)
  const p99 = quantile(annals.latencies, 0.99) / quantile(echo.latencies, 0.99)
  say(`  p99 to echo's   ${p99.toFixed(2)}   (at most 4)`)
  const cpu = kinds.map((kind) => `${kind} ${(cpuPerRequest.get(kind) ?? 0).toFixed(0)}`).join(', ')
  say(`  server CPU, µs a request: ${cpu}`)
}
