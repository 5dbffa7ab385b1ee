/** A person who lies in the archive: in every revision, every version, beside others, and while things move. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ErasureIdentifier } from '../../src/erasure/contract.js'
import { verifyServer } from '../../src/verification/run.js'
import { archiveHits, checkErasure, rawHits } from '../support/erasure-oracle.js'
import { erasingRun } from '../support/erasing.js'
import { archiveRange, archiverOf, dueRange } from '../support/retaining.js'
import { segmentsOf } from '../support/archiving.js'
import { drainUntilSealed } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(async () => {
  await world.close()
})

const nothing = () => undefined

const canary = {
  id: 'u_4471-archived',
  name: 'Ottoline Archived',
  email: 'ottoline.archived@acme.example',
  phone: '+49 30 5550188',
  ip: '198.51.100.88',
}
const canaries = Object.values(canary)
const identifiers: readonly ErasureIdentifier[] = [
  { kind: 'id', type: 'user', value: canary.id },
  { kind: 'email', value: canary.email },
  { kind: 'phone', value: canary.phone },
  { kind: 'other', value: canary.name },
  { kind: 'other', value: canary.ip },
]
const person = { type: 'user', id: canary.id, name: canary.name, email: canary.email }
const somebodyElse = { type: 'user', id: 'u_other', name: 'Somebody Else', email: 'else@acme.example' }

async function post(organizationId: string, rest: object) {
  const body = {
    organizationId,
    action: 'document.opened',
    occurredAt: new Date().toISOString(),
    actor: { type: 'service', id: 'billing' },
    targets: [],
    ...rest,
  }
  const answer = await world.request('POST', '/v1/events', { body })
  expect(answer.status, answer.text).toBe(201)
  return answer.body as { id: string }
}

/** The person as actor and target, in text, in others' metadata and in an encoding. */
async function spread(organizationId: string) {
  const own = await post(organizationId, {
    actor: { ...person, metadata: { phone: canary.phone } },
    context: { ip: canary.ip, userAgent: 'Mozilla/5.0' },
    metadata: { plan: 'pro' },
  })
  const both = await post(organizationId, { targets: [person], actor: somebodyElse })
  await post(organizationId, { description: `line\nof "${canary.name}" (${canary.phone})` })
  await post(organizationId, {
    metadata: {
      url: `https://x.example/?who=${encodeURIComponent(canary.email)}`,
      raw: JSON.stringify({ user: canary.id, note: `line\n${canary.email}` }),
      untouched: 'stays',
    },
  })
  await post(organizationId, { actor: { ...somebodyElse, metadata: { manager: canary.email } } })
  return { own, both }
}
const spreadEvents = 5

/** Moves everything that is sealed to the archive, as the workflow does it. */
async function archiveAll(organizationId: string): Promise<void> {
  await drainUntilSealed(world.api.core, organizationId)
  const { core } = world.api
  const head = await core.sealing.store.head(organizationId)
  const [last] = await segmentsOf(core).find({ organizationId }).sort({ from: -1 }).limit(1).toArray()
  if (head === undefined) throw new Error('nothing is sealed')
  const range = { organizationId, generation: head.generation, from: last?.to ?? 0, to: head.size }
  await archiveRange(archiverOf(world), range)
}

const verify = async (organization: string) =>
  (await verifyServer({ url: world.url, key: world.ownerKey, organization, logKeys: [], values: true }))
    .report

const hitsOf = async (organizationId: string) => [
  ...(await rawHits(world.api.core, organizationId, canaries)),
  ...(await archiveHits(world.api.core, organizationId, canaries)),
]

test('a person who is archived, hot and pending is forgotten in one organization, and whole in another', async () => {
  const organizationId = 'org_archived'
  const { core } = world.api
  const { own, both } = await spread(organizationId)
  await archiveAll(organizationId)
  await spread('org_archived_other')
  await archiveAll('org_archived_other')
  // A segment without anything of the person.
  await post(organizationId, { description: 'nobody in particular' })
  await archiveAll(organizationId)
  await post(organizationId, { actor: person, description: 'hot' })
  await drainUntilSealed(core, organizationId)
  await post(organizationId, { actor: person, description: 'pending' })
  const segmentsBefore = await segmentsOf(core).find({ organizationId }).sort({ from: 1 }).toArray()
  const othersBefore = await hitsOf('org_archived_other')
  expect((await archiveHits(core, organizationId, canaries)).length).toBeGreaterThan(0)

  const run = erasingRun(core, organizationId, identifiers)
  expect(await run.scope()).toBe('matched')
  const archivedScope = { target: 'archive_content', status: 'counted', items: 4, held: 0 }
  expect(run.report().targets).toContainEqual(archivedScope)
  expect(run.report().freeText[3]).toMatchObject({ hits: 1 })
  expect(await run.toVerified()).toBe('clean')

  expect(await hitsOf(organizationId)).toEqual([])
  expect(await hitsOf('org_archived_other')).toEqual(othersBefore)
  const segments = await segmentsOf(core).find({ organizationId }).sort({ from: 1 }).toArray()
  expect(segments.map(({ content }) => content?.revision)).toEqual([2, 1])
  expect(segments[1]?.content).toEqual(segmentsBefore[1]?.content)
  await checkErasure(core, run, 2)

  const shown = async (id: string, source = 'archive') => {
    const answer = await world.request('GET', `/v1/organizations/${organizationId}/events?source=${source}`)
    return (answer.body as { data: { id: string }[] }).data.find((event) => event.id === id)
  }
  expect(await shown(own.id)).toMatchObject({
    actor: { type: 'user', erased: true },
    metadata: { plan: 'pro' },
  })
  // Of two persons in one event only the one goes.
  expect(await shown(both.id)).toMatchObject({
    actor: { name: somebodyElse.name },
    targets: [{ type: 'user', erased: true }],
  })
  const detail = await world.request('GET', `/v1/organizations/${organizationId}/events/${own.id}`)
  expect(detail.body).toMatchObject({ actor: { erased: true } })

  await drainUntilSealed(core, organizationId)
  const report = await verify(organizationId)
  expect(report.findings).toEqual([])
  expect(report.fields).toMatchObject({ missing: 0 })
  expect(report.fields.erased).toBeGreaterThan(5)
  expect((await verify('org_archived_other')).fields).toMatchObject({ missing: 0, erased: 0 })
}, 120_000)
