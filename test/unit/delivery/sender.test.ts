/** One call against real receivers on real sockets: what each of them can do to it is one result, in bounded time. */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { createSender, type SenderOptions } from '../../../src/delivery/sender.js'
import { answering, startReceiver, testAuthority, type Receiver } from '../../support/receiver.js'

let plain: Receiver
let secure: Receiver
const servers: Server[] = []

beforeAll(async () => {
  plain = await startReceiver()
  secure = await startReceiver({ tls: true })
})
afterAll(async () => {
  await plain.close()
  await secure.close()
  for (const server of servers) server.close()
})
beforeEach(() => {
  plain.behave(undefined)
  secure.behave(undefined)
})

/** Milliseconds that a test can wait for, where a recipient makes it wait. */
const short = { connectMs: 400, totalMs: 400, bodyMs: 200 }
const home = () => Promise.resolve(['127.0.0.1'])
const sender = (options: Partial<SenderOptions> = {}) =>
  createSender({ allowPrivate: true, resolve: home, ca: testAuthority, ...options })
const call = (url: string, body = '{"a":1}') => ({ url, headers: { 'webhook-id': 'x' }, body })
const send = (url: string, options: Partial<SenderOptions> = {}) => sender(options)(call(url))

/** A server that says and does what the test wants, below HTTP. */
async function rawServer(talk: (socket: Socket) => void): Promise<string> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    talk(socket)
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/`
}

test('a body is posted over TLS to the name, at the address that the name was resolved to once', async () => {
  const before = secure.calls.length
  let looks = 0
  const resolve = (host: string) => {
    looks += 1
    expect(host).toBe('recipient.test')
    // A name that changes its mind after the look.
    return Promise.resolve(looks === 1 ? ['127.0.0.1'] : ['169.254.169.254'])
  }
  expect(await send(secure.url, { resolve })).toEqual({ answered: true, status: 204, retryAfterMs: null })
  expect(looks).toBe(1)
  const made = secure.calls.slice(before)
  expect(made).toHaveLength(1)
  expect(made[0]?.body).toBe('{"a":1}')
  expect(made[0]?.headers).toMatchObject({ host: `recipient.test:${String(secure.port)}`, 'webhook-id': 'x' })
})

test('TLS is held to the name: another name, or another authority, is refused before anything is said', async () => {
  const before = secure.calls.length
  const other = secure.url.replace('recipient.test', 'other.test')
  expect(await send(other)).toEqual({ answered: false, failure: 'tls_refused' })
  const system = createSender({ allowPrivate: true, resolve: home })
  expect(await system(call(secure.url))).toEqual({ answered: false, failure: 'tls_refused' })
  expect(await send(plain.url.replace('http:', 'https:'))).toEqual({
    answered: false,
    failure: 'tls_refused',
  })
  expect(secure.calls).toHaveLength(before)
  // An address in a URL is held to the addresses of the certificate.
  const byAddress = secure.url.replace('recipient.test', '127.0.0.1')
  expect(await send(byAddress)).toMatchObject({ answered: true, status: 204 })
})

test.each([
  ['127.0.0.1'],
  ['::1'],
  ['10.0.0.1'],
  ['169.254.169.254'],
  ['::ffff:127.0.0.1'],
  // One good address among them does not make the name good.
  ['1.1.1.1', '127.0.0.1'],
])('a name that resolves to %s %s is not called', async (...addresses) => {
  const before = secure.calls.length
  const resolve = () => Promise.resolve(addresses)
  expect(await send(secure.url, { allowPrivate: false, resolve })).toEqual({
    answered: false,
    failure: 'address_not_allowed',
  })
  expect(secure.calls).toHaveLength(before)
})

test('a rebound name, an encoded literal and an address without TLS are refused without a connection', async () => {
  const before = plain.calls.length
  const port = String(plain.port)
  const strict = { allowPrivate: false }
  for (const url of [
    plain.url,
    `https://2130706433:${port}/`,
    `https://[::ffff:7f00:1]:${port}/`,
    `https://u:p@recipient.test:${port}/`,
  ]) {
    expect(await send(url, strict), url).toEqual({ answered: false, failure: 'address_not_allowed' })
  }
  // Where private addresses are allowed, a public one still needs TLS, and metadata is still no recipient.
  for (const address of ['1.1.1.1', '169.254.169.254', '0.0.0.0', '100.100.100.200']) {
    const resolve = () => Promise.resolve([address])
    expect(await send(`http://recipient.test:${port}/`, { resolve }), address).toEqual({
      answered: false,
      failure: 'address_not_allowed',
    })
  }
  const many = () => Promise.resolve(Array.from({ length: 33 }, () => '127.0.0.1'))
  expect(await send(`http://recipient.test:${port}/`, { resolve: many })).toMatchObject({ answered: false })
  expect(plain.calls).toHaveLength(before)
})

test('no redirect is followed, wherever to', async () => {
  const before = plain.calls.length
  const target = plain.url
  secure.behave(answering(307, { location: target }))
  expect(await send(secure.url)).toMatchObject({ answered: true, status: 307 })
  secure.behave(answering(302, { location: 'http://169.254.169.254/latest/meta-data' }))
  expect(await send(secure.url)).toMatchObject({ answered: true, status: 302 })
  expect(plain.calls).toHaveLength(before)
})

