import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createAuthenticator } from '../../src/access/authenticator.js'
import { createLastUse } from '../../src/access/last-use.js'
import { createAccessKeyService } from '../../src/access/service.js'
import { accessKeyCollection, ensureAccessKeyIndexes } from '../../src/access/store.js'
import { openCore } from '../../src/composition.js'
import type { RecordedEvent, SystemEvent } from '../../src/events/contract.js'
import { newReference } from '../../src/ids.js'
import { createLogger } from '../../src/logging.js'
import { testDatabaseName } from '../support/servers.js'
import { openWorld, type Answer, type World } from '../support/world.js'

let world: World
const silent = createLogger('silent')

const keySchema = z.looseObject({ id: z.string(), secret: z.string(), principal: z.string() })
const keyOf = (answer: Answer) => keySchema.parse(answer.body)
const problemSchema = z.looseObject({
  code: z.string(),
  errors: z.array(z.looseObject({ path: z.string(), code: z.string() })).default([]),
})
const problemOf = (answer: Answer) => problemSchema.parse(answer.body)
const reasonOf = (answer: Answer) => problemOf(answer).errors[0]?.code

const make = (body: object, key?: string, headers?: Record<string, string>) =>
  world.request('POST', '/v1/keys', {
    body: { role: 'owner', name: 'test', ...body },
    ...(key === undefined ? {} : { key }),
    ...(headers === undefined ? {} : { headers }),
  })
const use = (key: string) => world.request('GET', '/v1/keys?limit=1', { key })

/** Annals' own events about one key, oldest first. */
async function eventsAbout(id: string): Promise<{ action: string; metadata: Record<string, unknown> }[]> {
  const page = await world.request('GET', `/v1/organizations/_annals/events?targetId=${id}`)
  const schema = z.object({
    data: z.array(z.object({ action: z.string(), metadata: z.record(z.string(), z.unknown()) })),
  })
  return schema.parse(page.body).data.toReversed()
}

beforeAll(async () => {
  world = await openWorld()
})
afterAll(() => world.close())

describe('a key', () => {
  it('is made with a secret that is shown once and stored as a hash only', async () => {
    const answer = await make({ role: 'ingest', name: 'Jane Doe' })
    expect(answer.status).toBe(201)
    const { id, secret, principal } = keyOf(answer)
    expect(secret).toMatch(new RegExp(`^annals_${id.slice(4)}_[A-Za-z0-9_-]{43}$`))
    expect(principal).toMatch(/^prn_[0-9a-z]{26}$/)
    const stored = JSON.stringify(await accessKeyCollection(world.api.core.db).findOne({ _id: id }))
    expect(stored).not.toContain(secret)
    expect(stored).not.toContain(secret.slice(-43))
    expect((await world.request('GET', '/v1/keys')).text).not.toContain(secret)
  })

  it('leaves an event with its making, without a word of free text', async () => {
    const { id } = keyOf(await make({ role: 'ingest', name: 'Jane Doe', organizations: ['org_a'] }))
    const events = await eventsAbout(id)
    expect(events).toMatchObject([
      {
        action: 'annals.key.created',
        metadata: { role: 'ingest', organizations: ['org_a'], personal: false },
      },
    ])
    expect(JSON.stringify(events)).not.toContain('Jane')
  })

  it('of an officer needs a principal, of an ingest cannot have the personal grant', async () => {
    for (const role of ['auditor', 'privacy_officer']) {
      expect(problemOf(await make({ role })).errors).toMatchObject([{ path: 'principal', code: 'missing' }])
      expect((await make({ role, principal: newReference('prn') })).status).toBe(201)
    }
    const grant = await make({ role: 'ingest', personal: true })
    expect(problemOf(grant).errors).toMatchObject([{ path: 'personal', code: 'not_allowed' }])
  })

  it.each([
    [{ role: 'king' }, 'role', 'not_allowed'],
    [{ extra: 1 }, 'extra', 'unknown_field'],
    [{ name: '' }, 'name', 'too_short'],
    [{ organizations: [] }, 'organizations', 'too_few'],
    [{ organizations: ['a/b'] }, 'organizations[0]', 'malformed_value'],
    [{ principal: 'jane' }, 'principal', 'malformed_value'],
    [{ expiresAt: '2999-01-01T00:00:00' }, 'expiresAt', 'no_time_zone'],
    [{ expiresAt: '2020-01-01T00:00:00Z' }, 'expiresAt', 'time_in_past'],
    [{ expiresAt: 'tomorrow' }, 'expiresAt', 'malformed_time'],
  ])('with %j is 422', async (body, path, code) => {
    const answer = await make(body)
    expect(answer.status).toBe(422)
    expect(problemOf(answer).errors).toMatchObject([{ path, code }])
  })

  it('asked for twice under one idempotency key is made once, and its secret is not shown again', async () => {
    const headers = { 'idempotency-key': 'once' }
    const first = keyOf(await make({ role: 'ingest' }, undefined, headers))
    const again = await make({ role: 'ingest' }, undefined, headers)
    expect([again.status, problemOf(again)]).toMatchObject([409, { code: 'key_exists', id: first.id }])
  })
})

