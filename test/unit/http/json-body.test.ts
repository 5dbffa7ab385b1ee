import { gzipSync } from 'node:zlib'
import express from 'express'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AnnalsError } from '../../../src/errors.js'
import { bodyOf, jsonBody, parseJsonBytes } from '../../../src/http/json-body.js'
import { annalsErrorOf, sendProblem } from '../../../src/http/problem.js'
import { startServer, type RunningServer } from '../../../src/http/server.js'

const detailOf = (text: string | Buffer): string => {
  try {
    parseJsonBytes(Buffer.from(text))
  } catch (error) {
    if (error instanceof AnnalsError && error.code === 'malformed') return error.detail
    throw error
  }
  throw new Error('it was parsed')
}

describe('malformed JSON', () => {
  it.each([
    ['abc', 0],
    ['{"a": x}', 6],
    ['{a', 1],
    ['{"a":1', 6],
    ['{"a":1,}', 7],
    ['[1 2]', 3],
    ['tru', 3],
    ['{"name":"jane@acme.example" "b":1}', 28],
    ['"\u0001"', 1],
    ['{"a":1} x', 8],
    [`[${'1,'.repeat(1_000)}nope]`, 2_002],
  ])('%j is wrong at %i', (text, position) => {
    const detail = detailOf(text)
    expect(detail).toBe(`The body is not valid JSON. The error is at character ${position}.`)
  })

  it('is never quoted, however long', () => {
    const detail = detailOf(`{"email": jane@acme.example ${' '.repeat(100_000)}`)
    expect(detail).not.toContain('jane')
  })

  it('is also what is empty, or no UTF-8', () => {
    expect(detailOf('')).toContain('empty')
    expect(detailOf(Buffer.from([0x22, 0xc3, 0x28, 0x22]))).toContain('UTF-8')
  })
})

describe('a JSON body over HTTP', () => {
  let server: RunningServer
  const send = async (body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) => {
    const response = await fetch(`${server.url}/echo`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body,
    })
    return { status: response.status, text: await response.text() }
  }

  beforeAll(async () => {
    const app = express()
    app.post('/echo', jsonBody(1_000), (request, response) => void response.json(bodyOf(request)))
    app.post('/optional', jsonBody(1_000, { optional: true }), (request, response) => {
      response.json({ absent: bodyOf(request) === undefined })
    })
    const failed: express.ErrorRequestHandler = (error, _request, response, next) => {
      if (response.headersSent) next(error)
      else sendProblem(response, annalsErrorOf(error), 'r')
    }
    app.use(failed)
    server = await startServer(app, { host: '127.0.0.1', port: 0 })
  })
  afterAll(() => server.stop())

  it('is taken plain and compressed, also with a BOM-less charset', async () => {
    expect(await send('{"ü":1}', { 'content-type': 'application/json; charset=utf-8' })).toEqual({
      status: 200,
      text: '{"ü":1}',
    })
    const packed = new Uint8Array(gzipSync('{"a":[1]}'))
    expect(await send(packed, { 'content-encoding': 'gzip' })).toEqual({ status: 200, text: '{"a":[1]}' })
  })

  it('over the limit is 413 and names the limit, also where it only unpacks to that', async () => {
    const long = JSON.stringify('x'.repeat(1_000))
    const plain = await send(long)
    expect(plain).toMatchObject({
      status: 413,
      text: expect.stringContaining('limit of 1000 bytes') as string,
    })
    const bomb = new Uint8Array(gzipSync(JSON.stringify('x'.repeat(1_000_000))))
    expect(bomb.length).toBeLessThan(1_100)
    expect(await send(bomb, { 'content-encoding': 'gzip' })).toMatchObject({ status: 413 })
  })

  it('of another type, charset or encoding is 415', async () => {
    expect(await send('a', { 'content-type': 'text/plain' })).toMatchObject({ status: 415 })
    expect(await send('{}', { 'content-type': 'application/json; charset=latin1' })).toMatchObject({
      status: 415,
    })
    expect(await send('{}', { 'content-encoding': 'zstd-of-the-future' })).toMatchObject({ status: 415 })
  })

  it('that is not what its encoding says is 400', async () => {
    expect(await send('no gzip', { 'content-encoding': 'gzip' })).toMatchObject({ status: 400 })
  })

  it('may be absent only where that is said', async () => {
    expect((await fetch(`${server.url}/echo`, { method: 'POST' })).status).toBe(400)
    expect(await (await fetch(`${server.url}/optional`, { method: 'POST' })).json()).toEqual({ absent: true })
  })
})
