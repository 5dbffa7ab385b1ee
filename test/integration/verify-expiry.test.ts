/**
 * `annals verify` and content that expired: `expired` only where a sealed event covers it and a policy allowed it. Content
 * that somebody takes away, and every way to dress that up, is found, in the server and in its archive.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { JsonObject } from '../../src/events/contract.js'
import type { StoredEvent } from '../../src/events/store.js'
import { rotateSigningKey } from '../../src/operations/rotate-signing-key.js'
import { neverExpires } from '../../src/retention/policy.js'
import { archiveAll } from '../support/archived-person.js'
import {
  archivedLongAgo,
  dueToExpire,
  expirerOf,
  expireSegment,
  longAgo,
  onDay,
} from '../support/expiring.js'
import { accept, drainUntilSealed } from '../support/sealing.js'
import { reportsOf, sayExpired, takeContent } from '../support/taken-away.js'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(async () => {
  await world.close()
})

const yearAgo = new Date(Date.now() - 400 * 86_400_000)

/** What verifying says: how many have expired, and which leaves are missing. */
async function verified(organizationId: string) {
  const { server, archive } = await reportsOf(world, organizationId, true)
  const said = ({ findings, expired }: Pick<typeof server, 'findings' | 'expired'>) => ({
    expired,
    missing: findings.map(({ code, leaf }) => `${code} ${String(leaf?.index)}`),
  })
  return { server: said(server), archive: said(archive) }
}

const ordinary = ({ action }: StoredEvent) => !neverExpires(action)
const statement = (to: number, expired: number, more: JsonObject = {}): JsonObject => ({
  ...{ kind: 'content', generation: 1, from: 0, to, expired, held: 0, kept: 0, damaged: 0 },
  ...{ policy: 0, archiveDays: 2_555, ...more },
})
const nothingMissing = (expired: number) => ({ expired, missing: [] })

test('what expired is said to have, by the server and by the archive alone', async () => {
  const organizationId = 'org_honest'
  await archivedLongAgo(world, organizationId, 300)
  expect(await verified(organizationId)).toEqual({ server: nothingMissing(0), archive: nothingMissing(0) })
  const input = await dueToExpire(world, organizationId)
  if (input === undefined) throw new Error('nothing is due')
  const expirer = expirerOf(world)
  await expirer.rewrite(input)
  // It is not sealed yet, and nothing has gone: the archive alone has all of it.
  expect((await verified(organizationId)).archive).toEqual(nothingMissing(0))
  await expireSegment(world, expirer, input)
  expect(await verified(organizationId)).toEqual({
    server: nothingMissing(300),
    archive: nothingMissing(300),
  })
  // Content goes once more behind a hold, with a statement of its own.
})

test('what a hold kept, and goes after its release, is accounted for by both statements together', async () => {
  const organizationId = 'org_twice'
  const [id = ''] = await archivedLongAgo(world, organizationId, 4)
  const { body } = await world.request('GET', `/v1/organizations/${organizationId}/events/${id}`)
  const author = { principal: 'prn_aaaaaaaaaaaaaaaaaaaaaaaaaa', requestId: 'req_1' }
  const { holds } = world.api.core.retention
  const subject = (body as { actor: { subject: string } }).actor.subject
  const { hold } = await holds.place(organizationId, { scope: { subject }, reason: 'a case' }, author)
  const expire = async () => {
    const input = await dueToExpire(world, organizationId)
    if (input === undefined) throw new Error('nothing is due')
    await expireSegment(world, expirerOf(world), input)
  }
  await expire()
  expect(await verified(organizationId)).toEqual({ server: nothingMissing(3), archive: nothingMissing(3) })
  await holds.release(organizationId, hold.id, author)
  await expire()
  expect(await verified(organizationId)).toEqual({ server: nothingMissing(4), archive: nothingMissing(4) })
  // And what stays for ever is taken away after all, without a word.
  await takeContent(world, organizationId, () => true)
  const { server, archive } = await verified(organizationId)
  expect(server.missing.length).toBeGreaterThan(0)
  expect(archive.missing.length).toBeGreaterThan(0)
})

