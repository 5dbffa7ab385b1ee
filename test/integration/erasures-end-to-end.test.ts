/** A person is forgotten by request, over HTTP, with the workers of a deployment and what they really do. */
import { randomBytes } from 'node:crypto'
import { beforeAll, expect, test } from 'vitest'
import { connectTemporal, temporalOptions, type TemporalConnection } from '../../src/temporal/client.js'
import { kindAttribute, organizationAttribute } from '../../src/temporal/search-attributes.js'
import { buildWorkflowBundle } from '../../workers/bundle.js'
import { realSteps, startErasureWorkers } from '../support/erasure-workers.js'
import { openWorld, type World } from '../support/world.js'

let world: World
let temporal: TemporalConnection
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
  temporal = await connectTemporal(temporalOptions(world.config))
  for (const organization of organizations) {
    await world.request('PUT', `/v1/organizations/${organization}`, { body: { coolingOffHours: 0 } })
  }
  const workers = await startErasureWorkers(world, {
    steps: realSteps(core, temporal),
    queues: ['seal', 'erasure'],
  })
  const officer = (principal: string) =>
    world.key({ role: 'privacy_officer', principal, organizations: [...organizations] })
  officers = [
    await officer('prn_01jd2zq8w9e5cs0v1m6k3n7p4r'),
    await officer('prn_01jd2zq8w9e5cs0v1m6k3n7p4s'),
  ]
  return async () => {
    await workers.stop()
    await temporal.close()
    await world.close()
  }
})

const post = (path: string, body: object, key = officers[0]) => world.request('POST', path, { body, key })

const show = async (path: string) => {
  const { body } = await world.request('GET', path, { key: officers[0] })
  return body as { state: string; needsOperator: unknown; scope: { subjects: string[] } | null }
}
const wait = { interval: 100 }
const reaches = (path: string, state: string) =>
  expect.poll(async () => (await show(path)).state, wait).toBe(state)

/** Submits a request and verifies its identity. @returns its path */
async function verified(identifiers: readonly object[]): Promise<string> {
  const base = '/v1/organizations/org_erased/erasures'
  const submitted = await post(base, {
    identifiers,
    ground: '17(1)(b)',
    requester: jane.name,
    channel: 'letter',
    receivedAt: new Date().toISOString(),
    jointFreeText: 'redact',
  })
  expect(submitted.status).toBe(202)
  const path = `${base}/${(submitted.body as { id: string }).id}`
  const answer = await post(`${path}/verify-identity`, { method: 'passport seen', result: 'verified' })
  expect(answer.status).toBe(200)
  return path
}

