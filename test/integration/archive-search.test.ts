/** Searching the archive: every filter over archived samples against the plain model, page by page; and moving events. */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { archiveLeaves } from '../support/archiving.js'
import { drawFilter, filterSeeds, postSamples } from '../support/modelled-samples.js'
import {
  filterNames,
  personalNames,
  type FilterName,
  type ModelFilter,
  type SearchModel,
} from '../support/search-model.js'
import { accept, drainUntilSealed } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'

const organizationId = 'org_archived'
const maxPages = 12

let world: World
let model: SearchModel
let auditorKey: string
let endOfSamples: string
/** The leaf of each sample. */
const leaves = new Map<string, number>()

beforeAll(async () => {
  world = await openWorld()
  ;({ model, endOfSamples } = await postSamples(world, organizationId))
  const { core } = world.api
  await drainUntilSealed(core, organizationId)
  for (const [id, { index }] of await core.sealing.store.locateAll(
    organizationId,
    model.events.map(({ id }) => id),
  ))
    leaves.set(id, index)
  await archiveLeaves(core, organizationId, { segmentLeaves: 700 })
  auditorKey = await world.key({ role: 'auditor', principal: 'prn_01h455vb4pex5vsknk084sn02q' })
})
afterAll(() => world.close())

interface Page {
  readonly data: readonly { readonly id: string; readonly category: string }[]
  readonly nextCursor: string | null
  readonly partial?: true
}

async function searched(
  organization: string,
  filter: ModelFilter & { source: string },
  limit: number,
  key = world.ownerKey,
  between?: () => Promise<unknown>,
): Promise<string[]> {
  const ids: string[] = []
  let cursor: string | undefined
  do {
    const body = { ...filter, limit, ...(cursor === undefined ? {} : { cursor }) }
    const path = `/v1/organizations/${organization}/events/search`
    const answer = await world.request('POST', path, { body, key })
    expect(answer.status, answer.text).toBe(200)
    const page = answer.body as Page
    expect(page.data.length).toBeLessThanOrEqual(limit)
    if (page.nextCursor !== null && page.partial !== true) expect(page.data).toHaveLength(limit)
    ids.push(...page.data.filter(({ category }) => category !== 'system').map(({ id }) => id))
    cursor = page.nextCursor ?? undefined
    await between?.()
  } while (cursor !== undefined)
  return ids
}

const byLeaf = (ids: readonly string[]) => ids.toSorted((a, b) => (leaves.get(b) ?? 0) - (leaves.get(a) ?? 0))

const seeds = fc.record({ ...filterSeeds, limit: fc.integer({ min: 1, max: 500 }) })

async function checkFilter(names: readonly FilterName[], personal: boolean, numRuns: number): Promise<void> {
  await fc.assert(
    fc.asyncProperty(seeds, async ({ limit, ...drawn }) => {
      const filter = { to: endOfSamples, ...drawFilter(model, names, drawn) }
      const expected = byLeaf(model.search(filter, 'desc', personal))
      const pageLimit = Math.min(500, Math.max(limit, Math.ceil(expected.length / maxPages)))
      const key = personal ? world.ownerKey : auditorKey
      const found = await searched(organizationId, { ...filter, source: 'archive' }, pageLimit, key)
      expect(found, JSON.stringify({ filter, pageLimit })).toEqual(expected)
    }),
    { numRuns, endOnFailure: true },
  )
}

describe('a filter means the same in the archive', () => {
  test.each(filterNames)('%s', async (name) => {
    await checkFilter([name], true, 3)
    if (!personalNames.has(name)) await checkFilter([name], false, 2)
  })

  test('two filters at once', async () => {
    const pairs = filterNames.flatMap((one, index) =>
      filterNames.slice(index + 1).map((other) => [one, other]),
    )
    for (const [index, names] of pairs.entries()) if (index % 5 === 0) await checkFilter(names, true, 1)
  })

  test.each([...personalNames])('%s is refused without the grant', async (name) => {
    const path = `/v1/organizations/${organizationId}/events/search`
    const body = { [name]: 'x', source: 'archive' }
    expect((await world.request('POST', path, { key: auditorKey, body })).status).toBe(403)
  })
})

test('a look-up of a person in the archive is noted before the answer, and a masked read is not', async () => {
  const { events } = world.api.core
  const noted = () => events.countDocuments({ organizationId, action: 'annals.personal.read' })
  const before = await noted()
  await searched(organizationId, { source: 'archive', actorEmail: 'nobody@acme.example' }, 10)
  expect(await noted()).toBe(before + 1)
  await searched(organizationId, { source: 'archive' }, 500, auditorKey)
  expect(await noted()).toBe(before + 1)
})

test('the archive has one order, and counts are of what has an index', async () => {
  const base = `/v1/organizations/${organizationId}`
  for (const source of ['archive', 'all']) {
    const answer = await world.request('GET', `${base}/events?source=${source}&order=asc`)
    expect(answer.body).toMatchObject({ code: 'invalid', errors: [{ path: 'order', code: 'not_allowed' }] })
    const counts = await world.request('GET', `${base}/counts?source=${source}`)
    expect(counts.body).toMatchObject({ code: 'invalid', errors: [{ path: 'source', code: 'not_allowed' }] })
  }
})

test('a cursor goes on in its own source only', async () => {
  const base = `/v1/organizations/${organizationId}/events?limit=2`
  const { body } = await world.request('GET', `${base}&source=archive`)
  const { nextCursor } = body as Page
  expect(nextCursor).not.toBeNull()
  const other = await world.request('GET', `${base}&source=all&cursor=${String(nextCursor)}`)
  expect(other.body).toMatchObject({ code: 'cursor_invalid' })
})

test('everything is found in `all`, hot events once, however events move between its pages', async () => {
  const { core } = world.api
  const organization = 'org_moving'
  const ids = (await accept(core, organization, 600)).map(({ id }) => id)
  await drainUntilSealed(core, organization)
  // Archived, and still hot: hot counts.
  await archiveLeaves(core, organization, { to: 256, keepHot: true })
  const still = await searched(organization, { source: 'all' }, 70)
  expect(still.length).toBe(ids.length)
  expect(new Set(still)).toEqual(new Set(ids))
  expect(await searched(organization, { source: 'archive' }, 500)).toEqual([])

  let next = 256
  const found = await searched(organization, { source: 'all' }, 40, world.ownerKey, async () => {
    if (next >= 601) return
    await archiveLeaves(core, organization, { from: next, to: Math.min(601, next + 50) })
    next = Math.min(601, next + 50)
  })
  expect(new Set(found)).toEqual(new Set(ids))
})