describe('a request', () => {
  it('without a key, or with an unknown one, is 401 and says which', async () => {
    expect(reasonOf(await use(''))).toBe('missing')
    expect(reasonOf(await use('annals_nope'))).toBe('unknown')
    const basic = await world.request('GET', '/v1/keys', {
      key: '',
      headers: { authorization: 'Basic YTpi' },
    })
    expect(reasonOf(basic)).toBe('missing')
  })

  it('with an expired key is 401, and not before', async () => {
    const expiresMs = Date.now() + 3_000
    const { secret } = keyOf(await make({ expiresAt: new Date(expiresMs).toISOString() }))
    for (;;) {
      const askedMs = Date.now()
      const answer = await use(secret)
      if (answer.status === 401) {
        expect(Date.now()).toBeGreaterThanOrEqual(expiresMs)
        expect(reasonOf(answer)).toBe('expired')
        break
      }
      expect(answer.status).toBe(200)
      expect(askedMs).toBeLessThan(expiresMs)
      await sleep(100)
    }
  })

  it('with a revoked key is 401 at once, and a second revocation changes nothing', async () => {
    const { id, secret } = keyOf(await make({}))
    expect((await use(secret)).status).toBe(200)
    expect((await world.request('DELETE', `/v1/keys/${id}`)).status).toBe(204)
    expect(reasonOf(await use(secret))).toBe('revoked')
    expect((await world.request('DELETE', `/v1/keys/${id}`)).status).toBe(204)
    const actions = (await eventsAbout(id)).map(({ action }) => action)
    expect(actions).toEqual(['annals.key.created', 'annals.key.revoked'])
  })

  it('with a key revoked in another process is 401 after 5 s at most', async () => {
    const { id, secret } = keyOf(await make({}))
    expect((await use(secret)).status).toBe(200)
    const other = await openCore(world.config, silent)
    await other.accessKeys.revoke(id, 'setup')
    await other.close()
    const revokedMs = Date.now()
    for (;;) {
      const askedMs = Date.now()
      if ((await use(secret)).status !== 200) break
      // What was asked for earlier may have been answered from what was known before.
      expect(askedMs - revokedMs).toBeLessThan(5_000)
      await sleep(100)
    }
    expect(reasonOf(await use(secret))).toBe('revoked')
  })

  it('without the role is 403', async () => {
    const secret = await world.key({ role: 'ingest' })
    expect((await use(secret)).status).toBe(403)
    expect((await make({}, secret)).status).toBe(403)
  })
})