async function record(organizationId: string, actor: object = jane): Promise<string> {
  const answer = await world.request('POST', '/v1/events', {
    body: {
      organizationId,
      action: 'team.member.invited',
      occurredAt: new Date().toISOString(),
      actor,
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
  const path = await verified([
    { kind: 'id', type: 'user', value: jane.id },
    { kind: 'email', value: jane.email },
    { kind: 'other', value: jane.name },
  ])
  await reaches(path, 'review')
  expect((await show(path)).scope?.subjects).toHaveLength(1)
  const approved = await post(`${path}/approve`, { confirm: [0, 1, 2] }, officers[1])
  expect(approved.status).toBe(200)
  // The period key is still there, so something remains; a request that stopped says why.
  await expect
    .poll(async () => {
      const { state, needsOperator } = await show(path)
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

test('a person whom nothing names is no match, and says so', async () => {
  const path = await verified([
    { kind: 'id', type: 'user', value: `nobody_${mark}` },
    { kind: 'email', value: `nobody.${mark}@acme.example` },
  ])
  await reaches(path, 'no_match')
})

test('an e-mail that two persons share forgets neither until a reviewer says that both are meant', async () => {
  const email = `desk.${mark}@acme.example`
  const [one, two] = ['first', 'second'].map((id) => ({ type: 'user', id: `${id}_${mark}`, email }))
  const events = [await record('org_erased', one), await record('org_erased', two)]
  const path = await verified([{ kind: 'email', value: email }])
  await reaches(path, 'review')
  expect((await show(path)).scope).toMatchObject({ ambiguousIdentifiers: [0], certainSubjects: 0 })
  const refused = await post(`${path}/approve`, {}, officers[1])
  expect([refused.status, refused.body]).toMatchObject([
    422,
    { errors: [{ path: 'confirm', code: 'missing' }] },
  ])
  expect((await show(path)).state).toBe('review')
  expect((await post(`${path}/approve`, { confirm: [0] }, officers[1])).status).toBe(200)
  await reaches(path, 'awaiting_expiry')
  for (const id of events) {
    const read = await world.request('GET', `/v1/organizations/org_erased/events/${id}?personal=true`)
    expect(read.body).toMatchObject({ actor: { type: 'user', erased: true } })
  }
})

test('a person whose every event is held stays whole, until the hold goes or the request is withdrawn', async () => {
  const john = { type: 'user', id: `john_${mark}`, name: `John ${mark}`, email: `john.${mark}@acme.example` }
  const event = await record('org_erased', john)
  const path = await verified([{ kind: 'id', type: 'user', value: john.id }])
  await reaches(path, 'review')
  const held = await post('/v1/organizations/org_erased/holds', {
    scope: { identifier: { kind: 'id', type: 'user', value: john.id } },
    reason: 'case 17',
  })
  expect(held.status).toBe(201)
  expect((await post(`${path}/approve`, {}, officers[1])).status).toBe(200)
  await reaches(path, 'on_hold')
  const read = await world.request('GET', `/v1/organizations/org_erased/events/${event}`)
  expect(read.body).toMatchObject({ actor: john })
  expect((await post(`${path}/withdraw`, {})).status).toBe(200)
})

test('a history and an id that name the person are found, by name, and block the end until they are deleted', async () => {
  const lou = { type: 'user', id: `lou_${mark}`, name: `Lou ${mark}`, email: `lou.${mark}@acme.example` }
  const { client, connection, namespace } = temporal
  await record('org_erased', lou)
  // Whoever may use Temporal may start anything, under any name, with anything.
  const start = (workflowId: string, organization: string, given: string) =>
    client.workflow.start('unknown', {
      workflowId,
      taskQueue: 'nobody',
      args: [{ note: given }],
      typedSearchAttributes: [
        { key: organizationAttribute, value: organization },
        { key: kindAttribute, value: 'scan' },
      ],
    })
  const told = await start(`told-${mark}`, 'org_erased', lou.email)
  const named = await start(`job/${lou.id}`, 'org_erased', 'nothing')
  const elsewhere = await start(`elsewhere/${lou.id}`, 'org_kept', lou.email)
  const shown = async (workflowId: string, more = '') =>
    (await client.workflow.count(`WorkflowId = "${workflowId}"${more}`)).count
  for (const { workflowId } of [told, named, elsewhere])
    await expect.poll(() => shown(workflowId), wait).toBe(1)

  const path = await verified([
    { kind: 'id', type: 'user', value: lou.id },
    { kind: 'email', value: lou.email },
  ])
  await reaches(path, 'review')
  expect((await post(`${path}/approve`, { confirm: [0, 1] }, officers[1])).status).toBe(200)
  await reaches(path, 'needs_operator')
  expect((await show(path)).needsOperator).toMatchObject({
    reason: 'residue_found',
    targets: ['visibility', 'workflow_histories'],
  })

  for (const { workflowId, firstExecutionRunId: runId } of [told, named]) {
    const workflowExecution = { workflowId, runId }
    await client.workflow.getHandle(workflowId, runId).terminate()
    // Deleted before visibility has seen it end, it may be written there once more.
    await expect.poll(() => shown(workflowId, ' AND ExecutionStatus = "Terminated"'), wait).toBe(1)
    await connection.workflowService.deleteWorkflowExecution({ namespace, workflowExecution })
    await expect.poll(() => shown(workflowId), wait).toBe(0)
  }
  const operator = await world.key({ role: 'operator' })
  expect((await post(`${path}/retry`, {}, operator)).status).toBe(202)
  await reaches(path, 'awaiting_expiry')
  expect(await shown(elsewhere.workflowId)).toBe(1)
  await elsewhere.terminate()
})
