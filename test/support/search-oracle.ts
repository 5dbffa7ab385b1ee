/** The oracle of search: what is in the store, what a search finds, and what was acknowledged are the same events. */
import type { Db } from 'mongodb'
import { expect } from 'vitest'
import { eventCollection, eventIdOf } from '../../src/events/store.js'
import { collectionNames } from '../../src/mongo/collections.js'
import type { Core } from '../../src/composition.js'
import type { Acknowledged } from './acknowledged.js'

/** What the oracle asks of a deployment: its database, and its API as an owner sees it. */
export interface SearchedDeployment {
  readonly db: Db
  readonly get: (path: string) => Promise<{ readonly status: number; readonly body: unknown }>
}

/** What it asks of a world (world.ts, which asks for it). */
export interface SearchedWorld {
  readonly api: { readonly core: Pick<Core, 'db' | 'events'> }
  readonly acknowledged: Acknowledged
  request(method: string, path: string): Promise<{ readonly status: number; readonly body: unknown }>
}

const deploymentOf = (world: SearchedWorld): SearchedDeployment => ({
  db: world.api.core.db,
  get: (path) => world.request('GET', path),
})

interface Page {
  readonly data: readonly { readonly id: string }[]
  readonly nextCursor: string | null
}

const maxPages = 10_000

/** Ids of everything a search without filters finds, page by page. */
async function searchAll({ get }: SearchedDeployment, organizationId: string): Promise<string[]> {
  const ids: string[] = []
  let next = ''
  for (let page = 0; page < maxPages; page += 1) {
    const path = `/v1/organizations/${organizationId}/events?personal=false&limit=500${next}`
    const { status, body } = await get(path)
    expect(status, `a search of ${organizationId}`).toBe(200)
    const { data, nextCursor } = body as Page
    ids.push(...data.map(({ id }) => id))
    if (nextCursor === null) return ids
    next = `&cursor=${nextCursor}`
  }
  throw new Error('a search came to no end')
}

async function inStore(
  { db }: SearchedDeployment,
  organizationId: string,
  system: boolean,
): Promise<Set<string>> {
  const found = await eventCollection(db)
    .find({ organizationId, category: system ? 'system' : { $ne: 'system' } }, { projection: { _id: 1 } })
    .toArray()
  return new Set(found.map(({ _id }) => eventIdOf(_id)))
}

export interface OracleOptions {
  /** Events came in by other ways too (streams, a client library): more may be stored than was noted. */
  readonly otherWriters?: boolean
}

/**
 * Holds store, search and acknowledgements to each other, in an organization that nobody writes to at the moment.
 * Annals' own events may be added meanwhile (sealing, notes of reads): each must be found too, once.
 * @param acknowledged ids of the events of clients that were answered with 201, in any order
 */
export async function checkStoreEqualsSearch(
  world: SearchedWorld | SearchedDeployment,
  organizationId: string,
  acknowledged: Iterable<string>,
  { otherWriters = false }: OracleOptions = {},
): Promise<void> {
  const deployment = 'api' in world ? deploymentOf(world) : world
  const stored = await inStore(deployment, organizationId, false)
  const systemBefore = await inStore(deployment, organizationId, true)
  const found = await searchAll(deployment, organizationId)
  const systemAfter = await inStore(deployment, organizationId, true)
  const foundOnce = new Set(found)
  expect(found.length, 'an event was found twice').toBe(foundOnce.size)
  expect(new Set(found.filter((id) => !systemAfter.has(id))), 'search against store').toEqual(stored)
  expect(
    [...systemBefore].filter((id) => !foundOnce.has(id)),
    "Annals' own that search misses",
  ).toEqual([])
  const all = new Set(acknowledged)
  expect(
    [...all].filter((id) => !stored.has(id)),
    'acknowledged and not stored',
  ).toEqual([])
  if (!otherWriters)
    expect(
      [...stored].filter((id) => !all.has(id)),
      'stored, and to nobody',
    ).toEqual([])
}

/**
 * The oracle over every organization of a world, against what its requests were answered. What was moved to the archive
 * is in neither (retention-oracle.ts knows where it is).
 */
export async function checkWorldsSearch(world: SearchedWorld, options: OracleOptions = {}): Promise<void> {
  const { core } = world.api
  const stored = await core.events.distinct('organizationId')
  const archived = new Set(
    await core.db.collection(collectionNames.archiveSegments).distinct('organizationId'),
  )
  const noted = world.acknowledged
  for (const organizationId of new Set([...stored, ...noted.keys()])) {
    // The deployment's own organization is not for readers.
    if (organizationId === '_annals') continue
    const acknowledged = archived.has(organizationId) ? [] : (noted.get(organizationId) ?? [])
    await checkStoreEqualsSearch(world, organizationId, acknowledged, options)
  }
}
