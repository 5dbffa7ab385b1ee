/**
 * Keeps the driver from waiting for ever on a connection that is gone.
 *
 * `Connection.writeCommand` writes to its socket, and where the socket says "full" waits for `drain` or `error`. A socket
 * that the server has just closed says "full" too, until its `close` event, and neither of the two ever comes: the
 * operation never ends, and with it everything that waits for it. Seen with driver 7.9, every other time that a mongod
 * was killed under load (test/integration/stream-database-away.test.ts). No option of the driver bounds it but
 * `timeoutMS`, which also cuts long cursors off. Goes when the driver waits for `close` itself.
 */
import { createRequire } from 'node:module'
import type { Socket } from 'node:net'
import { MongoNetworkError } from 'mongodb'

/** The part of the driver's class that this needs. */
interface DriverConnection {
  readonly socket: Socket
  writeCommand: (this: DriverConnection, ...given: unknown[]) => Promise<void>
}

const { Connection } = createRequire(import.meta.url)('mongodb/lib/cmap/connection.js') as {
  readonly Connection: { readonly prototype: DriverConnection }
}

const guarded = new WeakSet<DriverConnection>()

/** From now on a write to a closed or closing connection fails as a network error. Once a process. */
export function failWritesToClosedSockets(): void {
  const { prototype } = Connection
  if (guarded.has(prototype)) return
  guarded.add(prototype)
  const write = prototype.writeCommand
  prototype.writeCommand = function (this: DriverConnection, ...given) {
    const { socket } = this
    if (socket.destroyed) return Promise.reject(connectionClosed())
    return new Promise((resolve, reject) => {
      const closed = () => reject(connectionClosed())
      socket.once('close', closed)
      write
        .apply(this, given)
        .then(resolve, reject)
        .finally(() => socket.off('close', closed))
    })
  }
}

const connectionClosed = () =>
  new MongoNetworkError('the connection was closed while a command was being sent')
