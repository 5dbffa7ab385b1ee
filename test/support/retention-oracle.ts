/**
 * The one oracle of retention: reads the whole world of an organization (log, hot store, archive) and says what does not
 * hold. Every leaf is hot or in a segment that verifies from its own bytes, or an event that stands in the log says that its
 * content, or its record, has expired; none is lost; none is twice in search.
 */
import { expect } from 'vitest'
import { z } from 'zod'
import type { SegmentDocument } from '../../src/archive/contract.js'
import { restoredCollection } from '../../src/archive/restores/rows.js'
import { createArchiveKeys } from '../../src/archive/segment-keys.js'
import { parseSegmentPath, segmentPrefix } from '../../src/archive/segment-paths.js'
import { verifySegment } from '../../src/archive/segment-verify.js'
import { eventDocumentId, eventIdOf } from '../../src/events/store.js'
import { rebuildLeaf } from '../../src/events/rebuild.js'
import { neverExpires } from '../../src/retention/policy.js'
import { segmentsOf } from './archiving.js'
import type { World } from './world.js'

/** @returns how many leaves are hot, how many archived, and of how many the content, or the record too, has expired */
export async function checkRetained(
  world: World,
  organizationId: string,
  accepted: readonly string[],
): Promise<{ hot: number; archived: number; expired: number; recordsExpired: number }> {
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
  const expired = new Set<string>()
  const withoutRecord = new Set<string>()
  const said = await saidToExpire(world, organizationId, 'content')
  const saidOfRecords = await saidToExpire(world, organizationId, 'records')
  let end = 0
  let previous: string | null = null
  for (const segment of await segmentsOf(core).find({ organizationId }).sort({ from: 1 }).toArray()) {
    expect(segment.from).toBe(end)
    end = segment.to
    const before = expired.size
    const recordsBefore = withoutRecord.size
    await verifySegment(archive, segment, {
      verifiers: await keys.verifiers(),
      revision: segment.content?.revision,
      leaves: segment.records?.leaves?.revision,
      previous,
      onLeaves(leaves) {
        for (const { index, eventId, content, record } of leaves) {
          expect(log.get(eventId)?.index).toBe(index)
          if (segment.hotDeletedAt !== null) deleted.add(eventId)
          if (content === 'archived') archived.add(eventId)
          if (content === 'expired') expired.add(eventId)
          if (record === undefined) withoutRecord.add(eventId)
        }
      },
    })
    previous = segment.records?.manifestSha256 ?? null
    // What is gone is what was said to go, no more and no less.
    expect(expired.size - before).toBe(said.get(segment.from) ?? 0)
    expect(withoutRecord.size - recordsBefore).toBe(saidOfRecords.get(segment.from) ?? 0)
    if (segment.expiring === undefined) await onlyCurrentObjects(world, segment)
  }
  expect([...withoutRecord].filter((id) => !expired.has(id))).toEqual([])
  await nothingThatStays(world, organizationId, expired, withoutRecord)

  // The hot store: nothing that makes another leaf, nothing that a finished segment took over.
  const hot = new Set<string>()
  for await (const row of events.find({ organizationId, pending: { $ne: true } }, { useBigInt64: true })) {
    const id = eventIdOf(row._id)
    const leaf = log.get(id)
    expect(row._id).toBe(eventDocumentId(organizationId, id))
    expect(leaf && rebuildLeaf(row)?.leafHash.equals(leaf.leafHash)).toBe(true)
    hot.add(id)
  }
  expect([...log.keys()].filter((id) => !hot.has(id) && !archived.has(id) && !expired.has(id))).toEqual([])
  expect([...deleted].filter((id) => hot.has(id))).toEqual([])

  const found = await searchAll(world, organizationId)
  expect(new Set(found).size).toBe(found.length)
  expect(accepted.filter((id) => !found.includes(id) && !expired.has(id))).toEqual([])
  expect(found.filter((id) => expired.has(id))).toEqual([])
  return {
    hot: hot.size,
    archived: archived.size,
    expired: expired.size,
    recordsExpired: withoutRecord.size,
  }
}

const expiredMetadata = z.object({
  kind: z.enum(['content', 'records']),
  from: z.int(),
  expired: z.int(),
})

/** Of how many events the content, or the record, is said to have expired, by the first leaf of their segment. */
async function saidToExpire(
  world: World,
  organizationId: string,
  of: 'content' | 'records',
): Promise<ReadonlyMap<number, number>> {
  const path = `/v1/organizations/${organizationId}/events?source=all&limit=500&action=annals.retention.expired`
  const { data } = (await world.request('GET', path)).body as { data: { metadata: unknown }[] }
  const said = new Map<number, number>()
  for (const { metadata } of data) {
    const { kind, from, expired } = expiredMetadata.parse(metadata)
    if (kind === of) said.set(from, (said.get(from) ?? 0) + expired)
  }
  return said
}

/** A finished segment has one revision of its content and of its records, and the bytes of them alone. */
async function onlyCurrentObjects({ api: { core } }: World, segment: SegmentDocument): Promise<void> {
  const revisions = new Set<number>()
  const ofRecords = new Set<number>()
  for await (const { path } of core.archive.versions(segmentPrefix(segment))) {
    const object = parseSegmentPath(path)
    if (object?.kind === 'content' || object?.kind === 'contentManifest') revisions.add(object.revision)
    if (object?.kind === 'leaves' || object?.kind === 'records') ofRecords.add(object.revision)
  }
  const leaves = segment.records?.leaves?.revision ?? 0
  expect([...ofRecords].filter((revision) => revision < leaves)).toEqual([])
  expect(ofRecords.has(leaves)).toBe(true)
  const current = segment.content?.revision ?? 0
  expect([...revisions].filter((revision) => revision < current)).toEqual([])
  expect(revisions.has(current)).toBe(true)
}

/** Nothing that expired never expires, or lies among what was restored. */
async function nothingThatStays(
  { api: { core } }: World,
  organizationId: string,
  expired: ReadonlySet<string>,
  withoutRecord: ReadonlySet<string>,
): Promise<void> {
  const unfinished = await segmentsOf(core).countDocuments({ organizationId, expiring: { $exists: true } })
  for (const id of expired) {
    const found = await core.logReading.log.prove(organizationId, id)
    // Its leaf is proved still; what it was, nobody says any more.
    if (withoutRecord.has(id)) {
      expect(found).toBeDefined()
      if (unfinished === 0) expect(found?.record).toBeUndefined()
      continue
    }
    const record = recordSchema.parse(JSON.parse(found?.record ?? '{}'))
    expect(neverExpires(record.action)).toBe(false)
  }
  const ids = [...expired].map((id) => eventDocumentId(organizationId, id))
  if (unfinished === 0)
    expect(await restoredCollection(core.db).countDocuments({ _id: { $in: ids } })).toBe(0)
}

const recordSchema = z.object({ action: z.string() })

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
