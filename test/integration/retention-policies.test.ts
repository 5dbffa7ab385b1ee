import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { inTransaction } from '../../src/mongo/transaction.js'
import { collectionNames } from '../../src/mongo/collections.js'
import { LifecycleMovedError } from '../../src/retention/lifecycle.js'
import { policyGraceMs } from '../../src/retention/policy.js'
import { maxChangesInGrace } from '../../src/retention/policy-store.js'
import { openWorld, type World } from '../support/world.js'

let world: World
const principal = 'prn_01h455vb4pex5vsknk084sn02q'
beforeAll(async () => {
  world = await openWorld({ environment: { ANNALS_REGION_URLS: 'eu=https://eu.annals.example' } })
  for (const id of ['org_acme', 'org_other', 'org_races', 'org_many', 'org_counter'])
    await world.request('PUT', `/v1/organizations/${id}`)
})
afterAll(() => world.close())

const address = (organizationId: string) => `/v1/organizations/${organizationId}/retention`
const options = (key?: string, body?: unknown) => ({
  ...(key === undefined ? {} : { key }),
  ...(body === undefined ? {} : { body }),
})
const put = (organizationId: string, body: unknown, key?: string) =>
  world.request('PUT', address(organizationId), options(key, body))
const get = async (organizationId: string, key?: string) =>
  (await world.request('GET', address(organizationId), options(key))).body
const codeOf = (answer: { body: unknown }) => (answer.body as { code: string }).code
const errorsOf = (answer: { body: unknown }) =>
  (answer.body as { errors: { path: string; code: string }[] }).errors.map(
    ({ path, code }) => `${path} ${code}`,
  )
const counter = (organizationId: string) => world.api.core.retention.lifecycle.current(organizationId)

async function events(organizationId: string, action: string) {
  const page = await world.request(
    'GET',
    `/v1/organizations/${organizationId}/events?action=${action}&limit=500`,
  )
  return (page.body as { data: { actor: { id: string }; metadata: Record<string, unknown> }[] }).data
}
async function versions(organizationId: string): Promise<{ version: number; hotDays: number }[]> {
  const found: { version: number; hotDays: number }[] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const page = await world.request(
      'GET',
      `${address(organizationId)}/versions?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`,
    )
    const body = page.body as { data: typeof found; nextCursor: string | null }
    found.push(...body.data)
    cursor = body.nextCursor
  }
  return found
}

