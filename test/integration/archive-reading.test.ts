/** What is archived is read as before: details, proofs, bundles, feed, verification; and nothing that was altered. */
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { SegmentDocument } from '../../src/archive/contract.js'
import { collectionNames } from '../../src/mongo/collections.js'
import { verifyServer } from '../../src/verification/run.js'
import { archiveLeaves, segmentsOf } from '../support/archiving.js'
import { allSamples, chunks } from '../support/samples.js'
import { accept, drainUntilSealed } from '../support/sealing.js'
import { openWorld, type Answer, type World } from '../support/world.js'

let world: World
let auditorKey: string
let made = 0

beforeAll(async () => {
  world = await openWorld()
  auditorKey = await world.key({ role: 'auditor', principal: 'prn_01h455vb4pex5vsknk084sn02q' })
})
afterAll(() => world.close())

const freshOrganization = () => `org_archive_${String((made += 1))}`

/** A sealed log of the samples. @returns their ids */
async function sealedSamples(organizationId: string, count: number): Promise<string[]> {
  const ids: string[] = []
  const samples = allSamples().slice(0, count)
  for (const events of chunks(samples, 500)) {
    const body = { events: events.map((event) => ({ ...event, organizationId })) }
    const answer = await world.request('POST', '/v1/events/batch', { body })
    ids.push(...(answer.body as { results: { id: string }[] }).results.map(({ id }) => id))
  }
  await drainUntilSealed(world.api.core, organizationId)
  return ids
}

const get = (path: string, key = world.ownerKey, headers: Record<string, string> = {}) =>
  world.request('GET', path, { key, headers })

const readable = ({ status, text, headers }: Answer) => ({
  status,
  text,
  type: headers.get('content-type'),
  cache: headers.get('cache-control'),
})

/** Everything that can be asked of some events and of their log. A feed is asked for the leaves there are now. */
async function everything(organizationId: string, ids: readonly string[], size: number) {
  const base = `/v1/organizations/${organizationId}`
  const paths = ids.flatMap((id) => [
    `${base}/events/${id}`,
    `${base}/events/${id}?personal=false`,
    `${base}/events/${id}/proof?view=verifiable`,
  ])
  for (let tile = 0; tile * 256 < size; tile += 1) {
    const width = Math.min(256, size - tile * 256)
    paths.push(`${base}/log/tile/entries/00${String(tile)}${width === 256 ? '' : `.p/${String(width)}`}`)
  }
  for (const view of ['plain', 'verifiable'])
    paths.push(
      `${base}/feed?limit=${String(Math.min(500, size))}&view=${view}`,
      `${base}/feed?limit=${String(Math.min(300, size - 200))}&after=1.199&view=${view}&personal=false`,
    )
  const answers: Record<string, object> = {}
  for (const path of paths) {
    answers[path] = readable(await get(path, world.ownerKey, { accept: 'application/json' }))
    answers[`${path} as text`] = readable(await get(path, auditorKey, { accept: 'text/plain' }))
  }
  return answers
}

test('an archived event is answered as a hot one, with and without the grant, to the byte', async () => {
  const organizationId = freshOrganization()
  const ids = await sealedSamples(organizationId, 500)
  const { size = 0 } = (await world.api.core.sealing.store.head(organizationId)) ?? {}
  const asked = ids.filter((_, index) => index % 17 === 0)
  const before = await everything(organizationId, asked, size)
  expect(new Set(Object.values(before).map((answer) => (answer as Answer).status))).toEqual(new Set([200]))
  await archiveLeaves(world.api.core, organizationId, { to: size, segmentLeaves: 300 })
  const { events, db } = world.api.core
  // The notes of the reads above are pending, and stay hot; nothing else does.
  expect(await events.countDocuments({ organizationId, pending: { $exists: false } })).toBe(0)
  // Records may leave MongoDB too.
  await db.collection(collectionNames.logEntries).deleteMany({ organizationId })
  expect(await everything(organizationId, asked, size)).toEqual(before)
})

