/** Archives sealed events without Temporal: segment by segment, as the workflow does it, for tests of what comes after. */
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { createArchiveReader, type ArchiveReader } from '../../src/archive/archive-reader.js'
import { formatContentLine, formatRecordLine } from '../../src/archive/segment.js'
import type { Core } from '../../src/composition.js'
import type { SegmentDocument, SegmentMember } from '../../src/archive/contract.js'
import { eventDocumentId, eventIdOf, type StoredEvent } from '../../src/events/store.js'
import { collectionNames } from '../../src/mongo/collections.js'

const sha = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest()

export interface ArchiveOptions {
  readonly generation?: number
  readonly from?: number
  /** Absent = all that is sealed. */
  readonly to?: number
  readonly segmentLeaves?: number
  /** Leave the events in the hot store, as between the two steps. */
  readonly keepHot?: boolean
}

export const segmentsOf = (core: Core) => core.db.collection<SegmentDocument>(collectionNames.archiveSegments)

export async function archiveLeaves(core: Core, organizationId: string, options: ArchiveOptions = {}) {
  const head = await core.sealing.store.head(organizationId, options.generation)
  if (head === undefined) throw new Error('nothing is sealed')
  const { from = 0, to = head.size, segmentLeaves = 1_000 } = options
  const made: SegmentDocument[] = []
  for (let first = from; first < to; first += segmentLeaves)
    made.push(
      await archiveSegment(
        core,
        organizationId,
        head.generation,
        first,
        Math.min(to, first + segmentLeaves),
        options,
      ),
    )
  return made
}

async function archiveSegment(
  core: Core,
  organizationId: string,
  generation: number,
  from: number,
  to: number,
  { keepHot = false }: ArchiveOptions,
): Promise<SegmentDocument> {
  const store = core.sealing.store
  const content: Buffer[] = []
  const records: Buffer[] = []
  const contentMembers: SegmentMember[] = []
  const recordMembers: SegmentMember[] = []
  const events: StoredEvent[] = []
  const sealedAt: Date[] = []
  for (let tile = Math.floor(from / 256); tile * 256 < to; tile += 1) {
    const leaves = ((await store.leaves(organizationId, generation, tile)) ?? []).filter(
      ({ index }) => index >= from && index < to,
    )
    const list = (await store.records(organizationId, generation, tile)) ?? []
    const ids = leaves.map(({ eventId }) => eventDocumentId(organizationId, eventId))
    const rows = new Map(
      (
        await core.events
          .find({ _id: { $in: ids } }, { projection: { mac: 0, fingerprint: 0 }, useBigInt64: true })
          .toArray()
      ).map((row) => [eventIdOf(row._id), row]),
    )
    events.push(...rows.values())
    sealedAt.push(...leaves.map((leaf) => leaf.sealedAt))
    const first = leaves[0]?.index ?? 0
    const add = (chunks: Buffer[], members: SegmentMember[], lines: string[]) => {
      const packed = gzipSync(lines.join(''))
      members.push({
        first,
        offset: chunks.reduce((sum, { length }) => sum + length, 0),
        bytes: packed.length,
      })
      chunks.push(packed)
    }
    const archived = leaves.map((leaf) => ({
      ...leaf,
      record: list[leaf.index % 256] ?? '',
      event: rows.get(leaf.eventId),
    }))
    add(
      content,
      contentMembers,
      archived.map(({ index, eventId, event }) => formatContentLine(index, eventId, event)),
    )
    add(records, recordMembers, archived.map(formatRecordLine))
  }
  const base = `${organizationId}/${String(generation)}/${String(from).padStart(12, '0')}-${String(to).padStart(12, '0')}`
  const put = async (path: string, chunks: Buffer[], members: SegmentMember[]) => {
    const bytes = Buffer.concat(chunks)
    await core.archive.put(path, () => Readable.from([bytes]), { sha256: sha(bytes), bytes: bytes.length })
    return {
      file: { path, bytes: bytes.length, sha256: sha(bytes).toString('hex'), members },
      manifestPath: `${path}.manifest`,
      manifestSha256: '',
    }
  }
  const times = events.map(({ occurredAt }) => occurredAt.getTime())
  const segment: SegmentDocument = {
    _id: `${organizationId}/${String(generation)}/${String(from).padStart(12, '0')}`,
    organizationId,
    generation,
    from,
    to,
    sealedFrom: sealedAt[0] ?? new Date(0),
    sealedTo: sealedAt.at(-1) ?? new Date(0),
    occurredFrom: new Date(Math.min(...times)),
    occurredTo: new Date(Math.max(...times)),
    leaves: to - from,
    damaged: 0,
    hotBytes: 0,
    records: await put(`${base}.records.ndjson.gz`, records, recordMembers),
    content: {
      state: 'kept',
      revision: 1,
      ...(await put(`${base}.content.1.ndjson.gz`, content, contentMembers)),
    },
    archivedAt: new Date(),
    hotDeletedAt: null,
  }
  await segmentsOf(core).insertOne(segment)
  if (!keepHot) await deleteHot(core, segment, events)
  return segment
}

async function deleteHot(
  core: Core,
  segment: SegmentDocument,
  events: readonly StoredEvent[],
): Promise<void> {
  await core.events.deleteMany({ _id: { $in: events.map(({ _id }) => _id) } })
  await segmentsOf(core).updateOne({ _id: segment._id }, { $set: { hotDeletedAt: new Date() } })
}

/** A reader of its own, with nothing in memory yet. */
export const archiveReaderOf = (core: Core): ArchiveReader =>
  createArchiveReader({
    store: core.archive,
    segments: core.segments,
    log: core.sealing.store,
  })
