/** The HTTP server: started on a port, and stopped without breaking off what it has accepted. */
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { limitBodies } from './streaming.js'

export interface ServerOptions {
  readonly host: string
  /** 0 = any free one. */
  readonly port: number
  /** How long `stop` waits for requests under way before it breaks them off. */
  readonly drainMs?: number
}

export interface RunningServer {
  /** Such as `http://127.0.0.1:4100`. */
  readonly url: string
  readonly port: number
  /**
   * Takes no new connection, lets the requests under way finish (for `drainMs` at most), and closes.
   * Resolves when the port is free.
   */
  stop(): Promise<void>
}

/** The port is taken by another process. */
export class PortBusyError extends Error {
  override readonly name = 'PortBusyError'
  constructor(host: string, port: number) {
    super(`${host}:${port} is in use by another process; set ANNALS_HTTP_PORT to a free port`)
  }
}

const defaultDrainMs = 15_000
const maxConnections = 10_000
// Longer than the idle time of the usual load balancers (60 s), so that they close first and never meet a closed one.
const keepAliveTimeoutMs = 65_000
const headersTimeoutMs = 15_000

/** @throws PortBusyError */
export async function startServer(app: RequestListener, options: ServerOptions): Promise<RunningServer> {
  const { host, port, drainMs = defaultDrainMs } = options
  const server = createServer(
    {
      keepAliveTimeout: keepAliveTimeoutMs,
      headersTimeout: headersTimeoutMs,
      // A stream may take hours; every other body is bounded by `limitBodies`.
      requestTimeout: 0,
    },
    app,
  )
  server.maxConnections = maxConnections
  limitBodies(server)
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(error.code === 'EADDRINUSE' ? new PortBusyError(host, port) : error),
    )
    server.listen(port, host, resolve)
  })
  const address = addressOf(server)
  const shownHost = host.includes(':') ? `[${host}]` : host
  return {
    url: `http://${shownHost}:${address.port}`,
    port: address.port,
    stop: () => stopServer(server, drainMs),
  }
}

function addressOf(server: Server): AddressInfo {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('a listening server has no address')
  return address
}

async function stopServer(server: Server, drainMs: number): Promise<void> {
  await new Promise<void>((resolve) => {
    // A connection that was busy when the server closed becomes idle later: look again and again.
    const idle = setInterval(() => server.closeIdleConnections(), 50)
    const late = setTimeout(() => server.closeAllConnections(), drainMs)
    server.close(() => {
      clearInterval(idle)
      clearTimeout(late)
      resolve()
    })
    server.closeIdleConnections()
  })
}
