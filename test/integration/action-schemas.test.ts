import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { JsonObject } from '../../src/events/contract.js'
import { openCore } from '../../src/composition.js'
import { rebuildLeaf } from '../../src/events/rebuild.js'
import { eventDocumentId } from '../../src/events/store.js'
import { createLogger } from '../../src/logging.js'
import { checkWorldsSearch } from '../support/search-oracle.js'
import { openWorld, type Answer, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld({
    environment: { ANNALS_REGION_URLS: 'eu=https://eu.annals.example', ANNALS_AUTO_PROVISION: 'true' },
  })
  await world.request('PUT', '/v1/organizations/org_acme')
})
afterAll(async () => {
  await checkWorldsSearch(world)
  await world.close()
})

const put = (action: string, body: unknown, key?: string) =>
  world.request('PUT', `/v1/action-schemas/${action}`, { body, ...(key === undefined ? {} : { key }) })
const get = (action: string, key?: string) =>
  world.request('GET', `/v1/action-schemas/${action}`, key === undefined ? {} : { key })
const event = (action: string, members: JsonObject = {}) => ({
  organizationId: 'org_acme',
  action,
  occurredAt: '2026-11-25T00:00:00.000Z',
  actor: { type: 'user', id: 'u_17' },
  targets: [],
  ...members,
})
const post = (body: unknown, headers: Record<string, string> = {}) =>
  world.request('POST', '/v1/events', { body, headers })
const idOf = (answer: Answer) => (answer.body as { id: string }).id
const errorsOf = (answer: Answer) =>
  (answer.body as { errors?: { path: string; code: string }[] }).errors?.map(
    ({ path, code }) => `${path} ${code}`,
  )
const metadataSchema = (properties: JsonObject, more: JsonObject = {}): JsonObject => ({
  type: 'object',
  properties: { metadata: { type: 'object', properties, ...more } },
})
const prn = 'prn_01h455vb4pex5vsknk084sn02q'

describe('putting and getting', () => {
  const schema = metadataSchema({ plan: { type: 'string' } })

  test('a version is added once, stays as it is, and is listed', async () => {
    expect((await put('plan.changed', { version: 1, schema })).status).toBe(200)
    expect((await put('plan.changed', { version: 1, schema })).status).toBe(200)
    const other = await put('plan.changed', {
      version: 1,
      schema: metadataSchema({ plan: { type: 'number' } }),
    })
    expect([other.status, (other.body as { code: string }).code]).toEqual([409, 'version_exists'])
    expect((await put('plan.changed', { version: 1, schema, personal: ['plan'] })).status).toBe(409)
    expect((await put('plan.changed', { version: 2, schema, personal: ['who'] })).status).toBe(200)
    expect((await get('plan.changed')).body).toMatchObject({
      action: 'plan.changed',
      versions: [
        { version: 1, schema, personal: [] },
        { version: 2, schema, personal: ['who'] },
      ],
    })
    expect((await get('plan')).status).toBe(404)
  })

  test('of several owners at once, one adds it and all agree', async () => {
    const answers = await Promise.all(Array.from({ length: 5 }, () => put('race', { version: 1, schema })))
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200])
    const page = await world.request(
      'GET',
      '/v1/organizations/_annals/events?action=annals.action_schema.added&limit=500',
    )
    const { data } = page.body as { data: { metadata: JsonObject }[] }
    expect(data.filter(({ metadata }) => metadata['action'] === 'race')).toHaveLength(1)
  })

  test('is for owners, and changing for those of all organizations', async () => {
    const principal = { principal: prn }
    const keys = {
      ingest: await world.key({ role: 'ingest', ...principal }),
      auditor: await world.key({ role: 'auditor', ...principal }),
      privacy_officer: await world.key({ role: 'privacy_officer', ...principal }),
      operator: await world.key({ role: 'operator', ...principal }),
      bound: await world.key({ role: 'owner', organizations: ['org_acme'], ...principal }),
    }
    for (const [name, key] of Object.entries(keys))
      expect((await put('roles', { version: 1, schema }, key)).status, name).toBe(403)
    for (const name of ['ingest', 'auditor', 'privacy_officer', 'operator'] as const)
      expect((await get('plan.changed', keys[name])).status, name).toBe(403)
    expect((await get('plan.changed', keys.bound)).status).toBe(200)
    expect((await get('roles')).status).toBe(404)
  })
})

