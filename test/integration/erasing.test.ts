import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ErasureIdentifier } from '../../src/erasure/contract.js'
import { subjectManifest, textManifest } from '../../src/erasure/manifests.js'
import { rebuildCommitments } from '../../src/events/rebuild.js'
import { verifyServer } from '../../src/verification/run.js'
import { rawHits } from '../support/erasure-oracle.js'
import { erasingRun } from '../support/erasing.js'
import { drainUntilSealed } from '../support/sealing.js'
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

const hitsOf = (organizationId: string) => rawHits(world.api.core, organizationId, Object.values(canary))

const verify = async (organization: string) =>
  (await verifyServer({ url: world.url, key: world.ownerKey, organization, logKeys: [], values: true }))
    .report

test('a person is forgotten in one organization and whole in another, and every proof still holds', async () => {
  const own = await spread('org_canary')
  await spread('org_other')
  await drainUntilSealed(world.api.core, 'org_canary')
  await drainUntilSealed(world.api.core, 'org_other')
  // One that is pending when the fence goes up.
  await post(eventOf('org_canary', { actor: person }))
  const othersBefore = await hitsOf('org_other')
  expect((await hitsOf('org_canary')).length).toBeGreaterThan(3)

  const run = erasingRun(world.api.core, 'org_canary', canaryIdentifiers, { leases: true })
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

  expect(await hitsOf('org_canary')).toEqual([])
  expect(await hitsOf('org_other')).toEqual(othersBefore)
  const shown = await world.request('GET', `/v1/organizations/org_canary/events/${own.id}`)
  expect(shown.body).toMatchObject({ actor: { type: 'user', erased: true }, metadata: { plan: 'pro' } })
  const elsewhere = await world.request('GET', '/v1/organizations/org_other/events?actorId=' + canary.id)
  expect(elsewhere.body).toMatchObject({ data: [{ actor: { name: canary.name, email: canary.email } }] })

  await drainUntilSealed(world.api.core, 'org_canary')
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
  expect(await hitsOf('org_canary')).toEqual([])
  const back = await post(eventOf('org_canary', { actor: person }))
  const stored = await world.api.core.events.findOne({ _id: `org_canary/${back.id}` })
  const references = stored?.fields.flatMap((field) => ('subject' in field ? [field.subject] : []))
  expect(references).toHaveLength(1)
  expect(run.report().subjects).not.toContain(references?.[0])
  expect(await run.erasing.verify(run, () => undefined)).toEqual({ result: 'clean' })
})

test('a tamperer who deletes a field and adds a plausible erasure is found out', async () => {
  const organizationId = 'org_tampered'
  const { core } = world.api
  const { id } = await post(
    eventOf(organizationId, { actor: person, description: 'what somebody wants gone' }),
  )
  await drainUntilSealed(core, organizationId)
  const stored = await core.events.findOne({ _id: `${organizationId}/${id}` })
  const index = stored?.fields.findIndex((field) => 'slot' in field && field.slot === 'description') ?? -1
  const actor = stored?.fields.find((field) => 'subject' in field)
  if (actor === undefined || !('subject' in actor)) throw new Error('an event without its person')
  const commitment = Buffer.alloc(32)
  const slots = stored === null ? undefined : rebuildCommitments(stored)
  slots?.find(({ slot }) => slot === 'description')?.commitment.copy(commitment)
  await core.events.updateOne(
    { _id: `${organizationId}/${id}` },
    { $set: { [`fields.${String(index)}`]: { slot: 'description', commitment } } },
  )
  await core.events.updateOne(
    { _id: `${organizationId}/${id}` },
    { $unset: { 'fields.$[p].sealed': '' } },
    { arrayFilters: [{ 'p.subject': actor.subject }] },
  )
  // All that an erasure leaves, but for its leaves: manifests, progress, a tombstone.
  const request = { organizationId, requestId: 'erasure_01h455vb4pex5vsknk084sn02q' }
  const { ledger, progress } = core.erasing.deps
  const subjects = subjectManifest(request, [actor.subject], [])
  const text = textManifest(request, [{ eventId: id, slot: 'description', commitment }], [])
  await ledger.putManifest(subjects)
  await ledger.putManifest(text)
  await progress.begin(request, { subjects: [actor.subject], keyPeriods: [] })
  await progress.set(request, { manifests: { subjects: subjects.sha256, text: text.sha256 } })
  // One who may post cannot write the event either.
  const forged = await world.request('POST', '/v1/events', {
    body: { ...eventOf(organizationId, {}), action: 'annals.subject.erased' },
  })
  expect(forged.status).toBe(422)
  const report = await verify(organizationId)
  expect(report.findings).toMatchObject([{ code: 'field_missing', slots: ['actor', 'description'] }])
  expect(report.fields).toMatchObject({ erased: 0, missing: 2 })
})

