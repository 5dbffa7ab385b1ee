/** Every filter and every pair of filters over the sample events, against a plain model, page by page. */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { drawFilter, filterSeeds, postSamples } from '../support/modelled-samples.js'
import {
  filterNames,
  personalNames,
  type FilterName,
  type ModelFilter,
  type SearchModel,
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
  ;({ model, endOfSamples } = await postSamples(world, organizationId))
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
  ...filterSeeds,
  order: fc.constantFrom('asc' as const, 'desc' as const),
  limit: fc.integer({ min: 1, max: 500 }),
})

async function checkPair(names: readonly FilterName[], personal: boolean): Promise<void> {
  await fc.assert(
    fc.asyncProperty(seeds, async ({ order, limit, ...drawn }) => {
      const filter = drawFilter(model, names, drawn)
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