describe('hostile schemas are refused, with the place', () => {
  const nest = (depth: number): JsonObject => (depth === 0 ? {} : { allOf: [nest(depth - 1)] })
  const tower = Object.fromEntries(
    Array.from({ length: 20 }, (_, n) => [
      `d${String(n)}`,
      n === 0
        ? {}
        : { allOf: [{ $ref: `#/$defs/d${String(n - 1)}` }, { $ref: `#/$defs/d${String(n - 1)}` }] },
    ]),
  )
  test.each<[string, unknown, string]>([
    ['no object', 'x', 'schema wrong_type'],
    ['a remote reference', { $ref: 'https://evil.example/schema.json' }, 'schema.$ref not_allowed'],
    ['an identity of its own', { $id: 'https://acme.example/x' }, 'schema.$id unknown_field'],
    ['another dialect', { $schema: 'http://json-schema.org/draft-07/schema#' }, 'schema.$schema not_allowed'],
    [
      'a reference to itself',
      { $defs: { a: { items: { $ref: '#/$defs/a' } } } },
      'schema.$defs.a.items.$ref.items.$ref not_allowed',
    ],
    ['a tower of references', { $defs: tower, $ref: '#/$defs/d19' }, 'schema too_many'],
    ['depth', nest(26), 'metadata'],
    ['size', { description: 'x'.repeat(33_000) }, 'schema too_large'],
    ['width', { anyOf: Array.from({ length: 1_001 }, () => ({})) }, 'schema too_many'],
    [
      'an expression that only backtracking can run',
      { properties: { a: { pattern: '(a)\\1' } } },
      'schema.properties.a.pattern malformed_value',
    ],
    [
      'patternProperties too',
      { patternProperties: { '(?!x)': {} } },
      'schema.patternProperties malformed_value',
    ],
    ['an expression too large', { pattern: '(a{100}){100}' }, 'schema.pattern malformed_value'],
    ['comparing all with all', { uniqueItems: true }, 'schema.uniqueItems not_allowed'],
    ['$async', { $async: true }, 'schema.$async unknown_field'],
    [
      '$data',
      { properties: { a: { maximum: { $data: '1/b' } } } },
      'schema.properties.a.maximum malformed_value',
    ],
    ['an unknown keyword', { requird: ['a'] }, 'schema.requird unknown_field'],
    [
      'a mark where it has no effect',
      { properties: { a: { 'x-annals-personal': true } } },
      'schema.properties.a.x-annals-personal not_allowed',
    ],
    ['a wrong type', { type: 'objekt' }, 'schema.type malformed_value'],
    ['properties that are none', { properties: [] }, 'schema.properties wrong_type'],
  ])('%s', async (name, schema, expected) => {
    const answer = await put('hostile', { version: 1, schema })
    expect(answer.status).toBe(422)
    if (name === 'depth') expect(errorsOf(answer)?.[0]).toMatch(/too_deep$/)
    else expect(errorsOf(answer)).toContain(expected)
    expect((await get('hostile')).status).toBe(404)
  })

  test('__proto__, a body over its size, an action of Annals', async () => {
    expect((await put('hostile', '{"version":1,"schema":{"properties":{"__proto__":{}}}}')).status).toBe(422)
    expect((await put('hostile', { version: 1, schema: { description: 'x'.repeat(70_000) } })).status).toBe(
      413,
    )
    expect(errorsOf(await put('annals.x', { version: 1, schema: {} }))).toEqual(['action reserved_action'])
  })

  test('an evil expression is taken, and ends', async () => {
    await put('evil', { version: 1, schema: metadataSchema({ a: { type: 'string', pattern: '^(a+)+$' } }) })
    const answer = await post(event('evil', { metadata: { a: `${'a'.repeat(5_000)}!` } }))
    expect(answer.status, answer.text).toBe(422)
    expect(errorsOf(answer)).toEqual(['metadata.a malformed_value'])
    expect((await post(event('evil', { metadata: { a: 'aaa' } }))).status).toBe(201)
    expect(errorsOf(await post(event('evil', { metadata: { a: 'a'.repeat(9_000) } })))).toHaveLength(1)
  })
})

