import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ErasureIdentifier } from '../../src/erasure/contract.js'
import { rebuildCommitments } from '../../src/events/rebuild.js'
import { newId, newReference } from '../../src/ids.js'
import { redactionManifest } from '../../src/redaction/manifest.js'
import { receiptText } from '../../src/cli/verify/report.js'
import { receiptOfJson } from '../../src/verification/receipt-check.js'
import { verifyReceipt, verifyServer } from '../../src/verification/run.js'
import { post as posted } from '../support/archived-person.js'
import { erasingRun } from '../support/erasing.js'
import { drainUntilSealed } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld({ unsearchable: 'an event is deleted behind its back' })
})
afterAll(() => world.close())

type Json = Record<string, unknown>
interface Account {
  readonly receipt: Json
  readonly manifest: string
}

const jane = { type: 'user', id: 'u_receipt', name: 'Jane Receipt', email: 'jane.receipt@acme.example' }
const identifiers: readonly ErasureIdentifier[] = [
  { kind: 'email', value: jane.email },
  { kind: 'other', value: jane.name },
]

const post = async (organizationId: string, rest: object) => (await posted(world, organizationId, rest)).id
const seal = (organizationId: string) => drainUntilSealed(world.api.core, organizationId)
const keysOf = async (organizationId: string) =>
  (await world.request('GET', `/v1/organizations/${organizationId}/log/keys`)).text.trim().split('\n')
const receiptOf = async (organizationId: string, id: string) =>
  (
    await world.request('GET', `/v1/organizations/${organizationId}/events/${id}/proof?view=verifiable`, {
      headers: { accept: 'application/json' },
    })
  ).body as Json

async function verified(organizationId: string, receipt: Json) {
  const { fields, findings, accounts } = verifyReceipt(receiptOfJson(receipt), await keysOf(organizationId))
  const inState = (wanted: string) => fields.filter(({ state }) => state === wanted).map(({ slot }) => slot)
  const found = findings.map(({ code, slots }) => ({ code, slots }))
  return { erased: inState('erased'), missing: inState('missing'), findings: found, accounts }
}
const missing = (...slots: string[]) => ({
  erased: [],
  missing: slots,
  findings: [{ code: 'field_missing', slots }],
})

/** Takes a value out of a row and leaves its commitment, as an erasure and a tamperer do. */
async function deleteDescription(organizationId: string, id: string): Promise<Buffer> {
  const { events } = world.api.core
  const _id = `${organizationId}/${id}`
  const stored = await events.findOne({ _id })
  const slots = stored === null ? undefined : rebuildCommitments(stored)
  const commitment = slots?.find(({ slot }) => slot === 'description')?.commitment
  const index = stored?.fields.findIndex((field) => 'slot' in field && field.slot === 'description') ?? -1
  if (commitment === undefined || index < 0) throw new Error('an event without its description')
  await events.updateOne(
    { _id },
    { $set: { [`fields.${String(index)}`]: { slot: 'description', commitment } } },
  )
  return commitment
}

test('a receipt shows what was erased from its event, each with the proof of the sealed event that says so', async () => {
  const organizationId = 'org_receipts'
  const own = await post(organizationId, { actor: jane, description: `by ${jane.name}`, metadata: { n: 1 } })
  const others = await post(organizationId, { description: `mail ${jane.email}` })
  await seal(organizationId)
  const before = await receiptOf(organizationId, own)
  expect(before).not.toHaveProperty('accounts')

  const run = erasingRun(world.api.core, organizationId, identifiers)
  await run.scope()
  expect(await run.toVerified()).toBe('clean')
  await seal(organizationId)
  const after = await receiptOf(organizationId, own)
  const seen = await verified(organizationId, after)
  expect(seen).toMatchObject({ missing: [], findings: [] })
  expect([...seen.erased].sort()).toEqual(['actor', 'description'])
  expect(seen.accounts.map(({ action, slots }) => [action, slots])).toEqual([
    ['annals.subject.erasure_started', ['actor']],
    ['annals.subject.erased', ['description']],
  ])
  // Text in an event that is about nobody of them.
  expect(await verified(organizationId, await receiptOf(organizationId, others))).toMatchObject({
    erased: ['description'],
    findings: [],
  })
  // What was taken before says what it said.
  expect(await verified(organizationId, before)).toMatchObject({ erased: [], missing: [], findings: [] })
  expect(JSON.stringify(after)).not.toContain('Receipt')
})

