/** Ports of the loopback interface: which is free, and when one begins to answer. */
import { connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export const loopback = '127.0.0.1'

/**
 * Answers `preferred` where it is free, and else any free port. 0 asks for any.
 * The port is free when this resolves, not for ever: who starts a server on it must still expect a refusal.
 */
export async function freePort(preferred: number): Promise<number> {
  const port = await tryPort(preferred)
  if (port !== undefined) return port
  const other = await tryPort(0)
  if (other === undefined) throw new Error('the system has no free port left')
  return other
}

function tryPort(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(undefined))
    server.listen({ host: loopback, port, exclusive: true }, () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : undefined))
    })
  })
}

/** Resolves once something accepts connections on the port, or rejects when `signal` aborts. */
export async function portAnswers(port: number, signal: AbortSignal): Promise<void> {
  for (;;) {
    signal.throwIfAborted()
    const answered = await new Promise<boolean>((resolve) => {
      const socket = connect({ host: loopback, port })
      socket.once('connect', () => {
        socket.destroy()
        resolve(true)
      })
      socket.once('error', () => resolve(false))
    })
    if (answered) return
    await sleep(25, undefined, { signal })
  }
}
