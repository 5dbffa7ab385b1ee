import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { PassThrough, Writable } from 'node:stream'
import { afterEach, describe, expect, test } from 'vitest'
import { AnnalsError } from '../../../src/errors.js'
import type { RecordedEvent } from '../../../src/events/contract.js'
import type { StreamProblem } from '../../../src/events/stream-answers.js'
import { EventStream, streamLimits, type StreamEnd, type StreamLimits } from '../../../src/events/stream.js'
import { limitBodies, letStream } from '../../../src/http/streaming.js'

const recorded: RecordedEvent = {
  id: 'evt_01h455vb4pex5vsknk084sn02q',
  organizationId: 'org',
  receivedAt: new Date(0),
  leafHash: new Uint8Array(32),
  replayed: false,
}
const problemOf = (error: unknown): StreamProblem => {
  const { code, detail, retryAfterSeconds } = error as AnnalsError
  const status = code === 'unavailable' || code === 'overloaded' ? 503 : 422
  return { document: { status, code, ...{ detail } }, retryAfterSeconds }
}

interface Options {
  readonly accept?: (value: unknown) => Promise<RecordedEvent>
  readonly hasRoom?: () => boolean
  readonly answerAll?: boolean
  readonly limits?: Partial<StreamLimits>
}
const optionsOf = ({ accept, hasRoom, answerAll = false, limits = {} }: Options) => ({
  answerAll,
  progress: false,
  accept: accept ?? (() => Promise.resolve(recorded)),
  hasRoom: hasRoom ?? (() => true),
  problemOf,
  limits: { ...streamLimits, ...limits },
})

/** A stream over memory: what is written to `input` goes in, `text()` is what came out. */
function inMemory(options: Options) {
  const input = new PassThrough({ highWaterMark: 1_024 })
  let text = ''
  const output = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString()
      done()
    },
  })
  const stream = new EventStream({ source: input, input, output, ...optionsOf(options) })
  return {
    input,
    output,
    stream,
    ended: stream.run(),
    lines: () =>
      text
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
  }
}

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections()
})

