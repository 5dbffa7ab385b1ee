/** The edge without a database: a key table in memory, routes that fail in every way, one real server. */
import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { Router } from 'express'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { Caller, Role } from '../../../src/access/contract.js'
import { accessKeyPaths } from '../../../src/access/routes.js'
import { AnnalsError } from '../../../src/errors.js'
import { eventPaths } from '../../../src/events/openapi.js'
import { createApp } from '../../../src/http/app.js'
import { authorize } from '../../../src/http/authentication.js'
import type { DirectRoute } from '../../../src/http/direct-routes.js'
import { createHealth, type Health } from '../../../src/http/health.js'
import { PortBusyError, startServer, type RunningServer } from '../../../src/http/server.js'
import { createLogger } from '../../../src/logging.js'
import { createMetrics } from '../../../src/metrics.js'
import { organizationPaths } from '../../../src/organizations/routes.js'
import { scanPaths } from '../../../src/scans/openapi.js'

const lines: string[] = []
let server: RunningServer
let health: Health
let mongodbIsUp = true
let finishSlow: () => void = () => undefined

const callers: Record<string, Caller> = {
  owner: caller('owner', 'all'),
  ingest: caller('ingest', new Set(['org_acme'])),
}

function caller(role: Role, organizations: Caller['organizations']): Caller {
  const keyId = 'key_01jd2zq8w9e5cs0v1m6k3n7p4r'
  return {
    keyId,
    role,
    principal: 'prn_7zzzzzzzzzzzzzzzzzzzzzzzzz',
    organizations,
    personal: false,
    eventsPerMinute: null,
  }
}

/** What a direct route may meet; an event is never as small. */
const direct: DirectRoute = {
  path: '/v1/events',
  maxBodyBytes: 100,
  admit({ role }) {
    if (role === 'owner') throw new AnnalsError('overloaded', 'Full.')
  },
  async handle({ caller: { role }, body }, response) {
    await Promise.resolve()
    if (body === 'crash') throw new TypeError('jane@acme.example is not iterable')
    if (body === 'half') {
      response.write('half')
      throw new Error('jane@acme.example')
    }
    response.statusCode = 201
    response.end(JSON.stringify({ role, body }))
  },
}

function testRouter(): Router {
  const router = Router()
  router.get('/v1/organizations/:org/events', (request, response) => {
    authorize(response, 'events.read', request.params.org)
    throw new AnnalsError('not_found', 'There is no such thing, or not for this key.')
  })
  router.put('/v1/organizations/:org', (request, response) => {
    response.json(authorize(response, 'events.write', request.params.org))
  })
  router.get('/v1/crash', () => {
    throw new TypeError('jane@acme.example is not iterable')
  })
  router.get('/v1/half', (_request, response) => {
    response.write('half')
    throw new Error('jane@acme.example')
  })
  router.get('/v1/busy', () => {
    throw new AnnalsError('overloaded', 'Full.', { retryAfterSeconds: 2.2 })
  })
  router.get('/v1/slow', async (_request, response) => {
    await new Promise<void>((resolve) => {
      finishSlow = resolve
    })
    response.json({ slow: true })
  })
  return router
}

beforeAll(async () => {
  health = createHealth({
    mongodb: {
      required: true,
      check: () => (mongodbIsUp ? Promise.resolve() : Promise.reject(new Error('away'))),
    },
    temporal: { required: false, check: () => Promise.reject(new Error('away')) },
  })
  const app = createApp({
    logger: createLogger('info', { write: (line) => void lines.push(line) }),
    metrics: createMetrics({ processFigures: false }),
    health,
    authenticator: {
      authenticate: (authorization) => {
        const found = callers[authorization?.replace('Bearer ', '') ?? '']
        return found === undefined
          ? Promise.reject(new AnnalsError('unauthenticated', 'No.'))
          : Promise.resolve(found)
      },
    },
    directRoutes: [direct],
    routers: { events: testRouter() },
    paths: [eventPaths, organizationPaths, accessKeyPaths, scanPaths],
    version: '0.0.0',
    metricsToken: 'a-token-for-metrics',
  })
  server = await startServer(app, { host: '127.0.0.1', port: 0, drainMs: 1_000 })
})
afterAll(() => server.stop())