describe('a policy', () => {
  test('is the default where none was set: six months, seven years, for ever', async () => {
    expect(await get('org_other')).toEqual({
      organizationId: 'org_other',
      hotDays: 183,
      archiveDays: 2_555,
      recordDays: null,
      version: 0,
      since: null,
      author: null,
      expiry: { archiveDays: 2_555, recordDays: null, until: null },
    })
    expect(await versions('org_other')).toEqual([])
  })

  test('follows the one before it as a version, with an event; the same again changes nothing', async () => {
    const key = await world.key({ role: 'owner', principal, organizations: ['org_acme'] })
    const before = await counter('org_acme')
    const first = await put('org_acme', { hotDays: 30, archiveDays: 400, recordDays: 800 }, key)
    expect([first.status, first.body]).toMatchObject([200, { version: 1, hotDays: 30, author: principal }])
    expect(
      (await put('org_acme', { hotDays: 30, archiveDays: 400, recordDays: 800 }, key)).body,
    ).toMatchObject({
      version: 1,
    })
    const second = await put('org_acme', { hotDays: 10, archiveDays: 400, recordDays: null }, key)
    expect(second.body).toMatchObject({ version: 2, hotDays: 10 })
    expect((await versions('org_acme')).map(({ version, hotDays }) => [version, hotDays])).toEqual([
      [2, 10],
      [1, 30],
    ])
    expect(await counter('org_acme')).toBe(before + 2)
    const written = await events('org_acme', 'annals.retention.policy_changed')
    expect(written.map(({ actor, metadata }) => [actor.id, metadata])).toEqual([
      [
        principal,
        {
          version: 2,
          hotDays: 10,
          archiveDays: 400,
          recordDays: null,
          before: { hotDays: 30, archiveDays: 400, recordDays: 800 },
        },
      ],
      [
        principal,
        {
          version: 1,
          hotDays: 30,
          archiveDays: 400,
          recordDays: 800,
          before: { hotDays: 183, archiveDays: 2_555, recordDays: null },
        },
      ],
    ])
  })

  test('that is shorter says by what deletion goes until its grace has passed', async () => {
    const { since, expiry } = (await get('org_acme')) as {
      since: string
      expiry: { archiveDays: number | null; recordDays: number | null; until: string | null }
    }
    expect(expiry).toEqual({
      archiveDays: 2_555,
      recordDays: null,
      until: new Date(Date.parse(since) + policyGraceMs).toISOString(),
    })
  })

  test('begins no earlier than the newest leaf, whatever the clock of a server says', async () => {
    const heads = world.api.core.db.collection<{ _id: string }>(collectionNames.logHeads)
    const sealedAt = new Date(Date.now() + 86_400_000)
    await heads.insertOne({
      _id: 'org_other',
      organizationId: 'org_other',
      generation: 1,
      size: 1,
      sealedAt,
    } as {
      _id: string
    })
    expect((await put('org_other', { hotDays: 1, archiveDays: null, recordDays: null })).body).toMatchObject({
      since: sealedAt.toISOString(),
    })
    await heads.deleteOne({ _id: 'org_other' })
  })

  test('meant for another version than there is, is refused', async () => {
    const body = { hotDays: 5, archiveDays: 5, recordDays: 5 }
    const answer = await put('org_acme', { ...body, ifVersion: 1 })
    expect([answer.status, codeOf(answer)]).toEqual([409, 'wrong_state'])
    expect((await put('org_acme', { ...body, ifVersion: 2 })).body).toMatchObject({ version: 3 })
  })

  test('set by many at once: one follows the other, and none is lost', async () => {
    const before = await counter('org_races')
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, n) =>
        put('org_races', { hotDays: n, archiveDays: null, recordDays: null }),
      ),
    )
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
    const found = await versions('org_races')
    expect(found.map(({ version }) => version)).toEqual([8, 7, 6, 5, 4, 3, 2, 1])
    expect(found.map(({ hotDays }) => hotDays).sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
    expect(await events('org_races', 'annals.retention.policy_changed')).toHaveLength(8)
    expect(await counter('org_races')).toBe(before + 8)
  })

  test('that two mean for the same version is taken from one of them', async () => {
    const answers = await Promise.all(
      [101, 102, 103].map((hotDays) =>
        put('org_races', { hotDays, archiveDays: null, recordDays: null, ifVersion: 8 }),
      ),
    )
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409, 409])
  })

  test('is changed only so often within a grace', async () => {
    const policies = world.api.core.db.collection<{ _id: string }>(collectionNames.retentionPolicies)
    const since = new Date()
    await policies.insertMany(
      Array.from({ length: maxChangesInGrace }, (_, index) => ({
        _id: `org_many/${String(index + 1)}`,
        organizationId: 'org_many',
        version: index + 1,
        hotDays: index,
        archiveDays: null,
        recordDays: null,
        author: principal,
        since,
      })),
    )
    const answer = await put('org_many', { hotDays: 500, archiveDays: null, recordDays: null })
    expect([answer.status, codeOf(answer), answer.headers.get('retry-after')]).toEqual([
      429,
      'rate_limited',
      '86400',
    ])
  })
})

describe('bad input is refused with its place, and changes nothing', () => {
  const good = { hotDays: 1, archiveDays: 2, recordDays: 3 }
  test.each<[string, unknown, number, string]>([
    ['no object', [], 422, ' wrong_type'],
    ['nothing', {}, 422, 'hotDays missing'],
    ['hot for ever', { ...good, hotDays: null }, 422, 'hotDays wrong_type'],
    ['left out is not for ever', { hotDays: 1, archiveDays: 2 }, 422, 'recordDays missing'],
    ['less than nothing', { ...good, hotDays: -1 }, 422, 'hotDays too_small'],
    ['half a day', { ...good, hotDays: 0.5 }, 422, 'hotDays wrong_type'],
    ['text', { ...good, archiveDays: '30' }, 422, 'archiveDays wrong_type'],
    ['a thousand years', { ...good, recordDays: 365_000 }, 422, 'recordDays too_large'],
    ['content that goes while hot', { ...good, hotDays: 3 }, 422, 'archiveDays too_small'],
    ['records before content', { ...good, archiveDays: 4 }, 422, 'recordDays too_small'],
    ['records before content that stays', { ...good, archiveDays: null }, 422, 'recordDays too_small'],
    ['another field', { ...good, legalHold: true }, 422, 'legalHold unknown_field'],
    ['no JSON', '{"hotDays":', 400, ''],
    ['too large', { ...good, x: 'x'.repeat(20_000) }, 413, ''],
  ])('%s', async (_, body, status, expected) => {
    const answer = await put('org_many', body)
    expect(answer.status, answer.text).toBe(status)
    if (status === 422) expect(errorsOf(answer)).toContain(expected)
    expect(await get('org_many')).toMatchObject({ version: maxChangesInGrace })
  })
})