test('what is exempt stays under the key of the request, out of ordinary reading, and verifies', async () => {
  const organizationId = 'org_exempt'
  const billed = await post(eventOf(organizationId, { action: 'billing.invoice.sent', actor: person }))
  const other = await post(eventOf(organizationId, { actor: person }))
  await drainUntilSealed(world.api.core, organizationId)
  const exempt = [{ class: 'billing.*', ground: '17(3)(b)' as const }]
  const run = erasingRun(world.api.core, organizationId, canaryIdentifiers, { exempt })
  await run.scope()
  expect(await run.toVerified()).toBe('clean')
  const shown = async (id: string) =>
    (await world.request('GET', `/v1/organizations/${organizationId}/events/${id}`)).body
  expect(await shown(billed.id)).toMatchObject({ actor: { type: 'user', restricted: true } })
  expect(await shown(other.id)).toMatchObject({ actor: { type: 'user', erased: true } })
  expect(JSON.stringify(await shown(billed.id))).not.toContain(canary.name)
  await drainUntilSealed(world.api.core, organizationId)
  const report = await verify(organizationId)
  expect(report.findings).toEqual([])
  expect(report.fields).toMatchObject({ withheld: 1, erased: 1, missing: 0 })
  // It waits for the period key, and goes on being looked at.
  expect(await run.completing.complete(run, () => Promise.resolve(7))).toMatchObject({ result: 'waiting' })
})

test('a hold on everything stops the fence, and its release lets it go on; one on a part keeps that part', async () => {
  const organizationId = 'org_held'
  await post(eventOf(organizationId, { action: 'case.opened', actor: person }))
  await drainUntilSealed(world.api.core, organizationId)
  const run = erasingRun(world.api.core, organizationId, canaryIdentifiers)
  await run.scope()
  // Between approval and fence.
  const placed = await world.request('POST', `/v1/organizations/${organizationId}/holds`, {
    body: { scope: { action: 'case.*' }, reason: 'litigation' },
  })
  expect(placed.status, placed.text).toBe(201)
  expect(await run.toVerified()).toBe('held')
  expect(await world.api.core.erasing.deps.progress.find(run)).toBeNull()
  await post(eventOf(organizationId, { actor: person }))
  expect(await run.toVerified()).toBe('clean')
  const { data } = (await world.request('GET', `/v1/organizations/${organizationId}/events?category=product`))
    .body as {
    data: { action: string; actor: object }[]
  }
  const actors = Object.fromEntries(data.map(({ action, actor }) => [action, actor]))
  expect(actors['case.opened']).toMatchObject({ restricted: true })
  expect(actors['document.opened']).toMatchObject({ erased: true })
})

