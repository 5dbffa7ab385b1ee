/**
 * A load client that costs next to nothing: keep-alive sockets, requests as ready bytes, one in flight a socket.
 * It knows just enough HTTP/1.1 for the servers measured here (Content-Length or chunked answers).
 */
import { connect, type Socket } from 'node:net'

export interface LoadOptions {
  readonly port: number
  readonly connections: number
  readonly durationMs: number
  /** The bytes of the next request. */
  readonly next: () => Buffer
}

export interface LoadResult {
  readonly requests: number
  readonly failures: number
  readonly seconds: number
  /** Milliseconds, sorted. */
  readonly latencies: Float64Array
}

/** Builds the bytes of one request. */
export function requestBytes(
  method: string,
  path: string,
  headers: Record<string, string>,
  body: string,
): Buffer {
  const lines = Object.entries({
    host: 'localhost',
    'content-length': String(Buffer.byteLength(body)),
    ...headers,
  })
  const head = `${method} ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}`).join('\r\n')}\r\n\r\n`
  return Buffer.from(head + body)
}

/** Sends requests over all connections until the time is over, and waits for the last answers. */
export async function load(options: LoadOptions): Promise<LoadResult> {
  const latencies: number[] = []
  let failures = 0
  const startedAt = performance.now()
  const endsAt = startedAt + options.durationMs
  const runs = Array.from({ length: options.connections }, async () => {
    const socket = connect({ port: options.port, host: '127.0.0.1', noDelay: true })
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    const answers = answersOf(socket)
    while (performance.now() < endsAt) {
      const sentAt = performance.now()
      socket.write(options.next())
      const answer = await answers.next()
      if (answer.done === true) throw new Error('the server closed a connection')
      latencies.push(performance.now() - sentAt)
      if (answer.value.status < 200 || answer.value.status > 299) failures += 1
    }
    socket.destroy()
  })
  await Promise.all(runs)
  const seconds = (performance.now() - startedAt) / 1_000
  return { requests: latencies.length, failures, seconds, latencies: Float64Array.from(latencies).sort() }
}

export interface Answer {
  readonly status: number
  /** Status line and headers. */
  readonly head: string
  readonly body: string
}

/** Each answer that comes over a socket. */
export async function* answersOf(socket: Socket): AsyncGenerator<Answer, undefined> {
  let buffered: Buffer = Buffer.alloc(0)
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    buffered = buffered.length === 0 ? chunk : Buffer.concat([buffered, chunk])
    for (let answer = takeAnswer(buffered); answer !== undefined; answer = takeAnswer(buffered)) {
      buffered = buffered.subarray(answer.bytes)
      yield answer
    }
  }
  return undefined
}

function takeAnswer(bytes: Buffer): (Answer & { readonly bytes: number }) | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n')
  if (headEnd < 0) return undefined
  const head = bytes.toString('latin1', 0, headEnd)
  const status = Number(head.slice(9, 12))
  const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1]
  if (length !== undefined) {
    const end = headEnd + 4 + Number(length)
    if (bytes.length < end) return undefined
    return { status, head, body: bytes.toString('utf8', headEnd + 4, end), bytes: end }
  }
  const end = bytes.indexOf('\r\n0\r\n\r\n', headEnd)
  return end < 0
    ? undefined
    : { status, head, body: bytes.toString('utf8', headEnd + 4, end), bytes: end + 7 }
}

/** The value below which `share` of the sorted values lie. */
export function quantile(sorted: Float64Array, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}