interface Sent {
  readonly method?: string
  readonly key?: string
  readonly headers?: Record<string, string>
  readonly body?: string | undefined
}

async function call(path: string, { method = 'GET', key, headers, body }: Sent = {}) {
  const authorization = key === undefined ? {} : { authorization: `Bearer ${key}` }
  const response = await fetch(server.url + path, {
    method,
    headers: { ...authorization, ...headers },
    body: body ?? null,
  })
  return { status: response.status, headers: response.headers, text: await response.text() }
}
const problemSchema = z.looseObject({ code: z.string(), requestId: z.string() })
const problem = (text: string) => problemSchema.parse(JSON.parse(text))

describe('a request', () => {
  it('has an id: a sane one that it brought, else a fresh one', async () => {
    const brought = await call('/healthz', { headers: { 'x-request-id': 'abc-1' } })
    expect(brought.headers.get('x-request-id')).toBe('abc-1')
    for (const bad of ['jane@acme.example', 'x'.repeat(65), 'a b']) {
      const made = await call('/healthz', { headers: { 'x-request-id': bad } })
      expect(made.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/)
    }
  })

  it('leaves one line with the pattern of its route, and never its address', async () => {
    lines.length = 0
    await call('/v1/organizations/jane@acme.example/events?email=jane@acme.example', { key: 'owner' })
    await call('/jane@acme.example')
    await expect.poll(() => lines.length).toBe(2)
    expect(lines.join('')).not.toContain('jane')
    expect(lines.map((line): unknown => JSON.parse(line))).toMatchObject([
      {
        msg: 'request.done',
        route: '/v1/organizations/:org/events',
        status: 404,
        keyId: callers['owner']?.keyId,
      },
      { msg: 'request.done', route: 'unmatched', status: 404 },
    ])
  })

  it('shows nothing of the software in its headers', async () => {
    const { headers } = await call('/healthz')
    expect(headers.get('x-powered-by')).toBeNull()
    expect(headers.get('etag')).toBeNull()
  })
})

describe('who may do what', () => {
  it('is 401 without a key under /v1, whatever the address', async () => {
    for (const path of ['/v1/events', '/v1/nothing']) {
      const { status, headers, text } = await call(path, { method: 'POST' })
      expect(status).toBe(401)
      expect(headers.get('www-authenticate')).toBe('Bearer realm="annals"')
      expect(headers.get('content-type')).toBe('application/problem+json')
      expect(problem(text).code).toBe('unauthenticated')
    }
  })

  it('is 403 for the role before anything else, and the same 404 for what is absent and what is not bound', async () => {
    const role = await call('/v1/organizations/org_other/events', { key: 'ingest' })
    expect(problem(role.text).code).toBe('forbidden')
    const absent = await call('/v1/organizations/org_acme/events', { key: 'owner' })
    const notBound = await call('/v1/organizations/org_other', { method: 'PUT', key: 'ingest' })
    const nowhere = await call('/v1/nowhere', { key: 'ingest' })
    const withoutId = (text: string) => text.replace(problem(text).requestId, '')
    expect([absent.status, notBound.status, nowhere.status]).toEqual([404, 404, 404])
    expect(withoutId(notBound.text)).toBe(withoutId(absent.text))
    expect(withoutId(nowhere.text)).toBe(withoutId(absent.text))
  })
})

