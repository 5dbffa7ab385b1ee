/**
 * A person is forgotten to the end: the request waits for what remains, the scheduled rotation of the period key runs, and
 * the request completes by itself. What the moments are that it waits for is the world's clock's; all else is real.
 */
import { execFile } from 'node:child_process'
import { hash, randomBytes } from 'node:crypto'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, expect, test } from 'vitest'
import { childEnvironment } from '../../src/config.js'
import { erasureCertificateFileSchema } from '../../src/erasure/certificate.js'
import { createCompleting, type Completing } from '../../src/erasure/completing.js'
import { readKept } from '../../src/erasure/keeping.js'
import { createReleasing } from '../../src/erasure/releasing.js'
import { createRevisedNote } from '../../src/erasure/revising.js'
import { oplogsOf } from '../../src/erasure/oplog.js'
import { openRequestKey, restrictedName } from '../../src/erasure/sealed.js'
import { rotationScheduleId } from '../../src/key-rotation/contract.js'
import { ensureRotationSchedule } from '../../src/key-rotation/start-rotation.js'
import { subjectStore } from '../../src/subjects/store.js'
import { connectTemporal, temporalOptions, type TemporalConnection } from '../../src/temporal/client.js'
import { historyDays } from '../../src/temporal/retention.js'
import { verifyServer } from '../../src/verification/run.js'
import { buildWorkflowBundle } from '../../workers/bundle.js'
import { realSteps, silent as logger, startErasureWorkers } from '../support/erasure-workers.js'
import { openWorld, type World } from '../support/world.js'

const organizationId = 'org_completes'
const base = `/v1/organizations/${organizationId}`
const cli = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))
const dayMs = 86_400_000
/** So long a request waits here that would look again in a day. */
const soonMs = 1_000

let world: World
let temporal: TemporalConnection
let officers: readonly [string, string]
/** How far the clock is ahead that says which residues are over. */
let aheadMs = 0
let looks = 0

beforeAll(async () => {
  await buildWorkflowBundle()
  world = await openWorld({
    temporal: true,
    environment: { ANNALS_TEMPORAL_NAMESPACE: `completes-${randomBytes(6).toString('hex')}` },
    unsearchable: 'a row of a backup is put back, whose key is gone',
  })
  const { core } = world.api
  temporal = await connectTemporal(temporalOptions(world.config))
  await world.request('PUT', base, { body: { coolingOffHours: 0 } })
  const completing = createCompleting({
    ...core.erasing.deps,
    certificates: core.erasing.certificates,
    oplogs: () => oplogsOf(core.client),
    backupDays: 30,
    noteRevised: createRevisedNote({
      client: core.client,
      store: core.erasures.store,
      events: core.systemEvents,
    }),
    now: () => new Date(Date.now() + aheadMs),
  })
  const workers = await startErasureWorkers(world, {
    steps: realSteps(core, temporal, {
      completing: {
        ...completing,
        async complete(...args) {
          const outcome = await completing.complete(...args)
          looks += 1
          return outcome.result === 'waiting'
            ? { ...outcome, until: new Date(Date.now() + soonMs).toISOString() }
            : outcome
        },
      },
      historyDays: () => historyDays(temporal),
    }),
    deps: {
      rotating: { rotator: core.rotator, logger },
      releasing: {
        releasing: createReleasing({ ...core.erasing.deps, ...released(completing) }),
        historyDays: () => historyDays(temporal),
        logger,
      },
    },
    queues: ['seal', 'erasure'],
  })
  const officer = (principal: string) =>
    world.key({ role: 'privacy_officer', principal, organizations: [organizationId] })
  officers = [
    await officer('prn_01jd2zq8w9e5cs0v1m6k3n7p4r'),
    await officer('prn_01jd2zq8w9e5cs0v1m6k3n7p4s'),
  ]
  return async () => {
    await workers.stop()
    await temporal.client.schedule.getHandle(rotationScheduleId).delete()
    await temporal.close()
    await world.close()
  }
})

/** What releasing works with beside what erasing does. */
const released = (completing: Completing) => ({
  requests: world.api.core.erasures.store,
  finder: world.api.core.finder,
  completing,
})

const personOf = (name: string) => ({
  type: 'user',
  id: `u_${name}`,
  name: `Person ${name}`,
  email: `${name}@acme.example`,
})

async function record(name: string, action = 'team.member.invited', description = 'none'): Promise<string> {
  const answer = await world.request('POST', '/v1/events', {
    body: {
      organizationId,
      action,
      occurredAt: new Date().toISOString(),
      actor: personOf(name),
      targets: [],
      description,
    },
  })
  expect(answer.status, answer.text).toBe(201)
  return (answer.body as { id: string }).id
}