describe('an event of an action with schemas', () => {
  beforeAll(async () => {
    const schema: JsonObject = {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      $defs: { plan: { enum: ['free', 'pro'] } },
      type: 'object',
      properties: {
        targets: { type: 'array', minItems: 1, items: { type: 'object', required: ['id'] } },
        context: { type: 'object', required: ['requestId'] },
        metadata: {
          type: 'object',
          properties: { plan: { $ref: '#/$defs/plan' }, seats: { type: 'integer', maximum: 100 } },
          required: ['plan'],
          additionalProperties: false,
        },
      },
    }
    await put('seats.bought', { version: 3, schema })
  })
  const good = {
    version: 3,
    targets: [{ type: 'team', id: 't_1' }],
    context: { requestId: 'r' },
    metadata: { plan: 'pro', seats: 3 },
  }

  test('is stored where it fits', async () => {
    expect((await post(event('seats.bought', good))).status).toBe(201)
  })

  test.each<[string, JsonObject, string]>([
    ['no such version', { version: 2 }, 'version not_allowed'],
    ['the default version, which has none', { version: 1 }, 'version not_allowed'],
    ['a missing key', { metadata: {} }, 'metadata.plan missing'],
    ['a value that is not listed', { metadata: { plan: 'gold' } }, 'metadata.plan not_allowed'],
    ['a wrong type', { metadata: { plan: 'pro', seats: '3' } }, 'metadata.seats wrong_type'],
    ['too large', { metadata: { plan: 'pro', seats: 101 } }, 'metadata.seats too_large'],
    ['an unknown key', { metadata: { plan: 'pro', x: 1 } }, 'metadata.x unknown_field'],
    ['too few targets', { targets: [] }, 'targets too_few'],
    ['a target without id', { targets: [{ type: 'team', name: 'x' }] }, 'targets[0].id missing'],
    ['no request id', { context: {} }, 'context.requestId missing'],
    [
      'what every object has by birth',
      { metadata: { plan: 'pro', toString: 1 } },
      'metadata.toString unknown_field',
    ],
  ])('%s', async (_name, members, expected) => {
    const answer = await post(event('seats.bought', { ...good, ...members }))
    expect([answer.status, errorsOf(answer)]).toEqual([422, [expected]])
    expect(answer.text).not.toContain('gold')
  })

  test('of a batch, the bad ones fail alone, and other actions are free', async () => {
    const events = [event('seats.bought', good), event('seats.bought'), event('seats.sold', { version: 9 })]
    const { body } = await world.request('POST', '/v1/events/batch', { body: { events } })
    expect((body as { results: { status: number }[] }).results.map(({ status }) => status)).toEqual([
      201, 422, 201,
    ])
  })

  test('a repeat of an event that came before the schema still answers', async () => {
    const early = event('later.schema', { metadata: { free: true } })
    const first = await post(early, { 'idempotency-key': 'early' })
    await put('later.schema', { version: 1, schema: metadataSchema({}, { additionalProperties: false }) })
    const repeat = await post(early, { 'idempotency-key': 'early' })
    expect([repeat.status, idOf(repeat)]).toEqual([201, idOf(first)])
    expect((await post(early)).status).toBe(422)
    expect((await post({ ...early, metadata: {} }, { 'idempotency-key': 'early' })).status).toBe(409)
  })

  test('for an organization of another region, is sent there unread', async () => {
    await world.request('PUT', '/v1/organizations/org_eu', { body: { region: 'eu' } })
    const answer = await post({ ...event('seats.bought'), organizationId: 'org_eu' })
    expect(answer.status).toBe(421)
  })

  test('another process knows the schema too', async () => {
    const core = await openCore(world.config, createLogger('silent'))
    try {
      const rule = await core.actionSchemas.of('seats.bought', 3)
      expect(rule?.check({ targets: [], context: {}, metadata: {} })).toHaveLength(1)
      expect(await core.actionSchemas.of('seats.sold', 1)).toBeUndefined()
    } finally {
      await core.close()
    }
  })
})

