/**
 * Content and records that somebody takes away who owns everything: signed, recorded, with nothing said, or with words that
 * are not true. And what verifying says of it, by the server and by the archive alone.
 */
import { createArchivedProofs } from '../../src/archive/expiry-proof.js'
import type { RecordedLeaf } from '../../src/archive/leaves-rewrite.js'
import { createArchiveKeys } from '../../src/archive/segment-keys.js'
import { createSegmentsStore } from '../../src/archive/segments-store.js'
import { createSegmentWriter } from '../../src/archive/segment-writer.js'
import type { JsonObject } from '../../src/events/contract.js'
import type { StoredEvent } from '../../src/events/store.js'
import { inTransaction } from '../../src/mongo/transaction.js'
import type { ExpiryKind } from '../../src/retention/expiry-contract.js'
import { logCollections } from '../../src/transparency-log/store.js'
import { verifyArchive } from '../../src/verification/archive-run.js'
import { verifyServer } from '../../src/verification/run.js'
import { segmentsOf } from './archiving.js'
import { drainUntilSealed } from './sealing.js'
import type { World } from './world.js'

/** The first segment of an organization, with both its parts. */
export async function firstSegment({ api: { core } }: World, organizationId: string) {
  const [segment] = await segmentsOf(core).find({ organizationId }).sort({ from: 1 }).toArray()
  if (segment === undefined || segment.records === null || segment.content === null)
    throw new Error('there is no segment')
  return { ...segment, records: segment.records, content: segment.content }
}

const writerOf = ({ api: { core }, config }: World) =>
  createSegmentWriter({
    store: core.archive,
    keys: createArchiveKeys(core.signingKeys, config.logOrigin),
    spoolFolder: `${config.dataDirectory}/spool`,
  })

/** Takes content away: a revision of its own. */
export async function takeContent(
  world: World,
  organizationId: string,
  goes: (event: StoredEvent, index: number) => boolean,
) {
  const { core } = world.api
  const segment = await firstSegment(world, organizationId)
  const writer = writerOf(world)
  const { content, expired } = await writer.rewriteContent(segment, (leaves) =>
    leaves.map(({ event, index }) => (goes(event, index) ? undefined : event)),
  )
  await inTransaction(core.client, (session) =>
    createSegmentsStore(core.db).recordContent(segment, segment.content.revision, content, session),
  )
  await writer.deleteOtherContent(segment, content.revision)
  return { segment, expired }
}

/** Takes records away, those that are hot too. @returns how many */
export async function takeRecords(
  world: World,
  organizationId: string,
  goes: (leaf: RecordedLeaf) => boolean,
): Promise<number> {
  const { core } = world.api
  const segment = await firstSegment(world, organizationId)
  const writer = writerOf(world)
  const leaves = await writer.rewriteRecords(segment, (leaf) => !goes(leaf))
  if (leaves === undefined) throw new Error('nothing goes')
  await inTransaction(core.client, (session) =>
    createSegmentsStore(core.db).recordLeaves(segment, segment.records.leaves?.revision, leaves, session),
  )
  await writer.deleteOtherRecords(segment, leaves.revision)
  const { entries } = logCollections(core.db)
  const [edge] = await entries.find({ organizationId }).toArray()
  const left = edge?.records.map((record, index) =>
    record !== '' && goes({ index, record, event: undefined }) && index < segment.to ? '' : record,
  )
  if (edge !== undefined && left !== undefined)
    await entries.updateOne({ _id: edge._id }, { $set: { records: left } })
  return leaves.expired
}

/** Says that they expired; once it is sealed, with a proof beside the segment. */
export async function sayExpired(
  world: World,
  organizationId: string,
  kind: ExpiryKind,
  metadata: JsonObject,
  options: { readonly sealed: boolean; readonly policyEventIds?: readonly string[] },
): Promise<void> {
  const { core } = world.api
  const { id } = await core.systemEvents.write({
    organizationId,
    action: 'annals.retention.expired',
    occurredAt: new Date(),
    actor: { type: 'system', id: 'annals' },
    metadata,
  })
  if (!options.sealed) return
  await drainUntilSealed(core, organizationId)
  const segment = await firstSegment(world, organizationId)
  const proofs = createArchivedProofs({ store: core.archive, log: core.logReading.log, finder: core.finder })
  await proofs.put(segment, {
    kind,
    revision: kind === 'content' ? segment.content.revision : (segment.records.leaves?.revision ?? 1),
    eventId: id,
    policyEventIds: options.policyEventIds ?? [],
    ...{ expired: 0, bytesBefore: 0, at: new Date() },
  })
}

/** What verifying says, with values or without. */
export async function reportsOf(world: World, organizationId: string, values: boolean) {
  const server = await verifyServer({
    ...{ url: world.url, key: world.ownerKey, organization: organizationId, logKeys: [], values },
  })
  const archive = await verifyArchive(
    { segments: world.api.core.archive, ledger: undefined },
    { archiveKeys: [], logKeys: [], values, organizationId },
  )
  return { server: server.report, archive: archive.report }
}