describe('rotation', () => {
  const rotate = (id: string, body?: object, key?: string) =>
    world.request('POST', `/v1/keys/${id}/rotate`, {
      ...(body === undefined ? {} : { body }),
      ...(key === undefined ? {} : { key }),
    })

  it('gives a new secret and lets the old one live for its grace', async () => {
    const { id, secret } = keyOf(await make({}))
    const rotated = await rotate(id)
    expect(rotated.status).toBe(200)
    const second = keyOf(rotated).secret
    expect(second).not.toBe(secret)
    expect([(await use(secret)).status, (await use(second)).status]).toEqual([200, 200])
    const third = keyOf(await rotate(id, { graceSeconds: 0 })).secret
    expect(reasonOf(await use(secret))).toBe('unknown')
    expect(reasonOf(await use(second))).toBe('expired')
    expect((await use(third)).status).toBe(200)
    const events = await eventsAbout(id)
    expect(events.map(({ action }) => action)).toEqual([
      'annals.key.created',
      'annals.key.rotated',
      'annals.key.rotated',
    ])
    expect(events[1]?.metadata).toEqual({ graceSeconds: 86_400 })
  })

  it('of a revoked key is 409, of none 404', async () => {
    const { id } = keyOf(await make({}))
    await world.request('DELETE', `/v1/keys/${id}`)
    expect(problemOf(await rotate(id))).toMatchObject({ code: 'wrong_state' })
    expect((await rotate('key_01jd2zq8w9e5cs0v1m6k3n7p4r')).status).toBe(404)
    expect((await rotate('jane@acme.example')).status).toBe(404)
    expect(problemOf(await rotate(id, { graceSeconds: -1 })).errors).toMatchObject([{ code: 'too_small' }])
  })
})

describe('an owner', () => {
  it('bound to some organizations hands out those only, and sees no key beyond them', async () => {
    const bound = await world.key({ role: 'owner', organizations: ['org_a', 'org_b'] })
    expect((await make({ organizations: ['org_a', 'org_c'] }, bound)).status).toBe(403)
    const inherited = keyOf(await make({}, bound))
    expect(inherited['organizations']).toEqual(['org_a', 'org_b'])
    const within = keyOf(await make({ organizations: ['org_a'] }, bound))
    const beyond = keyOf(await make({ organizations: ['org_a', 'org_c'] }))

    const seen = (await world.request('GET', '/v1/keys?limit=500', { key: bound })).text
    expect(seen).toContain(within.id)
    expect(seen).not.toContain(beyond.id)
    expect((await world.request('DELETE', `/v1/keys/${beyond.id}`, { key: bound })).status).toBe(404)
    expect((await world.request('POST', `/v1/keys/${beyond.id}/rotate`, { key: bound })).status).toBe(404)
    expect((await world.request('DELETE', `/v1/keys/${within.id}`, { key: bound })).status).toBe(204)
  })

  it('without the personal grant can neither give it nor rotate a key that has it', async () => {
    const plain = await world.key({ role: 'owner' })
    expect((await make({ personal: true }, plain)).status).toBe(403)
    const { id } = keyOf(await make({ personal: true }))
    expect((await world.request('POST', `/v1/keys/${id}/rotate`, { key: plain })).status).toBe(403)
  })
})

it('lists keys page by page, newest first, each once', async () => {
  const made: string[] = []
  for (let index = 0; index < 5; index += 1) made.push(keyOf(await make({ role: 'ingest' })).id)
  const schema = z.object({ data: z.array(z.object({ id: z.string() })), nextCursor: z.string().nullable() })
  const seen: string[] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const page = await world.request('GET', `/v1/keys?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`)
    const { data, nextCursor } = schema.parse(page.body)
    seen.push(...data.map(({ id }) => id))
    cursor = nextCursor
  }
  expect(seen.slice(0, 5)).toEqual(made.toReversed())
  expect(new Set(seen).size).toBe(seen.length)
  expect(problemOf(await world.request('GET', '/v1/keys?cursor=AAAA')).code).toBe('cursor_invalid')
  expect(problemOf(await world.request('GET', '/v1/keys?limit=501')).errors).toMatchObject([
    { path: 'limit' },
  ])
  expect(problemOf(await world.request('GET', '/v1/keys?nope=1')).errors).toMatchObject([
    { code: 'unknown_field' },
  ])
})