/** A stream over real sockets, and a client that reads only when it is told to. */
async function overSockets(options: Options): Promise<{ socket: Socket; ended: Promise<StreamEnd> }> {
  let resolveEnd: (end: StreamEnd) => void = () => undefined
  const ended = new Promise<StreamEnd>((resolve) => {
    resolveEnd = resolve
  })
  const server = createServer({ requestTimeout: 0 }, (request, response) => {
    letStream(request)
    response.flushHeaders()
    const stream = new EventStream({
      source: request,
      input: request,
      output: response,
      ...optionsOf(options),
    })
    void stream.run().then(resolveEnd)
  })
  limitBodies(server)
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const socket = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' })
  socket.pause()
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  socket.write('POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n')
  return { socket, ended }
}
const chunk = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`

/** Sends until the server takes no more for as long as `patience` says; how much it took, in lines. */
async function sendUntilBlocked(socket: Socket, isOver: () => boolean): Promise<number> {
  const part = chunk('{}\n'.repeat(2_000))
  let lines = 0
  while (!isOver() && lines < 4_000_000) {
    lines += 2_000
    if (socket.write(part)) continue
    const drained = await Promise.race([
      once(socket, 'drain').then(() => true),
      new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 200)),
    ])
    if (!drained) break
  }
  return lines
}

async function readAll(socket: Socket): Promise<string> {
  const chunks: Buffer[] = []
  await new Promise<void>((resolve) => {
    socket.on('close', resolve)
    socket.on('data', (bytes: Buffer) => {
      chunks.push(bytes)
      if (bytes.subarray(-5).toString() === '0\r\n\r\n') resolve()
    })
    socket.resume()
  })
  return Buffer.concat(chunks).toString()
}

describe('memory', () => {
  test('no more lines are under way than the limit, however many are sent', async () => {
    let underWay = 0
    let most = 0
    const accept = async () => {
      most = Math.max(most, (underWay += 1))
      await new Promise((resolve) => setImmediate(resolve))
      underWay -= 1
      return recorded
    }
    const { input, ended } = inMemory({ accept, limits: { maxInFlightEvents: 10 } })
    for (let line = 0; line < 500; line += 1) if (!input.write('{}\n')) await once(input, 'drain')
    input.end()
    expect((await ended).counts).toEqual({ accepted: 500, replayed: 0, rejected: 0 })
    expect(most).toBe(10)
  })

  test('nor more bytes', async () => {
    let release: () => void = () => undefined
    const gate = new Promise<void>((resolve) => {
      release = resolve
    })
    let taken = 0
    const accept = async () => {
      taken += 1
      await gate
      return recorded
    }
    const { input, ended } = inMemory({ accept, limits: { maxInFlightBytes: 10_000 } })
    input.end(`${JSON.stringify({ a: 'x'.repeat(4_000) })}\n`.repeat(10))
    await expect.poll(() => taken).toBe(3)
    release()
    expect((await ended).counts.accepted).toBe(10)
  })

  test('a client that never reads is paused, and then told: answers are not held without bound', async () => {
    let taken = 0
    const { socket, ended } = await overSockets({
      accept: () => {
        taken += 1
        return Promise.resolve(recorded)
      },
      answerAll: true,
      limits: { maxUnread: 100_000, stalledMs: 400, lingerMs: 1_500 },
    })
    let over: StreamEnd | undefined
    void ended.then((end) => (over = end))
    await sendUntilBlocked(socket, () => over !== undefined)
    const end = await ended
    expect(end.stop).toMatchObject({ code: 'stream_stalled' })
    expect(end.counts.accepted).toBe(taken)
    expect(taken).toBeLessThan(4_000_000)
  })

  test('a client that sends all before it reads comes to its end, and finds out where the stream stopped', async () => {
    const { socket, ended } = await overSockets({
      answerAll: true,
      limits: { maxUnread: 50_000, stalledMs: 300 },
    })
    let failed = false
    socket.on('error', () => (failed = true))
    // More than all sockets' buffers hold, in both directions.
    const part = chunk(`{"a":"${'x'.repeat(190)}"}\n`.repeat(2_000))
    const total = 300_000
    for (let sent = 0; sent < total; sent += 2_000) if (!socket.write(part)) await once(socket, 'drain')
    socket.write('0\r\n\r\n')
    const text = await readAll(socket)
    const { counts, stop } = await ended
    expect(failed).toBe(false)
    expect(stop).toMatchObject({ code: 'stream_stalled' })
    expect(counts.accepted).toBeLessThan(total)
    expect(text).toContain(
      `"line":${String(counts.accepted)},"problem":{"status":422,"code":"stream_stalled"`,
    )
    expect(text.split('"status":201').length - 1).toBe(counts.accepted)
  })

  test('a slow reader gets every answer', async () => {
    const { socket, ended } = await overSockets({
      answerAll: true,
      limits: { maxUnread: 50_000, stalledMs: 2_000 },
    })
    const writing = (async () => {
      const part = chunk('{}\n'.repeat(1_000))
      for (let sent = 0; sent < 60_000; sent += 1_000) if (!socket.write(part)) await once(socket, 'drain')
      socket.write('0\r\n\r\n')
    })()
    const chunks: Buffer[] = []
    const text = () => Buffer.concat(chunks).toString()
    socket.on('data', (bytes: Buffer) => {
      chunks.push(bytes)
      socket.pause()
      setTimeout(() => socket.resume(), 5)
    })
    socket.resume()
    await writing
    expect(await ended).toEqual({ counts: { accepted: 60_000, replayed: 0, rejected: 0 }, stop: undefined })
    await expect.poll(() => text().includes('"done":true')).toBe(true)
    expect(text().split('"status":201').length - 1).toBe(60_000)
  })

  test('every failure has a line of bounded length', async () => {
    const errors = Array.from({ length: 20 }, () => ({
      path: 'p'.repeat(5_000),
      code: 'missing' as const,
      message: 'm',
    }))
    const problem = { document: { status: 422, code: 'invalid', errors }, retryAfterSeconds: undefined }
    const { StreamAnswers } = await import('../../../src/events/stream-answers.js')
    let text = ''
    const answers = new StreamAnswers(false, (line) => (text += line))
    answers.failed(answers.open(1), problem)
    expect(text.length).toBeLessThan(2_500)
    expect(JSON.parse(text)).toMatchObject({ line: 1, status: 422, problem: { code: 'invalid' } })
  })
})

describe('answers', () => {
  test('keep the order of the lines, whatever is stored first', async () => {
    const waiting: (() => void)[] = []
    const accept = () => new Promise<RecordedEvent>((resolve) => waiting.push(() => resolve(recorded)))
    const { input, ended, lines } = inMemory({ accept, answerAll: true })
    input.end('{}\n{}\n{}\n')
    await expect.poll(() => waiting.length).toBe(3)
    for (const store of waiting.reverse()) store()
    await ended
    expect(lines()).toMatchObject([{ line: 1 }, { line: 2 }, { line: 3 }, { done: true, accepted: 3 }])
  })
})

describe('a stream waits, and stops', () => {
  test('it waits for room in the queue instead of failing', async () => {
    let asked = 0
    const { input, ended } = inMemory({ hasRoom: () => (asked += 1) > 10 })
    input.end('{}\n{}\n')
    expect((await ended).counts).toEqual({ accepted: 2, replayed: 0, rejected: 0 })
  })

  test('it tries in the end, and says that it was too much, with when to come again', async () => {
    const accept = () => Promise.reject(new AnnalsError('overloaded', 'busy', { retryAfterSeconds: 1 }))
    const { input, ended, lines } = inMemory({ accept, hasRoom: () => false, limits: { roomWaitMs: 50 } })
    input.end('{}\n')
    await ended
    expect(lines()).toMatchObject([
      { line: 1, status: 503, retryAfterSeconds: 1 },
      { done: true, rejected: 1 },
    ])
  })

  test('where nothing can be stored it stops after a hundred lines, and says when to come again', async () => {
    const accept = () => Promise.reject(new AnnalsError('unavailable', 'away', { retryAfterSeconds: 5 }))
    const { input, ended, lines } = inMemory({ accept, limits: { maxInFlightEvents: 50 } })
    input.end('{}\n'.repeat(900))
    const { counts, stop } = await ended
    expect(stop).toMatchObject({ code: 'unavailable' })
    expect(counts.rejected).toBeLessThan(200)
    expect(lines()[0]).toMatchObject({ line: 1, problem: { code: 'unavailable' }, retryAfterSeconds: 5 })
    expect(lines().at(-1)).toMatchObject({
      done: false,
      line: counts.rejected,
      problem: { code: 'unavailable' },
      retryAfterSeconds: 5,
    })
  })

  test('a client that sends nothing for too long is told so', async () => {
    const { input, ended, lines } = inMemory({ limits: { idleMs: 100, stalledMs: 100 } })
    input.write('{}\n')
    expect((await ended).stop).toMatchObject({ code: 'stream_stalled' })
    expect(lines()).toMatchObject([
      { done: false, accepted: 1, line: 1, problem: { code: 'stream_stalled' } },
    ])
  })

  test('a client that goes away ends it, and what was under way is waited for', async () => {
    let store: () => void = () => undefined
    const accept = () => new Promise<RecordedEvent>((resolve) => (store = () => resolve(recorded)))
    const { input, ended } = inMemory({ accept })
    let over = false
    void ended.then(() => (over = true))
    input.write('{}\n')
    await expect.poll(() => input.readableLength).toBe(0)
    input.destroy()
    await new Promise((resolve) => setImmediate(resolve))
    expect(over).toBe(false)
    store()
    expect(await ended).toMatchObject({ stop: 'aborted', counts: { accepted: 1 } })
  })
})
