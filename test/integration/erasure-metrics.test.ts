import { afterAll, beforeAll, expect, test } from 'vitest'
import { surveyErasures } from '../../src/erasure/erasure-metrics.js'
import { openWorld, type World } from '../support/world.js'

let world: World
const day = 86_400_000
const now = new Date('2026-11-25T12:00:00Z')
const daysAgo = (days: number) => new Date(now.getTime() - days * day)

beforeAll(async () => {
  world = await openWorld()
  const request = (id: string, state: string, receivedAt: Date, dueAt: Date) => ({
    _id: `org_a/${id}` as unknown as never,
    organizationId: 'org_a',
    requestId: id,
    state,
    receivedAt,
    submittedAt: receivedAt,
    dueAt,
  })
  await world.api.core.db
    .collection('erasureRequests')
    .insertMany([
      request('late', 'review', daysAgo(40), daysAgo(9)),
      request('late_too', 'needs_operator', daysAgo(35), daysAgo(4)),
      request('in_time', 'review', daysAgo(3), daysAgo(-28)),
      request('told', 'awaiting_expiry', daysAgo(300), daysAgo(270)),
      request('over', 'completed', daysAgo(400), daysAgo(370)),
    ])
})
afterAll(async () => {
  await world.close()
})

test('requests count by state; the deadline counts until the person is gone and everybody was told', async () => {
  const { requests, overdue, oldestReceivedAt } = await surveyErasures(world.api.core.db, now)
  expect(Object.fromEntries(requests)).toEqual({
    review: 2,
    needs_operator: 1,
    awaiting_expiry: 1,
    completed: 1,
  })
  expect(overdue).toBe(2)
  expect(oldestReceivedAt).toEqual(daysAgo(40))
})

test('they stand in the figures, of all organizations together', async () => {
  const { text } = await world.request('GET', '/metrics')
  expect(text).toMatch(/^annals_erasure_requests\{state="review"\} 2$/m)
  expect(text).toMatch(/^annals_erasure_requests\{state="fenced"\} 0$/m)
  expect(text).toMatch(/^annals_erasure_overdue_requests \d$/m)
  expect(text).toMatch(/^annals_erasure_oldest_open_seconds \d+/m)
  expect(text).not.toContain('org_a')
})
