/** A sealer that is killed in mid-transaction holds its organization's head until MongoDB ends the transaction: soon. */
import { UUID } from 'mongodb'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { openCore } from '../../src/composition.js'
import { transactionLifetimeSeconds } from '../../src/embedded/mongod.js'
import { createLogger } from '../../src/logging.js'
import { createLogOracle } from '../support/log-oracle.js'
import { startMongoProxy } from '../support/mongo-proxy.js'
import { accept, drainUntilSealed } from '../support/sealing.js'
import { mongoUri } from '../support/servers.js'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(() => world.close())

/** How long the server lets the open transaction of this session live, in seconds; undefined once it has ended it. */
async function lifetimeOf(session: string): Promise<number | undefined> {
  const operations = await world.api.core.client
    .db('admin')
    .aggregate(
      [
        { $currentOp: { allUsers: true, idleSessions: true } },
        {
          $match: {
            type: 'idleSession',
            'lsid.id': new UUID(session),
            'transaction.expiryTime': { $exists: true },
          },
        },
      ],
      { readConcern: { level: 'local' } },
    )
    .toArray()
  return z
    .array(z.object({ transaction: z.object({ startWallClockTime: z.string(), expiryTime: z.string() }) }))
    .parse(operations)
    .map(
      ({ transaction: { startWallClockTime, expiryTime } }) =>
        (Date.parse(expiryTime) - Date.parse(startWallClockTime)) / 1_000,
    )[0]
}

test('the organization of a killed sealer goes on when the server has ended its transaction', async () => {
  const { core } = world.api
  const organizationId = 'org_dead_sealer'
  const oracle = createLogOracle(core, [organizationId])
  const acknowledged = await accept(core, organizationId, 5)
  const proxy = await startMongoProxy(mongoUri())
  const config = { ...world.config, mongodb: { ...world.config.mongodb, uri: proxy.uri } }
  const victim = await openCore(config, createLogger('silent'))
  const struck = new Promise<string>((resolve) => {
    proxy.plan({
      fault: 'killed_after',
      hits: (command, collection) => command === 'insert' && collection === 'logHeads',
      onStrike: resolve,
    })
  })
  const drained = victim.sealing.sealer.drainOrganization(organizationId).catch(() => undefined)
  const session = await struck
  await victim.client.close(true).catch(() => undefined)
  await drained
  await victim.close().catch(() => undefined)
  await proxy.close()

  // It is dead, and holds the head: nobody else can seal this organization, and the server says for how long.
  // Beginning and end are read from two clocks: they agree to the second.
  expect(Math.round((await lifetimeOf(session)) ?? 0)).toBe(transactionLifetimeSeconds)
  const tried = await core.sealing.sealer.drainOrganization(organizationId)
  const head = await core.sealing.store.head(organizationId)
  // On a machine that is busy enough the server's seconds have passed by now: then there was nobody left to refuse it.
  if ((await lifetimeOf(session)) !== undefined) {
    expect(tried).toMatchObject({ sealed: 0, drained: false })
    expect(head).toBeUndefined()
  }
  // Others go on meanwhile.
  await accept(core, 'org_beside', 2)
  expect((await core.sealing.sealer.drainOrganization('org_beside')).drained).toBe(true)

  await drainUntilSealed(core, organizationId)
  expect(await oracle.findings(acknowledged)).toEqual([])
})
