/** What is archived is read as before: details, proofs, bundles, feed, verification; and nothing that was altered. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { collectionNames } from '../../src/mongo/collections.js'
import { archiveLeaves } from '../support/archiving.js'
import { allSamples, chunks } from '../support/samples.js'
import { drainUntilSealed } from '../support/sealing.js'
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
}, 60_000)
