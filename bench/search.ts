/**
 * How long a search takes, over a mix of questions, at a tenth of the events and at all of them: 100,000 and
 * 1,000,000 is the pair that counts. One question at a time, over HTTP, each with other particulars; the mix is what
 * administrators ask, rare words and rare pairs included.
 */
import { loadavg } from 'node:os'
import { openCore } from '../src/composition.js'
import { ensureEventIndexes } from '../src/events/store.js'
import { createLogger } from '../src/logging.js'
import { startBenchServer, type BenchWorld } from './harness.js'
import { quantile } from './http-load.js'
import { addressOf, fill, largeOrganization, newestAt, personOf, type FilledDatabase } from './search-data.js'

export interface SearchBenchOptions {
  /** Events in the database at the second measurement; the first is at a tenth. */
  readonly events: number
  /** Times that each question is asked. */
  readonly repeats?: number
}

const base = `/v1/organizations/${largeOrganization}`
const dayMs = 86_400_000

type Body = Readonly<Record<string, unknown>>

/** One question of the mix: the body of a search. `n` counts up; `personal` asks with the grant, and is logged. */
interface Question {
  readonly name: string
  readonly personal?: true
  readonly body: (n: number, known: Known) => Body
}

interface Known extends FilledDatabase {
  /** References of persons, by their place. */
  readonly subjects: readonly string[]
}

const ago = (days: number) => new Date(newestAt - days * dayMs).toISOString()
const at = <T>(values: readonly T[], n: number) => values[n % values.length]
const person = (n: number) => personOf((n * 37) % 2_000)

/** The published mix (docs/search.md). */
const mix: readonly Question[] = [
  { name: 'newest events', body: () => ({}) },
  { name: 'action, common', body: () => ({ action: 's3.head_bucket' }) },
  { name: 'action prefix, a week', body: (n) => ({ action: 'ssm.*', from: ago(7 + n), to: ago(n) }) },
  { name: 'category, from a day on', body: (n) => ({ category: 'account', to: ago(n) }) },
  { name: 'failures of a month', body: (n) => ({ outcome: 'failure', from: ago(30 + n), to: ago(n) }) },
  { name: 'request id', body: (n, { someRequestIds }) => ({ requestId: at(someRequestIds, n) }) },
  { name: 'subject reference', body: (n, { subjects }) => ({ subject: at(subjects, n) }) },
  {
    name: 'subject, replayed from a day on',
    body: (n, { subjects }) => ({ subject: at(subjects, n), from: ago(n + 60), order: 'asc' }),
  },
  { name: 'subject and action', body: (n, { subjects }) => ({ subject: at(subjects, n), action: 's3.*' }) },
  { name: 'two common terms', body: (n) => ({ action: 's3.*', outcome: 'failure', to: ago(n) }) },
  {
    name: 'three common terms',
    body: (n) => ({ category: 'account', outcome: 'failure', actorType: 'user', to: ago(n) }),
  },
  {
    name: 'target type and action',
    body: (n) => ({ targetType: 'AWS::S3::Bucket', action: 's3.*', to: ago(n) }),
  },
  { name: 'metadata value', body: (n) => ({ metadata: { awsRegion: 'us-east-1' }, to: ago(n) }) },
  { name: 'a common word', body: (n) => ({ q: 'bucket', to: ago(n) }) },
  { name: 'words, of a person', body: (n, { subjects }) => ({ q: 'policy', subject: at(subjects, n) }) },
  {
    name: 'words, of an action and a week',
    body: (n) => ({ q: 'arn aws', action: 'iam.*', from: ago(7 + n), to: ago(n) }),
  },
  { name: 'a word that is nowhere', body: (n) => ({ q: `nowhere${String(n)}` }) },
  { name: 'actor e-mail', personal: true, body: (n) => ({ actorEmail: person(n).email }) },
  {
    name: 'actor id and a month',
    personal: true,
    body: (n) => ({ actorId: person(n).id, from: ago(60), to: ago(30) }),
  },
  { name: 'IP address', personal: true, body: (n) => ({ ip: addressOf(n * 11) }) },
]

interface Measured {
  readonly all: Float64Array
  readonly byQuestion: ReadonlyMap<string, { times: Float64Array; found: number; partial: number }>
}