describe('a direct route', () => {
  const post = (body: string | undefined, more: Sent = {}) =>
    call('/v1/events', {
      method: 'POST',
      key: 'ingest',
      body,
      ...more,
      headers: { 'content-type': 'application/json', ...more.headers },
    })

  it('is answered at its address, with a slash or a query too, and for POST alone', async () => {
    for (const path of ['/v1/events', '/v1/events/', '/v1/events?a=b', '/v1/events/?a=b']) {
      const { status, text } = await call(path, {
        method: 'POST',
        key: 'ingest',
        body: '{"a":1}',
        headers: { 'content-type': 'application/json; charset=utf-8' },
      })
      expect([status, JSON.parse(text)]).toEqual([201, { role: 'ingest', body: { a: 1 } }])
    }
    expect((await call('/v1/eventsx', { method: 'POST', key: 'ingest', body: '{}' })).status).toBe(404)
    expect((await call('/v1/events/x', { method: 'POST', key: 'ingest', body: '{}' })).status).toBe(404)
    const wrong = await call('/v1/events', { key: 'ingest' })
    expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'POST'])
  })

  it('refuses as every other does', async () => {
    const codes = [
      (await post('{}', { key: 'nobody' })).text,
      (await post(undefined)).text,
      (await post('{"a":')).text,
      (await post('{}', { headers: { 'content-type': 'text/plain' } })).text,
      (await post(`"${'x'.repeat(200)}"`)).text,
    ].map((text) => problem(text).code)
    expect(codes).toEqual([
      'unauthenticated',
      'malformed',
      'malformed',
      'unsupported_media_type',
      'too_large',
    ])
  })

  it('turns away without reading the body who is refused whatever it says', async () => {
    const { status, headers, text } = await post('{"a":', { key: 'owner' })
    expect([status, headers.get('retry-after'), problem(text).code]).toEqual([503, '1', 'overloaded'])
  })

  it('takes a compressed body within the same limit', async () => {
    const send = async (text: string) => {
      const response = await fetch(`${server.url}/v1/events`, {
        method: 'POST',
        headers: {
          authorization: 'Bearer ingest',
          'content-type': 'application/json',
          'content-encoding': 'gzip',
        },
        body: new Uint8Array(gzipSync(text)),
      })
      return response.status
    }
    expect([await send('{"a":1}'), await send(`"${'x'.repeat(200)}"`)]).toEqual([201, 413])
  })

  it('leaves a line and a count, and of a failure only its identity', async () => {
    lines.length = 0
    const { status, headers, text } = await post('"crash"', { headers: { 'x-request-id': 'abc-2' } })
    await expect.poll(() => lines.join('')).toContain('request.done')
    expect([status, headers.get('x-request-id'), problem(text).code]).toEqual([500, 'abc-2', 'internal'])
    expect(lines.join('') + text).not.toContain('jane')
    expect(lines.map((line): unknown => JSON.parse(line))).toMatchObject([
      { msg: 'request.failed', requestId: 'abc-2', error: { name: 'TypeError' } },
      { msg: 'request.done', route: '/v1/events', status: 500, keyId: callers['ingest']?.keyId },
    ])
    const metrics = await call('/metrics', { key: 'a-token-for-metrics' })
    expect(metrics.text).toContain('annals_http_requests_total{route="/v1/events",method="POST",status="500"')
  })

  it('breaks the connection off after half an answer', async () => {
    await expect(post('"half"')).rejects.toThrow()
  })
})

describe('what goes wrong', () => {
  it('inside is 500 "internal", logged by its identity and under the id of the answer', async () => {
    lines.length = 0
    const { status, text } = await call('/v1/crash', { key: 'owner' })
    expect(status).toBe(500)
    expect(text).not.toContain('jane')
    expect(lines.join('')).not.toContain('jane')
    expect(lines.map((line): unknown => JSON.parse(line))).toContainEqual(
      expect.objectContaining({
        msg: 'request.failed',
        requestId: problem(text).requestId,
        error: expect.objectContaining({ name: 'TypeError' }) as unknown,
      }),
    )
  })

  it('after half an answer breaks the connection off', async () => {
    await expect(call('/v1/half', { key: 'owner' })).rejects.toThrow()
  })

  it('for a while says when to try again', async () => {
    const { status, headers } = await call('/v1/busy', { key: 'owner' })
    expect([status, headers.get('retry-after')]).toEqual([503, '3'])
  })

  it('in the address is 400, and a wrong method 405 with those that are right', async () => {
    expect((await call('/v1/organizations/%E0%A4%A/events', { key: 'owner' })).status).toBe(400)
    const wrong = await call('/v1/keys', { method: 'PATCH', key: 'owner' })
    expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'POST, GET, HEAD'])
  })
})

