/** A real mongod that asks everybody who they are, for tests of what credentials may do: a replica set of one node. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { MongoClient, type Document } from 'mongodb'
import { loopback } from '../../src/embedded/ports.js'
import { withMembers } from './mongod-member.js'

export interface GuardedMongod {
  /** Of one who may do everything. */
  readonly uri: string
  /** Without a name: answered, and allowed nothing. */
  readonly anonymousUri: string
  /** Makes a user, and answers the address by which it comes in. */
  user(name: string, roles: readonly Document[]): Promise<string>
  close(): Promise<void>
}

const replicaSet = 'annals-guarded'

export function startGuardedMongod(): Promise<GuardedMongod> {
  return withMembers(async ({ folder, closing, start, close }) => {
    const keyFile = join(folder, 'members.key')
    writeFileSync(keyFile, randomBytes(96).toString('base64'), { mode: 0o600 })
    const port = await start('mongod', replicaSet, ['--auth', '--keyFile', keyFile])
    const host = `${loopback}:${String(port)}`
    const addressOf = (user: string) => `mongodb://${user}${host}/?replicaSet=${replicaSet}&authSource=admin`
    const password = randomBytes(12).toString('hex')
    await makeFirstUser(host, password)
    const uri = addressOf(`root:${password}@`)
    const root = new MongoClient(uri)
    closing.push(() => root.close())
    return {
      uri,
      anonymousUri: `mongodb://${host}/?replicaSet=${replicaSet}`,
      async user(name, roles) {
        await root.db('admin').command({ createUser: name, pwd: password, roles })
        return addressOf(`${name}:${password}@`)
      },
      close,
    }
  })
}

/** Until there is a user, one who comes from the machine itself may make it. */
async function makeFirstUser(host: string, pwd: string): Promise<void> {
  const client = new MongoClient(`mongodb://${host}/?directConnection=true`)
  try {
    const admin = client.db('admin')
    await admin.command({ replSetInitiate: { _id: replicaSet, members: [{ _id: 0, host }] } })
    while ((await admin.command({ hello: 1 }))['isWritablePrimary'] !== true) await sleep(25)
    await admin.command({ createUser: 'root', pwd, roles: ['root'] })
  } finally {
    await client.close()
  }
}