const post = (path: string, body: object, key = officers[0]) => world.request('POST', path, { body, key })
const wait = { interval: 100 }
const stateOf = async (id: string) =>
  ((await world.request('GET', `${base}/erasures/${id}`, { key: officers[0] })).body as { state: string })
    .state
const reaches = (id: string, state: string) => expect.poll(() => stateOf(id), wait).toBe(state)
const actorOf = async (id: string) => {
  const { body } = await world.request('GET', `${base}/events/${id}`)
  return (body as { actor: unknown }).actor
}

/** @returns the request's id, once it waits for what remains */
async function erased(name: string, exempt: readonly object[] = []): Promise<string> {
  const submitted = await post(`${base}/erasures`, {
    identifiers: [{ kind: 'id', type: 'user', value: personOf(name).id }],
    ground: '17(1)(b)',
    requester: 'the person',
    channel: 'letter',
    receivedAt: new Date().toISOString(),
  })
  expect(submitted.status).toBe(202)
  const { id } = submitted.body as { id: string }
  await post(`${base}/erasures/${id}/verify-identity`, { method: 'passport seen', result: 'verified' })
  await reaches(id, 'review')
  const approved = await post(`${base}/erasures/${id}/approve`, { exempt }, officers[1])
  expect(approved.status, approved.text).toBe(200)
  await reaches(id, 'awaiting_expiry')
  return id
}

/** Until every request was looked at once more. */
async function looked(requests: number): Promise<void> {
  const before = looks
  await expect.poll(() => looks, wait).toBeGreaterThanOrEqual(before + 2 * requests)
}

async function verify(certificate: string): Promise<{ code: number; report: unknown }> {
  const file = join(world.config.dataDirectory, `${randomBytes(4).toString('hex')}.json`)
  await writeFile(file, certificate)
  return new Promise((resolve) => {
    const args = [cli, 'verify', file, '--url', world.url, '--json']
    execFile(process.execPath, args, { env: childEnvironment({}) }, (error, stdout) =>
      resolve({ code: error === null ? 0 : Number(error.code), report: JSON.parse(stdout) as unknown }),
    )
  })
}

test('it completes by itself once the scheduled rotation has destroyed the key that a backup would need', async () => {
  const { core } = world.api
  const { files, states } = core.keyring.rotating
  const subjects = subjectStore(core.db).subjects
  const [gone, kept, other] = [
    await record('gone'),
    await record('kept', 'billing.paid'),
    await record('other'),
  ]
  const backup = await subjects.find({ organizationId }).toArray()
  const whole = await erased('gone')
  const partial = await erased('kept', [{ class: 'billing.*', ground: '17(3)(b)' }])
  const certificateOf = (id: string) =>
    world.request('GET', `${base}/erasures/${id}/certificate`, { headers: { accept: 'application/json' } })

  // Everything else is over: what the key of the period opens in a backup is not.
  aheadMs = 40 * dayMs
  await looked(2)
  expect([await stateOf(whole), await stateOf(partial)]).toEqual(['awaiting_expiry', 'awaiting_expiry'])
  expect((await certificateOf(whole)).body).toMatchObject({ code: 'not_complete' })

  await ensureRotationSchedule(temporal, { everyDays: 30, overlapDays: 0 })
  await temporal.client.schedule.getHandle(rotationScheduleId).trigger()
  await expect.poll(async () => (await states.read())?.deletedThrough, wait).toBe(1)
  expect(await files.list()).toEqual([2])
  expect((await readdir(files.place)).filter((name) => name.startsWith('00000001'))).toEqual([])

  await reaches(whole, 'completed')
  await reaches(partial, 'completed_with_exceptions')
  for (const [id, outcome] of [
    [whole, 'completed'],
    [partial, 'completed_with_exceptions'],
  ] as const) {
    const { text } = await certificateOf(id)
    expect((await certificateOf(id)).text).toBe(text)
    const { certificate } = erasureCertificateFileSchema.parse(JSON.parse(text))
    expect(certificate).toMatchObject({ id, outcome, version: 1, supersedes: null })
    expect(certificate.remains).toContainEqual(
      expect.objectContaining({ what: 'period_keys', state: 'gone', periods: [1] }),
    )
    expect(certificate.remains).toContainEqual(
      expect.objectContaining({ what: 'workflow_histories', state: 'gone' }),
    )
    expect(await verify(text)).toMatchObject({ code: 0, report: { verdict: 'intact', id } })
  }

  // Whoever is not erased is readable, and what was kept still opens.
  expect(await actorOf(other)).toMatchObject({ name: personOf('other').name })
  expect(await actorOf(kept)).toMatchObject({ restricted: true })
  const progress = await core.erasing.deps.progress.read({ organizationId, requestId: partial })
  if (progress.restrictedKey === undefined) throw new Error('the key of what is kept is gone')
  await core.keyring.periods.refresh()
  const keyset = await core.erasing.deps.keysetOf(organizationId)
  const request = { organizationId, requestId: partial, beat: () => undefined }
  const restrictedKey = openRequestKey(
    keyset,
    core.keyring.periods,
    restrictedName(request),
    progress.restrictedKey,
  )
  expect(await readKept(core.events, { ...request, restrictedKey }, progress.subjects)).toEqual([
    { eventId: kept, slot: 'actor' },
  ])
  // Where nothing is kept, no key is left that could keep something.
  const done = await core.erasing.deps.progress.read({ organizationId, requestId: whole })
  expect(done.restrictedKey).toBeUndefined()

  // The wrapped key out of a backup opens nothing any more, and that is an error.
  expect(await actorOf(gone)).toMatchObject({ erased: true })
  const person = backup.find(({ _id }) => done.subjects.some((one) => _id.endsWith(`/${one}`)))
  if (person === undefined) throw new Error('the person has no subject')
  const gonePerson = await subjects.findOne({ _id: person._id })
  await subjects.replaceOne({ _id: person._id }, person)
  expect((await world.request('GET', `${base}/events/${gone}`)).status).toBe(500)
  await subjects.replaceOne({ _id: person._id }, gonePerson ?? person)
})

