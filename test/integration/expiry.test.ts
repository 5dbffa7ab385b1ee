/** Content that expires: what goes, what stays, and who says so; with a fault at each call. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { archivedLongAgo, dueToExpire, expirerOf, expireSegment } from '../support/expiring.js'
import { checkRetained } from '../support/retention-oracle.js'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(async () => {
  await world.close()
})

async function due(organizationId: string) {
  const input = await dueToExpire(world, organizationId)
  if (input === undefined) throw new Error('nothing is due')
  return input
}

test('content of seven years goes, behind a sealed event, and all else stays', async () => {
  const organizationId = 'org_expires'
  const accepted = await archivedLongAgo(world, organizationId, 5)
  const input = await due(organizationId)
  expect(await expireSegment(world, expirerOf(world), input)).toBe('recorded')
  expect(await checkRetained(world, organizationId, accepted)).toMatchObject({ expired: 5 })
  expect(await dueToExpire(world, organizationId)).toBeUndefined()
})
