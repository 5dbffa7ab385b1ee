import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld()
  for (const id of ['org_hooks', 'org_other_hooks']) {
    await world.request('PUT', `/v1/organizations/${id}`, { body: {} })
  }
})
afterAll(async () => {
  await world.close()
})

const base = '/v1/organizations/org_hooks/webhook-secrets'
const answerSchema = z.object({
  data: z.array(
    z.object({
      number: z.int(),
      secret: z.string(),
      createdAt: z.string(),
      signsUntil: z.string().nullable(),
    }),
  ),
})
async function secrets(method = 'GET', path = base, body?: object) {
  const answer = await world.request(method, path, body === undefined ? {} : { body })
  expect(answer.status, answer.text).toBe(200)
  expect(answer.headers.get('cache-control')).toBe('no-store')
  return answerSchema.parse(answer.body).data
}

test('an owner reads the secret of an organization, the same each time, another for each organization', async () => {
  const first = await secrets()
  expect(first).toMatchObject([{ number: 1, signsUntil: null }])
  // 32 bytes, in the form that Standard Webhooks libraries take.
  expect(first[0]?.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
  expect(await secrets()).toEqual(first)
  const [other] = await secrets('GET', base.replace('org_hooks', 'org_other_hooks'))
  expect(other?.secret).not.toBe(first[0]?.secret)
  // In the database it is wrapped.
  const stored = await world.api.core.db.collection('webhookSecrets').findOne({ organizationId: 'org_hooks' })
  expect(JSON.stringify(stored)).not.toContain(first[0]?.secret.slice(6, 30))
})

test('a rotation makes a new one, lets the old one sign along, and is an event without the secret', async () => {
  const [old] = await secrets()
  const both = await secrets('POST', `${base}/rotate`, { overlapHours: 24 })
  expect(both).toMatchObject([{ number: 2, signsUntil: null }, { number: 1 }])
  expect(both[1]?.secret).toBe(old?.secret)
  expect(Date.parse(both[1]?.signsUntil ?? '') - Date.now()).toBeGreaterThan(23 * 3_600_000)
  // Leaked: the one before is over at once; the one that signs along has its time.
  const after = await secrets('POST', `${base}/rotate`, { overlapHours: 0 })
  expect(after.map(({ number }) => number)).toEqual([3, 1])
  const events = await world.request(
    'GET',
    '/v1/organizations/org_hooks/events?action=annals.webhook_secret.rotated',
  )
  expect(events.text).toContain('overlapHours')
  for (const { secret } of [...both, ...after]) expect(events.text).not.toContain(secret.slice(6))
})

test('of many rotations at once each has its number, and no more sign than five', async () => {
  const path = base.replace('org_hooks', 'org_other_hooks')
  const answers = await Promise.all(
    Array.from({ length: 8 }, () => world.request('POST', `${path}/rotate`, { body: {} })),
  )
  expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 200, 200, 409, 409, 409, 409])
  expect((await secrets('GET', path)).map(({ number }) => number)).toEqual([5, 4, 3, 2, 1])
})

test('nobody else reads or rotates them, and an organization that is not there has none', async () => {
  for (const role of ['ingest', 'auditor', 'operator', 'privacy_officer'] as const) {
    const key = await world.key({ role, principal: 'prn_01jd2zq8w9e5cs0v1m6k3n7p4r' })
    expect((await world.request('GET', base, { key })).status, role).toBe(403)
    expect((await world.request('POST', `${base}/rotate`, { key, body: {} })).status, role).toBe(403)
  }
  const bound = await world.key({ role: 'owner', organizations: ['org_other_hooks'] })
  expect((await world.request('GET', base, { key: bound })).status).toBe(404)
  expect((await world.request('GET', base.replace('org_hooks', 'org_absent'))).status).toBe(404)
})

test.each([
  [{ overlapHours: -1 }, 'overlapHours', 'too_small'],
  [{ overlapHours: 721 }, 'overlapHours', 'too_large'],
  [{ overlapHours: 'soon' }, 'overlapHours', 'wrong_type'],
  [{ other: 1 }, 'other', 'unknown_field'],
])('%j is refused and rotates nothing', async (body, path, code) => {
  const before = await secrets()
  const answer = await world.request('POST', `${base}/rotate`, { body })
  expect(answer).toMatchObject({ status: 422, body: { errors: [{ path, code }] } })
  expect(await secrets()).toEqual(before)
})