describe('setup', () => {
  const admin = 'another-administrator-key-of-more-than-32-characters'

  it('makes no first key where there is a key', async () => {
    expect(await world.api.core.accessKeys.ensureFirstKey()).toBeUndefined()
  })

  it('makes one first key where several setups find none at once', async () => {
    const { client, authenticator } = world.api.core
    const db = client.db(testDatabaseName())
    const keys = accessKeyCollection(db)
    await ensureAccessKeyIndexes(keys)
    const written: string[] = []
    const systemEvents = {
      writeInTransaction: (event: SystemEvent): Promise<RecordedEvent> => {
        written.push(event.action)
        return Promise.resolve({
          ...event,
          id: '',
          receivedAt: new Date(),
          leafHash: new Uint8Array(),
          replayed: false,
        })
      },
    }
    const setups = Array.from({ length: 4 }, () =>
      createAccessKeyService({ client, keys, authenticator, systemEvents }),
    )
    const made = await Promise.all(setups.map((service) => service.ensureFirstKey()))
    expect(made.filter((key) => key !== undefined)).toHaveLength(1)
    expect(await keys.countDocuments()).toBe(1)
    expect(written).not.toHaveLength(0)
    await db.dropDatabase()
  })

  it('takes ANNALS_ADMIN_KEY as an owner key, once, and revokes the one it replaces', async () => {
    const { accessKeys } = world.api.core
    const first = await accessKeys.ensureAdminKey(admin)
    expect((await accessKeys.ensureAdminKey(admin)).id).toBe(first.id)
    expect(first).toMatchObject({ role: 'owner', organizations: 'all', personal: true })
    expect((await use(admin)).status).toBe(200)
    const rotated = await world.request('POST', `/v1/keys/${first.id}/rotate`)
    expect(problemOf(rotated).code).toBe('wrong_state')
    await accessKeys.ensureAdminKey(`${admin}-2`)
    expect(reasonOf(await use(admin))).toBe('revoked')
    expect((await use(`${admin}-2`)).status).toBe(200)
  })
})

it('notes when a key was last used, once a minute at most and behind the request', async () => {
  const { id, secret } = keyOf(await make({ role: 'ingest' }))
  const keys = accessKeyCollection(world.api.core.db)
  const lastUse = createLastUse(keys, silent)
  const authenticator = createAuthenticator(keys, lastUse)
  await authenticator.authenticate(`Bearer ${secret}`)
  await lastUse.stop()
  const first = (await keys.findOne({ _id: id }))?.lastUsedAt
  expect(first).toBeInstanceOf(Date)
  await authenticator.authenticate(`Bearer ${secret}`)
  await lastUse.stop()
  expect((await keys.findOne({ _id: id }))?.lastUsedAt).toEqual(first)
})

it('makes no key where its event cannot be written', async () => {
  const { client, db, authenticator } = world.api.core
  const keys = accessKeyCollection(db)
  const service = createAccessKeyService({
    client,
    keys,
    authenticator,
    systemEvents: { writeInTransaction: () => Promise.reject(new Error('no event')) },
  })
  const before = await keys.countDocuments()
  const wanted = { role: 'ingest', name: 'x' } as const
  await expect(service.create(wanted, 'setup')).rejects.toThrow('no event')
  expect(await keys.countDocuments()).toBe(before)
})

it('never logs a secret, a name, or anything that was sent', () => {
  const logs = world.logs()
  expect(logs).toContain('request.done')
  expect(logs).not.toMatch(/annals_[0-9a-z]{26}_|Jane|jane@|org_c|administrator-key/)
})
