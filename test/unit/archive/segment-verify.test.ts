/** Segments from write to verification, in a folder, and everything that can be done to their bytes. */
import { Readable } from 'node:stream'
import { gunzipSync, gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { BSON } from 'mongodb'
import { readMembers } from '../../../src/archive/segment-reader.js'
import {
  formatManifest,
  contentRevisions,
  openRecordsManifest,
  sha256Of,
} from '../../../src/archive/segment-manifest.js'
import type { VerifiedLeaf } from '../../../src/archive/segment-leaf-checks.js'
import { verifySegment } from '../../../src/archive/segment-verify.js'
import type { WrittenSegment } from '../../../src/archive/segment-writer.js'
import { parseContentLines, storedEventOf } from '../../../src/archive/segment.js'
import type { StoredEvent } from '../../../src/events/store.js'
import {
  storedSamples,
  testArchive,
  testArchiveKeys,
  TestLog,
  type TestArchive,
} from '../../support/segments.js'

const organizationId = 'org_acme'

async function logOf(count: number): Promise<TestLog> {
  const log = new TestLog(organizationId)
  log.seal(await storedSamples(organizationId, count))
  return log
}

async function verify(archive: TestArchive, segment: WrittenSegment, previous: string | null = null) {
  const leaves: VerifiedLeaf[] = []
  const verified = await verifySegment(archive.store, segment, {
    verifiers: await archive.keys.verifiers(),
    revision: segment.content.revision,
    previous,
    onLeaves: (tile) => void leaves.push(...tile),
  })
  return { verified, leaves }
}

async function eventsIn(
  archive: TestArchive,
  segment: Pick<WrittenSegment, 'content'>,
): Promise<StoredEvent[]> {
  const events: StoredEvent[] = []
  for await (const { lines } of readMembers(archive.store, segment.content.file))
    for (const line of parseContentLines(lines)) {
      const event = storedEventOf(organizationId, line)
      if (event !== undefined) events.push(event)
    }
  return events
}

/** As the hot store has it once it is sealed; the MAC stays behind. */
function sealedForm({ pending: _, ...event }: StoredEvent): StoredEvent {
  return { ...event, mac: Buffer.alloc(0) }
}

test('a segment verifies from its own bytes, reads back equal, and takes at most half of the BSON', async () => {
  const log = await logOf(700)
  const archive = await testArchive()
  const first = await archive.archive(log, [300])
  const evidence = await log.evidence(300, 700)
  const previous = first.records.manifestSha256
  const second = await archive.writer.write(log.range(300, 700), log.source(300, 700), { evidence, previous })
  for (const [segment, before] of [
    [first, null],
    [second, previous],
  ] as const) {
    const { from, to } = segment
    const { verified, leaves } = await verify(archive, segment, before)
    expect(verified).toMatchObject({ leaves: to - from, events: to - from, damaged: 0, expired: 0 })
    const expected = log.leaves.slice(from, to)
    expect(leaves.map(({ eventId }) => eventId)).toEqual(expected.map(({ eventId }) => eventId))
    const hot = expected.map(({ event }) => event && sealedForm(event))
    expect(await eventsIn(archive, segment)).toEqual(hot)
    // Absolute tiles: 300 to 700 touches the tiles 1 and 2.
    expect(segment.records.file.members.map((member) => member.first)).toEqual(
      from === 0 ? [0, 256] : [300, 512],
    )
  }
  const bson = log.leaves.reduce((sum, { event = {} }) => sum + BSON.calculateObjectSize(event), 0)
  const archived = [first, second].reduce(
    (sum, { records, content }) => sum + records.file.bytes + content.file.bytes,
    0,
  )
  expect(archived).toBeLessThan(0.5 * bson)
})

test('the same leaves give the same bytes, and a second attempt finds the first, whatever was signed since', async () => {
  const log = await logOf(300)
  const keys = testArchiveKeys()
  const [a, b] = [await testArchive(keys), await testArchive(keys)]
  const written = await a.archive(log, [300])
  expect(await b.archive(log, [300])).toEqual(written)
  log.seal(await storedSamples(organizationId, 10))
  expect(await a.archive(log, [300])).toEqual(written)
  expect((await verify(a, written)).verified.checkpoint.size).toBe(300)
})

test('an attempt that died leaves nothing that stops the next one', async () => {
  const log = await logOf(10)
  const archive = await testArchive()
  const junk = Buffer.from('half a file of other bytes')
  const put = (path: string) =>
    archive.store.put(path, () => Readable.from([junk]), {
      sha256: Buffer.from(sha256Of(junk), 'hex'),
      bytes: junk.length,
    })
  await put('org_acme/1/000000000000-000000000010.records.ndjson.gz')
  await put('org_acme/1/000000000000-000000000010.content.1.ndjson.gz')
  const written = await archive.archive(log, [10])
  expect((await verify(archive, written)).verified.events).toBe(10)
  // Content that has changed since it was signed (an erasure came in between) becomes a revision of its own.
  const [changed] = log.leaves
  if (changed !== undefined) log.leaves[0] = { ...changed, event: undefined }
  const again = await archive.archive(log, [10])
  expect(again).toMatchObject({ damaged: 1, content: { revision: 2 }, records: written.records })
  expect((await verify(archive, again)).verified).toMatchObject({ events: 9, damaged: 1 })
  await archive.writer.deleteOtherContent(again, 2)
  expect((await verify(archive, again)).verified.events).toBe(9)
  await expect(archive.read('org_acme/1/000000000000-000000000010.content.1.manifest')).rejects.toThrow()
})

test('leaves whose event is damaged or gone are archived by their hash, counted, and named', async () => {
  const log = await logOf(20)
  const [one, two] = [log.leaves[3], log.leaves[7]]
  if (one?.event === undefined || two === undefined) throw new Error('there are leaves')
  log.leaves[3] = { ...one, record: '', event: { ...one.event, outcome: 'edited' } }
  log.leaves[7] = { ...two, event: undefined }
  const archive = await testArchive()
  const segment = await archive.archive(log, [20])
  expect(segment.damaged).toBe(2)
  const { verified, leaves } = await verify(archive, segment)
  expect(verified).toMatchObject({ leaves: 20, events: 18, damaged: 2 })
  expect(verified.records.manifest.damaged).toBe(1)
  expect(leaves.filter(({ content }) => content === 'damaged').map(({ index }) => index)).toEqual([3, 7])
})

test('leaves that are not those of the log are refused before anything is signed', async () => {
  const log = await logOf(10)
  const archive = await testArchive()
  const evidence = await log.evidence(0, 10)
  const [first] = log.leaves
  if (first !== undefined) log.leaves[0] = { ...first, leafHash: Buffer.alloc(32) }
  const writing = archive.writer.write(log.range(0, 10), log.source(0, 10), { evidence, previous: null })
  await expect(writing).rejects.toMatchObject({ code: 'root_differs' })
  const there: string[] = []
  for await (const { path } of archive.store.list('')) there.push(path)
  expect(there).toEqual([])
})

type Change = (archive: TestArchive, segment: WrittenSegment) => Promise<void>

const flip = async (archive: TestArchive, path: string, at: (bytes: Buffer) => number) => {
  const bytes = await archive.read(path)
  const position = at(bytes)
  bytes[position] = (bytes[position] ?? 0) ^ 1
  await archive.edit(path, bytes)
}
const paths = ({ records, content }: WrittenSegment) => ({
  recordsFile: records.file.path,
  contentFile: content.file.path,
  recordsManifest: records.manifestPath,
  contentManifest: content.manifestPath,
})
/** What only who holds the archive's key could do: the lines of the second member changed, all manifests signed anew. */
const repack =
  (file: 'recordsFile' | 'contentFile', change: (lines: string) => string): Change =>
  async (archive, segment) => {
    const signers = await archive.keys.signers()
    const verifiers = await archive.keys.verifiers()
    const { recordsManifest, contentManifest, ...files } = paths(segment)
    const records = openRecordsManifest(await archive.read(recordsManifest), segment, verifiers).manifest
    const content = contentRevisions.open(await archive.read(contentManifest), segment, 1, verifiers).manifest
    const described = file === 'recordsFile' ? records.file : content.file
    const bytes = await archive.read(files[file])
    const second = described.members[1]
    if (second === undefined) throw new Error('there are two members')
    const lines = gunzipSync(bytes.subarray(second.offset)).toString('utf8')
    const changed = change(lines)
    expect(changed).not.toBe(lines)
    const packed = gzipSync(changed)
    const forged = Buffer.concat([bytes.subarray(0, second.offset), packed])
    second.bytes = packed.length
    Object.assign(described, { bytes: forged.length, sha256: sha256Of(forged) })
    await archive.edit(files[file], forged)
    const note = formatManifest(records, signers)
    await archive.edit(recordsManifest, Buffer.from(note))
    await archive.edit(
      contentManifest,
      Buffer.from(formatManifest({ ...content, records: sha256Of(note) }, signers)),
    )
  }

const changes: Record<
  string,
  { readonly change: Change; readonly code: string; readonly at: string; leaf?: number }
> = {
  'a byte inside a packed records member': {
    change: (archive, segment) => flip(archive, paths(segment).recordsFile, (bytes) => bytes.length - 40),
    code: 'member_malformed',
    at: 'recordsFile',
    leaf: 256,
  },
  'a byte inside a packed content member': {
    change: (archive, segment) => flip(archive, paths(segment).contentFile, () => 400),
    code: 'member_malformed',
    at: 'contentFile',
    leaf: 0,
  },
  'a byte of a gzip header that unpacking ignores': {
    change: (archive, segment) => flip(archive, paths(segment).contentFile, () => 4),
    code: 'object_differs',
    at: 'contentFile',
  },
  'a records file cut short': {
    change: async (archive, segment) => {
      const path = paths(segment).recordsFile
      await archive.edit(path, (await archive.read(path)).subarray(0, -1))
    },
    code: 'object_differs',
    at: 'recordsFile',
  },
  'a content file that goes on': {
    change: async (archive, segment) => {
      const path = paths(segment).contentFile
      await archive.edit(path, Buffer.concat([await archive.read(path), Buffer.from([0])]))
    },
    code: 'object_differs',
    at: 'contentFile',
  },
  'a manifest': {
    change: (archive, segment) =>
      flip(archive, paths(segment).recordsManifest, (bytes) => bytes.indexOf('"damaged"') + 10),
    code: 'manifest_invalid',
    at: 'recordsManifest',
  },
  'a signature of a manifest': {
    change: (archive, segment) => flip(archive, paths(segment).contentManifest, (bytes) => bytes.length - 20),
    code: 'manifest_invalid',
    at: 'contentManifest',
  },
  'the other manifest in the place of one': {
    change: async (archive, segment) => {
      const { recordsManifest, contentManifest } = paths(segment)
      await archive.edit(contentManifest, await archive.read(recordsManifest))
    },
    code: 'manifest_invalid',
    at: 'contentManifest',
  },
  'an outcome in a line of content': {
    change: repack('contentFile', (lines) => lines.replace('"outcome":"success"', '"outcome":"denied!"')),
    code: 'record_differs',
    at: 'contentFile',
    leaf: 256,
  },
  'a line of content that is not there': {
    change: repack('contentFile', (lines) => lines.slice(lines.indexOf('\n') + 1)),
    code: 'event_missing',
    at: 'contentFile',
    leaf: 256,
  },
  'a line of records that is not there': {
    change: repack('recordsFile', (lines) => lines.slice(lines.indexOf('\n') + 1)),
    code: 'leaf_missing',
    at: 'recordsFile',
    leaf: 256,
  },
  'two events in each other’s place': {
    change: repack('contentFile', (lines) => {
      const [one = '', two = '', ...rest] = lines.split('\n')
      const swapped = [two.replace('"index":257', '"index":256'), one.replace('"index":256', '"index":257')]
      return [...swapped, ...rest].join('\n')
    }),
    code: 'event_misplaced',
    at: 'contentFile',
    leaf: 256,
  },
  'a record': {
    change: repack('recordsFile', (lines) =>
      lines.replace('\\"outcome\\":\\"success\\"', '\\"outcome\\":\\"denied!\\"'),
    ),
    code: 'record_differs',
    at: 'recordsFile',
    leaf: 256,
  },
  'a leaf under another hash, its record gone': {
    change: repack('recordsFile', (lines) => {
      const [first = '', ...rest] = lines.split('\n')
      const line = JSON.parse(first) as object
      return [JSON.stringify({ ...line, leafHash: `${'A'.repeat(43)}=`, record: '' }), ...rest].join('\n')
    }),
    code: 'record_differs',
    at: 'contentFile',
    leaf: 256,
  },
  'a line that is none': {
    change: repack('recordsFile', (lines) => lines.replace('{', '[')),
    code: 'member_malformed',
    at: 'recordsFile',
    leaf: 256,
  },
}

test.each(Object.entries(changes))(
  '%s, edited by hand, is found at its object and leaf',
  async (_, expected) => {
    const log = await logOf(400)
    const archive = await testArchive()
    const segment = await archive.archive(log, [400])
    await expected.change(archive, segment)
    const found: unknown = await verify(archive, segment).catch((error: unknown) => error)
    const path = paths(segment)[expected.at as keyof ReturnType<typeof paths>]
    expect(found).toMatchObject({ name: 'SegmentFault', code: expected.code, path })
    if (expected.leaf !== undefined) expect(found).toMatchObject({ leaf: { index: expected.leaf } })
  },
)
