/** The oracle of search: what is in the store, what a search finds, and what was acknowledged are the same events. */
import { expect } from 'vitest'
import { eventIdOf } from '../../src/events/store.js'
import type { World } from './world.js'

interface Page {
  readonly data: readonly { readonly id: string; readonly category: string }[]
  readonly nextCursor: string | null
}

const maxPages = 10_000

/** Ids of everything a search without filters finds, page by page. */
export async function searchAll(world: World, organizationId: string, query = ''): Promise<string[]> {
  const ids: string[] = []
  let cursor: string | null = null
  for (let page = 0; page < maxPages; page += 1) {
    const next: string = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`
    const path = `/v1/organizations/${organizationId}/events?personal=false&limit=500${query}${next}`
    const answer = await world.request('GET', path)
    expect(answer.status).toBe(200)
    const { data, nextCursor } = answer.body as Page
    ids.push(...data.map(({ id }) => id))
    if (nextCursor === null) return ids
    cursor = nextCursor
  }
  throw new Error('a search came to no end')
}

async function inStore(world: World, organizationId: string, system: boolean): Promise<Set<string>> {
  const found = await world.api.core.events
    .find({ organizationId, category: system ? 'system' : { $ne: 'system' } }, { projection: { _id: 1 } })
    .toArray()
  return new Set(found.map(({ _id }) => eventIdOf(_id)))
}

/**
 * Holds store, search and acknowledgements to each other, in an organization that nobody writes to at the moment.
 * Annals' own events may be added meanwhile (sealing, notes of reads): each must be found too, once.
 * @param acknowledged ids of all the events of clients that were answered with 201, in any order
 */
export async function checkStoreEqualsSearch(
  world: World,
  organizationId: string,
  acknowledged: Iterable<string>,
): Promise<void> {
  const stored = await inStore(world, organizationId, false)
  const systemBefore = await inStore(world, organizationId, true)
  const found = await searchAll(world, organizationId)
  const systemAfter = await inStore(world, organizationId, true)
  const foundOnce = new Set(found)
  expect(found.length, 'an event was found twice').toBe(foundOnce.size)
  expect(new Set(found.filter((id) => !systemAfter.has(id))), 'search against store').toEqual(stored)
  expect(
    [...systemBefore].filter((id) => !foundOnce.has(id)),
    "Annals' own that search misses",
  ).toEqual([])
  expect(stored, 'store against acknowledged').toEqual(new Set(acknowledged))
}