test('what a hold had kept is erased when it ends, and a further certificate says so', async () => {
  const { core } = world.api
  const [kept, text, exempt, gone] = [
    await record('held'),
    await record('other', 'team.member.invited', `for ${personOf('held').id}`),
    await record('held', 'billing.paid'),
    await record('held', 'document.closed'),
  ]
  const placed = await post(`${base}/holds`, { scope: { action: 'team.*' }, reason: 'case 17' })
  expect(placed.status, placed.text).toBe(201)
  const id = await erased('held', [{ class: 'billing.*', ground: '17(3)(b)' }])
  // Of the rotation before this nothing is left that a backup could open; the key of this period is there.
  await temporal.client.schedule.getHandle(rotationScheduleId).trigger()
  await reaches(id, 'completed_with_exceptions')
  const certificateOf = async () => {
    const path = `${base}/erasures/${id}/certificate`
    return (await world.request('GET', path, { headers: { accept: 'application/json' } })).text
  }
  const first = await certificateOf()
  expect(erasureCertificateFileSchema.parse(JSON.parse(first)).certificate).toMatchObject({
    version: 1,
    kept: [
      { reason: 'exempt', class: 'billing.*', events: 1 },
      { reason: 'hold', class: null, events: 2 },
    ],
    releases: [],
  })
  expect(await actorOf(kept)).toMatchObject({ restricted: true })
  expect(await actorOf(gone)).toMatchObject({ erased: true })

  const { id: hold } = placed.body as { id: string }
  expect((await post(`${base}/holds/${hold}/release`, {})).status).toBe(200)
  await expect.poll(() => actorOf(kept), wait).toMatchObject({ erased: true })
  await expect
    .poll(async () => {
      const { body } = await world.request('GET', `${base}/events/${text}`)
      return (body as { description?: string }).description
    }, wait)
    .toBeUndefined()
  await expect.poll(certificateOf, wait).not.toBe(first)
  const second = await certificateOf()
  const { certificate } = erasureCertificateFileSchema.parse(JSON.parse(second))
  expect(certificate).toMatchObject({
    version: 2,
    supersedes: hash('sha256', first),
    outcome: 'completed_with_exceptions',
    kept: [{ reason: 'exempt', class: 'billing.*', events: 1 }],
    releases: [{ events: 2, fields: 2, proof: 'released1' }],
  })
  // What is exempt still keeps its key, which opens copies of what went: the certificate says so.
  expect(certificate.remains).toContainEqual(expect.objectContaining({ what: 'request_key', state: 'until' }))
  expect(await actorOf(exempt)).toMatchObject({ restricted: true })
  expect(await verify(second)).toMatchObject({ code: 0, report: { verdict: 'intact', version: 2 } })
  const events = await core.events.find({ organizationId, action: 'annals.erasure.completed' }).toArray()
  expect(events.length).toBeGreaterThanOrEqual(2)

  // The log still accounts for everything.
  await core.sealing.sealer.drainOrganization(organizationId)
  const options = {
    url: world.url,
    key: world.ownerKey,
    organization: organizationId,
    logKeys: [],
    values: true,
  }
  expect((await verifyServer(options)).report.findings).toEqual([])
})
