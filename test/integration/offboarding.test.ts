/** An organization is taken out of a deployment: over HTTP, by real workers. */
import { hash, randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { BSON } from 'mongodb'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { newId } from '../../src/ids.js'
import { rowsLeft } from '../../src/offboarding/collections.js'
import { offboardingCertificateFileSchema } from '../../src/offboarding/certificate.js'
import { signCertificate } from '../../src/certificates/sign.js'
import { offboardingSteps, offboardingWorkflowId } from '../../src/offboarding/contract.js'
import { createExecutions } from '../../src/offboarding/executions.js'
import { createOffboarder } from '../../src/offboarding/offboarder.js'
import type { OffboardingView } from '../../src/offboarding/schema.js'
import { connectTemporal, temporalOptions, type TemporalConnection } from '../../src/temporal/client.js'
import { checkCertificate } from '../../src/verification/certificate-check.js'
import { verifyServer } from '../../src/verification/run.js'
import { buildWorkflowBundle } from '../../workers/bundle.js'
import type { RunningWorkers } from '../../workers/main.js'
import { silent as logger, startErasureWorkers } from '../support/erasure-workers.js'
import {
  code,
  firstOwner,
  offboardingDesk,
  secondOwner,
  type OffboardingDesk,
} from '../support/offboarding.js'
import { archiveRange, archiverOf, dueRange } from '../support/retaining.js'
import { drainUntilSealed } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'

let world: World
let temporal: TemporalConnection
let workers: RunningWorkers
let desk: OffboardingDesk
const noBeat = () => undefined

beforeAll(async () => {
  await buildWorkflowBundle()
  const namespace = `offboarding-${randomBytes(6).toString('hex')}`
  world = await openWorld({
    temporal: true,
    environment: { ANNALS_TEMPORAL_NAMESPACE: namespace },
    unsearchable: 'organizations are offboarded',
  })
  temporal = await connectTemporal(temporalOptions(world.config))
  const { core } = world.api
  desk = await offboardingDesk(world)
  const offboarder = createOffboarder({ ...core.offboarding, executions: createExecutions(temporal) })
  const deps = {
    redacting: { redactor: core.redactions.redactor, logger },
    offboarding: { offboarder, logger },
  }
  workers = await startErasureWorkers(world, { deps, queues: ['erasure', 'scans'] })
})
afterAll(async () => {
  await workers.stop()
  await temporal.close()
  await world.close()
})

async function toArchive(organization: string): Promise<void> {
  await drainUntilSealed(world.api.core, organization)
  const range = await dueRange(world, organization, new Date(Date.now() + 30 * 86_400_000))
  if (range === undefined) throw new Error('nothing is due')
  await archiveRange(archiverOf(world), range)
}

/** Something in every place that can hold something of an organization. */
async function spread(organization: string, canary: string) {
  await desk.put(organization)
  const at = `/v1/organizations/${organization}`
  await world.request('PUT', `${at}/retention`, { body: { hotDays: 0, archiveDays: null, recordDays: null } })
  await desk.post(organization, { description: `archived ${canary}` })
  await toArchive(organization)
  const hot = await desk.post(organization, { description: `hot ${canary}`, metadata: { note: canary } })
  await drainUntilSealed(world.api.core, organization)
  const scan = await world.request('POST', `${at}/scans`, {
    body: { engine: 'nightly', metadata: { note: canary } },
  })
  expect(scan.status, scan.text).toBe(201)
  const hold = await world.request('POST', `${at}/holds`, {
    body: { scope: { action: 'x.y' }, reason: canary },
  })
  await world.request('POST', `${at}/holds/${(hold.body as { id: string }).id}/release`)
  const officer = await world.key({
    role: 'privacy_officer',
    principal: firstOwner,
    organizations: [organization],
  })
  const redaction = await world.request('POST', `${at}/redactions`, {
    key: officer,
    body: { fields: [{ eventId: hot, path: 'metadata.note' }], reason: canary },
  })
  expect(redaction.status, redaction.text).toBe(202)
  const erasure = await world.request('POST', `${at}/erasures`, {
    key: officer,
    body: {
      identifiers: [{ kind: 'email', value: `${canary}@acme.example` }],
      ground: '17(1)(a)',
      requester: 'the person',
      channel: 'e-mail',
      receivedAt: new Date().toISOString(),
    },
  })
  expect(erasure.status, erasure.text).toBe(202)
  await world.api.core.db.collection<{ _id: string }>('restoredEvents').insertOne({
    _id: `${organization}/evt_x`,
    organizationId: organization,
    restores: [canary],
  } as {
    _id: string
  })
  await world.api.core.sealing.anchoring.copyOnce()
  await desk.post(organization, { description: `pending ${canary}` })
  return officer
}

/** Where the bytes of a word stand: rows by collection, and files under the data directory. */
async function rawHits(word: string): Promise<string[]> {
  const hits: string[] = []
  for (const { name } of await world.api.core.db.listCollections().toArray())
    for await (const document of world.api.core.db.collection(name).find())
      if (Buffer.from(BSON.serialize(document)).includes(word)) hits.push(`${name}/${String(document._id)}`)
  for (const entry of await readdir(world.config.dataDirectory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (!entry.isFile()) continue
    const named = path.slice(world.config.dataDirectory.length).includes(word)
    if (named || (await readFile(path)).includes(word)) hits.push(`file:${entry.name}`)
  }
  return hits.sort()
}

async function executionsOf(organization: string): Promise<string[]> {
  const found: string[] = []
  for await (const { workflowId } of temporal.client.workflow.list({
    query: `AnnalsOrganization = "${organization}"`,
  }))
    found.push(workflowId)
  return found
}

/** It holds offline, and whatever it says is held to the log of the deployment and to the last checkpoint. */
async function checkFinalCertificate(text: string): Promise<void> {
  const keys = (await world.request('GET', '/v1/certificates/keys', { key: '' })).text
  const trust = { certificateKeys: keys.split('\n').filter((line) => line !== ''), logKeys: [] }
  const report = await checkCertificate(text, trust)
  expect(report).toMatchObject({ kind: 'annals/offboarding/certificate', findings: [] })
  const signers = await world.api.core.certificateKeys.signers()
  type Body = Parameters<typeof signCertificate>[0]
  const signed = (JSON.parse(text) as { certificate: Body }).certificate
  const { final, principals } = signed as unknown as {
    final: { checkpoint: string; size: number; root: string }
    principals: { submitter: string; approver: string }
  }
  const { submitter, approver } = principals
  const changes: readonly (readonly [object, string])[] = [
    [{ id: 'offboarding_01h455vb4pex5vsknk084sn02q' }, 'id'],
    [{ principals: { submitter: approver, approver: submitter } }, 'proofs.started.submitter'],
    [{ final: { ...final, size: final.size + 1 } }, 'proofs.started.leaves'],
    [{ final: { ...final, root: '00'.repeat(32) } }, 'proofs.offboarded.root'],
    [{ final: { ...final, checkpoint: final.checkpoint.replace('\n', 'x\n') } }, 'final.checkpoint'],
    [{ final: null }, 'proofs.started.root'],
  ]
  for (const [change, at] of changes) {
    const file = (await signCertificate({ ...signed, ...change }, signers)).toString('utf8')
    const { findings } = await checkCertificate(file, trust)
    expect(findings.map((finding) => finding.at)).toContain(at)
  }
}

const verify = async (organization: string) => {
  await drainUntilSealed(world.api.core, organization)
  return (
    await verifyServer({ url: world.url, key: world.ownerKey, organization, logKeys: [], values: true })
  ).report
}

test('nothing is left of an organization that two owners took out, and its neighbour is whole', async () => {
  const [gone, stays] = ['org_gone', 'org_stays']
  const canary = `canary-${randomBytes(6).toString('hex')}`
  const officer = await spread(gone, canary)
  await spread(stays, canary)
  const neighbour = await rowsLeft(world.api.core.db, stays, noBeat)
  const both = await world.key({ role: 'auditor', principal: firstOwner, organizations: [gone, stays] })
  expect((await executionsOf(gone)).length).toBeGreaterThan(1)
  const size = (await world.api.core.sealing.store.head(gone))?.size ?? 0
  expect(size).toBeGreaterThan(2)

  const asked = await desk.ask(gone)
  expect(asked.status, asked.text).toBe(202)
  const { id } = asked.body as OffboardingView
  expect((await desk.act(gone, id, 'approve', desk.owners[1])).status).toBe(200)
  await expect.poll(async () => (await desk.show(gone, id)).state).toBe('awaiting_expiry')

  const done = await desk.show(gone, id)
  expect(done.steps.map(({ step, doneAt }) => [step, doneAt !== null])).toEqual(
    offboardingSteps.map((step) => [step, true]),
  )
  expect(done.final?.size).toBeGreaterThan(size)
  expect(done.remains).toEqual({ lockedObjects: 0, keyPeriods: [1] })
  const kept = (await rawHits(gone)).filter((hit) => !hit.startsWith('events/_annals/'))
  // Beside them the journal, by which a backup that brings it back is found out.
  expect(kept).toEqual([
    'file:000000000001.json',
    `file:${id}.0001.json`,
    `offboardings/${id}`,
    `organizations/${gone}`,
  ])
  // Its last checkpoint is served as it was signed, and its certificate, which whoever has a key of the deployment checks.
  const { checkpoint } = done.final ?? {}
  expect(hash('sha256', checkpoint ?? '')).toBe(done.final?.checkpointSha256)
  const certificatePath = `${desk.base(gone)}/${id}/certificate`
  const { text, status } = await world.request('GET', certificatePath, { key: desk.operator })
  expect(status, text).toBe(200)
  const { certificate } = offboardingCertificateFileSchema.parse(JSON.parse(text))
  expect(certificate).toMatchObject({
    version: 1,
    outcome: 'awaiting_expiry',
    principals: { submitter: firstOwner, approver: secondOwner },
    final: { checkpoint, size: done.final?.size },
    remains: { lockedObjects: 0, keyPeriods: [{ period: 1, deleted: false }] },
  })
  expect(text).not.toContain(canary)
  await checkFinalCertificate(text)
  expect((await rawHits(canary)).filter((hit) => !hit.includes(stays) && !hit.startsWith('file:'))).toEqual(
    [],
  )
  const tombstone = await world.api.core.db
    .collection<{ _id: string }>('organizations')
    .findOne({ _id: gone })
  expect(tombstone).not.toHaveProperty('key')
  expect(JSON.stringify(tombstone)).not.toContain('Inc')
  await expect.poll(() => executionsOf(gone)).toEqual([offboardingWorkflowId({ organizationId: gone })])

  // What is said about it stands in the log of the deployment, with both principals.
  await drainUntilSealed(world.api.core, '_annals')
  const said = await world.request('GET', `/v1/organizations/_annals/events/${done.eventId ?? ''}`)
  expect(said.body).toMatchObject({
    action: 'annals.organization.offboarded',
    metadata: {
      submitter: firstOwner,
      approver: secondOwner,
      leaves: done.final?.size,
      checkpoint: done.final?.checkpointSha256,
    },
  })
  expect((await verify('_annals')).findings).toEqual([])

  // It takes nothing, and its id is never given again.
  const event = {
    organizationId: gone,
    action: 'a.b',
    occurredAt: new Date().toISOString(),
    actor: { type: 'service', id: 's' },
    targets: [],
  }
  const single = await world.request('POST', '/v1/events', { body: event })
  expect([single.status, code(single)]).toEqual([409, 'offboarded'])
  const batch = await world.request('POST', '/v1/events/batch', {
    body: { events: [event, { ...event, organizationId: stays }] },
  })
  expect(batch.body).toMatchObject({
    results: [{ status: 409, problem: { code: 'offboarded' } }, { status: 201 }],
  })
  for (const [method, path] of [
    ['PUT', ''],
    ['GET', ''],
    ['GET', '/events'],
    ['GET', '/log/checkpoint'],
    ['GET', '/retention'],
    ['GET', '/scans'],
    ['GET', '/redactions'],
  ] as const) {
    const answer = await world.request(
      method,
      `/v1/organizations/${gone}${path}`,
      method === 'PUT' ? { body: {} } : {},
    )
    expect([answer.status, code(answer)], `${method} ${path}`).toEqual([409, 'offboarded'])
  }
  expect([(await desk.ask(gone)).status, code(await desk.ask(gone))]).toEqual([409, 'offboarded'])
  const listed = await world.request('GET', '/v1/organizations')
  expect(listed.text).not.toContain(gone)
  // A key for it alone is gone; one for others too serves these.
  expect((await world.request('GET', `/v1/organizations/${gone}/holds`, { key: officer })).status).toBe(401)
  const elsewhere = await world.request('GET', `/v1/organizations/${stays}/events?limit=500`, { key: both })
  expect(elsewhere.status).toBe(200)

  const now = await rowsLeft(world.api.core.db, stays, noBeat)
  for (const [name, count] of Object.entries(neighbour))
    expect(now[name] ?? 0, name).toBeGreaterThanOrEqual(count)
  const report = await verify(stays)
  expect(report.findings).toEqual([])
  expect(report.fields.missing).toBe(0)
  expect(await world.api.core.sealing.guard.survey()).toBeGreaterThan(0)
  expect([...world.api.core.sealing.guard.refused().keys()]).toEqual([])
})
test('bad input, wrong roles, one pair of eyes, unknown ids and second requests change nothing', async () => {
  const organization = 'org_asked'
  await desk.put(organization)
  for (const [body, expected] of [
    [{}, ['confirm missing', 'reason missing']],
    [{ confirm: 'org_other', reason: 'x' }, ['confirm conflict']],
    [{ confirm: organization, reason: '' }, ['reason too_short']],
    [{ confirm: organization, reason: 'x', now: true }, ['now unknown_field']],
  ] as const) {
    const answer = await desk.ask(organization, desk.owners[0], {}, body)
    expect(answer.status, answer.text).toBe(422)
    const { errors } = answer.body as { errors: { path: string; code: string }[] }
    expect(errors.map((one) => `${one.path} ${one.code}`)).toEqual(expected)
  }
  expect((await desk.ask(organization, desk.owners[0], {}, '[')).status).toBe(400)
  expect(code(await desk.ask('_annals'))).toBe('forbidden')
  const unknown = newId('offboarding')
  for (const role of ['ingest', 'auditor', 'privacy_officer', 'operator'] as const) {
    const key = await world.key({ role, principal: firstOwner })
    expect(code(await desk.ask(organization, key)), role).toBe('forbidden')
    for (const action of ['approve', 'withdraw'])
      expect(code(await desk.act(organization, unknown, action, key)), role).toBe('forbidden')
  }
  const nowhere = await desk.ask('org_nowhere', desk.owners[0], {}, { confirm: 'org_nowhere', reason: 'x' })
  const foreign = await world.key({ role: 'owner', principal: firstOwner, organizations: ['org_elsewhere'] })
  for (const answer of [
    nowhere,
    await desk.ask(organization, foreign),
    await desk.act(organization, unknown, 'approve', desk.owners[0]),
    await desk.act(organization, 'offboarding_1', 'withdraw', desk.owners[0]),
    await desk.act(organization, unknown, 'retry', desk.operator),
    await world.request('GET', desk.base(organization), { key: desk.operator }),
    await world.request('GET', `${desk.base(organization)}/${unknown}`, { key: desk.operator }),
  ]) {
    expect(answer.status).toBe(404)
    const { requestId: _a, ...body } = answer.body as Record<string, unknown>
    const { requestId: _b, ...expected } = nowhere.body as Record<string, unknown>
    expect(body).toEqual(expected)
  }

  const headers = { 'idempotency-key': 'one' }
  const [one, same] = await Promise.all([
    desk.ask(organization, desk.owners[0], headers),
    desk.ask(organization, desk.owners[0], headers),
  ])
  expect([one.status, same.status]).toEqual([202, 202])
  expect(same.body).toEqual(one.body)
  expect(code(await desk.ask(organization))).toBe('wrong_state')
  expect(code(await desk.ask(organization, desk.owners[1]))).toBe('wrong_state')
  const { id } = one.body as OffboardingView
  expect(code(await desk.act(organization, id, 'approve', desk.owners[0]))).toBe('four_eyes')
  const sameEyes = await world.key({ role: 'owner', principal: firstOwner })
  expect(code(await desk.act(organization, id, 'approve', sameEyes))).toBe('four_eyes')
  // Cooling off long enough to be withdrawn in: the workflow hears of it, and ends.
  await world.request('PUT', '/v1/organizations/org_cools', { body: { coolingOffHours: 1 } })
  const cooling = (await desk.ask('org_cools')).body as OffboardingView
  expect((await desk.act('org_cools', cooling.id, 'approve', desk.owners[1])).body).toMatchObject({
    state: 'cooling_off',
  })
  expect((await desk.act('org_cools', cooling.id, 'withdraw', desk.owners[0])).body).toMatchObject({
    state: 'withdrawn',
    withdrawnBy: firstOwner,
  })
  const handle = temporal.client.workflow.getHandle(offboardingWorkflowId({ organizationId: 'org_cools' }))
  expect(await handle.result()).toEqual({ state: 'withdrawn' })
  expect(code(await desk.act('org_cools', cooling.id, 'approve', desk.owners[1]))).toBe('wrong_state')
  expect((await desk.ask('org_cools')).status).toBe(202)
  await desk.post('org_cools')
  expect(code(await desk.act(organization, id, 'retry', desk.operator))).toBe('wrong_state')
})
