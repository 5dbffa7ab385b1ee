/** A sealer that is killed in mid-transaction holds its organization's head until MongoDB ends the transaction: soon. */
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

/** When the server will end each of the transactions that are open, in seconds after its beginning. */
async function lifetimes(): Promise<number[]> {
  const operations = await world.api.core.client
    .db('admin')
    .aggregate(
      [
        { $currentOp: { allUsers: true, idleSessions: true } },
        { $match: { type: 'idleSession', 'transaction.expiryTime': { $exists: true } } },
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
    )
}

test('the organization of a killed sealer goes on when the server has ended its transaction', async () => {
  const { core } = world.api
  const organizationId = 'org_dead_sealer'
  const oracle = createLogOracle(core, [organizationId])
  const acknowledged = await accept(core, organizationId, 5)
  const proxy = await startMongoProxy(mongoUri())
  const config = { ...world.config, mongodb: { ...world.config.mongodb, uri: proxy.uri } }
  const victim = await openCore(config, createLogger('silent'))
  const struck = new Promise<void>((resolve) => {
    proxy.plan({
      fault: 'killed_after',
      hits: (command, collection) => command === 'insert' && collection === 'logHeads',
      onStrike: resolve,
    })
  })
  const drained = victim.sealing.sealer.drainOrganization(organizationId).catch(() => undefined)
  await struck
  await victim.client.close(true).catch(() => undefined)
  await drained
  await victim.close().catch(() => undefined)
  await proxy.close()

  // It is dead, and holds the head: nobody else can seal this organization, and the server says for how long.
  const held = await lifetimes()
  expect(held.length).toBeGreaterThan(0)
  for (const seconds of held) expect(seconds).toBeLessThanOrEqual(transactionLifetimeSeconds)
  expect(await core.sealing.sealer.drainOrganization(organizationId)).toMatchObject({ drained: false })
  expect(await core.sealing.store.head(organizationId)).toBeUndefined()
  // Others go on meanwhile.
  await accept(core, 'org_beside', 2)
  expect((await core.sealing.sealer.drainOrganization('org_beside')).drained).toBe(true)

  await drainUntilSealed(core, organizationId)
  expect(await oracle.findings(acknowledged)).toEqual([])
})
