/** Content written anew: what expires goes, what is erased leaves its commitment, and all of it verifies as before. */
import { Readable } from 'node:stream'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { ByteRange } from '../../../src/archive/stores/contract.js'
import { readMembers } from '../../../src/archive/segment-reader.js'
import type { VerifiedLeaf } from '../../../src/archive/segment-leaf-checks.js'
import { verifySegment } from '../../../src/archive/segment-verify.js'
import { parseContentLines, storedEventOf } from '../../../src/archive/segment.js'
import { fieldCommitment } from '../../../src/events/record.js'
import { eventIdOf, type StoredEvent, type StoredField } from '../../../src/events/store.js'
import { storedSamples, testArchive, TestLog } from '../../support/segments.js'

const organizationId = 'org_acme'
const samples = await storedSamples(organizationId, 600)

function logOf(count: number): TestLog {
  const log = new TestLog(organizationId)
  log.seal(samples.slice(0, count))
  return log
}

/** What an erasure leaves. */
function emptied(event: StoredEvent): StoredEvent {
  const without = (field: StoredField): StoredField => {
    if (!('slot' in field)) return field
    if ('subject' in field) {
      const { slot, subject, subjectSalt, commitment } = field
      return { slot, subject, subjectSalt, commitment }
    }
    if (!('value' in field)) return field
    const { slot, salt, value } = field
    return { slot, commitment: fieldCommitment(eventIdOf(event._id), slot, salt, value) }
  }
  return { ...event, fields: event.fields.map(without) }
}

test('content that expired is gone, what is held or erased verifies as before, and readers of either revision end', async () => {
  const log = logOf(600)
  const archive = await testArchive()
  const segment = await archive.archive(log, [600])
  const verifiers = await archive.keys.verifiers()
  // All but every third expires, and the whole of the second tile; of those that stay, half are erased.
  const keeps = (index: number) => index % 3 === 0 && (index < 256 || index > 511)
  const rewrite = () =>
    archive.writer.rewriteContent(segment, (leaves) =>
      leaves.map(({ index, event }) =>
        keeps(index) ? (index % 2 === 0 ? emptied(event) : event) : undefined,
      ),
    )
  const rewritten = await rewrite()
  const kept = log.leaves.filter(({ index }) => keeps(index)).length
  expect(rewritten).toMatchObject({ kept, expired: 600 - kept, content: { state: 'reduced', revision: 2 } })
  expect(rewritten.content.file.members.map(({ first }) => first)).toEqual([0, 513])
  // The same once more finds it.
  expect(await rewrite()).toEqual(rewritten)
  const leaves: VerifiedLeaf[] = []
  for (const revision of [1, 2])
    await verifySegment(archive.store, segment, {
      verifiers,
      revision,
      previous: null,
      onLeaves: (tile) => {
        if (revision === 2) leaves.push(...tile)
      },
    })
  expect(leaves.filter(({ content }) => content === 'archived').map(({ index }) => index)).toEqual(
    log.leaves.filter(({ index }) => keeps(index)).map(({ index }) => index),
  )
  await archive.writer.deleteOtherContent(segment, 2)
  const recorded = { ...segment, content: rewritten.content }
  const gone = await archive.writer.rewriteContent(recorded, (all) => all.map(() => undefined))
  expect(gone).toMatchObject({ kept: 0, expired: kept, content: { state: 'expired', file: { bytes: 0 } } })
  await archive.writer.deleteOtherContent(segment, 3)
  const paths: string[] = []
  for await (const { path } of archive.store.list('')) paths.push(path)
  expect(paths.map((path) => path.split('.').slice(1).join('.'))).toEqual([
    'keys',
    'content.3.manifest',
    'records.manifest',
    'records.ndjson.gz',
  ])
  const verified = await verifySegment(archive.store, segment, { verifiers, revision: 3, previous: null })
  expect(verified).toMatchObject({ leaves: 600, events: 0, expired: 600 })
})

