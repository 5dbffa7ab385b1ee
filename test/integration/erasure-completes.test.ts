/**
 * A person is forgotten to the end: the request waits for what remains, the scheduled rotation of the period key runs, and
 * the request completes by itself. What the moments are that it waits for is the world's clock's; all else is real.
 */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { childEnvironment } from '../../src/config.js'
import { erasureCertificateFileSchema } from '../../src/erasure/certificate.js'
import { createCompleting } from '../../src/erasure/completing.js'
import { readKept } from '../../src/erasure/keeping.js'
import { oplogsOf } from '../../src/erasure/oplog.js'
import { openRequestKey, restrictedName } from '../../src/erasure/sealed.js'
import { createWorkflowRuns } from '../../src/erasure/second-reader-workflows.js'
import { rotationScheduleId } from '../../src/key-rotation/contract.js'
import { ensureRotationSchedule } from '../../src/key-rotation/start-rotation.js'
import { createLogger } from '../../src/logging.js'
import { createScanRecorder } from '../../src/scans/recorder.js'
import { createScanStore } from '../../src/scans/store.js'
import { subjectStore } from '../../src/subjects/store.js'
import { connectTemporal, temporalOptions, type TemporalConnection } from '../../src/temporal/client.js'
import { historyDays } from '../../src/temporal/retention.js'
import { buildWorkflowBundle } from '../../workers/bundle.js'
import { startWorkers } from '../../workers/main.js'
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
    now: () => new Date(Date.now() + aheadMs),
  })
  const logger = createLogger('error', { write: () => undefined })
  const workers = await startWorkers({
    config: world.config,
    logger,
    deps: {
      scanRecorder: createScanRecorder({
        store: createScanStore(core.db),
        events: core.systemEvents,
        mongo: core.client,
      }),
      sealing: { ...core.sealing, logger },
      rotating: { rotator: core.rotator, logger },
      erasure: {
        recorder: core.erasures.recorder,
        steps: {
          erasing: core.erasing.steps,
          completing: {
            async complete(...args) {
              const outcome = await completing.complete(...args)
              looks += 1
              return outcome.result === 'waiting'
                ? { ...outcome, until: new Date(Date.now() + soonMs).toISOString() }
                : outcome
            },
          },
          historyDays: () => historyDays(temporal),
          workflows: createWorkflowRuns(temporal),
          scoping: core.erasing.deps,
          notices: core.delivery.notices,
        },
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
  afterAll(async () => {
    await workers.stop()
    await temporal.client.schedule.getHandle(rotationScheduleId).delete()
    await temporal.close()
    await world.close()
  })
})

const personOf = (name: string) => ({
  type: 'user',
  id: `u_${name}`,
  name: `Person ${name}`,
  email: `${name}@acme.example`,
})

async function record(name: string, action = 'team.member.invited'): Promise<string> {
  const answer = await world.request('POST', '/v1/events', {
    body: {
      organizationId,
      action,
      occurredAt: new Date().toISOString(),
      actor: personOf(name),
      targets: [],
    },
  })
  expect(answer.status, answer.text).toBe(201)
  return (answer.body as { id: string }).id
}

const post = (path: string, body: object, key = officers[0]) => world.request('POST', path, { body, key })
const wait = { timeout: 60_000, interval: 100 }
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
  await subjects.replaceOne({ _id: person._id }, person)
  expect((await world.request('GET', `${base}/events/${gone}`)).status).toBe(500)
}, 180_000)
