/**
 * The last row of the failure matrix: three nodes, and a primary that is cut off between a write and its majority. What
 * it accepted is rolled back, and was neither acknowledged nor published.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openCore, type Core } from '../../src/composition.js'
import type { StoredEvent } from '../../src/events/store.js'
import { createLogger } from '../../src/logging.js'
import type { AnchorHeadDocument } from '../../src/transparency-log/anchor/anchor-store.js'
import type { LogHeadDocument } from '../../src/transparency-log/store.js'
import { createAnchorOracle } from '../support/anchor-oracle.js'
import { handClock, sealingOf } from '../support/anchoring.js'
import { createLogOracle, type Acknowledged, type LogOracle } from '../support/log-oracle.js'
import { startReplicaSet, type Member, type ReplicaSet } from '../support/replica-set.js'
import { accept, drainUntilSealed, personEvent } from '../support/sealing.js'
import { startWitness } from '../support/witness.js'
import { openWorld, type World } from '../support/world.js'

let set: ReplicaSet
let world: World

beforeAll(async () => {
  set = await startReplicaSet()
  world = await openWorld({ environment: { ANNALS_MONGODB_URI: set.uri } })
})
afterAll(async () => {
  await world.close()
  await set.close()
})

const waiting = { interval: 20 }
const core = () => world.api.core

/** What a member has itself, whatever the others have. */
const on = (member: Member) => {
  const db = member.direct.db(core().db.databaseName)
  return {
    heads: db.collection<LogHeadDocument>('logHeads'),
    events: db.collection<StoredEvent>('events'),
    anchorHeads: db.collection<AnchorHeadDocument>('anchorHeads'),
  }
}
const headOn = async (member: Member, organizationId: string) =>
  (await on(member).heads.findOne({ _id: organizationId }))?.size ?? 0
const eventsOn = (member: Member, organizationId: string) =>
  on(member).events.countDocuments({ organizationId })

/** Another process, which may be killed. */
const openVictim = (): Promise<Core> => openCore(world.config, createLogger('silent'))
const kill = async (victim: Core) => {
  await victim.client.close(true).catch(() => undefined)
  await victim.close().catch(() => undefined)
}

