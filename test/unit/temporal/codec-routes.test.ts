import { randomBytes } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { defaultPayloadConverter, type Payload } from '@temporalio/common'
import express, { type NextFunction, type Request, type Response } from 'express'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { AnnalsError } from '../../../src/errors.js'
import type { CodecKeys } from '../../../src/temporal/codec-keys.js'
import { codecRoutes } from '../../../src/temporal/codec-routes.js'
import { createPayloadCodec } from '../../../src/temporal/codec.js'

const keys: CodecKeys = { current: 'a', keys: new Map([['a', randomBytes(32)]]) }
const pathSecret = 'x'.repeat(32)
const ui = 'http://127.0.0.1:8233'

const app = express().use(
  codecRoutes({
    codecKeys: keys,
    namespace: 'annals',
    pathSecret,
    uiOrigins: [ui],
    requireOperator: (request, _response, next) =>
      next(
        request.headers.authorization === 'Bearer operator'
          ? undefined
          : new AnnalsError('forbidden', 'not you'),
      ),
  }),
  (error: unknown, _request: Request, response: Response, next: NextFunction) => {
    if (!(error instanceof AnnalsError)) {
      next(error)
      return
    }
    response.status(error.code === 'not_found' ? 404 : 403).end()
  },
)
const server = app.listen(0, '127.0.0.1')
let origin = ''

beforeAll(async () => {
  if (!server.listening) await new Promise((resolve) => server.once('listening', resolve))
  const address: string | AddressInfo | null = server.address()
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a TCP address')
  origin = `http://127.0.0.1:${address.port}`
})
afterAll(() => server.close())

const answerSchema = z.object({
  payloads: z.array(z.object({ metadata: z.record(z.string(), z.string()), data: z.string() })),
})

async function decode(path: string, payloads: Payload[], headers: Record<string, string> = {}) {
  const body = {
    payloads: payloads.map(({ metadata, data }) => ({
      metadata: Object.fromEntries(
        Object.entries(metadata ?? {}).map(([name, value]) => [name, Buffer.from(value).toString('base64')]),
      ),
      data: Buffer.from(data ?? []).toString('base64'),
    })),
  }
  return fetch(`${origin}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
}

async function read(response: globalThis.Response): Promise<unknown[]> {
  const { payloads } = answerSchema.parse(await response.json())
  return payloads.map(({ data }): unknown => JSON.parse(Buffer.from(data, 'base64').toString()))
}

const seal = (by: CodecKeys, value: unknown) =>
  createPayloadCodec(by, 'annals').encode([defaultPayloadConverter.toPayload(value)])

test('an operator gets payloads decoded, in order, and a tombstone for what does not open', async () => {
  const other: CodecKeys = { current: 'z', keys: new Map([['z', randomBytes(32)]]) }
  const payloads = [
    ...(await seal(keys, { engine: 'scanner' })),
    ...(await seal(other, 1)),
    ...(await seal(keys, 2)),
  ]
  const response = await decode('/temporal/codec/decode', payloads, { authorization: 'Bearer operator' })
  expect(await read(response)).toEqual([
    { engine: 'scanner' },
    { annals: 'undecodable', reason: 'unknown_key' },
    2,
  ])
})

test('nobody else does, except under the secret path, and there a wrong secret is no address', async () => {
  const payloads = await seal(keys, 1)
  expect((await decode('/temporal/codec/decode', payloads)).status).toBe(403)
  expect((await decode(`/temporal/codec/${'y'.repeat(32)}/decode`, payloads)).status).toBe(404)
  expect(await read(await decode(`/temporal/codec/${pathSecret}/decode`, payloads))).toEqual([1])
})

test('the UI may read the answers in a browser, another page may not', async () => {
  const preflight = (from: string) =>
    fetch(`${origin}/temporal/codec/${pathSecret}/decode`, { method: 'OPTIONS', headers: { origin: from } })
  const allowed = await preflight(ui)
  expect(allowed.status).toBe(204)
  expect(allowed.headers.get('access-control-allow-origin')).toBe(ui)
  expect(allowed.headers.get('access-control-allow-headers')).toContain('X-Namespace')
  expect((await preflight('https://evil.example')).headers.get('access-control-allow-origin')).toBeNull()
})
