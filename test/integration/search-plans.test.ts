/** What the database does for a search: for every filter and every pair of them, in every part of a walk. */
import type { Document } from 'mongodb'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { countPipeline } from '../../src/events/counts.js'
import type { IntakeOrganization } from '../../src/events/intake.js'
import {
  leaderQuery,
  leadersOf,
  positionOf,
  readOptions,
  scanQuery,
  type EventOrder,
} from '../../src/events/scan.js'
import { searchCriteria, type EventFilter } from '../../src/events/search.js'
import { createSubjectDirectory, type SubjectDirectory } from '../../src/subjects/directory.js'
import { systemClock } from '../../src/subjects/leases.js'
import { subjectStore } from '../../src/subjects/store.js'
import { allSamples, chunks } from '../support/samples.js'
import { openWorld, type World } from '../support/world.js'

const organizationId = 'org_plans'
let world: World
let organization: IntakeOrganization
let directory: SubjectDirectory
let stretches: readonly Omit<Parameters<typeof leaderQuery>[2], 'order'>[]

const filters: Record<string, EventFilter> = {
  exact: { action: 's3.list_objects' },
  prefix: { action: 's3.*' },
  deepPrefix: { action: 'a.b.c.d.e.f.*' },
  category: { category: 'account' },
  success: { outcome: 'success' },
  failure: { outcome: 'failure' },
  actorType: { actorType: 'user' },
  actorId: { actorId: 'nobody' },
  actorEmail: { actorEmail: 'common@corp.example' },
  targetType: { targetType: 'bucket' },
  targetId: { targetId: 'nothing' },
  subject: { subject: 'sub_01h455vb4pex5vsknk084sn02q' },
  ip: { ip: '203.0.113.7' },
  sessionId: { sessionId: 's' },
  requestId: { requestId: 'r' },
  metadata: { metadata: { plan: 'pro', region: 'eu' } },
  detected: { detected: 'email' },
  q: { q: 'policy "two words" ümlaut' },
  from: { from: new Date('2020-01-01T00:00:00Z') },
  to: { to: new Date('2026-01-01T00:00:00Z') },
}

beforeAll(async () => {
  world = await openWorld()
  const samples = allSamples().map((sample) => ({ ...sample, organizationId }))
  // Several subjects behind one e-mail: alternatives that have to be merged in order.
  const event = samples[0]
  if (event === undefined) throw new Error('no samples')
  for (const id of ['a', 'b', 'c'])
    samples.push({ ...event, actor: { type: 'user', id, email: 'common@corp.example' } })
  for (const events of chunks(samples, 500))
    await world.request('POST', '/v1/events/batch', { body: { events } })
  const { core } = world.api
  organization = await core.eventOrganizations.require(organizationId)
  directory = createSubjectDirectory(subjectStore(core.db), core.keyring.periods, systemClock)
  const [late, early] = await core.events
    .find({ organizationId, category: { $ne: 'system' } })
    .sort({ occurredAt: -1 })
    .limit(2_000)
    .toArray()
    .then((events) => [events[200], events[1_500]] as const)
  if (late === undefined || early === undefined) throw new Error('too few samples')
  const [one, other] = [positionOf(late), positionOf(early)]
  stretches = [
    { after: undefined, until: undefined },
    { after: one, until: undefined },
    { after: undefined, until: one },
    { after: one, until: other },
    { after: one, until: { ...one, id: 'evt_0' } },
  ]
})
afterAll(() => world.close())

interface Plan {
  readonly stages: ReadonlySet<string>
  readonly rejected: number
}

/** Every stage of the plan that the database takes, and how many it had to choose from. */
function planOf(explained: Document): Plan {
  const cursor = ((explained['stages'] as Document[] | undefined)?.[0]?.['$cursor'] ?? explained) as Document
  const planner = cursor['queryPlanner'] as { winningPlan: Document; rejectedPlans: Document[] }
  const stages = new Set<string>()
  const walk = (stage: Document) => {
    if (typeof stage['stage'] === 'string') stages.add(stage['stage'])
    for (const member of Object.values(stage)) {
      if (Array.isArray(member)) for (const one of member) if (isObject(one)) walk(one)
      if (isObject(member)) walk(member)
    }
  }
  walk(planner.winningPlan)
  return { stages, rejected: planner.rejectedPlans.length }
}
const isObject = (value: unknown): value is Document =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

async function checkPlans(filter: EventFilter, order: EventOrder): Promise<void> {
  const { events } = world.api.core
  const criteria = await searchCriteria(filter, { keyset: organization.keyset, directory, personal: true })
  if (criteria === undefined) throw new Error('the filter can match nothing')
  for (const leader of leadersOf(criteria)) {
    for (const bounds of stretches) {
      // In ascending order a walk goes from the earlier place to the later one.
      const stretch =
        order === 'desc' || bounds.after === undefined || bounds.until === undefined
          ? { ...bounds, order }
          : { after: bounds.until, until: bounds.after, order }
      const probe = events.find(leaderQuery(criteria, leader, stretch), {
        ...readOptions(leader, order),
        projection: { _id: 1, occurredAt: 1 },
        skip: 10,
        limit: 1,
      })
      check(planOf(await probe.explain('queryPlanner')), { fetches: false })
      const page = events.find(scanQuery(criteria, leader, stretch), {
        ...readOptions(leader, order),
        limit: 51,
      })
      check(planOf(await page.explain('queryPlanner')), { fetches: true })
    }
  }
}

function check({ stages, rejected }: Plan, { fetches }: { fetches: boolean }): void {
  expect([...stages]).toContain('IXSCAN')
  expect(stages.has('COLLSCAN'), 'scans the collection').toBe(false)
  expect(stages.has('SORT'), 'sorts').toBe(false)
  expect(stages.has('FETCH'), 'reads events').toBe(fetches)
  expect(rejected, 'plans to choose from').toBe(0)
}

const names = Object.keys(filters)
const pairs = names.flatMap((one, index) => names.slice(index).map((other) => [one, other] as const))

test.each(pairs)('%s and %s', async (one, other) => {
  const filter = { ...filters[one], ...filters[other] }
  await checkPlans(filter, (one + other).length % 2 === 0 ? 'asc' : 'desc')
})

test('no filter at all', async () => {
  await checkPlans({}, 'asc')
  await checkPlans({}, 'desc')
})

test('a count by one criterion reads no event', async () => {
  const plans = await Promise.all(
    [{}, { action: 's3.*' }, { category: 'account' }].map(async (filter: EventFilter) => {
      const context = { keyset: organization.keyset, directory, personal: false }
      const criteria = await searchCriteria(filter, context)
      if (criteria === undefined) throw new Error('the filter can match nothing')
      const [leader] = leadersOf(criteria)
      const { hint } = readOptions(leader, 'desc')
      const pipeline = countPipeline(
        criteria,
        leader,
        { order: 'desc', after: undefined, until: undefined },
        'day',
      )
      return planOf(await world.api.core.events.aggregate(pipeline, { hint }).explain('queryPlanner'))
    }),
  )
  for (const plan of plans) check(plan, { fetches: false })
})
