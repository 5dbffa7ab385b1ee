/** A TCP proxy that breaks or freezes connections after so many bytes: a network, or a server that dies or hangs. */
import { connect, createServer, type Socket } from 'node:net'

export interface TcpFault {
  /** `up`: of what the client sends; `down`: of what the server answers. */
  readonly direction: 'up' | 'down'
  /** Struck once so many bytes of one connection went that way. */
  readonly afterBytes: number
  /** `cut`: the connection is reset; `freeze`: nothing passes any more, in either direction, and nothing is closed. */
  readonly action: 'cut' | 'freeze'
  /** On how many connections; on all where absent. */
  readonly times?: number
}

export interface TcpProxy {
  readonly port: number
  /** Sets the fault of connections from now on, or none. */
  plan(fault: TcpFault | undefined): void
  /** How often it struck since it was planned. */
  readonly struck: number
  close(): Promise<void>
}

export async function startTcpProxy(targetPort: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>()
  let planned: TcpFault | undefined
  let struck = 0

  const server = createServer((client) => {
    const upstream = connect({ host: '127.0.0.1', port: targetPort, noDelay: true })
    let frozen = false
    for (const [from, to, direction] of [
      [client, upstream, 'up'],
      [upstream, client, 'down'],
    ] as const) {
      sockets.add(from)
      let passed = 0
      from.on('error', () => undefined)
      from.on('close', () => {
        sockets.delete(from)
        to.destroy()
      })
      from.on('data', (chunk: Buffer) => {
        if (frozen) return
        passed += chunk.length
        if (!strikes(direction, passed)) return void to.write(chunk)
        struck += 1
        frozen = true
        if (planned?.action === 'cut') client.resetAndDestroy()
      })
    }
  })
  const strikes = (direction: 'up' | 'down', passed: number): boolean =>
    planned?.direction === direction && passed > planned.afterBytes && struck < (planned.times ?? Infinity)

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a TCP address')
  return {
    port: address.port,
    plan(fault) {
      planned = fault
      struck = 0
    },
    get struck() {
      return struck
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}
