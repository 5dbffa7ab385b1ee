import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { checkAnchorProof, type AnchorProof } from '../../src/transparency-log/anchor/anchor-proof.js'
import { anchorCollections } from '../../src/transparency-log/anchor/anchor-store.js'
import { parseEntry } from '../../src/transparency-log/anchor/entry.js'
import { openCheckpoint } from '../../src/transparency-log/checkpoint.js'
import { cosignatureVerifier } from '../../src/transparency-log/cosignature.js'
import { decodeEntryBundle } from '../../src/transparency-log/entry-bundle.js'
import { Frontier } from '../../src/transparency-log/frontier.js'
import { nodeHasher, nodeNoteCrypto, sha256 } from '../../src/transparency-log/node-crypto.js'
import { ed25519Verifier, parseVerifierKey, type VerifierKey } from '../../src/transparency-log/note-key.js'
import { proveRecord, checkRecord } from '../../src/transparency-log/proof.js'
import type { Sealing } from '../../src/transparency-log/sealing.js'
import { logCollections } from '../../src/transparency-log/store.js'
import { edgeTiles } from '../../src/transparency-log/tile.js'
import { TileHashReader } from '../../src/transparency-log/tile-reader.js'
import { handClock, sealingOf } from '../support/anchoring.js'
import { accept, drainAll, openSealingWorld } from '../support/sealing.js'
import { startWitness, type Witness } from '../support/witness.js'
import type { World } from '../support/world.js'

let world: World
let witnesses: Witness[]
const clock = handClock()
const minute = 60_000

beforeAll(async () => {
  world = await openSealingWorld()
})
afterAll(() => world.close())
beforeEach(() => {
  witnesses = []
})
afterEach(() => Promise.all(witnesses.map((witness) => witness.stop())))

const core = () => world.api.core
const log = (using: readonly Witness[] = witnesses): Sealing =>
  sealingOf(world, { now: clock.now, witnesses: using.map(({ url, key }) => ({ url, key })) })

/** Something new to anchor. */
async function grow(organizationId = 'org_anchored', count = 1): Promise<void> {
  await accept(core(), organizationId, count)
  await drainAll(core())
}

async function anchored(sealing: Sealing): Promise<void> {
  clock.pass(minute)
  await grow()
  expect(await sealing.anchoring.anchorOnce()).toBe('anchored')
}

/** A witness that trusts this deployment's anchor log. */
async function witness(name: string): Promise<Witness> {
  const made = await startWitness(name)
  witnesses.push(made)
  const { keys } = core().sealing.anchoring
  made.trust(keys.origin(1), await keys.verifierKeys(1))
  return made
}

async function anchorLog(using: readonly Witness[] = witnesses) {
  const { body } = await world.request('GET', '/v1/anchor/keys', { key: '' })
  const logKeys = String(body)
    .trim()
    .split('\n')
    .map((line) => ed25519Verifier(parseVerifierKey(line, sha256), nodeNoteCrypto))
  return {
    origin: 'annals.local/anchor',
    logKeys,
    witnessKeys: using.map(({ key }: { readonly key: VerifierKey }) =>
      cosignatureVerifier(key, nodeNoteCrypto),
    ),
  }
}

const head = async (sealing = core().sealing) => {
  const found = await sealing.anchoring.store.head()
  if (found === undefined) throw new Error('nothing was anchored')
  return found
}
const get = (path: string) => world.request('GET', `/v1/anchor/${path}`, { key: '' })

async function bytes(path: string): Promise<Buffer> {
  const answer = await fetch(`${world.url}/v1/anchor/${path}`)
  expect(answer.status).toBe(200)
  return Buffer.from(await answer.arrayBuffer())
}

test('there is nothing to see before the first entry, and what is not there is 404 without a key', async () => {
  for (const path of ['checkpoint', 'tile/0/000.p/1', 'keys', '1/checkpoint', 'x/checkpoint']) {
    expect((await get(path)).status).toBe(404)
  }
})

test('an entry is made once a minute at most, and only where a log has grown', async () => {
  const sealing = log()
  await grow()
  expect(await sealing.anchoring.anchorOnce()).toBe('anchored')
  const first = await head()
  await grow()
  expect(await sealing.anchoring.anchorOnce()).toBe('too_soon')
  clock.pass(minute - 1)
  expect(await sealing.anchoring.anchorOnce()).toBe('too_soon')
  clock.pass(1)
  expect(await sealing.anchoring.anchorOnce()).toBe('anchored')
  expect(await head()).toMatchObject({ size: first.size + 1 })
  clock.pass(10 * minute)
  expect(await sealing.anchoring.anchorOnce()).toBe('unchanged')
  clock.pass(-20 * minute)
  await grow()
  expect(await sealing.anchoring.anchorOnce()).toBe('too_soon')
  clock.pass(20 * minute)
})