test('what a rewrite that died left goes with the next one; what somebody may have recorded since stays', async () => {
  const archive = await testArchive()
  const segment = await archive.archive(logOf(20), [20])
  const revisions = async () => {
    const found = new Set<string>()
    for await (const { path } of archive.store.versions('')) {
      const [, revision] = /content\.(\d+)\./.exec(path) ?? []
      if (revision !== undefined) found.add(revision)
    }
    return [...found].sort()
  }
  const without = (gone: number) =>
    archive.writer.rewriteContent(segment, (leaves) =>
      leaves.map(({ index, event }) => (index === gone ? undefined : event)),
    )
  // It dies before anybody hears of its revision, and the next one decides otherwise.
  expect((await without(3)).content.revision).toBe(2)
  const next = await without(4)
  expect(next.content.revision).toBe(3)
  // A slower one, which has recorded the second revision only now, deletes what is older and not what is newer.
  await archive.writer.deleteOtherContent(segment, 2)
  expect(await revisions()).toEqual(['2', '3'])
  await archive.writer.deleteOtherContent(segment, next.content.revision)
  expect(await revisions()).toEqual(['3'])
  const verifiers = await archive.keys.verifiers()
  const verified = await verifySegment(archive.store, segment, { verifiers, revision: 3, previous: null })
  expect(verified).toMatchObject({ events: 19, expired: 1 })
})

test('a transform that would change an event writes nothing', async () => {
  const log = logOf(10)
  const archive = await testArchive()
  const segment = await archive.archive(log, [10])
  const rewriting = archive.writer.rewriteContent(segment, (leaves) =>
    leaves.map(({ event }) => ({ ...event, outcome: 'denied' })),
  )
  await expect(rewriting).rejects.toThrow('leaves their commitments')
  expect(await archive.store.head('org_acme/1/000000000000-000000000010.content.2.ndjson.gz')).toBeUndefined()
})

test('any events, in any range, come back as they were, and the same bytes are written twice', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 599 }),
      fc.integer({ min: 1, max: 600 }),
      fc.shuffledSubarray(samples, { minLength: 600, maxLength: 600 }),
      async (first, length, events) => {
        const log = new TestLog(organizationId)
        log.seal(events)
        const to = Math.min(600, first + length)
        const [a, b] = [await testArchive(), await testArchive()]
        const segment = await a.archive(log, [first, to])
        const other = await b.archive(log, [first, to])
        expect(other.records.file).toEqual(segment.records.file)
        expect(other.content.file).toEqual(segment.content.file)
        let index = first
        for await (const { lines } of readMembers(a.store, segment.content.file))
          for (const line of parseContentLines(lines)) {
            const { leafHash, event } = log.leaves[index] ?? {}
            const read = storedEventOf(organizationId, line)
            expect(read?.leafHash).toEqual(leafHash)
            expect(read?.fields).toEqual(event?.fields)
            index += 1
          }
        expect(index).toBe(to)
      },
    ),
    { numRuns: 3 },
  )
}, 30_000)

test('however large a segment, no more than two of its members are held at once', async () => {
  // Forty tiles, in chunks as small as a slow network gives them.
  const log = new TestLog(organizationId)
  for (let round = 0; round < 40; round += 1) log.seal(samples.slice(0, 256))
  const archive = await testArchive()
  const segment = await archive.archive(log, [log.leaves.length])
  const chunkBytes = 4_096
  let pulled = 0
  const get = async (path: string, range?: ByteRange) => {
    const stream = await archive.store.get(path, range)
    if (stream === undefined || path !== segment.content.file.path) return stream
    async function* small(bytes: Readable) {
      for await (const chunk of bytes as AsyncIterable<Buffer>)
        for (let at = 0; at < chunk.length; at += chunkBytes) {
          pulled += Math.min(chunkBytes, chunk.length - at)
          yield chunk.subarray(at, at + chunkBytes)
        }
    }
    return Readable.from(small(stream), { objectMode: true, highWaterMark: 1 })
  }
  const largest = Math.max(...segment.content.file.members.map(({ bytes }) => bytes))
  let most = 0
  let used = 0
  for await (const { member } of readMembers({ get }, segment.content.file)) {
    most = Math.max(most, pulled - used)
    used += member.bytes
  }
  expect(used).toBe(segment.content.file.bytes)
  expect(most).toBeLessThanOrEqual(3 * largest + 4 * chunkBytes)
  expect(segment.content.file.members).toHaveLength(40)
}, 30_000)
