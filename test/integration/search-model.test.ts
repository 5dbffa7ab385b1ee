/** Every filter and every pair of filters over the sample events, against a plain model, page by page. */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { JsonValue } from '../../src/events/contract.js'
import { createDetector } from '../../src/events/detectors/detector.js'
import { eventDocumentId } from '../../src/events/store.js'
import { allSamples, chunks } from '../support/samples.js'
import {
  filterNames,
  personalNames,
  SearchModel,
  valueFrom,
  type FilterName,
  type ModelEvent,
  type ModelFilter,
} from '../support/search-model.js'
import { checkWorldsSearch } from '../support/search-oracle.js'
import { openWorld, type World } from '../support/world.js'

const organizationId = 'org_model'
const runsPerPair = 3
const maxPages = 12

let world: World
let model: SearchModel
let auditorKey: string
/** After the samples, before what is noted of the reads in here. */
let endOfSamples: string

beforeAll(async () => {
  world = await openWorld()
  const samples = allSamples().map((sample) => ({ ...sample, organizationId }))
  const ids: string[] = []
  for (const events of chunks(samples, 500)) {
    const answer = await world.request('POST', '/v1/events/batch', { body: { events } })
    ids.push(...(answer.body as { results: { id: string }[] }).results.map(({ id }) => id))
  }
  const events: ModelEvent[] = []
  for (const [index, sent] of samples.entries()) {
    const id = ids[index] ?? ''
    const stored = await world.api.core.events.findOne({ _id: eventDocumentId(organizationId, id) })
    if (stored === null) throw new Error('a sample is missing')
    const slots = ['actor', ...sent.targets.map((_, target) => `target/${String(target)}`)]
    const subjects = slots.map((slot) => {
      const field = stored.fields.find((one) => 'slot' in one && one.slot === slot)
      return field !== undefined && 'subject' in field ? field.subject : undefined
    })
    const search = createDetector().begin()
    const detected = stored.fields.flatMap((field) =>
      'value' in field && field.slot !== 'context'
        ? [...search.kindsIn(JSON.parse(field.value) as JsonValue, field.value)]
        : [],
    )
    events.push({ id, sent, subjects, detected: [...new Set(detected)] })
  }
  model = new SearchModel(events)
  endOfSamples = new Date(
    Math.max(...samples.map(({ occurredAt }) => Date.parse(occurredAt))) + 1,
  ).toISOString()
  auditorKey = await world.key({ role: 'auditor', principal: 'prn_01h455vb4pex5vsknk084sn02q' })
})
afterAll(async () => {
  await checkWorldsSearch(world)
  await world.close()
})

interface Page {
  readonly data: readonly { readonly id: string; readonly category: string }[]
  readonly nextCursor: string | null
  readonly partial?: true
}

/** Ids that a search answers, without Annals' own events. */
async function searched(
  filter: ModelFilter,
  order: 'asc' | 'desc',
  limit: number,
  key: string | undefined,
): Promise<string[]> {
  const ids: string[] = []
  let cursor: string | undefined
  do {
    const body = { to: endOfSamples, ...filter, order, limit, ...(cursor === undefined ? {} : { cursor }) }
    const path = `/v1/organizations/${organizationId}/events/search`
    const answer = await world.request('POST', path, { body, ...(key === undefined ? {} : { key }) })
    expect(answer.status, answer.text).toBe(200)
    const page = answer.body as Page
    expect(page.data.length).toBeLessThanOrEqual(limit)
    if (page.nextCursor !== null && page.partial !== true) expect(page.data).toHaveLength(limit)
    ids.push(...page.data.filter(({ category }) => category !== 'system').map(({ id }) => id))
    cursor = page.nextCursor ?? undefined
  } while (cursor !== undefined)
  return ids
}

const pairs = filterNames.flatMap((one, index) =>
  filterNames.slice(index).map((other) => [one, other] as const),
)

const seeds = fc.record({
  first: fc.nat(),
  second: fc.nat(),
  same: fc.boolean(),
  picks: fc.infiniteStream(fc.nat()),
  order: fc.constantFrom('asc' as const, 'desc' as const),
  limit: fc.integer({ min: 1, max: 500 }),
})

async function checkPair(names: readonly FilterName[], personal: boolean): Promise<void> {
  const having = names.map((name) =>
    model.events.filter((event) => valueFrom(event, name, () => 0) !== undefined),
  )
  await fc.assert(
    fc.asyncProperty(seeds, async ({ first, second, same, picks, order, limit }) => {
      const pick = (bound: number) => (picks.next().value ?? 0) % bound
      const filter: ModelFilter = {}
      names.forEach((name, index) => {
        const events = having[index] ?? []
        const both = events.filter((event) => having.every((others) => others.includes(event)))
        const from = same && both.length > 0 ? both : events
        const event = from[(same || index === 0 ? first : second) % from.length]
        if (event !== undefined) Object.assign(filter, valueFrom(event, name, pick))
      })
      const expected = model.search({ to: endOfSamples, ...filter }, order, personal)
      const pageLimit = Math.min(500, Math.max(limit, Math.ceil(expected.length / maxPages)))
      const found = await searched(filter, order, pageLimit, personal ? undefined : auditorKey)
      expect(found, JSON.stringify({ filter, order, pageLimit })).toEqual(expected)
    }),
    // What fails is small already, and a search of it costs real requests.
    { numRuns: runsPerPair, endOnFailure: true },
  )
}

describe('with the personal grant', () => {
  test.each(pairs)('%s and %s', async (one, other) => {
    await checkPair(one === other ? [one] : [one, other], true)
  })
})

describe('without it', () => {
  const allowed = pairs.filter((names) => names.every((name) => !personalNames.has(name)))
  test.each(allowed)('%s and %s', async (one, other) => {
    await checkPair(one === other ? [one] : [one, other], false)
  })

  test.each([...personalNames])('%s is refused', async (name) => {
    const path = `/v1/organizations/${organizationId}/events/search`
    const answer = await world.request('POST', path, { key: auditorKey, body: { [name]: 'x' } })
    expect(answer.status).toBe(403)
  })
})
