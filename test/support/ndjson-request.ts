/** Requests to the stream over a bare socket: a test decides what is sent when, and when answers are read. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

export interface StreamAnswerLine {
  readonly line?: number
  readonly status?: number
  readonly id?: string
  readonly leafHash?: string
  readonly replayed?: boolean
  readonly through?: number
  readonly done?: boolean
  readonly accepted?: number
  readonly rejected?: number
  readonly problem?: {
    readonly code: string
    readonly errors?: readonly { readonly path: string; readonly code: string }[]
  }
  readonly retryAfterSeconds?: number
}

export interface OpenStream {
  readonly socket: Socket
  /** One chunk of the body; resolves when the socket took it. */
  send(bytes: string | Uint8Array): Promise<void>
  /** The end of the body. */
  finish(): Promise<void>
  /** Reads until the answer holds this text. */
  seen(text: string): Promise<void>
  /** Reads the whole answer: the status and the lines. */
  answer(): Promise<{ status: number; lines: StreamAnswerLine[] }>
}

/** Opens a stream; nothing is read until `answer` is called. */
export async function openStream(
  url: string,
  key: string,
  query = '',
  headers: Record<string, string> = {},
): Promise<OpenStream> {
  const { port, hostname } = new URL(url)
  const socket = connect({ port: Number(port), host: hostname, noDelay: true, allowHalfOpen: true })
  await once(socket, 'connect')
  // A reset is looked at by who reads.
  socket.on('error', () => undefined)
  const all = {
    host: 'test',
    authorization: `Bearer ${key}`,
    'content-type': 'application/x-ndjson',
    'transfer-encoding': 'chunked',
    ...headers,
  }
  const head = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  const write = (bytes: string | Uint8Array) =>
    new Promise<void>((resolve) => socket.write(bytes, () => resolve()))
  await write(`POST /v1/events/stream${query} HTTP/1.1\r\n${head.join('')}\r\n`)
  let received = Buffer.alloc(0)
  socket.on('data', (bytes: Buffer) => {
    received = Buffer.concat([received, bytes])
  })
  socket.pause()
  return {
    socket,
    async send(bytes) {
      const chunk = Buffer.from(bytes)
      await write(
        Buffer.concat([Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n')]),
      )
    },
    finish: () => write('0\r\n\r\n'),
    async seen(text) {
      socket.resume()
      while (!received.includes(text)) await once(socket, 'data')
    },
    async answer() {
      // `seen` may have read to the end already: then no more data comes to look at.
      const look = () => {
        if (isWhole(received)) socket.destroy()
      }
      socket.on('data', look)
      socket.resume()
      look()
      if (!socket.destroyed) await Promise.race([once(socket, 'close'), once(socket, 'end')])
      socket.destroy()
      const text = received.toString('latin1')
      const bodyAt = text.indexOf('\r\n\r\n') + 4
      const raw = received.subarray(bodyAt)
      const isChunked = /\r\ntransfer-encoding: chunked/i.test(text.slice(0, bodyAt))
      const body = (isChunked ? unchunked(raw) : raw).toString('utf8')
      const lines = body
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as StreamAnswerLine)
      return { status: Number(text.slice(9, 12)), lines }
    },
  }
}

/** Is this a whole answer, of either framing? */
function isWhole(bytes: Buffer): boolean {
  const bodyAt = bytes.indexOf('\r\n\r\n') + 4
  const length = /\r\ncontent-length: (\d+)/i.exec(bytes.toString('latin1', 0, bodyAt))?.[1]
  if (length !== undefined) return bytes.length >= bodyAt + Number(length)
  return bytes.subarray(-5).toString('latin1') === '0\r\n\r\n'
}

function unchunked(bytes: Buffer): Buffer {
  const chunks: Buffer[] = []
  let at = 0
  for (;;) {
    const end = bytes.indexOf('\r\n', at)
    if (end < 0) break
    const size = Number.parseInt(bytes.toString('latin1', at, end), 16)
    if (!(size > 0)) break
    chunks.push(bytes.subarray(end + 2, end + 2 + size))
    at = end + 2 + size + 2
  }
  return Buffer.concat(chunks)
}