describe('who may', () => {
  test('owners set it, readers read it, and nobody else', async () => {
    const body = { hotDays: 1, archiveDays: null, recordDays: null }
    for (const role of ['ingest', 'auditor', 'privacy_officer', 'operator'] as const) {
      const key = await world.key({ role, principal })
      expect((await put('org_acme', body, key)).status, role).toBe(403)
      const readers = role === 'auditor' || role === 'privacy_officer'
      for (const path of ['', '/versions', '/runs'])
        expect((await world.request('GET', address('org_acme') + path, { key })).status, role).toBe(
          readers ? 200 : 403,
        )
    }
    expect(await get('org_acme')).toMatchObject({ version: 3 })
  })

  test('of another organization and of none, the answer is the same', async () => {
    const key = await world.key({ role: 'owner', organizations: ['org_other'] })
    const body = { hotDays: 1, archiveDays: null, recordDays: null }
    const strip = (text: string) => text.replace(/"requestId":"[^"]*"/, '')
    for (const ask of [
      (id: string) => put(id, body, key),
      (id: string) => world.request('GET', address(id), { key }),
      (id: string) => world.request('GET', `${address(id)}/runs`, { key }),
    ]) {
      const [others, nobodys] = [await ask('org_acme'), await ask('org_nobody')]
      expect(others.status).toBe(404)
      expect(strip(others.text)).toBe(strip(nobodys.text))
    }
    expect((await put('org_nobody', body)).status).toBe(404)
  })

  test('an organization of another region is sent there', async () => {
    await world.request('PUT', '/v1/organizations/org_eu', { body: { region: 'eu' } })
    expect((await world.request('GET', address('org_eu'))).status).toBe(421)
  })
})

describe('the lifecycle counter', () => {
  const org = 'org_counter'
  const move = (seen: number, meanwhile?: () => Promise<unknown>) =>
    inTransaction(world.api.core.client, async (session) => {
      // Its snapshot is taken here: without the counter it would never see what comes meanwhile.
      await world.api.core.db.collection(collectionNames.holds).findOne({ organizationId: org }, { session })
      await meanwhile?.()
      return world.api.core.retention.lifecycle.advanceFrom(org, seen, session)
    })

  test('moves once for each that commits, however many come at once, also as the first', async () => {
    const { lifecycle } = world.api.core.retention
    const moved = await Promise.all(
      Array.from({ length: 12 }, () =>
        inTransaction(world.api.core.client, (session) => lifecycle.advance(org, session)),
      ),
    )
    expect(moved.sort((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, n) => n + 1))
    expect(await lifecycle.current(org)).toBe(12)
  })

  test('refuses who saw an older one, and leaves nothing of their transaction', async () => {
    await expect(move(11)).rejects.toBeInstanceOf(LifecycleMovedError)
    expect(await move(12)).toBe(13)
    expect(await counter(org)).toBe(13)
  })

  test('a deletion decided before a hold does not commit after it, even where both are under way', async () => {
    const seen = await counter(org)
    const held = () =>
      world.request('POST', `/v1/organizations/${org}/holds`, { body: { scope: {}, reason: 'litigation' } })
    let placed: Promise<unknown> | undefined
    await expect(move(seen, () => (placed ??= held()))).rejects.toBeInstanceOf(LifecycleMovedError)
    expect(await placed).toMatchObject({ status: 201 })
    expect(await counter(org)).toBe(seen + 1)
  })
})
