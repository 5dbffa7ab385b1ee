/** What somebody edits in the database's log is never proved from: the server says so, and raises an alarm. */
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { nodeHasher, nodeNoteCrypto, sha256 } from '../../src/transparency-log/node-crypto.js'
import { ed25519Verifier, parseVerifierKey } from '../../src/transparency-log/note-key.js'
import { logCollections } from '../../src/transparency-log/store.js'
import { openTlogProof } from '../../src/transparency-log/tlog-proof.js'
import type { Acknowledged } from '../support/log-oracle.js'
import { accept, drainUntilSealed } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'

const org = 'org_damaged'
const prefix = `/v1/organizations/${org}`

let world: World
/** By leaf index; leaf 0 is the organization's own creation. */
const byIndex = new Map<number, Acknowledged>()

beforeAll(async () => {
  world = await openWorld()
  const accepted = await accept(world.api.core, org, 600)
  await drainUntilSealed(world.api.core, org)
  for (const event of accepted) {
    const located = await world.api.core.sealing.store.locate(org, event.id)
    byIndex.set(located?.index ?? -1, event)
  }
})
afterAll(() => world.close())

const eventAt = (index: number): Acknowledged => {
  const event = byIndex.get(index)
  if (event === undefined) throw new Error('every leaf but the first is an event of ours')
  return event
}
const proofOf = (index: number, type = 'text/plain') =>
  world.request('GET', `${prefix}/events/${eventAt(index).id}/proof`, { headers: { accept: type } })

async function alarms(): Promise<{ lines: number; metric: number }> {
  const { text } = await world.request('GET', '/metrics', { key: '' })
  const lines = world
    .logs()
    .split('\n')
    .filter((line) => line.includes('"log.alarm"') && line.includes('"log_damaged"') && line.includes(org))
  return {
    lines: lines.length,
    metric: Number(/annals_seal_alarms_total\{kind="log_damaged"\} (\d+)/.exec(text)?.[1]),
  }
}

async function holds(index: number): Promise<void> {
  const { text } = await world.request('GET', `${prefix}/log/keys`)
  const logKeys = text
    .trim()
    .split('\n')
    .map((line) => ed25519Verifier(parseVerifierKey(line, sha256), nodeNoteCrypto))
  const receipt = await proofOf(index)
  expect(receipt.status).toBe(200)
  const log = { origin: `annals.local/${org}/1`, logKeys }
  expect(openTlogProof(receipt.text, eventAt(index).leafHash, log, nodeHasher).index).toBe(index)
}

async function flipTile(level: number, index: number, at: number): Promise<() => Promise<unknown>> {
  const { tiles } = logCollections(world.api.core.db)
  const _id = `${org}/1/${String(level)}/${String(index)}`
  const found = await tiles.findOne({ _id })
  if (found === null) throw new Error('the tile is there')
  const before = found.hashes
  const edited = Buffer.from(before)
  edited.writeUInt8(edited.readUInt8(at * 32) ^ 1, at * 32)
  await tiles.updateOne({ _id }, { $set: { hashes: edited } })
  const undo = () => tiles.updateOne({ _id }, { $set: { hashes: before } })
  // The next test starts from a whole log, however this one ends.
  onTestFinished(async () => {
    await undo()
  })
  return undo
}

describe('an edited log', () => {
  it.each([
    ['the leaf itself, in a full tile', 0, 0, 7, 7, 'tile/0/000'],
    ['another leaf of its tile', 0, 0, 90, 7, 'tile/0/000'],
    ['a leaf of the partial tile', 0, 2, 3, 520, ''],
    ['the tile above', 1, 0, 1, 300, ''],
  ] as const)('proves nothing from %s', async (_what, level, tile, position, asked, at) => {
    const before = await alarms()
    const undo = await flipTile(level, tile, position)
    const answer = await proofOf(asked)
    const { code, detail } = answer.body as { code: string; detail: string }
    expect([answer.status, code]).toEqual([500, 'log_damaged'])
    expect(detail).toContain(at)
    const after = await alarms()
    expect(after.lines).toBe(before.lines + 1)
    expect(after.metric).toBe(before.metric + 1)
    await undo()
    await holds(asked)
  })

  it('goes on proving what the edit does not touch', async () => {
    const undo = await flipTile(0, 0, 7)
    await holds(300)
    await holds(520)
    const consistency = await world.request('GET', `${prefix}/log/consistency?from=100&to=600`)
    expect([consistency.status, (consistency.body as { code: string }).code]).toEqual([500, 'log_damaged'])
    await undo()
  })

  it('gives no receipt with a record that is not the one that was signed', async () => {
    const { entries } = logCollections(world.api.core.db)
    const _id = `${org}/1/0`
    const records = (await entries.findOne({ _id }))?.records ?? []
    const edited = records.with(9, String(records[9]).replace('team.member.invited', 'team.member.removed'))
    await entries.updateOne({ _id }, { $set: { records: edited } })
    const answer = await proofOf(9, 'application/json')
    expect([answer.status, (answer.body as { code: string }).code]).toEqual([500, 'log_damaged'])
    await entries.updateOne({ _id }, { $set: { records } })
    await holds(9)
  })
})