/** Reads heads as readers are served them, all the while, and has the oracle remember each. */
function watchHeads(oracle: LogOracle, organizationId: string): { stop(): Promise<void> } {
  const done = new AbortController()
  const watching = (async () => {
    while (!done.signal.aborted) {
      // Between two primaries there is nobody to read from.
      const head = await core()
        .sealing.store.head(organizationId)
        .catch(() => undefined)
      if (head !== undefined) oracle.saw(head)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  })()
  return {
    async stop() {
      done.abort()
      await watching
    },
  }
}

/** Lets the cut-off member back in, and waits until it has rolled back what it alone had. */
async function rolledBack(member: Member, before: number): Promise<void> {
  member.rejoin()
  await expect.poll(() => member.rollbackId().catch(() => before), waiting).toBeGreaterThan(before)
  await set.primary()
}

/** Every member has the same in the end. */
async function allAgree(organizationId: string): Promise<void> {
  for (const read of [headOn, eventsOn]) {
    await expect
      .poll(async () => {
        const found = await Promise.all(set.members.map((member) => read(member, organizationId)))
        return new Set(found).size
      }, waiting)
      .toBe(1)
  }
}

describe('sealing', () => {
  test.each([
    ['first batch, and goes on', 0, 'lives'],
    ['first batch, and dies with it', 0, 'dies'],
    ['batch that grows one tile and begins another, and goes on', 253, 'lives'],
    ['batch that grows one tile and begins another, and dies with it', 253, 'dies'],
  ] as const)(
    'a sealer whose primary is cut off commits its %s: every event is sealed once, on one tree',
    async (_what, sealedBefore, sealer) => {
      const organizationId = `org_cut_${String(sealedBefore)}_${sealer}`
      const oracle = createLogOracle(core(), [organizationId])
      const acknowledged: Acknowledged[] = await accept(core(), organizationId, sealedBefore)
      if (sealedBefore > 0) await drainUntilSealed(core(), organizationId)
      acknowledged.push(...(await accept(core(), organizationId, 6)))
      const published = (await core().sealing.store.head(organizationId))?.size ?? 0

      const primary = await set.primary()
      const rollbacks = await primary.rollbackId()
      const victim = await openVictim()
      const watch = watchHeads(oracle, organizationId)
      const struck = primary.cutOffAt('commitTransaction', '')
      const drained = victim.sealing.sealer.drainOrganization(organizationId).then(
        () => undefined,
        () => undefined,
      )
      await struck
      // It has sealed, alone, and nobody is told.
      await expect.poll(() => headOn(primary, organizationId), waiting).toBeGreaterThan(published)
      expect((await core().sealing.store.head(organizationId))?.size ?? 0).toBe(published)
      if (sealer === 'dies') await kill(victim)
      await drained

      await expect.poll(async () => (await othersOf(primary)).some(Boolean), waiting).toBe(true)
      await drainPatiently(organizationId)
      await rolledBack(primary, rollbacks)
      await drainPatiently(organizationId)
      await watch.stop()
      expect(await oracle.findings(acknowledged)).toEqual([])
      await allAgree(organizationId)
      if (sealer === 'lives') await victim.close()
    },
  )
})

/** Which of the members that are not cut off is primary now? */
const othersOf = (cutOff: Member) =>
  Promise.all(set.members.filter((one) => one !== cutOff).map((one) => one.isPrimary().catch(() => false)))

/** Between two primaries sealing fails, and is tried again, as the workflow does. */
async function drainPatiently(organizationId: string): Promise<void> {
  await expect
    .poll(
      () =>
        drainUntilSealed(core(), organizationId).then(
          () => 'sealed',
          () => 'not yet',
        ),
      waiting,
    )
    .toBe('sealed')
}

test('an entry of the anchor log that only a cut-off primary has is shown to no witness, and one log goes on', async () => {
  const organizationId = 'org_cut_anchor'
  const oracle = createAnchorOracle(core())
  const witness = await startWitness('witness.example/cut')
  const clock = handClock()
  const { keys } = core().sealing.anchoring
  witness.trust(keys.origin(1), await keys.verifierKeys(1))
  const using = { now: clock.now, witnesses: [{ url: witness.url, key: witness.key }] }
  const victim = await openVictim()
  const [ours, its] = [sealingOf(world, using), sealingOf(world, { ...using, core: victim })]
  await accept(core(), organizationId, 2)
  await drainUntilSealed(core(), organizationId)
  expect(await ours.anchoring.anchorOnce()).toBe('anchored')
  await ours.anchoring.witnessOnce()
  expect(await oracle.findings([witness.key])).toEqual([])
  await accept(core(), organizationId, 2)
  await drainUntilSealed(core(), organizationId)

  clock.pass(60_000)
  const primary = await set.primary()
  const rollbacks = await primary.rollbackId()
  const struck = primary.cutOffAt('commitTransaction', '')
  const made = its.anchoring.anchorOnce().catch(() => undefined)
  await struck
  const sizeOn = async () => (await on(primary).anchorHeads.findOne({ _id: 'current' }))?.size
  await expect.poll(sizeOn, waiting).toBe(2)
  // Another process looks for something to show: there is nothing new.
  expect(await ours.anchoring.witnessOnce()).toMatchObject([{ cosigned: true }])
  expect(witness.seen('annals.local/anchor')?.size).toBe(1)
  await kill(victim)
  await made

  await expect.poll(async () => (await othersOf(primary)).some(Boolean), waiting).toBe(true)
  await expect
    .poll(() => ours.anchoring.anchorOnce().catch((error: unknown) => error), waiting)
    .toBe('anchored')
  await rolledBack(primary, rollbacks)
  await expect
    .poll(() => ours.anchoring.witnessOnce().catch(() => []), waiting)
    .toMatchObject([{ cosigned: true }])
  expect(witness.answers).toEqual([200, 200])
  expect(await oracle.findings([witness.key])).toEqual([])
  await witness.stop()
})

describe('intake', () => {
  test('whose primary is cut off acknowledges nothing that is rolled back, and everything that stays', async () => {
    const organizationId = 'org_cut_intake'
    const oracle = createLogOracle(core(), [organizationId])
    const acknowledged: Acknowledged[] = await accept(core(), organizationId, 3)
    const primary = await set.primary()
    const rollbacks = await primary.rollbackId()
    const before = await eventsOn(primary, organizationId)
    const struck = primary.cutOffAt('insert', 'events')
    let answered = 0
    const occurredAt = new Date().toISOString()
    const post = async (number: number): Promise<number> => {
      const { status, body } = await world.request('POST', '/v1/events', {
        body: { ...personEvent(organizationId, number), occurredAt },
        headers: { 'idempotency-key': `post-${String(number)}` },
      })
      answered += 1
      if (status === 201) {
        const { id, leafHash } = body as { id: string; leafHash: string }
        acknowledged.push({ organizationId, id, leafHash: Buffer.from(leafHash, 'base64') })
      }
      return status
    }
    const posts = Array.from({ length: 40 }, (_, number) => post(number))
    await struck
    await expect.poll(() => eventsOn(primary, organizationId), waiting).toBeGreaterThan(before)
    expect(answered).toBe(0)

    const statuses = await Promise.all(posts)
    expect(new Set([...statuses, 201, 503])).toEqual(new Set([201, 503]))
    await rolledBack(primary, rollbacks)
    // Whoever was not told posts again, under the same key: nothing is there twice.
    for (const [number, status] of statuses.entries())
      if (status !== 201) expect(await post(number)).toBe(201)
    expect(acknowledged).toHaveLength(43)
    await drainPatiently(organizationId)
    expect(await oracle.findings(acknowledged)).toEqual([])
    await allAgree(organizationId)
  })

  test('that dies with its primary has told nobody, and what only that primary had is gone', async () => {
    const organizationId = 'org_cut_killed'
    const oracle = createLogOracle(core(), [organizationId])
    const acknowledged: Acknowledged[] = await accept(core(), organizationId, 3)
    const victim = await openVictim()
    const organization = await victim.eventOrganizations.ensure(organizationId, 'system')
    const primary = await set.primary()
    const rollbacks = await primary.rollbackId()
    const before = await eventsOn(primary, organizationId)
    const struck = primary.cutOffAt('insert', 'events')
    let told = 0
    const submits = Array.from({ length: 10 }, (_, number) =>
      victim.intake.submit({ event: personEvent(organizationId, number) }, organization).then(
        () => (told += 1),
        () => undefined,
      ),
    )
    await struck
    await expect.poll(() => eventsOn(primary, organizationId), waiting).toBe(before + 10)
    await kill(victim)
    await Promise.all(submits)
    expect(told).toBe(0)
    await expect.poll(async () => (await othersOf(primary)).some(Boolean), waiting).toBe(true)
    // The new primary has to write, for the old one to find that it went another way.
    await expect
      .poll(
        () =>
          accept(core(), organizationId, 1).then(
            (accepted) => acknowledged.push(...accepted),
            () => 0,
          ),
        waiting,
      )
      .toBeGreaterThan(0)
    await rolledBack(primary, rollbacks)
    await drainPatiently(organizationId)
    expect(await oracle.findings(acknowledged)).toEqual([])
    await allAgree(organizationId)
    // Its creation, and what was acknowledged.
    expect(await eventsOn(primary, organizationId)).toBe(acknowledged.length + 1)
  })
})