describe('metadata that a schema marks personal', () => {
  const secret = 'Rosalind-7731'
  const sent = {
    version: 1,
    actor: { type: 'user', id: 'u_99', email: 'rosa@acme.example' },
    context: { ip: '203.0.113.9', requestId: 'r1' },
    metadata: { motherName: secret, note: { by: secret }, ward: 'C3', __x: 1 },
  }
  let answer: Answer
  let id = ''
  beforeAll(async () => {
    const schema = metadataSchema({
      motherName: { type: 'string', 'x-annals-personal': true },
      ward: { type: 'string' },
    })
    await put('patient.admitted', { version: 1, schema, personal: ['note'] })
    answer = await post(event('patient.admitted', sent), { 'idempotency-key': 'personal' })
    expect(answer.status).toBe(201)
    id = idOf(answer)
  })
  const read = async (key?: string) =>
    (await world.request('GET', `/v1/organizations/org_acme/events/${id}`, key === undefined ? {} : { key }))
      .body as JsonObject & { actor: JsonObject }

  test('is in clear nowhere in the database', async () => {
    const dumps = await Promise.all(
      (await world.api.core.db.collections()).map((collection) => collection.find().toArray()),
    )
    const raw = JSON.stringify(dumps, (_key, value: unknown) =>
      typeof value === 'bigint' ? String(value) : value,
    )
    expect(raw).toContain('C3')
    expect(raw).not.toContain(secret)
    expect(raw).not.toContain(Buffer.from(secret).toString('base64').slice(0, 12))
    expect(world.logs()).not.toContain(secret)
    const stored = await world.api.core.events.findOne({ _id: eventDocumentId('org_acme', id) })
    expect(JSON.stringify(stored)).not.toContain('motherName","')
  })

  test('reads back with the grant, in its place', async () => {
    const view = await read()
    expect(view).toMatchObject({ metadata: sent.metadata, context: sent.context })
    expect(view.actor).toMatchObject(sent.actor)
    expect(Object.keys(view.actor).sort()).toEqual(['email', 'id', 'subject', 'type'])
  })

  test('is left out without the grant', async () => {
    const view = await read(await world.key({ role: 'auditor', principal: prn }))
    expect(view['metadata']).toEqual({ ward: 'C3', __x: 1 })
    expect(JSON.stringify(view)).not.toContain(secret)
  })

  test('the leaf can be rebuilt from what is stored', async () => {
    const stored = await world.api.core.events.findOne({ _id: eventDocumentId('org_acme', id) })
    if (stored === null) throw new Error('the event is not there')
    const { leafHash } = answer.body as { leafHash: string }
    expect(rebuildLeaf(stored)?.leafHash.toString('base64')).toBe(leafHash)
  })

  test('a repeat is recognised, and another value is a conflict', async () => {
    const repeat = await post(event('patient.admitted', sent), { 'idempotency-key': 'personal' })
    expect([repeat.status, idOf(repeat)]).toEqual([201, id])
    const other = { ...sent, metadata: { ...sent.metadata, motherName: 'x' } }
    expect((await post(event('patient.admitted', other), { 'idempotency-key': 'personal' })).status).toBe(409)
  })

  test('of a thing, it stays where it is', async () => {
    const stored = await post(
      event('patient.admitted', { ...sent, actor: { type: 'service', id: 'import' } }),
    )
    const view = await world.request('GET', `/v1/organizations/org_acme/events/${idOf(stored)}`, {
      key: await world.key({ role: 'auditor', principal: prn }),
    })
    expect(view.body).toMatchObject({ metadata: sent.metadata })
  })
})
