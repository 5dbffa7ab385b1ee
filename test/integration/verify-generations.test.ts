/**
 * `annals verify` of a log that `annals log restart` has closed: what was erased or expired from it afterwards is accounted
 * for by the generation that goes on, and by nothing that is not proved there.
 */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { ErasureIdentifier } from '../../src/erasure/contract.js'
import { receiptOfJson } from '../../src/verification/receipt-check.js'
import { verifyReceipt, verifyServer } from '../../src/verification/run.js'
import { post as posted } from '../support/archived-person.js'
import { erasingRun } from '../support/erasing.js'
import { archivedLongAgo, dueToExpire, expirerOf, expireSegment } from '../support/expiring.js'
import { rollingBack } from '../support/rolling-back.js'
import { drainUntilSealed } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'

let world: World
let organizationId: string
let numbered = 0
beforeAll(async () => {
  world = await openWorld()
})
afterAll(() => world.close())
beforeEach(() => {
  numbered += 1
  organizationId = `org_generations_${String(numbered)}`
})

const { backup, grow } = rollingBack(
  () => world,
  () => organizationId,
)
const jane = { type: 'user', id: 'u_older', name: 'Jane Older', email: 'jane.older@acme.example' }
const identifiers: readonly ErasureIdentifier[] = [
  { kind: 'email', value: jane.email },
  { kind: 'other', value: jane.name },
]

const post = async (rest: object) => (await posted(world, organizationId, rest)).id

/** The log was published further than the database goes: the next generation begins. */
async function restart(): Promise<void> {
  const { sealing } = world.api.core
  const restore = await backup()
  await grow(2)
  await sealing.anchoring.copyOnce()
  await restore()
  expect(await sealing.restarter.restart(organizationId)).toMatchObject({ generation: 2 })
}

const keysOf = async (generation: number) =>
  (await world.request('GET', `/v1/organizations/${organizationId}/log/${String(generation)}/keys`)).text
    .trim()
    .split('\n')

/** A server that gives other tiles of the later generation than were signed. */
const otherTiles: typeof fetch = async (input, init) => {
  const response = await fetch(input, init)
  if (!(input as string).includes('/log/2/tile/0/')) return response
  const bytes = new Uint8Array(await response.arrayBuffer())
  return new Response(bytes.map((byte) => byte ^ 1))
}

async function verified(pinned = true, by: typeof fetch = fetch) {
  const logKeys = pinned ? await keysOf(1) : []
  const { report } = await verifyServer({
    url: world.url,
    key: world.ownerKey,
    organization: organizationId,
    generation: 1,
    logKeys,
    values: true,
    fetch: by,
  })
  const { fields, expired, findings } = report
  return { fields, expired, findings: findings.map(({ code, slots }) => ({ code, slots })) }
}

test('what was erased after the log was restarted is erased, and a receipt says by what', async () => {
  const { core } = world.api
  const own = await post({ actor: jane, description: `by ${jane.name}` })
  await drainUntilSealed(core, organizationId)
  await restart()
  const run = erasingRun(core, organizationId, identifiers)
  await run.scope()
  expect(await run.toVerified()).toBe('clean')
  await drainUntilSealed(core, organizationId)
  for (const pinned of [true, false])
    expect(await verified(pinned)).toMatchObject({ fields: { erased: 2, missing: 0 }, findings: [] })

  const path = `/v1/organizations/${organizationId}/events/${own}/proof?view=verifiable`
  const receipt = await world.request('GET', path, { headers: { accept: 'application/json' } })
  const { findings, accounts } = verifyReceipt(receiptOfJson(receipt.body), await keysOf(1))
  expect(findings).toEqual([])
  expect(accounts).toMatchObject([
    { action: 'annals.subject.erasure_started', generation: 2, slots: ['actor'] },
    { action: 'annals.subject.erased', generation: 2, slots: ['description'] },
  ])

  // What is not proved in its own generation accounts for nothing.
  expect(await verified(true, otherTiles)).toMatchObject({ fields: { erased: 0, missing: 2 } })
  // An event that does not make its leaf accounts for nothing: one of its principals was edited.
  const said = { organizationId, action: 'annals.subject.erased' }
  const event = await core.events.findOne(said)
  const at = event?.fields.findIndex((field) => 'value' in field && field.value.includes('approver'))
  if (event === null || at === undefined || at < 0) throw new Error('the event that says so is lost')
  const field = event.fields[at]
  const value = field !== undefined && 'value' in field ? field.value : ''
  const edited = value.replace(/prn_.{26}/, 'prn_00000000000000000000000001')
  await core.events.updateOne({ _id: event._id }, { $set: { [`fields.${String(at)}.value`]: edited } })
  expect(await verified()).toMatchObject({
    fields: { erased: 1, missing: 1 },
    findings: [{ code: 'field_missing', slots: ['description'] }],
  })
})

test('what expired after the log was restarted is expired', async () => {
  await archivedLongAgo(world, organizationId, 20)
  await restart()
  const input = await dueToExpire(world, organizationId)
  if (input === undefined) throw new Error('nothing is due')
  await expireSegment(world, expirerOf(world), input)
  await drainUntilSealed(world.api.core, organizationId)
  expect(await verified()).toMatchObject({ expired: 20, fields: { missing: 0 }, findings: [] })
})
