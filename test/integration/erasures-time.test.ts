/**
 * Requests over months, on a Temporal server that skips time; MongoDB, the API and the workers are the real ones. The
 * clock of this process is set after the server's: what happens between two passages of time happens at one moment.
 */
import { encodeSearchAttributeIndexedValueType } from '@temporalio/common/lib/search-attributes.js'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { ErasureReference, NotifyOutcome } from '../../src/erasure/contract.js'
import { searchAttributes } from '../../src/temporal/search-attributes.js'
import { startTimeSkippingServer, type TimeSkippingServer } from '../support/time-skipping.js'
import { answering, startReceiver } from '../support/receiver.js'
import {
  openedHistory,
  openErasureWorld,
  organizationId,
  principals,
  type ErasureWorld,
} from './erasures-world.js'

let server: TimeSkippingServer
let world: ErasureWorld

const hourMs = 3_600_000
const dayMs = 24 * hourMs

beforeAll(async () => {
  server = await startTimeSkippingServer()
  world = await openErasureWorld({
    timeSkippingAddress: server.address,
    environment: { ANNALS_WEBHOOK_ALLOW_PRIVATE: 'true' },
  })
  await world.temporal.connection.operatorService.addSearchAttributes({
    namespace: 'default',
    searchAttributes: Object.fromEntries(
      searchAttributes.flatMap(({ name, type }) => {
        const encoded = encodeSearchAttributeIndexedValueType(type)
        return encoded === undefined ? [] : [[name, encoded]]
      }),
    ),
  })
  await world.work()
  vi.useFakeTimers({ toFake: ['Date'], now: await server.now() })
})
// The last of them first.
afterAll(() => server.close())
afterAll(() => world.close())
afterAll(() => vi.useRealTimers())

async function pass(ms: number): Promise<void> {
  await server.pass(ms)
  vi.setSystemTime(await server.now())
}

const asSecond = () => ({ key: world.keys.second })
const asOperator = () => ({ key: world.keys.operator })
const inWords = { interval: 50 }
const reaches = (id: string, state: string) =>
  expect.poll(async () => (await world.show(id)).state, inWords).toBe(state)
const hears = (id: string, actions: readonly string[]) =>
  expect.poll(() => world.events(id), inWords).toEqual(actions)

async function submitted(): Promise<string> {
  const id = await world.submit()
  await reaches(id, 'identity_pending')
  return id
}

async function toReview(): Promise<string> {
  const id = await submitted()
  const verified = await world.post(`/${id}/verify-identity`, { method: 'in person', result: 'verified' })
  expect(verified.status).toBe(200)
  await reaches(id, 'review')
  return id
}

async function approved(): Promise<string> {
  const id = await toReview()
  expect((await world.post(`/${id}/approve`, {}, asSecond())).status).toBe(200)
  await reaches(id, 'cooling_off')
  return id
}

test('officers are reminded three times, and then it is said once that the request is overdue', async () => {
  const id = await submitted()
  const { dueAt } = await world.show(id)
  await pass(Date.parse(dueAt) - Date.now() - 15 * dayMs)
  expect(await world.events(id)).toEqual(['submitted'])
  await pass(2 * dayMs)
  await hears(id, ['submitted', 'reminded'])
  await pass(12 * dayMs)
  await hears(id, ['submitted', 'reminded', 'reminded', 'reminded'])
  expect(await world.show(id)).toMatchObject({ overdue: false })
  await pass(60 * dayMs)
  await hears(id, ['submitted', 'reminded', 'reminded', 'reminded', 'overdue'])
  expect(await world.show(id)).toMatchObject({ state: 'identity_pending', overdue: true })
  // What is overdue is not over.
  expect((await world.post(`/${id}/verify-identity`, { method: 'call', result: 'verified' })).status).toBe(
    200,
  )
  await reaches(id, 'review')
})

