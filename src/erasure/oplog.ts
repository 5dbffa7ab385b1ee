/**
 * How far back the oplogs of the replica set reach: they keep what was written before it was erased. Each member has its
 * own, so each is asked by itself, secondaries and the hidden ones that `hello` does not name left out.
 */
import { MongoClient, Timestamp, type MongoClientOptions } from 'mongodb'
import type { OplogLook } from './residuals.js'

const timeoutMs = 5_000
/** MongoDB takes no more members in one set. */
const maxMembers = 50

/**
 * @returns one look a member, in the order in which the set names them; none where it is not a replica set (a sharded
 *   cluster), or does not say who belongs to it
 */
export async function oplogsOf(client: MongoClient): Promise<readonly OplogLook[]> {
  const hosts = await hostsOf(client)
  return Promise.all(hosts.slice(0, maxMembers).map((host) => look(host, client)))
}

async function hostsOf(client: MongoClient): Promise<readonly string[]> {
  const { hosts, passives } = await client.db('admin').command({ hello: 1 })
  return [hosts, passives].flatMap((names: unknown) =>
    Array.isArray(names) ? names.filter((name): name is string => typeof name === 'string') : [],
  )
}

/** Whatever goes wrong with one member is its own: it cannot be read, and the certificate says so. */
async function look(host: string, { options }: MongoClient): Promise<OplogLook> {
  const member = new MongoClient(`mongodb://${host}`, memberOptions(options))
  try {
    const oplog = member.db('local').collection('oplog.rs')
    const first = await oplog.findOne(
      {},
      { sort: { $natural: 1 }, projection: { ts: 1 }, maxTimeMS: timeoutMs },
    )
    const ts: unknown = first?.['ts']
    return { oldest: ts instanceof Timestamp ? new Date(ts.t * 1_000) : null }
  } catch {
    return { oldest: null }
  } finally {
    await member.close()
  }
}

/** How this process itself logs in, for one server alone. */
function memberOptions({ credentials, tls, ...given }: MongoClient['options']): MongoClientOptions {
  const { ca, cert, key, passphrase } = given as Pick<
    MongoClientOptions,
    'ca' | 'cert' | 'key' | 'passphrase'
  >
  const secure = Object.fromEntries(
    Object.entries({ ca, cert, key, passphrase }).filter(([, value]) => value !== undefined),
  )
  return {
    directConnection: true,
    serverSelectionTimeoutMS: timeoutMs,
    connectTimeoutMS: timeoutMs,
    readPreference: 'secondaryPreferred',
    ...(credentials === undefined
      ? {}
      : {
          auth: { username: credentials.username, password: credentials.password },
          authSource: credentials.source,
          authMechanism: credentials.mechanism,
        }),
    ...(tls ? { tls, ...secure } : {}),
  }
}