/** Fills a database, asks, fills on, asks again; says the figures. Takes some six minutes a million events. */
export async function benchSearch(
  world: BenchWorld,
  { events, repeats = 60 }: SearchBenchOptions,
): Promise<void> {
  const { config, key, say } = world
  const core = await openCore(config, createLogger('silent'))
  try {
    await core.events.drop()
    await ensureEventIndexes(core.events)
    const all: Float64Array[] = []
    const known: { someIds: string[]; someRequestIds: string[] } = { someIds: [], someRequestIds: [] }
    let filled = 0
    for (const total of [Math.round(events / 10), events]) {
      const startedAt = performance.now()
      const added = await fill(core, filled, total)
      known.someIds.push(...added.someIds)
      known.someRequestIds.push(...added.someRequestIds)
      filled = total
      const seconds = (performance.now() - startedAt) / 1_000
      const stats = await core.db.command({ collStats: 'events' })
      say(
        `\nSearch at ${total.toLocaleString('en')} events (filled in ${seconds.toFixed(0)} s, ` +
          `${megabytes(stats['storageSize'])} MB of data, ${megabytes(stats['totalIndexSize'])} MB of indexes, ` +
          `load ${loadavg()[0]?.toFixed(1) ?? ''}):`,
      )
      const server = await startBenchServer('annals', world)
      try {
        const url = `http://127.0.0.1:${String(server.port)}`
        const measured = await ask(url, key, known, repeats)
        for (const [name, { times, found, partial }] of measured.byQuestion) {
          const short = partial > 0 ? `, partial ${String(partial)}×` : ''
          say(`${row(name, times)}   ${found.toFixed(0).padStart(3)} found${short}`)
        }
        say(row('all together', measured.all))
        await askOthers(url, key, known, say)
        all.push(measured.all)
      } finally {
        server.stop()
      }
    }
    const [small, large] = all.map((times) => quantile(times, 0.95))
    if (small === undefined || large === undefined) return
    say(`  p95             ${large.toFixed(1)} ms   (under 40 at 1,000,000)`)
    say(`  to a tenth's    ${(large / small).toFixed(2)}   (at most 1.50)`)
  } finally {
    await core.close()
  }
}

const megabytes = (bytes: unknown) => (Number(bytes) / 1e6).toFixed(0)

function row(name: string, times: Float64Array): string {
  const ms = (share: number) => quantile(times, share).toFixed(1).padStart(7)
  return `${name.padEnd(34)} p50 ${ms(0.5)} ms   p95 ${ms(0.95)} ms   max ${ms(1)} ms`
}

async function json(url: string, key: string, body?: Body): Promise<Record<string, unknown>> {
  const response = await fetch(url, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  if (!response.ok) throw new Error(`a search failed: ${String(response.status)} ${await response.text()}`)
  return (await response.json()) as Record<string, unknown>
}

async function ask(
  url: string,
  ownerKey: string,
  filled: FilledDatabase,
  repeats: number,
): Promise<Measured> {
  const auditor = await json(`${url}/v1/keys`, ownerKey, {
    role: 'auditor',
    name: 'bench',
    principal: 'prn_01h455vb4pex5vsknk084sn02q',
  })
  const auditorKey = String(auditor['secret'])
  const newest = await json(`${url}${base}/events?limit=500&actorType=user`, auditorKey)
  const subjects = [
    ...new Set(
      (newest['data'] as { actor: { subject?: string } }[]).flatMap(({ actor }) => actor.subject ?? []),
    ),
  ]
  const known: Known = { ...filled, subjects }
  const byQuestion = new Map(mix.map(({ name }) => [name, { times: [] as number[], found: 0, partial: 0 }]))
  // In turns, not one after the other: a cache that is warm for one question is not for the next.
  for (let n = -3; n < repeats; n += 1) {
    for (const { name, body, personal } of mix) {
      const key = personal === true ? ownerKey : auditorKey
      const startedAt = performance.now()
      const answer = await json(`${url}${base}/events/search`, key, body(n + 3, known))
      const took = performance.now() - startedAt
      const counted = byQuestion.get(name)
      if (n < 0 || counted === undefined) continue
      counted.times.push(took)
      counted.found += (answer['data'] as unknown[]).length / repeats
      if (answer['partial'] === true) counted.partial += 1
    }
  }
  const all = Float64Array.from([...byQuestion.values()].flatMap(({ times }) => times)).sort()
  return {
    all,
    byQuestion: new Map(
      [...byQuestion].map(([name, { times, ...rest }]) => [
        name,
        { times: Float64Array.from(times).sort(), ...rest },
      ]),
    ),
  }
}

/** Counts, related events, and a search to its end: not in the mix, for nobody asks them with every key stroke. */
async function askOthers(
  url: string,
  key: string,
  { someIds }: FilledDatabase,
  say: (line: string) => void,
): Promise<void> {
  const timed = async (name: string, paths: readonly string[]) => {
    const times: number[] = []
    for (const path of paths) {
      const startedAt = performance.now()
      await json(url + base + path, key)
      times.push(performance.now() - startedAt)
    }
    say(row(name, Float64Array.from(times).sort()))
  }
  const twenty = Array.from({ length: 20 }, (_, n) => n)
  const range = (n: number, length: number) => `from=${ago(n + length)}&to=${ago(n)}`
  await timed(
    'count by day, a month',
    twenty.map((n) => `/counts?${range(n, 30)}`),
  )
  await timed(
    'count by day and outcome, a month',
    twenty.map((n) => `/counts?action=s3.*&by=outcome&${range(n, 30)}`),
  )
  await timed(
    'related, by what the reader may',
    twenty.map((n) => `/events/${at(someIds, n) ?? ''}/related?personal=false`),
  )
  const startedAt = performance.now()
  let pages = 0
  let next = ''
  for (let more = true; more; pages += 1) {
    const { nextCursor } = await json(`${url}${base}/events?q=nowhere&${range(0, 30)}${next}`, key)
    more = typeof nextCursor === 'string'
    if (typeof nextCursor === 'string') next = `&cursor=${nextCursor}`
  }
  const took = performance.now() - startedAt
  say(`a word that is nowhere, in a month, to the end: ${String(pages)} pages, ${took.toFixed(0)} ms`)
}
