/** What an officer may send, and who may: lists, roles and bad input of erasure requests. No worker takes part. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { newId } from '../../src/ids.js'
import {
  openErasureWorld,
  organizationId,
  somebody,
  submission,
  type ErasureWorld,
} from './erasures-world.js'

let world: ErasureWorld

beforeAll(async () => {
  world = await openErasureWorld()
})
afterAll(() => world.close())

const asSecond = () => ({ key: world.keys.second })

test('lists are newest first, by state, in pages', async () => {
  const ids = [await world.submit(), await world.submit(), await world.submit()]
  const base = `/v1/organizations/${organizationId}/erasures`
  const seen: string[] = []
  let cursor: string | null = ''
  while (cursor !== null && seen.length < 3) {
    const query: string = cursor === '' ? 'limit=2' : `limit=2&cursor=${cursor}`
    const page = await world.request('GET', `${base}?${query}`, { key: world.keys.first })
    const body = page.body as { data: { id: string }[]; nextCursor: string | null }
    seen.push(...body.data.map(({ id }) => id))
    cursor = body.nextCursor
  }
  expect(seen.slice(0, 3)).toEqual(ids.reverse())
  const denied = await world.request('GET', `${base}?state=denied`, { key: world.keys.first })
  for (const { state } of (denied.body as { data: { state: string }[] }).data) expect(state).toBe('denied')
})

test('who may do what: roles first, then organizations, whose absence looks like that of a request', async () => {
  const id = await world.submit()
  const path = `/v1/organizations/${organizationId}/erasures`
  const auditor = await world.key({
    role: 'auditor',
    principal: newPrincipal(),
    organizations: [organizationId],
  })
  const ingest = await world.key({ role: 'ingest' })
  for (const key of [auditor, ingest, world.keys.operator]) {
    expect((await world.request('GET', path, { key })).status).toBe(403)
    expect((await world.request('POST', path, { key, body: submission() })).status).toBe(403)
    expect((await world.post(`/${id}/approve`, {}, { key })).status).toBe(403)
  }
  // An owner submits and reads, and decides nothing.
  expect((await world.request('POST', path, { body: submission() })).status).toBe(202)
  expect((await world.post(`/${id}/withdraw`, {}, { key: world.ownerKey })).status).toBe(403)

  const stranger = await world.key({
    role: 'privacy_officer',
    principal: newPrincipal(),
    organizations: ['org_other'],
  })
  const absent = `/${newId('erasure')}`
  const answers = [
    await world.post(`/${id}/withdraw`, {}, { key: stranger }),
    await world.post(`${absent}/withdraw`, {}),
    await world.post('/erasure_nonsense/withdraw', {}),
    await world.request('GET', `${path}/${id}`, { key: stranger }),
    await world.request('GET', path + absent, { key: world.keys.first }),
    await world.request('POST', path, { key: stranger, body: submission() }),
  ]
  for (const answer of answers) {
    expect(answer.status).toBe(404)
    const { requestId: _own, ...body } = answer.body as Record<string, unknown>
    const { requestId: _other, ...reference } = answers[0]?.body as Record<string, unknown>
    expect(body).toEqual(reference)
  }
})

const newPrincipal = () => newId('prn')

const long = 'x'.repeat(513)
test.each<[string, object, string, string]>([
  ['no identifiers', { identifiers: [] }, 'identifiers', 'too_few'],
  ['too many', { identifiers: Array.from({ length: 21 }, somebody) }, 'identifiers', 'too_many'],
  ['an id without a type', { identifiers: [{ kind: 'id', value: 'u' }] }, 'identifiers[0].type', 'missing'],
  [
    'a type of no form',
    { identifiers: [{ kind: 'id', type: '', value: 'u' }] },
    'identifiers[0].type',
    'malformed_value',
  ],
  [
    'a kind that is none',
    { identifiers: [{ kind: 'name', value: 'u' }] },
    'identifiers[0].kind',
    'wrong_type',
  ],
  [
    'no e-mail',
    { identifiers: [{ kind: 'email', value: 'jane' }] },
    'identifiers[0].value',
    'malformed_value',
  ],
  [
    'a blank value',
    { identifiers: [{ kind: 'other', value: '  ' }] },
    'identifiers[0].value',
    'malformed_value',
  ],
  ['a long value', { identifiers: [{ kind: 'other', value: long }] }, 'identifiers[0].value', 'too_long'],
  ['a NUL', { identifiers: [{ kind: 'other', value: 'a\0b' }] }, 'identifiers[0].value', 'nul_character'],
  [
    'another member',
    { identifiers: [{ kind: 'other', value: 'a', x: 1 }] },
    'identifiers[0].x',
    'unknown_field',
  ],
  ['no ground', { ground: undefined }, 'ground', 'missing'],
  ['a ground of Art. 17(3)', { ground: '17(3)(b)' }, 'ground', 'not_allowed'],
  ['a time without zone', { receivedAt: '2026-01-01T00:00:00' }, 'receivedAt', 'no_time_zone'],
  ['no such day', { receivedAt: '2026-02-30T00:00:00Z' }, 'receivedAt', 'malformed_time'],
  ['the future', { receivedAt: '2999-01-01T00:00:00Z' }, 'receivedAt', 'time_in_future'],
  ['long ago', { receivedAt: '2001-01-01T00:00:00Z' }, 'receivedAt', 'time_in_past'],
  [
    'an unsafe address',
    { recipients: [{ name: 'a', url: 'ftp://a' }] },
    'recipients[0].url',
    'malformed_value',
  ],
  [
    'a recipient without TLS',
    {
      recipients: [
        { name: 'a', url: 'https://a.example/' },
        { name: 'b', url: 'http://b.example/' },
      ],
    },
    'recipients[1].url',
    'not_allowed',
  ],
  [
    'a recipient with credentials',
    { recipients: [{ name: 'a', url: 'https://user:secret@a.example/' }] },
    'recipients[0].url',
    'not_allowed',
  ],
  [
    'a recipient inside the network, however it is written',
    { recipients: [{ name: 'a', url: 'https://0x7f.1/' }] },
    'recipients[0].url',
    'not_allowed',
  ],
  [
    'the metadata of a cloud as recipient',
    { recipients: [{ name: 'a', url: 'https://169.254.169.254/latest' }] },
    'recipients[0].url',
    'not_allowed',
  ],
  [
    'an address that is too long',
    { recipients: [{ name: 'a', url: `https://a.example/${'a'.repeat(2_048)}` }] },
    'recipients[0].url',
    'too_long',
  ],
  [
    'an address twice',
    { recipients: ['a', 'b'].map((name) => ({ name, url: 'https://a.example/' })) },
    'recipients',
    'conflict',
  ],
  [
    'too many recipients',
    {
      recipients: Array.from({ length: 51 }, (_, n) => ({
        name: 'a',
        url: `https://a.example/${String(n)}`,
      })),
    },
    'recipients',
    'too_many',
  ],
  ['joint text', { jointFreeText: 'keep' }, 'jointFreeText', 'not_allowed'],
  ['another field', { tenant: 'x' }, 'tenant', 'unknown_field'],
])('a submission with %s is refused, and names the place', async (_what, changes, path, expected) => {
  const answer = await world.post('', submission(changes))
  expect(answer.status).toBe(422)
  expect((answer.body as { errors: object[] }).errors).toContainEqual(
    expect.objectContaining({ path, code: expected }),
  )
})

test.each<[string, string, object, string, string]>([
  ['approve', 'an exemption of no ground', { exempt: [{ class: 'a.*' }] }, 'exempt[0].ground', 'missing'],
  [
    'approve',
    'a ground of Art. 17(1)',
    { exempt: [{ class: 'a', ground: '17(1)(a)' }] },
    'exempt[0].ground',
    'not_allowed',
  ],
  [
    'approve',
    'a class of no form',
    { exempt: [{ class: 'a b', ground: '17(3)(a)' }] },
    'exempt[0].class',
    'malformed_value',
  ],
  [
    'approve',
    'a class twice',
    {
      exempt: [
        { class: 'a', ground: '17(3)(a)' },
        { class: 'a', ground: '17(3)(b)' },
      ],
    },
    'exempt',
    'conflict',
  ],
  ['deny', 'no note', { ground: '17(3)(a)' }, 'note', 'missing'],
  ['deny', 'no ground', { note: 'x' }, 'ground', 'missing'],
  ['extend', 'an empty reason', { reason: '' }, 'reason', 'too_short'],
  ['verify-identity', 'a result that is none', { method: 'x', result: 'maybe' }, 'result', 'not_allowed'],
  ['attest', 'a target of no form', { target: 'Log Files', statement: 'x' }, 'target', 'malformed_value'],
  ['withdraw', 'another field', { reason: 'x' }, 'reason', 'unknown_field'],
])('%s with %s is refused, and names the place', async (action, _what, body, path, expected) => {
  // Judged before the request is looked for.
  const answer = await world.post(`/${newId('erasure')}/${action}`, body, asSecond())
  expect(answer.status).toBe(422)
  expect((answer.body as { errors: object[] }).errors).toContainEqual(
    expect.objectContaining({ path, code: expected }),
  )
})