test('an extension moves the deadline by two months, with reminders of its own, and comes once', async () => {
  const id = await submitted()
  await pass(20 * dayMs)
  await hears(id, ['submitted', 'reminded'])
  expect((await world.post(`/${id}/extend`, { reason: 'many records' })).status).toBe(200)
  const { dueAt } = await world.show(id)
  expect(Date.parse(dueAt) - Date.now()).toBeGreaterThan(68 * dayMs)
  await pass(40 * dayMs)
  expect(await world.events(id)).toEqual(['submitted', 'reminded', 'extended'])
  const again = await world.post(`/${id}/extend`, { reason: 'more still' })
  expect(again.status).toBe(409)
  await pass(Date.parse(dueAt) - Date.now() + hourMs)
  await hears(id, ['submitted', 'reminded', 'extended', 'reminded', 'reminded', 'reminded', 'overdue'])
})

test('after the first month there is no extension, with whatever reason', async () => {
  const id = await submitted()
  await pass(32 * dayMs)
  const late = await world.post(`/${id}/extend`, { reason: 'we forgot' })
  expect(late).toMatchObject({ status: 409, body: { code: 'wrong_state' } })
  expect(await world.show(id)).toMatchObject({ extended: false, overdue: true })
})

test('what is approved cools off for as long as the organization wants, and is then fenced by itself', async () => {
  const id = await approved()
  await pass(23 * hourMs)
  expect((await world.show(id)).state).toBe('cooling_off')
  expect(world.stepsOf(id)).toEqual(['scope'])
  await pass(2 * hourMs)
  await reaches(id, 'completed')
  expect(world.stepsOf(id)).toEqual(['scope', 'fence', 'prepare', 'erase', 'verify', 'notify', 'complete'])
})

test('a request is judged by the settings that the organization had when it was submitted', async () => {
  const id = await toReview()
  const before = (await world.show(id))['policyVersion']
  const path = `/v1/organizations/${organizationId}`
  expect((await world.request('PUT', path, { body: { coolingOffHours: 240 } })).status).toBe(200)
  try {
    expect((await world.post(`/${id}/approve`, {}, asSecond())).status).toBe(200)
    await reaches(id, 'cooling_off')
    await pass(25 * hourMs)
    await reaches(id, 'completed')
    expect(await world.show(id)).toMatchObject({ policyVersion: before, retentionVersion: 0 })
  } finally {
    await world.request('PUT', path, { body: { coolingOffHours: 24 } })
  }
})

test('a withdrawal in the last hour of cooling off is one, and no month later anything is fenced', async () => {
  const id = await approved()
  await pass(23 * hourMs)
  expect((await world.post(`/${id}/withdraw`, { note: 'changed my mind' })).status).toBe(200)
  await pass(40 * dayMs)
  expect((await world.show(id)).state).toBe('withdrawn')
  expect(world.stepsOf(id)).toEqual(['scope'])
  expect(await world.events(id)).toEqual(['submitted', 'approved', 'withdrawn'])
})

test('a second officer may still deny while it cools off; no deadline is counted after', async () => {
  const id = await approved()
  await pass(12 * hourMs)
  expect((await world.post(`/${id}/deny`, { ground: '17(3)(e)', note: 'claims' }, asSecond())).status).toBe(
    200,
  )
  await pass(60 * dayMs)
  expect(await world.events(id)).toEqual(['submitted', 'approved', 'denied'])
  expect(await world.show(id)).toMatchObject({ state: 'denied', overdue: false, denialGround: '17(3)(e)' })
})

test('where everything is held the request waits, and goes on by itself once the hold is gone', async () => {
  world.answers.fence = () => ({ result: 'held' })
  try {
    const id = await approved()
    await pass(25 * hourMs)
    await reaches(id, 'on_hold')
    await pass(10 * dayMs)
    const before = world.stepsOf(id).filter((step) => step === 'fence').length
    expect(before).toBeGreaterThan(20)
    // Looking forty times is no evidence; that it was held is.
    expect((await world.show(id)).evidence.filter(({ event }) => event === 'hold_found')).toHaveLength(1)
    world.answers.fence = () => ({ result: 'fenced' })
    await pass(7 * hourMs)
    await reaches(id, 'completed')
  } finally {
    world.answers.fence = () => ({ result: 'fenced' })
  }
})

