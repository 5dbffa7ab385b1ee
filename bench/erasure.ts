/**
 * Erasing: the time from the end of cooling-off to the destroyed key for a person with few events and with very many,
 * each in an organization of its own that was sealed as any other; then how fast the sweep of the hot store and the
 * search of an organization's free text go, and what memory they take. The events are the sample events, of that person,
 * or (for the search) of two hundred others, whose blocks are opened.
 *
 * A deployment is measured as it runs: a primary that was elected less than twenty seconds ago makes every fence wait ten
 * seconds more (docs/erasure.md), and the database of a benchmark is a few seconds old. That is waited for beforehand.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { openCore, type Core } from '../src/composition.js'
import type { EventInput, Party } from '../src/events/contract.js'
import { protectEvent } from '../src/events/protect.js'
import { eventSchema, parseEvent } from '../src/events/schema.js'
import type { ErasureIdentifier, ErasureReference, OpenedErasureRequest } from '../src/erasure/contract.js'
import { createErasing, type ErasingDependencies } from '../src/erasure/erasing.js'
import { createTextMatcher } from '../src/erasure/matching.js'
import { hotEvents } from '../src/erasure/targets/events.js'
import { searchText } from '../src/erasure/text-search.js'
import { newId, newReference } from '../src/ids.js'
import { createLogger } from '../src/logging.js'
import { electedWithin } from '../src/mongo/elections.js'
import { createSubjectDirectory, type SubjectHandle } from '../src/subjects/directory.js'
import { staleReadMs } from '../src/subjects/fence.js'
import { systemClock } from '../src/subjects/leases.js'
import { isPersonTarget } from '../src/subjects/policy.js'
import { subjectStore } from '../src/subjects/store.js'
import { sampleEvents } from './data.js'
import type { BenchWorld } from './harness.js'

const few = 1_000
const others = 200
const batchSize = 1_000
const mebibyte = 1_048_576
const nothing = () => undefined

const person: Party = {
  type: 'user',
  id: 'u_bench-erased',
  name: 'Wilhelmina Bench',
  email: 'wilhelmina.bench@acme.example',
}
const identifiers: readonly ErasureIdentifier[] = [
  { kind: 'id', type: 'user', value: 'u_bench-erased' },
  { kind: 'email', value: 'wilhelmina.bench@acme.example' },
  { kind: 'phone', value: '+49 30 5550177' },
  { kind: 'other', value: 'Wilhelmina Bench' },
]

/**
 * @param many events of the second person; the first has a thousand
 * @param events of the sweep and of the search
 */
export async function benchErasure(
  { config, say }: BenchWorld,
  { many, events }: { readonly many: number; readonly events: number },
): Promise<void> {
  const core = await openCore(config, createLogger('silent'))
  const figure = (name: string, text: string, aim: string) => say(`${name.padEnd(44)}${text}   (${aim})`)
  try {
    say(`\nErasing, sample events of one person, nothing exempt:`)
    const took: number[] = []
    for (const count of [few, many]) {
      const organizationId = `bench_erasure_${String(count)}`
      await fill(core, organizationId, [person], count)
      await electionOver(core)
      const before = process.memoryUsage()
      const memory = watchMemory()
      const { erasing, request, deps, destroyedAt } = await officersAgree(core, organizationId)
      const startedAt = performance.now()
      await erasing.fence(request, nothing)
      await erasing.prepare(request, nothing)
      const preparedAt = performance.now()
      await erasing.erase(request, nothing)
      const erasedAt = performance.now()
      const outcome = await erasing.verify(request, nothing)
      const verifiedAt = performance.now()
      if (outcome.result !== 'clean') throw new Error(`left: ${outcome.targets.join(', ')}`)
      const { before: counted } = await deps.progress.read(request)
      if (counted !== count) throw new Error(`counted ${String(counted)} events`)
      const seconds = (destroyedAt() - startedAt) / 1_000
      took.push(seconds)
      figure(
        `end of cooling-off to key destroyed, ${count.toLocaleString('en')}`,
        `${seconds.toFixed(1)} s`,
        'below 15',
      )
      say(
        `  of it until prepared ${((preparedAt - startedAt) / 1_000).toFixed(1)} s; erased after ` +
          `${((erasedAt - startedAt) / 1_000).toFixed(1)} s, verified after ${((verifiedAt - startedAt) / 1_000).toFixed(1)} s;` +
          ` memory before ${inMegabytes(before)}, at most ${inMegabytes(memory())}`,
      )
    }
    const [short = 0, long = 0] = took
    figure('ratio of the two', (long / short).toFixed(2), 'at most 1.20')

    say(
      `\nHot sweep, ${events.toLocaleString('en')} events; free text of as many, of ${String(others)} persons:`,
    )
    const sweptIn = await sweep(core, events)
    figure('hot sweep', `${(events / sweptIn).toFixed(0)}/s`, 'at least 20,000')
    const persons = Array.from({ length: others }, (_, index): Party => ({
      type: 'user',
      id: `u_${String(index)}`,
      name: `Person ${String(index)}`,
      email: `person.${String(index)}@acme.example`,
    }))
    await fill(core, 'bench_text', persons, events)
    const before = process.memoryUsage()
    const memory = watchMemory()
    const searchedIn = await searchAll(core)
    figure('search of free text', `${(events / searchedIn).toFixed(0)}/s`, 'at least 40,000')
    say(`  memory before ${inMegabytes(before)}, at most ${inMegabytes(memory())}`)
  } finally {
    await core.close()
  }
}