test('what an erasure has to keep, and somebody deletes behind its back, is missing', async () => {
  const organizationId = 'org_kept'
  const { events } = world.api.core
  const billed = await post(organizationId, { action: 'billing.invoice.sent', actor: jane })
  const other = await post(organizationId, { actor: jane })
  await seal(organizationId)
  const exempt = [{ class: 'billing.*', ground: '17(3)(b)' as const }]
  const run = erasingRun(world.api.core, organizationId, identifiers, { exempt })
  await run.scope()
  expect(await run.toVerified()).toBe('clean')
  await seal(organizationId)
  expect(await verified(organizationId, await receiptOf(organizationId, billed))).toMatchObject({
    erased: [],
    missing: [],
  })
  await events.updateOne(
    { _id: `${organizationId}/${billed}` },
    { $unset: { 'fields.$[block].sealed': '', 'fields.$[block].restricted': '' } },
    { arrayFilters: [{ 'block.restricted': { $exists: true } }] },
  )
  expect(await verified(organizationId, await receiptOf(organizationId, billed))).toMatchObject(
    missing('actor'),
  )
  expect(await verified(organizationId, await receiptOf(organizationId, other))).toMatchObject({
    erased: ['actor'],
  })
  const options = { url: world.url, key: world.ownerKey, organization: organizationId, logKeys: [] }
  const { report } = await verifyServer({ ...options, values: true })
  expect(report.findings).toMatchObject([
    { code: 'field_missing', leaf: { eventId: billed }, slots: ['actor'] },
  ])
})

test('a receipt of an event that is gone proves the record, and does not pass for one that has its values', async () => {
  const organizationId = 'org_gone'
  const id = await post(organizationId, { description: 'soon gone' })
  await seal(organizationId)
  const keys = await keysOf(organizationId)
  const before = verifyReceipt(receiptOfJson(await receiptOf(organizationId, id)), keys)
  expect(before).toMatchObject({ findings: [], eventIsGone: false })
  await world.api.core.events.deleteOne({ _id: `${organizationId}/${id}` })
  const after = verifyReceipt(receiptOfJson(await receiptOf(organizationId, id)), keys)
  expect(after).toMatchObject({ findings: [], eventIsGone: true, fields: [], record: before.record })
  expect(receiptText(after)).toContain('not there any more')
})

test('nothing in a receipt excuses a value but a sealed event behind it, its manifest, and two principals', async () => {
  const organizationId = 'org_excuses'
  const other = 'org_excuses_other'
  const { core } = world.api
  const people = { submitter: newReference('prn'), approver: newReference('prn') }
  const redactionId = newId('redaction')

  /** A sealed event that says it of a field, and its account as a receipt carries it. */
  async function say(
    of: string,
    eventId: string,
    commitment: Uint8Array,
    by: typeof people = people,
  ): Promise<Account> {
    const manifest = redactionManifest({ organizationId: of, redactionId }, [
      { eventId, slot: 'description', commitment },
    ])
    const { id } = await core.systemEvents.write({
      organizationId: of,
      action: 'annals.field.redacted',
      occurredAt: new Date(),
      actor: { type: 'system', id: 'annals' },
      metadata: { manifest: manifest.sha256, ...by, fields: 1 },
    })
    await seal(of)
    return { receipt: await receiptOf(of, id), manifest: manifest.bytes.toString('utf8') }
  }

  for (const organization of [organizationId, other]) await post(organization, { description: 'the first' })
  const id = newId('evt')
  const early = await say(organizationId, id, Buffer.alloc(32))
  await post(organizationId, { id, description: 'what somebody wants gone' })
  await seal(organizationId)
  const commitment = await deleteDescription(organizationId, id)
  const receipt = await receiptOf(organizationId, id)
  // The server finds nothing that would excuse it.
  expect(receipt).not.toHaveProperty('accounts')
  expect(await verified(organizationId, receipt)).toMatchObject(missing('description'))

  const good = await say(organizationId, id, commitment)
  const withAccount = (account: unknown) => verified(organizationId, { ...receipt, accounts: [account] })
  expect(await withAccount(good)).toMatchObject({ erased: ['description'], missing: [], findings: [] })

  const checkpoint = String(good.receipt['checkpoint'])
  const alone = { submitter: people.submitter, approver: people.submitter }
  const forged: Record<string, unknown> = {
    'an event that stands before it': early,
    'one principal alone': await say(organizationId, id, commitment, alone),
    'another manifest': { ...good, manifest: good.manifest.replace('"description"', '"description" ') },
    'no manifest': { receipt: good.receipt },
    "another customer's event": await say(other, id, commitment),
    'a manifest of another event': await say(organizationId, newId('evt'), commitment),
    'an event that was edited': {
      ...good,
      receipt: JSON.parse(
        JSON.stringify(good.receipt).replaceAll(people.approver, newReference('prn')),
      ) as Json,
    },
    'a proof that does not hold': { ...good, receipt: { ...good.receipt, index: 0 } },
    'a checkpoint that nobody signed': {
      ...good,
      receipt: { ...good.receipt, checkpoint: `${checkpoint.slice(0, -6)}AAAA=\n` },
    },
    'nothing at all': null,
  }
  for (const [name, account] of Object.entries(forged))
    expect(await withAccount(account), name).toMatchObject(missing('description'))
})
