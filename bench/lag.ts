/**
 * How long after its 201 an event is in a signed checkpoint: single posts on a clock that waits for no answer, over many
 * organizations, with the API and a sealer in processes of their own. A checkpoint counts from the moment at which a
 * majority has it and a reader is told of it.
 */
import type { ChangeStream, ChangeStreamDocument } from 'mongodb'
import { openCore, type Core } from '../src/composition.js'
import { createLogger } from '../src/logging.js'
import { logCollections, type LogHeadDocument } from '../src/transparency-log/store.js'
import { sampleEvents } from './data.js'
import { jsonHeaders, startBenchServer, type BenchWorld } from './harness.js'
import { quantile, requestBytes } from './http-load.js'
import { offer } from './offer.js'

const perSecond = 1_000
const organizations = 100
const maxConnections = 512
/** What is asked while the processes are still compiling says nothing of them. */
const warmUpMs = 5_000
const aimMs = 2_000
/** What is not sealed so long after the last answer is given up, and counted as missed. */
const giveUpMs = 30_000
const idsAtOnce = 1_000

interface Answered {
  readonly organizationId: string
  readonly id: string
  /** By this process's clock. */
  readonly at: number
}

/** When this process heard of each size of a log, in the order in which it grew. */
type Growth = Map<string, { readonly size: number; readonly at: number }[]>

export async function benchLag(world: BenchWorld): Promise<void> {
  const { say, durationMs } = world
  const seconds = durationMs / 1_000
  say(
    `\nSeal lag, ${String(perSecond)} single posts/s for ${String(seconds)} s over ${String(organizations)} organizations:`,
  )
  const core = await openCore(world.config, createLogger('silent'))
  const names = Array.from({ length: organizations }, (_, number) => `org_lag_${String(number)}`)
  for (const name of names) await core.eventOrganizations.ensure(name, 'system')
  const api = await startBenchServer('annals', world)
  const sealer = await startBenchServer('sealer', world)
  const growth: Growth = new Map()
  const watching = await watch(core, growth)
  try {
    const answered: Answered[] = []
    let refused = 0
    const offered = { port: api.port, perSecond, maxConnections, next: requests(world.key, names) }
    await offer({ ...offered, durationMs: warmUpMs, onAnswer: () => undefined })
    await sealed(core)
    const { sent, unsent, broken } = await offer({
      ...offered,
      durationMs,
      onAnswer({ status, body }) {
        if (status !== 201) return void (refused += 1)
        const { id, organizationId } = JSON.parse(body) as { id: string; organizationId: string }
        answered.push({ id, organizationId, at: performance.now() })
      },
    })
    await sealed(core)
    const lags = await lagsOf(core, answered, growth)
    const missed = answered.length - lags.length + lags.filter((lag) => lag > aimMs).length
    const ms = (share: number) => quantile(lags, share).toFixed(0).padStart(6)
    say(
      `${'from 201 to a checkpoint'.padEnd(34)}p50 ${ms(0.5)} ms   p95 ${ms(0.95)} ms   p99 ${ms(0.99)} ms   (p99 below ${String(aimMs)})`,
    )
    say(
      `  ratio of misses ${(missed / Math.max(1, answered.length)).toFixed(4)}: ${String(missed)} of ${String(answered.length)} took longer, or were never seen`,
    )
    say(
      `  offered ${((sent + unsent) / seconds).toFixed(0)}/s, acknowledged ${(answered.length / seconds).toFixed(0)}/s; refused ${String(refused)}, without a connection ${String(unsent)}, broken ${String(broken)}`,
    )
  } finally {
    await watching.close()
    api.stop()
    sealer.stop()
    await core.close()
  }
}

/** Sample events, each for the next organization. */
function requests(key: string, names: readonly string[]): () => Buffer {
  const samples = sampleEvents()
  let next = 0
  return () => {
    const organizationId = names[next % names.length]
    const body = JSON.stringify({ ...samples[next % samples.length], organizationId })
    next += 1
    return requestBytes('POST', '/v1/events', jsonHeaders(key), body)
  }
}

async function watch(core: Core, growth: Growth): Promise<ChangeStream<LogHeadDocument>> {
  const stream = logCollections(core.db).heads.watch([], { fullDocument: 'updateLookup' })
  const note = (change: ChangeStreamDocument<LogHeadDocument>) => {
    if (change.operationType !== 'insert' && change.operationType !== 'update') return
    const at = performance.now()
    // The document of an update may be a later one; what the update set is of its own moment.
    const size =
      change.operationType === 'update'
        ? change.updateDescription.updatedFields?.size
        : change.fullDocument.size
    const { _id } = change.documentKey
    const known = growth.get(_id) ?? []
    if (size !== undefined) growth.set(_id, [...known, { size, at }])
  }
  // It listens from here on.
  const first = await stream.tryNext()
  if (first !== null) note(first)
  const follow = async () => {
    for await (const change of stream) note(change)
  }
  // It ends by being closed.
  follow().catch(() => undefined)
  return stream
}

async function sealed(core: Core): Promise<void> {
  const until = performance.now() + giveUpMs
  while ((await core.sealing.pending.count()) > 0 && performance.now() < until)
    await new Promise((resolve) => setTimeout(resolve, 50))
}

/** Milliseconds, sorted; of those whose checkpoint was heard of. */
async function lagsOf(core: Core, answered: readonly Answered[], growth: Growth): Promise<Float64Array> {
  const lags: number[] = []
  for (const organizationId of growth.keys()) {
    const events = answered.filter((one) => one.organizationId === organizationId)
    for (let from = 0; from < events.length; from += idsAtOnce) {
      const some = events.slice(from, from + idsAtOnce)
      const ids = some.map(({ id }) => id)
      const located = await core.sealing.store.locateAll(organizationId, ids)
      for (const { id, at } of some) {
        const index = located.get(id)?.index
        const covered = growth.get(organizationId)?.find(({ size }) => index !== undefined && size > index)
        // An answer may reach the client after the checkpoint that has its event.
        if (covered !== undefined) lags.push(Math.max(0, covered.at - at))
      }
    }
  }
  return Float64Array.from(lags).sort()
}
