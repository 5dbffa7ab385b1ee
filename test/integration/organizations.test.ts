import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { openCore, type Core } from '../../src/composition.js'
import { createLogger } from '../../src/logging.js'
import { createOrganizationService } from '../../src/organizations/service.js'
import { organizationCollection } from '../../src/organizations/store.js'
import { openWorld, type Answer, type World } from '../support/world.js'

const silent = createLogger('silent')
const problemSchema = z.looseObject({
  code: z.string(),
  errors: z.array(z.looseObject({ path: z.string(), code: z.string() })).default([]),
})
const problemOf = (answer: Answer) => problemSchema.parse(answer.body)
const eventsSchema = z.object({
  data: z.array(
    z.object({
      action: z.string(),
      actor: z.looseObject({ type: z.string(), id: z.string() }),
      metadata: z.record(z.string(), z.unknown()),
    }),
  ),
})

const putTo = (world: World, id: string, body?: unknown, key?: string) =>
  world.request('PUT', `/v1/organizations/${id}`, { body, ...(key === undefined ? {} : { key }) })

const event = (organizationId: string) => ({
  organizationId,
  action: 'team.created',
  occurredAt: new Date().toISOString(),
  actor: { type: 'service', id: 'backend' },
  targets: [],
})

/** Annals' own events in an organization's log, oldest first. */
async function ownEvents(world: World, organizationId: string) {
  const page = await world.request('GET', `/v1/organizations/${organizationId}/events?limit=500`)
  const found = eventsSchema.parse(page.body).data
  return found.filter(({ action }) => action.startsWith('annals.organization.')).toReversed()
}

