/**
 * A database full of sample-shaped events for the search benchmark: the sample events through the same `protectEvent`
 * as intake, with other persons, addresses, sessions, requests and times, inserted in bulk as if sealed long ago.
 */
import { randomUUID } from 'node:crypto'
import type { Core } from '../src/composition.js'
import type { EventInput, Party } from '../src/events/contract.js'
import type { IntakeOrganization } from '../src/events/intake.js'
import { protectEvent } from '../src/events/protect.js'
import { eventSchema, parseEvent } from '../src/events/schema.js'
import type { StoredEvent } from '../src/events/store.js'
import { newId } from '../src/ids.js'
import { createSubjectDirectory, type SubjectHandle } from '../src/subjects/directory.js'
import { systemClock } from '../src/subjects/leases.js'
import { isPersonActor, isPersonTarget } from '../src/subjects/policy.js'
import { subjectStore } from '../src/subjects/store.js'
import { sampleEvents } from './data.js'

/** The organization that holds four of five events, and is searched. */
export const largeOrganization = 'bench_large'
const smallOrganizations = 20
const persons = 2_000
const addresses = 5_000
const sessions = 20_000
/** The events lie in this many days before `newestAt`, evenly. */
const days = 365
const dayMs = 86_400_000
const batchSize = 1_000

export const newestAt = Date.UTC(2026, 10, 25)

export const personOf = (index: number): Party => ({
  type: 'user',
  id: `u_${String(index)}`,
  name: `Person ${String(index)}`,
  email: `person.${String(index)}@bench.example`,
})
export const addressOf = (index: number) => `203.0.${String(index >> 8)}.${String(index & 255)}`

/** Few of the many do most, as everywhere. */
const skewed = (random: () => number, count: number) => Math.floor(random() ** 3 * count)

export interface FilledDatabase {
  /** Ids of some events of the large organization, spread over time. */
  readonly someIds: readonly string[]
  /** The rarest request id there is: of one event. */
  readonly someRequestIds: readonly string[]
}

/** Inserts events until the database holds `total`, going on from `already`. */
export async function fill(core: Core, already: number, total: number): Promise<FilledDatabase> {
  const random = seeded(already + 1)
  const organizations = await openOrganizations(core)
  const inputs = sampleEvents().flatMap((sample) => {
    const result = parseEvent(sample, eventSchema, Date.now())
    return result.ok ? [result.parsed.event] : []
  })
  const someIds: string[] = []
  const someRequestIds: string[] = []
  let inserting: Promise<unknown> = Promise.resolve()
  for (let start = already; start < total; start += batchSize) {
    const documents: StoredEvent[] = []
    for (let index = start; index < Math.min(total, start + batchSize); index += 1) {
      const large = random() < 0.8
      const organization = organizations[large ? 0 : 1 + Math.floor(random() * smallOrganizations)]
      const input = inputs[Math.floor(random() * inputs.length)]
      if (organization === undefined || input === undefined) throw new Error('nothing to fill from')
      const { event, subjects, id } = variant(input, organization, random)
      documents.push(sealed(protectEvent(event, subjects, organization.opened.keyset, options(id))))
      if (large && index % 997 === 0) {
        someIds.push(id)
        if (event.context.requestId !== undefined) someRequestIds.push(event.context.requestId)
      }
    }
    await inserting
    inserting = core.events.insertMany(documents, { ordered: false })
  }
  await inserting
  return { someIds, someRequestIds }
}

const options = (id: string) => ({ id, receivedAt: new Date(newestAt), fingerprint: false })

interface FillOrganization {
  readonly opened: IntakeOrganization
  readonly handles: readonly SubjectHandle[]
}

async function openOrganizations(core: Core): Promise<FillOrganization[]> {
  const directory = createSubjectDirectory(subjectStore(core.db), core.keyring.periods, systemClock)
  const open = async (id: string, count: number): Promise<FillOrganization> => {
    const opened = await core.eventOrganizations.ensure(id, 'system')
    const handles: SubjectHandle[] = []
    for (let start = 0; start < count; start += 500) {
      const parties = Array.from({ length: Math.min(500, count - start) }, (_, index) =>
        personOf(start + index),
      )
      handles.push(...(await Promise.all(parties.map((party) => directory.resolve(opened.keyset, party)))))
    }
    return { opened, handles }
  }
  const organizations = [await open(largeOrganization, persons)]
  for (let index = 0; index < smallOrganizations; index += 1)
    organizations.push(await open(`bench_small_${String(index)}`, 20))
  return organizations
}

/** The sample with other persons and particulars, at some time of the year. */
function variant(input: EventInput, { opened, handles }: FillOrganization, random: () => number) {
  const organizationId = opened.keyset.organizationId
  const pick = () => {
    const index = skewed(random, handles.length)
    const handle = handles[index]
    if (handle === undefined) throw new Error('no persons')
    return { party: personOf(index), handle }
  }
  const replaced = (party: Party, isPerson: boolean) => {
    if (!isPerson) return { party, handle: undefined }
    const picked = pick()
    return { party: { ...party, ...picked.party, type: party.type }, handle: picked.handle }
  }
  const actor = replaced(input.actor, isPersonActor(input.actor.type))
  const targets = input.targets.map((target) =>
    replaced(target, isPersonTarget(target.type, opened.personTypes)),
  )
  const event: EventInput = {
    ...input,
    organizationId,
    occurredAt: new Date(newestAt - Math.floor(random() * days * dayMs)),
    actor: actor.party,
    targets: targets.map(({ party }) => party),
    context: {
      ...input.context,
      ip: addressOf(skewed(random, addresses)),
      sessionId: `session-${String(skewed(random, sessions))}`,
      requestId: randomUUID(),
    },
  }
  const subjects = { actor: actor.handle, targets: targets.map(({ handle }) => handle) }
  return { event, subjects, id: newId('evt') }
}

function sealed({ pending, ...event }: StoredEvent): StoredEvent {
  return pending === undefined ? event : event
}

/** Mulberry32: the same events at each run. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