test('of two persons with one e-mail only the one who was named goes, unless the reviewer confirmed the e-mail', async () => {
  const organizationId = 'org_shared'
  const email = 'reception@acme.example'
  await post(eventOf(organizationId, { actor: { type: 'user', id: 'u_first-shared', email } }))
  const kept = await post(eventOf(organizationId, { actor: { type: 'user', id: 'u_second-shared', email } }))
  await drainUntilSealed(world.api.core, organizationId)
  const identifiers = [
    { kind: 'id', type: 'user', value: 'u_first-shared' },
    { kind: 'email', value: email },
  ] as const
  const run = erasingRun(world.api.core, organizationId, identifiers)
  await run.scope()
  expect(run.report()).toMatchObject({ ambiguousIdentifiers: [1] })
  expect(run.report().subjects).toHaveLength(2)
  expect(await run.toVerified()).toBe('clean')
  const shown = await world.request('GET', `/v1/organizations/${organizationId}/events/${kept.id}`)
  expect(shown.body).toMatchObject({ actor: { id: 'u_second-shared', email } })
})

test('a row that was slipped in and set aside goes whole where it names the person, and stays where it does not', async () => {
  const organizationId = 'org_aside'
  const seen = await post(eventOf(organizationId, { description: `for ${canary.email}` }))
  await drainUntilSealed(world.api.core, organizationId)
  const { events } = world.api.core
  const [row] = await events.find({ _id: `${organizationId}/${seen.id}` }).toArray()
  if (row === undefined) throw new Error('the event is gone')
  const aside = { ...row, setAside: 'invalid_mac' as const }
  const others = { ...aside, _id: `${organizationId}/other`, fields: [], leafHash: Buffer.alloc(32) }
  await events.insertMany([{ ...aside, _id: `${organizationId}/slipped` }, others])

  const run = erasingRun(world.api.core, organizationId, [{ kind: 'email', value: canary.email }])
  await run.scope()
  expect(run.report().targets).toContainEqual(
    expect.objectContaining({ target: 'set_aside_events', items: 1 }),
  )
  expect(await run.toVerified()).toBe('clean')
  const left = await events.find({ organizationId, setAside: { $exists: true } }).toArray()
  expect(left.map(({ _id }) => _id)).toEqual([others._id])
})

test('an identifier of two characters is searched for only where the reviewer confirmed it', async () => {
  const organizationId = 'org_short'
  const seen = await post(eventOf(organizationId, { description: 'approved by Jo' }))
  await drainUntilSealed(world.api.core, organizationId)
  const identifiers = [{ kind: 'other', value: 'Jo' }] as const
  const describe = async () =>
    (
      (await world.request('GET', `/v1/organizations/${organizationId}/events/${seen.id}`)).body as {
        description?: string
      }
    ).description
  const unconfirmed = erasingRun(world.api.core, organizationId, identifiers)
  expect(await unconfirmed.scope()).toBe('matched')
  expect(unconfirmed.report().freeText).toMatchObject([{ hits: 1, needsConfirmation: true }])
  expect(await unconfirmed.toVerified()).toBe('clean')
  expect(await describe()).toBe('approved by Jo')
  const confirmed = erasingRun(world.api.core, organizationId, identifiers, { confirmed: [0] })
  await confirmed.scope()
  expect(await confirmed.toVerified()).toBe('clean')
  expect(await describe()).toBeUndefined()
  expect(await erasingRun(world.api.core, organizationId, identifiers).scope()).toBe('no_match')
})

test('text that names another person too stays where the request asks for a review', async () => {
  const organizationId = 'org_joint'
  const joint = await post(
    eventOf(organizationId, { description: `${canary.email} wrote to else@acme.example` }),
  )
  await drainUntilSealed(world.api.core, organizationId)
  const describe = async () =>
    (
      (await world.request('GET', `/v1/organizations/${organizationId}/events/${joint.id}`)).body as {
        description?: string
      }
    ).description
  const review = erasingRun(world.api.core, organizationId, canaryIdentifiers, { jointFreeText: 'review' })
  await review.scope()
  expect(review.report().freeText[1]).toMatchObject({ hits: 1, joint: 1 })
  expect(await review.toVerified()).toBe('clean')
  expect(await describe()).toContain(canary.email)
  const redact = erasingRun(world.api.core, organizationId, canaryIdentifiers)
  await redact.scope()
  expect(await redact.toVerified()).toBe('clean')
  expect(await describe()).toBeUndefined()
})
