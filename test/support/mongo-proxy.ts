/**
 * A TCP proxy before mongod that reads the commands as they pass (OP_MSG) and breaks the connection at a chosen one:
 * what a network, or the death of a process, does to a write.
 */
import { Binary, BSON } from 'mongodb'
import { connect, createServer, type Socket } from 'node:net'

export type Fault =
  /** The command never arrives; the connection breaks. */
  | 'lost'
  /** It arrives and is done; the answer never comes, the connection breaks. */
  | 'unanswered'
  /** It never arrives, nor does anything after it: the process is dead. */
  | 'killed_before'
  /** It is done, and nothing after it arrives. */
  | 'killed_after'

export interface Plan {
  /** Does the fault hit this command? Asked for every command until it struck. */
  readonly hits: (command: string, collection: string) => boolean
  readonly fault: Fault
  /** @param session the id of the session that the command was of, in hex; empty where it was of none */
  readonly onStrike?: (session: string) => void
}

export interface MongoProxy {
  /** A connection string through the proxy. */
  readonly uri: string
  /** Sets the next fault; it strikes once. */
  plan(plan: Plan | undefined): void
  /** Did the planned fault strike? */
  readonly struck: boolean
  close(): Promise<void>
}

const messageHeaderBytes = 16
const opMsg = 2013

export async function startMongoProxy(mongoUri: string): Promise<MongoProxy> {
  const target = new URL(mongoUri)
  const sockets = new Set<Socket>()
  let planned: Plan | undefined
  let struck = false
  let dead = false

  const server = createServer((client) => {
    if (dead) return void client.destroy()
    const upstream = connect({ host: target.hostname, port: Number(target.port), noDelay: true })
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        upstream.destroy()
      })
    }
    let swallow = false
    let session = ''
    const breakOff = () => {
      client.destroy()
      upstream.destroy()
    }
    upstream.on('data', (chunk: Buffer) => {
      if (!swallow) return void client.write(chunk)
      // The answer shows that the command is done; nobody gets it.
      breakOff()
      planned?.onStrike?.(session)
    })
    onMessages(client, (message) => {
      const { command, collection, session: of } = commandOf(message)
      if (dead) return
      if (planned === undefined || struck || !planned.hits(command, collection))
        return void upstream.write(message)
      struck = true
      session = of
      const { fault } = planned
      if (fault === 'killed_before' || fault === 'killed_after') dead = true
      if (fault === 'unanswered' || fault === 'killed_after') {
        swallow = true
        upstream.write(message)
      }
      if (fault === 'lost') breakOff()
      if (fault === 'killed_before') for (const socket of sockets) socket.destroy()
      if (fault === 'killed_after') {
        for (const socket of sockets) if (socket !== client && socket !== upstream) socket.destroy()
      }
      if (!swallow) planned.onStrike?.(session)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a TCP address')
  return {
    // Direct: the driver would otherwise learn the real address from the replica set.
    uri: `mongodb://127.0.0.1:${String(address.port)}/?directConnection=true`,
    plan(plan) {
      planned = plan
      struck = false
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

/** Calls back with each whole message of the wire protocol: its first four bytes are its length. */
export function onMessages(socket: Socket, onMessage: (message: Buffer) => void): void {
  let buffered = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    buffered = Buffer.concat([buffered, chunk])
    while (buffered.length >= 4 && buffered.length >= buffered.readInt32LE(0)) {
      const length = buffered.readInt32LE(0)
      onMessage(buffered.subarray(0, length))
      buffered = buffered.subarray(length)
    }
  })
}

/** The command of a message, the collection it names where it names one, and the id of its session in hex. */
export function commandOf(message: Buffer): { command: string; collection: string; session: string } {
  const none = { command: '', collection: '', session: '' }
  // Header, flags, then a section of kind 0: one document.
  if (message.readInt32LE(12) !== opMsg || message.readUInt8(messageHeaderBytes + 4) !== 0) return none
  const start = messageHeaderBytes + 5
  const body = message.subarray(start, start + message.readInt32LE(start))
  const document: Record<string, unknown> = BSON.deserialize(body)
  const [command] = Object.keys(document)
  if (command === undefined) return none
  const collection = document[command]
  return {
    command,
    collection: typeof collection === 'string' ? collection : '',
    session: sessionOf(document),
  }
}

function sessionOf({ lsid }: Record<string, unknown>): string {
  const id = typeof lsid === 'object' && lsid !== null && 'id' in lsid ? lsid.id : undefined
  return id instanceof Binary ? Buffer.from(id.buffer).toString('hex') : ''
}