test('the release of a hold is looked at when it happens, and a release that comes too early is not lost', async () => {
  world.answers.fence = () => ({ result: 'held' })
  try {
    const id = await approved()
    await pass(25 * hourMs)
    await reaches(id, 'on_hold')
    const fences = () => world.stepsOf(id).filter((step) => step === 'fence').length
    const before = fences()
    // Of another hold: it looks again, and waits on.
    await releaseAHold()
    await expect.poll(fences).toBe(before + 1)
    await reaches(id, 'on_hold')
    world.answers.fence = () => ({ result: 'fenced' })
    await releaseAHold()
    // No time passes here.
    await reaches(id, 'completed')
  } finally {
    world.answers.fence = () => ({ result: 'fenced' })
  }
})

/** Places a hold on something else, and releases it. */
async function releaseAHold(): Promise<void> {
  const holds = `/v1/organizations/${organizationId}/holds`
  const placed = await world.request('POST', holds, {
    body: { scope: { action: 'case.*' }, reason: 'litigation' },
  })
  const { id } = placed.body as { id: string }
  expect((await world.request('POST', `${holds}/${id}/release`, { body: {} })).status).toBe(200)
}

test('a request on hold can still be withdrawn', async () => {
  world.answers.fence = () => ({ result: 'held' })
  try {
    const id = await approved()
    await pass(25 * hourMs)
    await reaches(id, 'on_hold')
    expect((await world.post(`/${id}/withdraw`)).status).toBe(200)
    world.answers.fence = () => ({ result: 'fenced' })
    await pass(10 * dayMs)
    expect((await world.show(id)).state).toBe('withdrawn')
    expect(world.stepsOf(id)).not.toContain('prepare')
  } finally {
    world.answers.fence = () => ({ result: 'fenced' })
  }
})

test('what still remains in backups is waited for, without a deadline, and closes the request by itself', async () => {
  let looks = 0
  world.answers.complete = () => {
    looks += 1
    return looks < 10 ? { result: 'waiting', until: '2099-01-01T00:00:00Z' } : { result: 'completed' }
  }
  try {
    const id = await approved()
    await pass(25 * hourMs)
    await reaches(id, 'awaiting_expiry')
    await pass(40 * dayMs)
    expect(await world.show(id)).toMatchObject({ state: 'awaiting_expiry', overdue: false })
    // Whom it was about is gone by then.
    const { core } = world.api
    expect(await core.db.collection('erasureRequests').findOne({ requestId: id })).toMatchObject({
      key: null,
      sealed: null,
      words: [],
    })
    await pass(40 * dayMs)
    await reaches(id, 'completed')
    expect(looks).toBe(10)
    expect(await world.events(id)).toEqual(['submitted', 'approved', 'completed'])
  } finally {
    world.answers.complete = () => ({ result: 'completed' })
  }
})

/** Tells recipients as the product does, at the server's time. */
async function tell(request: ErasureReference): Promise<NotifyOutcome> {
  vi.setSystemTime(await server.now())
  return world.api.core.delivery.notices.notify(request, () => undefined)
}