describe('the open addresses', () => {
  it('/readyz follows MongoDB, reports Temporal, and says no while draining', async () => {
    const ready = await call('/readyz')
    expect([ready.status, JSON.parse(ready.text)]).toEqual([
      200,
      { status: 'ready', draining: false, checks: { mongodb: 'up', temporal: 'down' } },
    ])
    mongodbIsUp = false
    const status = async () => (await call('/readyz')).status
    await expect.poll(status).toBe(503)
    mongodbIsUp = true
    await expect.poll(status).toBe(200)
  })

  it('/metrics asks for its token, and names routes by pattern', async () => {
    expect((await call('/metrics')).status).toBe(401)
    const { text } = await call('/metrics', { key: 'a-token-for-metrics' })
    expect(text).toContain('annals_http_requests_total{route="/v1/organizations/:org",method="PUT"')
    expect(text).not.toContain('jane')
  })

  it('/openapi.json is one OpenAPI 3.1 document of every domain, whose problems have codes', async () => {
    const schema = z.looseObject({
      openapi: z.string(),
      paths: z.record(z.string(), z.record(z.string(), z.unknown())),
    })
    const { openapi, paths } = schema.parse(JSON.parse((await call('/openapi.json')).text))
    expect(openapi).toMatch(/^3\.1/)
    expect(Object.keys(paths)).toEqual(
      expect.arrayContaining([
        '/v1/events',
        '/v1/events/batch',
        '/v1/organizations/{org}',
        '/v1/keys/{id}/rotate',
      ]),
    )
    for (const operation of Object.values(paths).flatMap((item) => Object.values(item))) {
      expect(operation).toMatchObject({ responses: { 401: { content: { 'application/problem+json': {} } } } })
    }
  })

  it('/docs and /docs/errors are pages that load nothing from elsewhere', async () => {
    for (const path of ['/docs', '/docs/errors']) {
      const { status, headers, text } = await call(path)
      expect(status).toBe(200)
      expect(headers.get('content-security-policy')).toContain("default-src 'none'")
      expect(text).not.toMatch(/<(script|link|img|iframe)|src=|@import/)
    }
    expect((await call('/docs/errors')).text).toContain('id="idempotency_conflict"')
  })
})

describe('the server', () => {
  it('says which port is busy', async () => {
    await expect(startServer(() => undefined, { host: '127.0.0.1', port: server.port })).rejects.toThrow(
      PortBusyError,
    )
  })

  it('finishes what is under way when it stops, closes idle connections, and takes no new ones', async () => {
    const idle = connect(server.port, '127.0.0.1')
    await new Promise((resolve) => idle.once('connect', resolve))
    const slow = new Promise<string>((resolve, reject) => {
      httpRequest(`${server.url}/v1/slow`, { headers: { authorization: 'Bearer owner' } }, (response) => {
        let text = ''
        response.on('data', (chunk: Buffer) => (text += chunk.toString())).on('end', () => resolve(text))
      })
        .on('error', reject)
        .end()
    })
    await sleep(50)
    health.startDraining()
    expect((await call('/readyz')).status).toBe(503)
    const stopped = server.stop()
    await sleep(100)
    await expect(call('/healthz')).rejects.toThrow()
    finishSlow()
    expect(await slow).toBe('{"slow":true}')
    await stopped
    expect(idle.destroyed || (await new Promise((resolve) => idle.once('close', () => resolve(true))))).toBe(
      true,
    )
  })
})
