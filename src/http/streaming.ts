/**
 * How long a request's body may take, and what a client's early FIN means. Node knows one setting for a whole
 * server; a stream needs others than every other request: its body may take hours, and its client may close its
 * side once everything is sent and still wait for the answers.
 */
import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'

/** A body that is not whole after this long breaks its connection off (streams excepted). */
const bodyTimeoutMs = 300_000

const halfOpenGraceMs = 1_000

const bodyTimers = new WeakMap<IncomingMessage, NodeJS.Timeout>()
const halfOpenSockets = new WeakSet<Socket>()

/** Puts the rules on a server, in the place of its `requestTimeout`, which must be 0. */
export function limitBodies(server: Server): void {
  // Node's own property, in no documentation: a FIN alone then breaks no request off. For every socket but a
  // stream's the listener below does what Node does without it.
  Object.assign(server, { httpAllowHalfOpen: true })
  server.on('connection', (socket: Socket) => {
    socket.on('end', () => {
      // A moment later: the FIN may overtake the request's way to its route, which says that it is a stream.
      setTimeout(() => {
        if (!halfOpenSockets.has(socket)) socket.end()
      }, halfOpenGraceMs).unref()
    })
  })
  server.prependListener('request', (request: IncomingMessage) => {
    const { headers } = request
    const length = headers['content-length']
    if (headers['transfer-encoding'] === undefined && (length === undefined || length === '0')) return
    const timer = setTimeout(() => request.socket.destroy(), bodyTimeoutMs).unref()
    bodyTimers.set(request, timer)
    request.once('close', () => clearTimeout(timer))
  })
}

/** This request is a stream: its body may take as long as it likes, and its client may half-close. */
export function letStream(request: IncomingMessage): void {
  clearTimeout(bodyTimers.get(request))
  const { socket } = request
  halfOpenSockets.add(socket)
  // The connection may serve other requests afterwards.
  request.once('close', () => {
    if (request.readableEnded && !socket.readableEnded) halfOpenSockets.delete(socket)
  })
}
