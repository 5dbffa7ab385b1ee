/** Records that expire, once their content has: what goes, what stays, and who says so; with a fault at each call. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  archivedLongAgo,
  clockAt,
  dueToExpire,
  expirerOf,
  expireSegment,
  type ExpirerOptions,
} from '../support/expiring.js'
import { checkRetained } from '../support/retention-oracle.js'
import { onDay, longAgo } from '../support/expiring.js'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(async () => {
  await world.close()
})

const author = { principal: 'prn_aaaaaaaaaaaaaaaaaaaaaaaaaa', requestId: 'req_1' }

/** An organization whose records go after seven years too, and events of eight years ago. */
async function oldEvents(organizationId: string, count: number): Promise<string[]> {
  await onDay(longAgo, async () => {
    await world.api.core.eventOrganizations.ensure(organizationId, 'system')
    await world.api.core.retention.policies.put(
      organizationId,
      { hotDays: 183, archiveDays: 2_555, recordDays: 2_555 },
      author,
    )
  })
  return archivedLongAgo(world, organizationId, count)
}

/** The database says when a policy began, and the default counts for seven days more. */
const later = new Date(Date.now() + 8 * 86_400_000)
const expirer = (options: ExpirerOptions = {}) => expirerOf(world, { clock: clockAt(later), ...options })
const next = (organizationId: string) => dueToExpire(world, organizationId, later)

async function due(organizationId: string) {
  const input = await next(organizationId)
  if (input === undefined) throw new Error('nothing is due')
  return input
}

test('records of seven years go after their content, behind a sealed event, and the leaves stay', async () => {
  const organizationId = 'org_records'
  const accepted = await oldEvents(organizationId, 5)
  const content = await due(organizationId)
  expect(content.kind).toBe('content')
  await expireSegment(world, expirer(), content)
  const records = await due(organizationId)
  expect(records).toEqual({ ...content, kind: 'records' })
  expect(await expireSegment(world, expirer(), records)).toBe('recorded')
  expect(await checkRetained(world, organizationId, accepted)).toMatchObject({
    expired: 5,
    recordsExpired: 5,
  })
  expect(await next(organizationId)).toBeUndefined()
})