const detail = (organizationId: string, id: string) => get(`/v1/organizations/${organizationId}/events/${id}`)

/** An organization whose events are all archived, in segments of 256 leaves. @returns ids by leaf; leaf 0 is its creation */
async function archived(organizationId: string, count = 600): Promise<readonly string[]> {
  const { core } = world.api
  await accept(core, organizationId, count)
  await drainUntilSealed(core, organizationId)
  await archiveLeaves(core, organizationId, { segmentLeaves: 256 })
  const ids: string[] = []
  for (let tile = 0; tile * 256 <= count; tile += 1)
    ids.push(
      ...((await core.sealing.store.leaves(organizationId, 1, tile)) ?? []).map(({ eventId }) => eventId),
    )
  return ids
}

const archiveFolder = () => {
  const { archive } = world.config
  if (archive.kind !== 'folder') throw new Error('this world has a folder')
  return join(archive.folder, 'segments')
}

/** Writes the member of the first tile anew, as somebody would who can write to the archive. */
async function alterFirstMember(
  segment: SegmentDocument,
  alter: (lines: string[]) => string[],
): Promise<void> {
  const { content } = segment
  const member = content?.file.members[0]
  if (content === null || member === undefined) throw new Error('it has content')
  const path = join(archiveFolder(), content.file.path)
  const bytes = await readFile(path)
  const packed = bytes.subarray(member.offset, member.offset + member.bytes)
  const lines = alter(gunzipSync(packed).toString('utf8').trimEnd().split('\n'))
  const altered = gzipSync(`${lines.join('\n')}\n`)
  await writeFile(path, Buffer.concat([altered, bytes.subarray(member.offset + member.bytes)]))
  // Whoever owns the archive may own the place of the member too.
  await segmentsOf(world.api.core).updateOne(
    { _id: segment._id },
    { $set: { 'content.file.members.0.bytes': altered.length } },
  )
}