/** Events that name one of the persons, sealed by the sealer. */
async function fill(
  core: Core,
  organizationId: string,
  persons: readonly Party[],
  count: number,
): Promise<void> {
  const { keyset, personTypes } = await core.eventOrganizations.ensure(organizationId, 'system')
  const directory = createSubjectDirectory(subjectStore(core.db), core.keyring.periods, systemClock)
  const handles: SubjectHandle[] = []
  for (const party of persons) handles.push(await directory.resolve(keyset, party))
  const inputs = sampleEvents().flatMap((sample): EventInput[] => {
    const result = parseEvent(sample, eventSchema, Date.now())
    if (!result.ok) return []
    const { event } = result.parsed
    return [
      {
        ...event,
        organizationId,
        targets: event.targets.filter(({ type }) => !isPersonTarget(type, personTypes)),
      },
    ]
  })
  const receivedAt = new Date()
  for (let start = 0; start < count; start += batchSize) {
    const documents = Array.from({ length: Math.min(batchSize, count - start) }, (_, offset) => {
      const index = start + offset
      const input = inputs[index % inputs.length]
      const actor = persons[index % persons.length]
      if (input === undefined || actor === undefined) throw new Error('nothing to fill from')
      const event = { ...input, actor: { ...input.actor, ...actor } }
      const subjects = { actor: handles[index % handles.length], targets: event.targets.map(() => undefined) }
      return protectEvent(event, subjects, keyset, { id: newId('evt'), receivedAt, fingerprint: true })
    })
    await core.events.insertMany(documents, { ordered: false })
  }
  for (;;) {
    const { drained } = await core.sealing.sealer.drainOrganization(organizationId)
    if (drained && (await core.events.countDocuments({ organizationId, pending: true })) === 0) return
  }
}

/** A request that two officers agree on, with its scope counted. */
async function officersAgree(core: Core, organizationId: string) {
  const request: ErasureReference = { organizationId, requestId: newId('erasure') }
  const { deps } = core.erasing
  const keyset = await deps.keysetOf(organizationId)
  const subjects = await deps.directory.find(keyset, { id: person.id ?? '', type: person.type })
  const opened: OpenedErasureRequest = {
    ...request,
    state: 'fenced',
    submittedAt: new Date(),
    submitter: newReference('prn'),
    approver: newReference('prn'),
    policyVersion: 1,
    identifiers,
    recipients: [],
    jointFreeText: 'redact',
    exempt: [],
    confirmed: [],
    scope: {
      scopedAt: new Date(),
      subjects: [...subjects],
      ambiguousIdentifiers: [],
      certainSubjects: 1,
      targets: [],
      freeText: [],
      earliest: null,
      latest: null,
    },
    attestations: [],
  }
  let destroyedAt = 0
  const timed: ErasingDependencies = {
    ...deps,
    requests: { open: () => Promise.resolve(opened), saveScope: () => Promise.resolve() },
    fence: {
      ...deps.fence,
      async destroyKeys(by) {
        await deps.fence.destroyKeys(by)
        destroyedAt = performance.now()
      },
    },
  }
  return { request, deps, erasing: createErasing(timed), destroyedAt: () => destroyedAt }
}

/** The sweep alone, over an organization of its own. @returns seconds */
async function sweep(core: Core, count: number): Promise<number> {
  const organizationId = 'bench_sweep'
  await fill(core, organizationId, [person], count)
  const { deps } = core.erasing
  const keyset = await deps.keysetOf(organizationId)
  const subjects = [...(await deps.directory.find(keyset, { id: person.id ?? '', type: person.type }))]
  const work = {
    organizationId,
    requestId: newId('erasure'),
    keyset,
    subjects,
    matcher: createTextMatcher(identifiers),
    until: new Date(),
    beat: nothing,
  }
  const target = hotEvents(core.events)
  const startedAt = performance.now()
  await target.erase(work)
  const seconds = (performance.now() - startedAt) / 1_000
  if ((await target.verify(work)) > 0) throw new Error('the sweep left something')
  return seconds
}

/** @returns seconds */
async function searchAll(core: Core): Promise<number> {
  const { deps } = core.erasing
  const keyset = await deps.keysetOf('bench_text')
  const search = {
    keyset,
    subjects: [],
    matcher: createTextMatcher(identifiers),
    exempt: [],
    holds: [],
    beat: nothing,
  }
  const startedAt = performance.now()
  for await (const { hits } of searchText(deps, search))
    if (hits.length > 0) throw new Error('nobody was to be found')
  return (performance.now() - startedAt) / 1_000
}

/** Waits until the election that a fresh database has just held makes no fence wait longer. */
async function electionOver(core: Core): Promise<void> {
  while (await electedWithin(core.db, 2 * staleReadMs)) await sleep(250)
}

/** @returns what gives the memory as it was when the most was resident, and ends the watch */
function watchMemory(): () => NodeJS.MemoryUsage {
  let most = process.memoryUsage()
  const look = () => {
    const now = process.memoryUsage()
    if (now.rss > most.rss) most = now
  }
  const timer = setInterval(look, 100)
  return () => {
    clearInterval(timer)
    look()
    return most
  }
}

const megabytes = (bytes: number) => (bytes / mebibyte).toFixed(0)
/** All of it, what of it is JavaScript's heap and what are buffers: the rest is Node itself and its code. */
const inMegabytes = ({ rss, heapTotal, external }: NodeJS.MemoryUsage) =>
  `${megabytes(rss)} MB (heap ${megabytes(heapTotal)}, buffers ${megabytes(external)})`