test('a recipient that does not answer is called for three days, and the month goes on without it', async () => {
  const told = await startReceiver()
  const away = await startReceiver()
  const busy = await startReceiver()
  const gone = await startReceiver()
  away.behave(answering(503))
  busy.behave(answering(429, { 'retry-after': '36000' }))
  gone.behave(answering(410))
  world.answers.notify = tell
  try {
    const recipients = [told, away, busy, gone].map(({ url }, position) => ({
      name: `r${String(position)}`,
      url,
    }))
    const id = await world.submit({ recipients })
    await reaches(id, 'identity_pending')
    expect(
      (await world.post(`/${id}/verify-identity`, { method: 'in person', result: 'verified' })).status,
    ).toBe(200)
    await reaches(id, 'review')
    expect((await world.post(`/${id}/approve`, {}, asSecond())).status).toBe(200)
    await reaches(id, 'cooling_off')
    await pass(25 * hourMs)
    await reaches(id, 'notifying')
    expect((await world.show(id)).recipients).toMatchObject([
      { position: 0, status: 'acknowledged', attempts: 1, lastStatus: 204 },
      { position: 1, status: 'pending', lastStatus: 503 },
      { position: 2, status: 'pending', lastStatus: 429 },
      { position: 3, status: 'refused', attempts: 1, lastStatus: 410 },
    ])
    const metadata = await world
      .workflow(id)
      .query<{ currentDetails?: string }>('__temporal_workflow_metadata')
    expect(metadata.currentDetails).toContain('some recipients are not reached; called again')
    await pass(20 * hourMs)
    busy.behave(undefined)
    await pass(51 * hourMs)
    await reaches(id, 'notifying')
    await pass(2 * hourMs)
    await reaches(id, 'completed')
    const { recipients: outcomes } = await world.show(id)
    expect(outcomes).toMatchObject([
      { position: 0, status: 'acknowledged', attempts: 1 },
      { position: 1, status: 'timed_out', nextAttemptAt: null, lastStatus: 503 },
      { position: 2, status: 'acknowledged', lastStatus: 204 },
      { position: 3, status: 'refused', attempts: 1 },
    ])
    expect(away.calls.length).toBeGreaterThan(15)
    expect(away.calls.length).toBe(outcomes[1]?.attempts)
    expect(new Set(away.calls.map((call) => call.id)).size).toBe(1)
    // Ten hours apart, as it asked.
    expect(busy.calls.length).toBeLessThan(5)
    expect(world.stepsOf(id).filter((step) => step === 'notify').length).toBeLessThan(60)
    // Whom it was about went to the recipients, and to nobody's log or history.
    const opened = (await openedHistory(world, id)).join('')
    expect(opened).not.toContain('127.0.0.1')
    expect(world.workerLogs()).not.toContain('/hook')
  } finally {
    world.answers.notify = () => ({ result: 'skipped' })
    await Promise.all([told, away, busy, gone].map((receiver) => receiver.close()))
  }
})

test('a step that fails again and again is tried for a bounded time; the deadline is watched meanwhile', async () => {
  world.answers.erase = () => {
    throw new Error('the disk of jane@acme.example is full')
  }
  try {
    const id = await approved()
    await pass(25 * hourMs)
    await reaches(id, 'needs_operator')
    expect(await world.show(id)).toMatchObject({
      needsOperator: { reason: 'internal', resumesAt: 'erasing' },
    })
    await pass(40 * dayMs)
    await expect.poll(() => world.events(id), inWords).toContain('overdue')
    world.answers.erase = () => undefined
    expect((await world.post(`/${id}/retry`, {}, asOperator())).status).toBe(202)
    await reaches(id, 'completed')
    expect(await world.events(id)).not.toContain('closed')
  } finally {
    world.answers.erase = () => undefined
  }
})

test('an operator sees the request as a checklist, with its state and its deadline', async () => {
  const id = await submitted()
  const metadata = await world.workflow(id).query<{ currentDetails?: string }>('__temporal_workflow_metadata')
  expect(metadata.currentDetails).toContain(`**Erasure** ${id} of org_erasures: identity_pending`)
  expect(metadata.currentDetails).toContain('- [ ] identity verified')
  const { dueAt } = await world.show(id)
  expect(metadata.currentDetails).toContain(`- due ${dueAt}`)
  expect(metadata.currentDetails).not.toContain(principals.first)
  const described = await world.workflow(id).describe()
  const attributes = Object.fromEntries(
    described.typedSearchAttributes.getAll().map(({ key, value }) => [key.name, value]),
  )
  expect(attributes).toMatchObject({
    AnnalsKind: 'erasure',
    AnnalsPhase: 'identity_pending',
    AnnalsDeadline: new Date(dueAt),
  })
})
