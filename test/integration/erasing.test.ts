import { BSON } from 'mongodb'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ErasureIdentifier } from '../../src/erasure/contract.js'
import { verifyServer } from '../../src/verification/run.js'
import { erasingRun } from '../support/erasing.js'
import { drainAll } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(async () => {
  await world.close()
})

/** Everything that is known of a person, each a word that stands nowhere else. */
const canary = {
  id: 'u_7731-canary',
  name: 'Wilhelmina Canary',
  email: 'wilhelmina.canary@acme.example',
  phone: '+49 30 5550177',
  ip: '198.51.100.77',
}
const canaryIdentifiers: readonly ErasureIdentifier[] = [
  { kind: 'id', type: 'user', value: canary.id },
  { kind: 'email', value: canary.email },
  { kind: 'phone', value: canary.phone },
  { kind: 'other', value: canary.name },
  { kind: 'other', value: canary.ip },
]

const eventOf = (organizationId: string, rest: object) => ({
  organizationId,
  action: 'document.opened',
  occurredAt: new Date().toISOString(),
  actor: { type: 'service', id: 'billing' },
  targets: [],
  ...rest,
})
const person = { type: 'user', id: canary.id, name: canary.name, email: canary.email }
const somebodyElse = { type: 'user', id: 'u_other', name: 'Somebody Else', email: 'else@acme.example' }

async function post(event: object, headers: Record<string, string> = {}) {
  const answer = await world.request('POST', '/v1/events', { body: event, headers })
  expect(answer.status, answer.text).toBe(201)
  return answer.body as { id: string; leafHash: string }
}

/** The person as actor, as target, in text, in others' metadata, in scans, and in an encoding or two. */
async function spread(organizationId: string) {
  const own = await post(
    eventOf(organizationId, {
      actor: { ...person, metadata: { phone: canary.phone } },
      context: { ip: canary.ip, userAgent: 'Mozilla/5.0' },
      metadata: { plan: 'pro' },
    }),
    { 'idempotency-key': 'first' },
  )
  await post(eventOf(organizationId, { targets: [person], actor: somebodyElse }))
  await post(eventOf(organizationId, { description: `call ${canary.name} (${canary.phone})` }))
  await post(
    eventOf(organizationId, {
      metadata: {
        url: `https://x.example/?who=${encodeURIComponent(canary.email)}`,
        raw: JSON.stringify({ user: canary.id, note: `line\n${canary.email}` }),
        addresses: [canary.ip],
        untouched: 'stays',
      },
    }),
  )
  await post(eventOf(organizationId, { targets: [{ type: 'report', id: 'r_1', name: `by ${canary.name}` }] }))
  await post(eventOf(organizationId, { actor: { ...somebodyElse, metadata: { manager: canary.email } } }))
  const { scans, scanFindings } = {
    scans: world.api.core.db.collection<{ _id: string }>('scans'),
    scanFindings: world.api.core.db.collection<{ _id: string }>('scanFindings'),
  }
  const scan = {
    _id: `${organizationId}/scan_1`,
    organizationId,
    scanId: 'scan_1',
    engine: 'nightly',
    startedAt: new Date(),
    metadataJson: JSON.stringify({ owner: canary.email }),
    progress: null,
    end: null,
    bodyFingerprint: Buffer.alloc(32),
  }
  await scans.insertOne(scan)
  await scanFindings.insertOne({
    _id: `${organizationId}/find_1`,
    organizationId,
    scanId: 'scan_1',
    at: new Date(),
    findingsJson: JSON.stringify([{ person: canary.name }]),
    reason: null,
  } as { _id: string })
  return own
}

/** How many documents of an organization hold any of the values, in bytes; the reader of the test, and nobody else's. */
async function rawHits(organizationId: string, values: readonly string[] = Object.values(canary)) {
  const hits: string[] = []
  for (const { name } of await world.api.core.db.listCollections().toArray()) {
    const documents = world.api.core.db.collection(name).find({
      $or: [{ organizationId }, { organizationId: { $exists: false } }],
    })
    for await (const document of documents) {
      const text = Buffer.from(BSON.serialize(document)).toString('latin1').toLowerCase()
      if (values.some((value) => text.includes(value.toLowerCase())))
        hits.push(`${name}/${String(document._id)}`)
    }
  }
  return hits
}

const verify = async (organization: string) =>
  (await verifyServer({ url: world.url, key: world.ownerKey, organization, logKeys: [], values: true }))
    .report

test('a person is forgotten in one organization and whole in another, and every proof still holds', async () => {
  const own = await spread('org_canary')
  await spread('org_other')
  await drainAll(world.api.core)
  // One that is pending when the fence goes up.
  await post(eventOf('org_canary', { actor: person }))
  const othersBefore = await rawHits('org_other')
  expect((await rawHits('org_canary')).length).toBeGreaterThan(3)

  const run = erasingRun(world.api.core, 'org_canary', canaryIdentifiers)
  expect(await run.scope()).toBe('matched')
  expect(run.report().subjects).toHaveLength(1)
  expect(run.report().targets).toContainEqual({ target: 'hot_events', status: 'counted', items: 3, held: 0 })
  expect(run.report().targets).toContainEqual({
    target: 'pending_events',
    status: 'counted',
    items: 1,
    held: 0,
  })
  expect(await run.toVerified()).toBe('clean')

  expect(await rawHits('org_canary')).toEqual([])
  expect(await rawHits('org_other')).toEqual(othersBefore)
  const shown = await world.request('GET', `/v1/organizations/org_canary/events/${own.id}`)
  expect(shown.body).toMatchObject({ actor: { type: 'user', erased: true }, metadata: { plan: 'pro' } })
  const elsewhere = await world.request('GET', '/v1/organizations/org_other/events?actorId=' + canary.id)
  expect(elsewhere.body).toMatchObject({ data: [{ actor: { name: canary.name, email: canary.email } }] })

  await drainAll(world.api.core)
  const erased = await verify('org_canary')
  expect(erased.findings).toEqual([])
  expect(erased.fields).toMatchObject({ missing: 0 })
  expect(erased.fields.erased).toBeGreaterThan(6)
  expect((await verify('org_other')).fields).toMatchObject({ missing: 0, erased: 0 })

  // The same file again brings nothing back, and the person who comes back is a new subject.
  const again = await world.request('POST', '/v1/events', {
    body: eventOf('org_canary', { actor: person }),
    headers: { 'idempotency-key': 'first' },
  })
  expect(again.body).toMatchObject({ id: own.id, leafHash: own.leafHash })
  expect(await rawHits('org_canary')).toEqual([])
  const back = await post(eventOf('org_canary', { actor: person }))
  const stored = await world.api.core.events.findOne({ _id: `org_canary/${back.id}` })
  const references = stored?.fields.flatMap((field) => ('subject' in field ? [field.subject] : []))
  expect(references).toHaveLength(1)
  expect(run.report().subjects).not.toContain(references?.[0])
  expect(await run.erasing.verify(run, () => undefined)).toEqual({ result: 'clean' })
}, 60_000)