interface Attack {
  readonly day?: Date
  /** What is set before anything is sealed. */
  readonly archiveDays?: number | null
  readonly goes?: (event: StoredEvent, index: number) => boolean
  readonly say?: (to: number, expired: number) => JsonObject | undefined
  readonly sealed?: boolean
}

const attacks: Record<string, Attack> = {
  'content that goes without a word': {},
  'content that goes behind a word that was never sealed': { say: statement, sealed: false },
  'content that goes years before its time, behind a sealed event': { day: yearAgo, say: statement },
  'content that goes behind an event that claims a shorter policy than there is': {
    day: yearAgo,
    say: (to, expired) => statement(to, expired, { archiveDays: 1 }),
  },
  'content that goes behind an event that names a policy that never was': {
    say: (to, expired) => statement(to, expired, { policy: 7, archiveDays: 1 }),
  },
  'content that a policy keeps for ever': {
    archiveDays: null,
    say: (to, expired) => statement(to, expired, { policy: 0 }),
  },
  'more content than was said to go': { say: (to, expired) => statement(to, expired - 1) },
  'content of another range than was said': { say: (to, expired) => statement(to - 3, expired) },
  'content of another generation than was said': {
    say: (to, expired) => statement(to, expired, { generation: 2 }),
  },
  'an event of another kind': { say: (to, expired) => statement(to, expired, { kind: 'nothing' }) },
  'what never expires, behind a sealed event': { goes: () => true, say: statement },
}

test.each(Object.entries(attacks))('%s is found', async (name, attack) => {
  const { day = longAgo, archiveDays, goes = ordinary, say, sealed = true } = attack
  const organizationId = `org_${String(Object.keys(attacks).indexOf(name))}`
  const { core } = world.api
  if (archiveDays !== undefined)
    await onDay(day, async () => {
      await core.eventOrganizations.ensure(organizationId, 'system')
      const days = { hotDays: 1, archiveDays, recordDays: null }
      const author = { principal: 'prn_aaaaaaaaaaaaaaaaaaaaaaaaaa', requestId: 'req_1' }
      await core.retention.policies.put(organizationId, days, author)
    })
  await archivedLongAgo(world, organizationId, 5, day)
  const { segment, expired } = await takeContent(world, organizationId, goes)
  const words = say?.(segment.to, expired)
  if (words !== undefined) await sayExpired(world, organizationId, 'content', words, { sealed })
  const { server, archive } = await verified(organizationId)
  expect(server.missing.length, 'the server').toBeGreaterThan(0)
  expect(archive.missing.length, 'the archive').toBeGreaterThan(0)
})

test('the same words that are true are taken: a false alarm would be one too', async () => {
  const organizationId = 'org_true'
  await archivedLongAgo(world, organizationId, 5)
  const { segment, expired } = await takeContent(world, organizationId, ordinary)
  await sayExpired(world, organizationId, 'content', statement(segment.to, expired), { sealed: true })
  expect(await verified(organizationId)).toEqual({
    server: nothingMissing(expired),
    archive: nothingMissing(expired),
  })
})

test('what expires long after the log’s key was rotated is proved by a key that a newer segment names', async () => {
  const { core } = world.api
  const organizationId = 'org_rotated'
  await archivedLongAgo(world, organizationId, 20)
  await rotateSigningKey(core, { purpose: 'checkpoint', overlapMs: 0 })
  await accept(core, organizationId, 5)
  await archiveAll(world, organizationId)
  const input = await dueToExpire(world, organizationId)
  if (input === undefined) throw new Error('nothing is due')
  await expireSegment(world, expirerOf(world), input)
  await drainUntilSealed(core, organizationId)
  expect(await verified(organizationId)).toEqual({ server: nothingMissing(20), archive: nothingMissing(20) })
})