test('of several that would anchor at once, one does', async () => {
  await grow()
  clock.pass(minute)
  const before = (await head()).size
  const outcomes = await Promise.all([log(), log(), log()].map(({ anchoring }) => anchoring.anchorOnce()))
  expect(outcomes.filter((outcome) => outcome === 'anchored')).toHaveLength(1)
  expect((await head()).size).toBe(before + 1)
})

test('the log that is served is an RFC 6962 log of entries, tile by tile', async () => {
  const sealing = log()
  // A head alone is a log to the anchor log, and costs no sealing.
  const { heads } = logCollections(core().db)
  for (let size = 1; size < 260; size += 1) {
    clock.pass(minute)
    const root = Buffer.from(sha256(Buffer.from(String(size))))
    const logId = Buffer.alloc(16, 0xab)
    const _id = 'org_head/9'
    const members = {
      organizationId: 'org_head',
      generation: 9,
      size,
      root,
      logId,
      checkpoint: '',
      sealedAt: clock.now(),
    }
    await heads.updateOne({ _id }, { $set: members }, { upsert: true })
    expect(await sealing.anchoring.anchorOnce()).toBe('anchored')
  }
  await heads.deleteOne({ _id: 'org_head/9' })
  const checkpoint = openCheckpoint((await get('checkpoint')).text, await anchorLog())
  expect(checkpoint.size).toBeGreaterThan(256)
  const tree = new Frontier(nodeHasher)
  let last = new Date(0)
  for (let index = 0; index * 256 < checkpoint.size; index += 1) {
    const width = Math.min(256, checkpoint.size - index * 256)
    const place = `00${String(index)}${width < 256 ? `.p/${String(width)}` : ''}`
    const entries = decodeEntryBundle(await bytes(`tile/entries/${place}`), width)
    const leaves = entries.map((entry) => nodeHasher.leaf(entry))
    expect(Buffer.concat(leaves).equals(await bytes(`tile/0/${place}`))).toBe(true)
    for (const entry of entries) {
      const { at } = parseEntry(entry)
      expect(at.getTime() - last.getTime()).toBeGreaterThanOrEqual(minute)
      last = at
    }
    for (const leaf of leaves) tree.append(leaf)
  }
  expect(Buffer.from(tree.root()).equals(checkpoint.root)).toBe(true)
  expect((await bytes('1/tile/1/000.p/1')).length).toBe(32)
  const full = await fetch(`${world.url}/v1/anchor/1/tile/0/000`)
  expect(full.headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
  for (const path of ['tile/0/001', 'tile/0/009.p/1', 'tile/0/1', 'tile/entries/001', 'tile/9/000.p/1']) {
    expect((await get(path)).status).toBe(404)
  }
})

/** The proof and everything it rests on, down to a record of the organization's own log. */
async function checkProof(proof: AnchorProof | undefined, organizationId: string): Promise<void> {
  if (proof === undefined) throw new Error('there is no proof')
  const checked = checkAnchorProof(proof, await anchorLog(), nodeHasher)
  const { store } = core().sealing
  const { size, root } = checked.log
  const reader = new TileHashReader(size, root, store.tileSource(organizationId, 1), nodeHasher)
  const [leaf] = (await store.leaves(organizationId, 1, 0)) ?? []
  if (leaf === undefined) throw new Error('the log has no leaf')
  const record = { size, root, index: 0, leaf: leaf.leafHash }
  checkRecord(await proveRecord(size, 0, reader, nodeHasher), record, nodeHasher)
}

test('a log is proved to stand in the newest entry, with its root, and not before it does', async () => {
  const sealing = log()
  const { anchoring } = sealing
  await grow('org_proved', 3)
  clock.pass(minute)
  expect(await anchoring.anchorProof('org_proved')).toBeUndefined()
  expect(await anchoring.anchorOnce()).toBe('anchored')
  await checkProof(await anchoring.anchorProof('org_proved', 4), 'org_proved')
  expect(await anchoring.anchorProof('org_proved', 5)).toBeUndefined()
  expect(await anchoring.anchorProof('org_nobody')).toBeUndefined()
  // The log grows; the proof of what is anchored stays, and the next entry has the rest.
  await grow('org_proved', 300)
  await checkProof(await anchoring.anchorProof('org_proved', 4), 'org_proved')
  clock.pass(minute)
  await anchoring.anchorOnce()
  const proof = await anchoring.anchorProof('org_proved', 304)
  expect(proof?.log.size).toBe(304)
  await checkProof(proof, 'org_proved')
})

test('no organization, no subject and no event is named in what the anchor log stores and serves', async () => {
  await grow('org_secret_name')
  clock.pass(minute)
  await log().anchoring.anchorOnce()
  const { heads, tiles, logs, witnesses: known } = anchorCollections(core().db)
  const stored = [
    ...(await heads.find().toArray()),
    ...(await tiles.find().toArray()),
    ...(await logs.find().toArray()),
    ...(await known.find().toArray()),
  ].flatMap((document) => [
    JSON.stringify(document),
    ...Object.values(document)
      .filter((value) => Buffer.isBuffer(value))
      .map(String),
  ])
  const proof = await log().anchoring.anchorProof('org_secret_name')
  stored.push(JSON.stringify(proof), (await get('checkpoint')).text)
  for (const text of stored) expect(text).not.toMatch(/org_|evt_|sub_|acme/)
})

test('a checkpoint is shown to every witness, and served with their cosignatures', async () => {
  await witness('witness.example/one')
  await witness('witness.example/two')
  const sealing = log()
  await anchored(sealing)
  const before = openCheckpoint((await get('checkpoint')).text, await anchorLog())
  expect(before.cosignatures).toHaveLength(0)
  expect((await sealing.anchoring.witnessOnce()).map(({ state, cosigned }) => [state, cosigned])).toEqual([
    ['cosigned', true],
    ['cosigned', true],
  ])
  const after = openCheckpoint((await get('checkpoint')).text, await anchorLog())
  expect(after).toMatchObject({ size: before.size })
  expect(after.cosignatures).toHaveLength(2)
  // Nothing is asked twice.
  await sealing.anchoring.witnessOnce()
  expect(witnesses.map(({ answers }) => answers)).toEqual([[200], [200]])
  // The next one by a proof from what they have; the proof for a receipt carries their cosignatures.
  await anchored(sealing)
  await sealing.anchoring.witnessOnce()
  expect(witnesses.map(({ answers }) => answers)).toEqual([
    [200, 200],
    [200, 200],
  ])
  const proof = await sealing.anchoring.anchorProof('org_anchored')
  if (proof === undefined) throw new Error('there is no proof')
  expect(checkAnchorProof(proof, await anchorLog(), nodeHasher).checkpoint.cosignatures).toHaveLength(2)
})

test('a witness that is down costs the others nothing, and is asked again later', async () => {
  const down = await witness('witness.example/down')
  const up = await witness('witness.example/up')
  await down.stop()
  const sealing = log()
  await anchored(sealing)
  const states = async () => (await sealing.anchoring.witnessOnce()).map(({ state }) => state)
  expect(await states()).toEqual(['unreachable', 'cosigned'])
  await down.start()
  // Not at once: it was just asked.
  expect(await states()).toEqual(['unreachable', 'cosigned'])
  clock.pass(minute)
  expect(await states()).toEqual(['cosigned', 'cosigned'])
  expect(up.answers).toEqual([200])
})

test('a witness that is behind or ahead of what is thought is asked again from where it is', async () => {
  const one = await witness('witness.example/behind')
  const sealing = log()
  await anchored(sealing)
  await sealing.anchoring.witnessOnce()
  const { witnesses: known } = anchorCollections(core().db)
  const _id = `1/witness.example/behind+${one.key.keyId.toString(16).padStart(8, '0')}`
  // It knows less than is thought, as after a loss of its own; and nothing is known of it, as after a loss of ours.
  for (const size of [1, 0]) {
    await known.updateOne({ _id }, { $set: { size } })
    await anchored(sealing)
    expect((await sealing.anchoring.witnessOnce())[0]).toMatchObject({ state: 'cosigned' })
  }
  expect(one.answers).toEqual([200, 409, 200, 409, 200])
  expect(one.seen('annals.local/anchor')?.size).toBe((await head()).size)
})

test('what a witness refuses is told apart: another log, another key, a proof', async () => {
  const stranger = await startWitness('witness.example/stranger')
  const otherKey = await startWitness('witness.example/key')
  otherKey.trust('annals.local/anchor', [{ ...stranger.key, type: 'ed25519', name: 'annals.local/anchor' }])
  const strict = await witness('witness.example/strict')
  strict.behave((_request, response) => {
    response.writeHead(422).end()
    return true
  })
  witnesses.push(stranger, otherKey)
  const sealing = log([stranger, otherKey, strict])
  await anchored(sealing)
  const states = (await sealing.anchoring.witnessOnce()).map(({ state }) => state)
  expect(states).toEqual(['unknown_log', 'unknown_key', 'refused_proof'])
})

test.each([
  ['a signature by another key', (other: string) => other, 'bad_cosignature'],
  ['a cosignature of another text', () => 'WRONG', 'bad_cosignature'],
  ['no signature line', () => 'yes\n', 'bad_answer'],
  ['nothing', () => '', 'bad_answer'],
  ['a signature line without an end', (other: string) => other.trim(), 'bad_answer'],
] as const)('a lying witness that answers with %s is not believed', async (_what, lie, state) => {
  const liar = await witness('witness.example/liar')
  const other = await witness('witness.example/other')
  const sealing = log([other])
  await anchored(sealing)
  await sealing.anchoring.witnessOnce()
  const stolen = `${(await head()).cosignatures[0]?.line ?? ''}\n`
  const wrong = stolen
    .replace('witness.example/other', 'witness.example/liar')
    .replace(/ [A-Za-z0-9+/=]+\n/, () => {
      const id = Buffer.alloc(4)
      id.writeUInt32BE(liar.key.keyId)
      return ` ${Buffer.concat([id, Buffer.alloc(72, 1)]).toString('base64')}\n`
    })
  liar.behave((_request, response) => {
    const body = lie(stolen)
    response.writeHead(200).end(body === 'WRONG' ? wrong : body)
    return true
  })
  const reports = await log([liar, other]).anchoring.witnessOnce()
  expect(reports).toMatchObject([
    { state, cosigned: false },
    { state: 'cosigned', cosigned: true },
  ])
  expect((await head()).cosignatures).toHaveLength(1)
  const opened = openCheckpoint((await get('checkpoint')).text, await anchorLog([liar, other]))
  expect(opened.cosignatures).toHaveLength(1)
})

test.each([
  ['a redirect', 302, { location: '/prefix/elsewhere' }, '', 'bad_answer'],
  ['no number in its 409', 409, {}, 'many\n', 'bad_answer'],
  ['the same size in its 409 for ever', 409, {}, '1\n', 'bad_answer'],
  ['its own failure', 500, {}, '', 'unreachable'],
  ['an answer without end', 200, {}, 'x'.repeat(100_000), 'unreachable'],
] as const)('a witness that answers with %s is left alone', async (_what, status, headers, body, state) => {
  const odd = await witness('witness.example/odd')
  const sealing = log()
  await anchored(sealing)
  let asked = 0
  odd.behave((_request, response) => {
    asked += 1
    response.writeHead(status, headers).end(body)
    return true
  })
  expect(await sealing.anchoring.witnessOnce()).toMatchObject([{ state, cosigned: false }])
  expect(asked).toBeLessThanOrEqual(3)
})

test('a witness that has seen a larger log, or another one of this size, raises an alarm', async () => {
  const sealing = log(await Promise.all([witness('witness.example/ahead'), witness('witness.example/other')]))
  const [ahead, conflict] = witnesses
  await anchored(sealing)
  const { size } = await head()
  for (const [one, answered] of [
    [ahead, size + 1],
    [conflict, size],
  ] as const) {
    one?.behave((_request, response) => {
      response.writeHead(409, { 'content-type': 'text/x.tlog.size' }).end(`${String(answered)}\n`)
      return true
    })
  }
  expect((await sealing.anchoring.witnessOnce()).map(({ state }) => state)).toEqual(['ahead', 'conflict'])
  expect(sealing.alarms.counts().get('witness_conflict')).toBe(2)
})

test('if the process dies between the entry and the witnesses, the next one shows it to them', async () => {
  const one = await witness('witness.example/after')
  const first = log()
  await anchored(first)
  // Another process, which knows nothing of the first one.
  const second = log()
  expect(await second.anchoring.anchorOnce()).toBe('too_soon')
  expect(await second.anchoring.witnessOnce()).toMatchObject([{ state: 'cosigned' }])
  expect(one.seen('annals.local/anchor')?.size).toBe((await head()).size)
})

test('an edited tile of the anchor log is neither signed over nor shown', async () => {
  await witness('witness.example/edited')
  const sealing = log()
  await anchored(sealing)
  const { generation, size } = await head()
  const { tiles } = anchorCollections(core().db)
  const [edge] = edgeTiles(size)
  if (edge === undefined) throw new Error('the log has no edge')
  const _id = `${String(generation)}/${String(edge.level)}/${String(edge.index)}`
  const tile = await tiles.findOne({ _id })
  const forged = Buffer.from(tile?.hashes ?? [])
  forged.writeUInt8(forged.readUInt8(0) ^ 1, 0)
  await tiles.updateOne({ _id }, { $set: { hashes: forged } })
  await grow()
  clock.pass(minute)
  await expect(sealing.anchoring.anchorOnce()).rejects.toMatchObject({ code: 'tile_mismatch' })
  await tiles.updateOne({ _id }, { $set: { hashes: tile?.hashes ?? forged } })
  expect(await sealing.anchoring.anchorOnce()).toBe('anchored')
})
