/**
 * A real replica set of three nodes that knows itself by proxies' addresses, so that the network between its members can
 * be cut: the member that is cut off hears its clients, and no other member hears it. That is how a primary accepts
 * what never comes to a majority, and rolls it back when it is heard again.
 */
import { connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { MongoClient } from 'mongodb'
import { loopback } from '../../src/embedded/ports.js'
import { commandOf, onMessages } from './mongo-proxy.js'
import { withMembers, type Members } from './mongod-member.js'

export interface Member {
  /** Of this member alone and past its proxy: it sees what the member has, whether a majority has it or not. */
  readonly direct: MongoClient
  /** Cuts it off from the other members right before the next such command of a client reaches it. */
  cutOffAt(command: string, collection: string): Promise<void>
  /** Lets the other members hear it again. */
  rejoin(): void
  /** Grows by one with every rollback. */
  rollbackId(): Promise<number>
  isPrimary(): Promise<boolean>
  isSecondary(): Promise<boolean>
}

export interface ReplicaSet {
  readonly uri: string
  readonly members: readonly Member[]
  /** The one that all others follow. */
  primary(): Promise<Member>
  close(): Promise<void>
}

const replicaSet = 'annals-three'
const electionTimeoutMs = 60_000
/** Short, so that a test does not wait for long; long enough for a busy machine not to elect all the time. */
const settings = { electionTimeoutMillis: 2_000, heartbeatIntervalMillis: 500, heartbeatTimeoutSecs: 2 }

export function startReplicaSet(): Promise<ReplicaSet> {
  return withMembers(async (all) => {
    const started = await Promise.all([0, 1, 2].map((number) => startMember(all, number)))
    const hosts = started.map(({ link }) => link.host)
    const members = started.map(({ member }) => member)
    await members[0]?.direct.db('admin').command({
      replSetInitiate: { _id: replicaSet, members: hosts.map((host, _id) => ({ _id, host })), settings },
    })
    const set: ReplicaSet = {
      uri: `mongodb://${hosts.join()}/?replicaSet=${replicaSet}`,
      members,
      primary: () => settledPrimary(members),
      close: all.close,
    }
    await set.primary()
    return set
  })
}

async function startMember(
  { start, closing }: Members,
  number: number,
): Promise<{ member: Member; link: Link }> {
  const port = await start(`mongod-${String(number)}`, replicaSet)
  const direct = new MongoClient(`mongodb://${loopback}:${String(port)}/?directConnection=true`, {
    readConcern: { level: 'local' },
    readPreference: 'secondaryPreferred',
  })
  closing.push(() => direct.close())
  const link = await openLink(port)
  closing.push(() => link.close())
  const admin = direct.db('admin')
  const hello = () => admin.command({ hello: 1 })
  const member: Member = {
    direct,
    cutOffAt: (wanted, collection) => link.cutOffAt(wanted, collection),
    rejoin: () => link.rejoin(),
    rollbackId: async () => Number((await admin.command({ replSetGetRBID: 1 }))['rbid']),
    isPrimary: async () => (await hello())['isWritablePrimary'] === true,
    isSecondary: async () => (await hello())['secondary'] === true,
  }
  return { member, link }
}

async function settledPrimary(members: readonly Member[]): Promise<Member> {
  const deadline = Date.now() + electionTimeoutMs
  while (Date.now() < deadline) {
    // In a rollback a member answers nobody for a moment.
    const asked = members.map(async (member) => {
      const [primary, secondary] = await Promise.all([member.isPrimary(), member.isSecondary()])
      return { member, primary, secondary }
    })
    const found = (await Promise.allSettled(asked)).flatMap((one) =>
      one.status === 'fulfilled' ? [one.value] : [],
    )
    const [first, ...others] = found.filter(({ primary }) => primary)
    const followers = found.filter(({ secondary }) => secondary)
    if (first !== undefined && others.length === 0 && followers.length === members.length - 1)
      return first.member
    await sleep(50)
  }
  throw new Error('the replica set found no primary')
}

interface Link {
  readonly host: string
  cutOffAt(command: string, collection: string): Promise<void>
  rejoin(): void
  close(): Promise<void>
}

/** The address under which one member is known, to clients and to the other members. */
async function openLink(port: number): Promise<Link> {
  const sockets = new Map<Socket, 'client' | 'member' | 'unknown'>()
  let cutOff = false
  let planned: { command: string; collection: string; strike: () => void } | undefined

  const cut = () => {
    cutOff = true
    for (const [socket, kind] of sockets) if (kind !== 'client') socket.destroy()
  }

  const server: Server = createServer((downstream) => {
    const upstream = connect({ host: loopback, port, noDelay: true })
    sockets.set(downstream, 'unknown')
    for (const socket of [downstream, upstream]) {
      socket.on('error', () => undefined)
      socket.on('close', () => {
        sockets.delete(downstream)
        downstream.destroy()
        upstream.destroy()
      })
    }
    upstream.on('data', (chunk: Buffer) => void downstream.write(chunk))
    onMessages(downstream, (message) => {
      if (sockets.get(downstream) === 'unknown') {
        // Members say so in their first message; drivers never do.
        sockets.set(downstream, message.includes('internalClient') ? 'member' : 'client')
        if (cutOff && sockets.get(downstream) === 'member') return void downstream.destroy()
      }
      if (planned !== undefined && sockets.get(downstream) === 'client') {
        const { command, collection } = commandOf(message)
        if (command === planned.command && (planned.collection === '' || collection === planned.collection)) {
          const { strike } = planned
          planned = undefined
          cut()
          strike()
        }
      }
      upstream.write(message)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, loopback, resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a TCP address')
  return {
    host: `${loopback}:${String(address.port)}`,
    cutOffAt: (command, collection) =>
      new Promise((resolve) => (planned = { command, collection, strike: resolve })),
    rejoin: () => (cutOff = false),
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets.keys()) socket.destroy()
        server.close(() => resolve())
      }),
  }
}
