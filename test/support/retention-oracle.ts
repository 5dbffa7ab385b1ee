/**
 * The one oracle of retention: reads the whole world of an organization (log, hot store, archive) and says what does not
 * hold. Every leaf is hot or in a segment that verifies from its own bytes; none is lost; none is twice in search.
 */
import { expect } from 'vitest'
import { createArchiveKeys } from '../../src/archive/segment-keys.js'
import { verifySegment } from '../../src/archive/segment-verify.js'
import { eventDocumentId, eventIdOf } from '../../src/events/store.js'
import { rebuildLeaf } from '../../src/events/rebuild.js'
import { segmentsOf } from './archiving.js'
import type { World } from './world.js'

/** @returns how many leaves are hot, and how many archived */
export async function checkRetained(
  world: World,
  organizationId: string,
  accepted: readonly string[],
): Promise<{ hot: number; archived: number }> {
  const { core } = world.api
  const { signingKeys, sealing, archive, events } = core
  const keys = createArchiveKeys(signingKeys, world.config.logOrigin)
  const head = await sealing.store.head(organizationId)
  if (head === undefined) throw new Error('nothing is sealed')
  const { generation, size } = head

  // The log: each leaf by the tiles, which outlive everything.
  const log = new Map<string, { index: number; leafHash: Uint8Array }>()
  for (let tile = 0; tile * 256 < size; tile += 1)
    for (const leaf of (await sealing.store.leaves(organizationId, generation, tile)) ?? [])
      log.set(leaf.eventId, leaf)
  expect(log.size).toBe(size)
  expect(accepted.filter((id) => !log.has(id))).toEqual([])

  // The archive: contiguous, chained, each verified from its own bytes, each leaf the tiles'.
  const archived = new Set<string>()
  const deleted = new Set<string>()
  let end = 0
  let previous: string | null = null
  for (const segment of await segmentsOf(core).find({ organizationId }).sort({ from: 1 }).toArray()) {
    expect(segment.from).toBe(end)
    end = segment.to
    await verifySegment(archive, segment, {
      verifiers: await keys.verifiers(),
      revision: segment.content?.revision,
      previous,
      onLeaves(leaves) {
        for (const { index, eventId, content } of leaves) {
          expect(log.get(eventId)?.index).toBe(index)
          if (content !== 'archived') continue
          archived.add(eventId)
          if (segment.hotDeletedAt !== null) deleted.add(eventId)
        }
      },
    })
    previous = segment.records?.manifestSha256 ?? null
  }

  // The hot store: nothing that makes another leaf, nothing that a finished segment took over.
  const hot = new Set<string>()
  for await (const row of events.find({ organizationId, pending: { $ne: true } }, { useBigInt64: true })) {
    const id = eventIdOf(row._id)
    const leaf = log.get(id)
    expect(row._id).toBe(eventDocumentId(organizationId, id))
    expect(leaf && rebuildLeaf(row)?.leafHash.equals(leaf.leafHash)).toBe(true)
    hot.add(id)
  }
  expect([...log.keys()].filter((id) => !hot.has(id) && !archived.has(id))).toEqual([])
  expect([...deleted].filter((id) => hot.has(id))).toEqual([])

  const found = await searchAll(world, organizationId)
  expect(new Set(found).size).toBe(found.length)
  expect(accepted.filter((id) => !found.includes(id))).toEqual([])
  return { hot: hot.size, archived: archived.size }
}

/** Ids of all pages of a search over hot store and archive. */
async function searchAll(world: World, organizationId: string): Promise<string[]> {
  const ids: string[] = []
  let cursor: string | null = null
  do {
    const query: string = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`
    const path = `/v1/organizations/${organizationId}/events?source=all&limit=500${query}`
    const answer = await world.request('GET', path)
    expect(answer.status, answer.text).toBe(200)
    const page = answer.body as { data: { id: string }[]; nextCursor: string | null }
    ids.push(...page.data.map(({ id }) => id))
    cursor = page.nextCursor
  } while (cursor !== null)
  return ids
}
