/** A person is forgotten by request, over HTTP, with the workers of a deployment and what they really do. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createLogger } from '../../src/logging.js'
import { createScanRecorder } from '../../src/scans/recorder.js'
import { createScanStore } from '../../src/scans/store.js'
import { buildWorkflowBundle } from '../../workers/bundle.js'
import { startWorkers } from '../../workers/main.js'
import { openWorld, type World } from '../support/world.js'

let world: World
let officers: readonly [string, string]
const organizations = ['org_erased', 'org_kept'] as const
const mark = randomBytes(6).toString('hex')
const jane = {
  type: 'user',
  id: `u_${mark}`,
  name: `Jane ${mark}`,
  email: `jane.${mark}@acme.example`,
}

beforeAll(async () => {
  await buildWorkflowBundle()
  world = await openWorld({
    temporal: true,
    environment: { ANNALS_TEMPORAL_NAMESPACE: `erased-${randomBytes(6).toString('hex')}` },
  })
  const { core } = world.api
  for (const organization of organizations) {
    await world.request('PUT', `/v1/organizations/${organization}`, { body: { coolingOffHours: 0 } })
  }
  const logger = createLogger('debug', { write: () => undefined })
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
      erasure: {
        recorder: core.erasures.recorder,
        steps: {
          erasing: core.erasing.steps,
          scoping: core.erasing.deps,
          requests: core.erasures.requests,
        },
      },
    },
    queues: ['seal', 'erasure'],
  })
  const officer = (principal: string) =>
    world.key({ role: 'privacy_officer', principal, organizations: [...organizations] })
  officers = [
    await officer('prn_01jd2zq8w9e5cs0v1m6k3n7p4r'),
    await officer('prn_01jd2zq8w9e5cs0v1m6k3n7p4s'),
  ]
  afterAll(async () => {
    await workers.stop()
    await world.close()
  })
})

const post = (path: string, body: object, key = officers[0]) => world.request('POST', path, { body, key })

async function record(organizationId: string): Promise<string> {
  const answer = await world.request('POST', '/v1/events', {
    body: {
      organizationId,
      action: 'team.member.invited',
      occurredAt: new Date().toISOString(),
      actor: jane,
      targets: [{ type: 'team', id: 't_9', name: 'Platform' }],
      description: `${jane.email} invited somebody`,
      context: { ip: '203.0.113.7' },
    },
  })
  expect(answer.status).toBe(201)
  return (answer.body as { id: string }).id
}

test('from the letter on the desk to a verified erasure, in one organization and no other', async () => {
  const [erased, kept] = [await record('org_erased'), await record('org_kept')]
  const base = '/v1/organizations/org_erased/erasures'
  const submitted = await post(base, {
    identifiers: [
      { kind: 'id', type: 'user', value: jane.id },
      { kind: 'email', value: jane.email },
      { kind: 'other', value: jane.name },
    ],
    ground: '17(1)(b)',
    requester: jane.name,
    channel: 'letter',
    receivedAt: new Date().toISOString(),
    jointFreeText: 'redact',
  })
  expect(submitted.status).toBe(202)
  const path = `${base}/${(submitted.body as { id: string }).id}`
  const show = async () => {
    const { body } = await world.request('GET', path, { key: officers[0] })
    return body as { state: string; needsOperator: unknown; scope: { subjects: string[] } | null }
  }
  const wait = { timeout: 45_000, interval: 100 }
  const verified = await post(`${path}/verify-identity`, { method: 'passport seen', result: 'verified' })
  expect(verified.status).toBe(200)
  await expect.poll(async () => (await show()).state, wait).toBe('review')
  expect((await show()).scope?.subjects).toHaveLength(1)
  const approved = await post(`${path}/approve`, { confirm: [0, 1, 2] }, officers[1])
  expect(approved.status).toBe(200)
  // The period key is still there, so something remains; a request that stopped says why.
  await expect
    .poll(async () => {
      const { state, needsOperator } = await show()
      return ['cooling_off', 'fenced', 'erasing', 'verifying', 'notifying', 'approved'].includes(state)
        ? 'on its way'
        : { state, needsOperator }
    }, wait)
    .toEqual({ state: 'awaiting_expiry', needsOperator: null })

  const read = async (organization: string, id: string) =>
    (await world.request('GET', `/v1/organizations/${organization}/events/${id}?personal=true`)).text
  const gone = await read('org_erased', erased)
  for (const value of [jane.id, jane.name, jane.email]) expect(gone).not.toContain(value)
  expect(JSON.parse(gone)).toMatchObject({ actor: { type: 'user', erased: true } })
  expect(JSON.parse(await read('org_kept', kept))).toMatchObject({ actor: jane })
  expect(world.logs()).not.toContain(mark)

  // Whoever comes back is a new person.
  const again = await record('org_erased')
  expect(JSON.parse(await read('org_erased', again))).toMatchObject({ actor: jane })
})