describe('with auto-provisioning', () => {
  let world: World
  beforeAll(async () => {
    world = await openWorld()
  })
  afterAll(() => world.close())
  const put = (id: string, body?: unknown, key?: string) => putTo(world, id, body, key)

  it('PUT creates an organization with its defaults and the first event of its own log', async () => {
    const answer = await put('org_new', { name: 'Jane & Co' })
    expect(answer.status).toBe(201)
    expect(answer.body).toMatchObject({
      id: 'org_new',
      name: 'Jane & Co',
      region: 'local',
      detection: 'flag',
      coolingOffHours: 24,
      version: 1,
    })
    expect((answer.body as { personTypes: string[] }).personTypes).toContain('user')
    expect(answer.text).not.toContain('wrapped')
    const events = await ownEvents(world, 'org_new')
    expect(events).toMatchObject([
      { action: 'annals.organization.created', actor: { type: 'principal' }, metadata: { version: 1 } },
    ])
    expect(JSON.stringify(events)).not.toContain('Jane')
  })

  it('PUT changes what the body names, leaves the rest, and writes which settings changed', async () => {
    await put('org_change', { detection: 'redact' })
    const changed = await put('org_change', {
      personTypes: ['User', 'PATIENT', 'patient'],
      coolingOffHours: 0,
    })
    expect(changed.status).toBe(200)
    expect(changed.body).toMatchObject({
      version: 2,
      detection: 'redact',
      personTypes: ['user', 'patient'],
      coolingOffHours: 0,
    })
    const same = await put('org_change', { detection: 'redact', coolingOffHours: 0 })
    expect([same.status, same.body]).toMatchObject([200, { version: 2 }])
    expect((await put('org_change')).body).toMatchObject({ version: 2 })
    expect((await world.request('GET', '/v1/organizations/org_change')).body).toEqual(changed.body)
    expect(await ownEvents(world, 'org_change')).toMatchObject([
      { action: 'annals.organization.created' },
      {
        action: 'annals.organization.changed',
        metadata: { version: 2, changed: ['personTypes', 'coolingOffHours'] },
      },
    ])
  })

  it.each([
    [{ region: 'us' }, 'region', 'not_allowed'],
    [{ region: 'No Region' }, 'region', 'malformed_value'],
    [{ detection: 'maybe' }, 'detection', 'not_allowed'],
    [{ coolingOffHours: -1 }, 'coolingOffHours', 'too_small'],
    [{ personTypes: ['a\u00e9'] }, 'personTypes[0]', 'malformed_value'],
    [{ name: 'x'.repeat(201) }, 'name', 'too_long'],
    [{ nmae: 'x' }, 'nmae', 'unknown_field'],
  ])('PUT with %j is 422 and creates nothing', async (body, path, code) => {
    const answer = await put('org_bad', body)
    expect([answer.status, problemOf(answer).errors]).toMatchObject([422, [{ path, code }]])
    expect((await world.request('GET', '/v1/organizations/org_bad')).status).toBe(404)
  })

  it('an organization keeps its region for life', async () => {
    expect((await put('org_region', { region: 'local' })).status).toBe(201)
    expect(problemOf(await put('org_region', { region: 'us' })).errors).toMatchObject([{ path: 'region' }])
  })

  it('a first event provisions: exactly one organization and one event, from two processes at once', async () => {
    const other: Core = await openCore(world.config, silent)
    const author = { principal: 'prn_7zzzzzzzzzzzzzzzzzzzzzzzzz', keyId: 'key_01jd2zq8w9e5cs0v1m6k3n7p4r' }
    const posts = Array.from({ length: 10 }, () =>
      world.request('POST', '/v1/events', { body: event('org_first') }),
    )
    const others = Array.from({ length: 10 }, () => other.organizations.ensure('org_first', author))
    expect((await Promise.all(posts)).map(({ status }) => status)).toEqual(
      Array.from({ length: 10 }, () => 201),
    )
    const keys = (await Promise.all(others)).map(({ key }) => key.wrapped.toString('base64'))
    expect(new Set(keys).size).toBe(1)
    await other.close()
    expect(await ownEvents(world, 'org_first')).toMatchObject([{ action: 'annals.organization.created' }])
  })

  it('a change reaches another process within 5 s', async () => {
    await put('org_slow', {})
    const other = await openCore(world.config, silent)
    expect((await other.organizations.require('org_slow')).detection).toBe('flag')
    await put('org_slow', { detection: 'reject' })
    expect((await world.api.core.organizations.require('org_slow')).detection).toBe('reject')
    const changedMs = Date.now()
    for (;;) {
      const askedMs = Date.now()
      if ((await other.organizations.require('org_slow')).detection === 'reject') break
      expect(askedMs - changedMs).toBeLessThan(5_000)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    await other.close()
  })

  it('two changes at once are two versions and two events', async () => {
    await put('org_race', {})
    const hours = [1, 2, 3, 4]
    await Promise.all(hours.map((coolingOffHours) => put('org_race', { coolingOffHours })))
    const events = (await ownEvents(world, 'org_race')).map(({ metadata }) => metadata['version'])
    expect(events.sort()).toEqual([1, 2, 3, 4, 5])
  })

  it("Annals' own organization takes nothing from clients, and owners may read it", async () => {
    expect((await put('_annals', {})).status).toBe(403)
    expect(
      (await world.request('POST', '/v1/events', { body: event('_annals') })).status,
    ).toBeGreaterThanOrEqual(400)
    expect((await world.request('GET', '/v1/organizations/_annals/events')).status).toBe(200)
  })

  it('what is absent, and what the key is not bound to, is the same 404', async () => {
    await put('org_there', {})
    const bound = await world.key({ role: 'owner', organizations: ['org_mine'] })
    const read = (id: string, key?: string) =>
      world.request('GET', `/v1/organizations/${id}`, key === undefined ? {} : { key })
    const answers = [await read('org_absent'), await read('org_there', bound), await read('a b', bound)]
    const bodies = answers.map(({ text }) => text.replace(/"requestId":"[^"]*"/, ''))
    expect(new Set(bodies).size).toBe(1)
    expect((await put('org_there', {}, bound)).status).toBe(404)
    expect((await put('org_mine', {}, bound)).status).toBe(201)
    const list = await world.request('GET', '/v1/organizations', { key: bound })
    expect(list.body).toMatchObject({ data: [{ id: 'org_mine' }], nextCursor: null })
  })

  it('lists organizations by id, page by page', async () => {
    const schema = z.object({
      data: z.array(z.object({ id: z.string() })),
      nextCursor: z.string().nullable(),
    })
    const seen: string[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const page = await world.request(
        'GET',
        `/v1/organizations?limit=3${cursor === '' ? '' : `&cursor=${cursor}`}`,
      )
      const { data, nextCursor } = schema.parse(page.body)
      seen.push(...data.map(({ id }) => id))
      cursor = nextCursor
    }
    expect(seen).toEqual([...new Set(seen)].sort())
    expect(seen).toEqual(expect.arrayContaining(['_annals', 'org_new', 'org_first']))
  })

  it('is not created where its event cannot be written', async () => {
    const { client, db, keyring } = world.api.core
    const organizations = organizationCollection(db)
    const service = createOrganizationService({
      client,
      organizations,
      createOrganizationKey: (id) => keyring.organizations.createOrganizationKey(id),
      systemEvents: { writeInTransaction: () => Promise.reject(new Error('no event')) },
      region: world.config.region,
      autoProvision: true,
    })
    await expect(service.ensure('org_half', 'system')).rejects.toThrow('no event')
    expect(await organizations.findOne({ _id: 'org_half' })).toBeNull()
  })
})

describe('with regions', () => {
  let world: World
  beforeAll(async () => {
    world = await openWorld({
      environment: { ANNALS_REGION: 'eu', ANNALS_REGION_URLS: 'eu=https://eu.example,us=https://us.example' },
    })
  })
  afterAll(() => world.close())
  const put = (id: string, body: unknown) => putTo(world, id, body)

  it('nothing is provisioned by an event: an unknown organization is 404', async () => {
    expect((await world.request('POST', '/v1/events', { body: event('org_unknown') })).status).toBe(404)
    expect((await put('org_here', {})).body).toMatchObject({ region: 'eu' })
    expect((await world.request('POST', '/v1/events', { body: event('org_here') })).status).toBe(201)
  })

  it('an organization of another region is registered, and every request for it is 421 with the address', async () => {
    const registered = await put('org_us', { region: 'us' })
    expect([registered.status, registered.body]).toMatchObject([201, { id: 'org_us', region: 'us' }])
    expect((await put('org_us', { region: 'us' })).status).toBe(200)
    const answers = [
      await world.request('POST', '/v1/events', { body: event('org_us') }),
      await world.request('GET', '/v1/organizations/org_us'),
      await world.request('GET', '/v1/organizations/org_us/events'),
      await put('org_us', { name: 'x' }),
    ]
    for (const answer of answers) {
      expect(answer.status).toBe(421)
      expect(answer.body).toMatchObject({ code: 'wrong_region', region: 'us', url: 'https://us.example' })
    }
    const stored = await world.api.core.db.collection('events').countDocuments({ organizationId: 'org_us' })
    expect(stored).toBe(0)
    expect((await ownEvents(world, '_annals')).at(-1)).toMatchObject({
      action: 'annals.organization.created',
      metadata: { region: 'us' },
    })
  })

  it('a region without an address, or settings for another region, are 422', async () => {
    expect(problemOf(await put('org_x', { region: 'mars' })).errors).toMatchObject([
      { path: 'region', code: 'not_allowed' },
    ])
    expect(problemOf(await put('org_x', { region: 'us', name: 'x' })).errors).toMatchObject([
      { path: 'name', code: 'conflict' },
    ])
    expect(problemOf(await put('org_us', { region: 'eu' })).errors).toMatchObject([{ code: 'conflict' }])
  })
})