test('no proxy of the environment is asked', async () => {
  const proxy = await startReceiver()
  const names = ['http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'NODE_USE_ENV_PROXY'] as const
  try {
    for (const name of names) vi.stubEnv(name, name === 'NODE_USE_ENV_PROXY' ? '1' : proxy.url)
    expect(await send(plain.url)).toMatchObject({ status: 204 })
    expect(await send(secure.url)).toMatchObject({ status: 204 })
    expect(proxy.calls).toEqual([])
  } finally {
    vi.unstubAllEnvs()
    await proxy.close()
  }
})

test('a status and its Retry-After are what counts of an answer', async () => {
  plain.behave(answering(429, { 'retry-after': '120' }))
  expect(await send(plain.url)).toEqual({ answered: true, status: 429, retryAfterMs: 120_000 })
  plain.behave(answering(410))
  expect(await send(plain.url)).toEqual({ answered: true, status: 410, retryAfterMs: null })
})

test('one that accepts and never answers costs the time there is and no more', async () => {
  plain.behave(() => undefined)
  expect(await send(plain.url, { limits: short })).toEqual({ answered: false, failure: 'no_answer_in_time' })
  // Below HTTP and below TLS, too.
  const silent = await rawServer(() => undefined)
  expect(await send(silent, { limits: short })).toEqual({ answered: false, failure: 'no_answer_in_time' })
  const silentTls = silent.replace('http:', 'https:')
  expect(await send(silentTls, { limits: { ...short, totalMs: 60_000 } })).toEqual({
    answered: false,
    failure: 'no_answer_in_time',
  })
})

test('a head that drips for ever, or grows for ever, ends', async () => {
  const dripping = await rawServer((socket) => {
    socket.write('HTTP/1.1 200 OK\r\n')
    const timer = setInterval(() => socket.write('x-drip: 1\r\n'), 20)
    socket.once('close', () => clearInterval(timer))
  })
  expect(await send(dripping, { limits: short })).toEqual({ answered: false, failure: 'no_answer_in_time' })
  const interim = await rawServer((socket) => {
    const timer = setInterval(() => socket.write('HTTP/1.1 102 Processing\r\n\r\n'), 20)
    socket.once('close', () => clearInterval(timer))
  })
  expect(await send(interim, { limits: short })).toEqual({ answered: false, failure: 'no_answer_in_time' })
  const huge = await rawServer((socket) => {
    socket.write(`HTTP/1.1 200 OK\r\nx-huge: ${'a'.repeat(100_000)}\r\n\r\n`)
  })
  expect(await send(huge)).toEqual({ answered: false, failure: 'answer_malformed' })
})

test('a body that never ends, however fast, is hung up on; the status has said what it had to', async () => {
  let closed = 0
  let written = 0
  plain.behave((_request, response) => {
    response.writeHead(200)
    response.once('close', () => (closed += 1))
    const pump = (): void => {
      while (!response.destroyed && response.write(Buffer.alloc(65_536))) written += 65_536
      if (!response.destroyed) response.once('drain', pump)
    }
    pump()
  })
  expect(await send(plain.url)).toMatchObject({ answered: true, status: 200 })
  await expect.poll(() => closed).toBe(1)
  // What fits into the buffers of two sockets, not what the recipient had to say.
  expect(written).toBeLessThan(64 * 1024 * 1024)
  plain.behave((_request, response) => {
    response.writeHead(200)
    response.once('close', () => (closed += 1))
    const timer = setInterval(() => response.write('.'), 20)
    response.once('close', () => clearInterval(timer))
  })
  expect(await send(plain.url, { limits: short })).toMatchObject({ answered: true, status: 200 })
  await expect.poll(() => closed).toBe(2)
})

test.each([
  ['that is no HTTP', 'SSH-2.0-OpenSSH_9.6\r\n', 'answer_malformed'],
  ['that breaks off', 'HTTP/1.1 200', 'unreachable'],
  [
    'that wants another protocol',
    'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n',
    'unreachable',
  ],
] as const)('an answer %s is none', async (_what, text, failure) => {
  const url = await rawServer((socket) => {
    socket.once('data', () => socket.end(text))
  })
  expect(await send(url)).toEqual({ answered: false, failure })
})

test('nobody there, and a name that nobody knows, are told apart', async () => {
  const gone = await startReceiver()
  await gone.close()
  expect(await send(gone.url)).toEqual({ answered: false, failure: 'unreachable' })
  const unknown = () => Promise.reject(new Error('getaddrinfo ENOTFOUND'))
  expect(await send(secure.url, { resolve: unknown })).toEqual({ answered: false, failure: 'name_unknown' })
  expect(await send(secure.url, { resolve: () => Promise.resolve([]) })).toEqual({
    answered: false,
    failure: 'name_unknown',
  })
  const never = () => new Promise<string[]>(() => undefined)
  expect(await send(secure.url, { resolve: never, limits: short })).toEqual({
    answered: false,
    failure: 'no_answer_in_time',
  })
  // The system's own resolver, and a name that can never be.
  const system = createSender({ allowPrivate: true })
  expect(await system(call('https://recipient.invalid/'))).toEqual({
    answered: false,
    failure: 'name_unknown',
  })
})

test('the system knows localhost, and it is a private address', async () => {
  const url = `http://localhost:${String(plain.port)}/`
  expect(await createSender({ allowPrivate: false })(call(url))).toEqual({
    answered: false,
    failure: 'address_not_allowed',
  })
  const secureUrl = url.replace('http:', 'https:')
  expect(await createSender({ allowPrivate: false })(call(secureUrl))).toEqual({
    answered: false,
    failure: 'address_not_allowed',
  })
})

test('more names at once than are looked up at a time all have their turn', async () => {
  const url = `https://localhost:${String(plain.port)}/`
  const one = createSender({ allowPrivate: false })
  const results = await Promise.all(Array.from({ length: 20 }, () => one(call(url))))
  expect(new Set(results.map((result) => JSON.stringify(result)))).toEqual(
    new Set([JSON.stringify({ answered: false, failure: 'address_not_allowed' })]),
  )
})