const alterations: Record<string, (lines: string[]) => string[]> = {
  'another action': (lines) =>
    lines.with(5, (lines[5] ?? '').replace('team.member.invited', 'team.member.removed')),
  'another salt': (lines) => lines.with(5, (lines[5] ?? '').replace(/"salt":"..../, '"salt":"AAAA')),
  'an event in the place of another': (lines) =>
    lines.with(5, (lines[6] ?? '').replace(/"index":\d+/, '"index":5')),
  'a line too few': (lines) => lines.toSpliced(5, 1),
  'a line without its event': (lines) =>
    lines.with(5, (lines[5] ?? '').replace(/^(\{"index":\d+,"id":"[^"]+").*$/, '$1}')),
  'a line too many': (lines) => [...lines, (lines[5] ?? '').replace(/"index":\d+/, '"index":900')],
  'no JSON': (lines) => lines.with(5, '{'),
}

test.each(Object.entries(alterations))(
  '%s is refused by name, and what was not altered is read',
  async (_, alter) => {
    const organizationId = freshOrganization()
    const ids = await archived(organizationId)
    const [last, middle, first] = await segmentsOf(world.api.core)
      .find({ organizationId })
      .sort({ from: -1 })
      .toArray()
    if (first === undefined || middle === undefined || last === undefined) throw new Error('there are three')
    await alterFirstMember(first, alter)
    const refused = { status: 500, body: { code: 'archive_damaged' } }
    const shown = await detail(organizationId, ids[5] ?? '')
    expect(shown).toMatchObject(refused)
    expect(shown.text).toContain(first.content?.file.path)
    expect(shown.text).not.toContain('Jane')
    for (const path of ['feed?limit=10', 'feed?limit=10&view=verifiable', 'events?source=archive&q=nothing'])
      expect(await get(`/v1/organizations/${organizationId}/${path}`), path).toMatchObject(refused)
    // Proofs and records are not in it, and the other segments are whole.
    const proof = await get(`/v1/organizations/${organizationId}/events/${ids[5] ?? ''}/proof`)
    expect(proof.status).toBe(200)
    expect((await detail(organizationId, ids[300] ?? '')).status).toBe(200)
    const { report } = await verifyServer({
      url: world.url,
      key: world.ownerKey,
      organization: organizationId,
      logKeys: [],
      values: true,
      masked: true,
    })
    expect(report.findings).toMatchObject([{ code: 'events_unreadable', leaf: { index: 0 } }])
  },
)

test('an object that is gone is damage; one that was written anew is read where it is now', async () => {
  const organizationId = freshOrganization()
  const ids = await archived(organizationId, 300)
  const segments = segmentsOf(world.api.core)
  const [segment] = await segments.find({ organizationId, from: 0 }).toArray()
  const path = segment?.content?.file.path ?? ''
  const next = path.replace('.content.1.', '.content.2.')
  await rename(join(archiveFolder(), path), join(archiveFolder(), next))
  expect(await detail(organizationId, ids[7] ?? '')).toMatchObject({
    status: 500,
    body: { code: 'archive_damaged' },
  })
  await segments.updateOne(
    { _id: segment?._id ?? '' },
    { $set: { 'content.file.path': next, 'content.revision': 2 } },
  )
  expect(await detail(organizationId, ids[7] ?? '')).toMatchObject({ status: 200, body: { id: ids[7] } })
})

test('an archive that cannot be read is unavailable, and never absence', async () => {
  const organizationId = freshOrganization()
  const ids = await archived(organizationId, 300)
  // A disk that is not mounted.
  await rename(archiveFolder(), `${archiveFolder()}.away`)
  for (const asked of [
    `events/${ids[7] ?? ''}`,
    'feed?limit=10',
    'events?source=archive',
    'events?source=all',
  ]) {
    const answer = await get(`/v1/organizations/${organizationId}/${asked}`)
    expect(answer, asked).toMatchObject({ status: 503, body: { code: 'unavailable' } })
    expect(Number(answer.headers.get('retry-after')), asked).toBeGreaterThan(0)
  }
  await rename(`${archiveFolder()}.away`, archiveFolder())
  expect((await detail(organizationId, ids[7] ?? '')).status).toBe(200)
})

test('segments are listed newest first, and a partly archived log verifies', async () => {
  const organizationId = freshOrganization()
  const { core } = world.api
  await accept(core, organizationId, 700)
  await drainUntilSealed(core, organizationId)
  await archiveLeaves(core, organizationId, { to: 500, segmentLeaves: 200 })
  const path = `/v1/organizations/${organizationId}/archive/segments`
  const { body } = await get(path, auditorKey)
  const { data, nextCursor } = body as { data: Record<string, unknown>[]; nextCursor: string | null }
  expect(nextCursor).toBeNull()
  expect(data.map(({ from, to }) => [from, to])).toEqual([
    [400, 500],
    [200, 400],
    [0, 200],
  ])
  expect(data[0]).toMatchObject({ leaves: 100, damaged: 0, content: { state: 'kept', revision: 1 } })
  expect(JSON.stringify(data)).not.toContain('members')
  const first = (await get(`${path}?limit=2`, auditorKey)).body as { nextCursor: string }
  const second = (await get(`${path}?limit=2&cursor=${first.nextCursor}`, auditorKey)).body
  expect(second).toMatchObject({ data: [{ from: 0 }], nextCursor: null })
  const ingest = await world.key({ role: 'ingest' })
  expect((await get(path, ingest)).status).toBe(403)

  const options = {
    url: world.url,
    key: world.ownerKey,
    organization: organizationId,
    logKeys: [],
    values: true,
  }
  const { report } = await verifyServer(options)
  expect(report).toMatchObject({ findings: [], leaves: 701, events: 701 })
  expect(report.fields.missing).toBe(0)
})
