/** The anchor log: what its entries are, how it is served, and what it proves of an organization's log. */
import { expect, test } from 'vitest'
import { checkAnchorProof, type AnchorProof } from '../../src/transparency-log/anchor/anchor-proof.js'
import { anchorCollections } from '../../src/transparency-log/anchor/anchor-store.js'
import { parseEntry } from '../../src/transparency-log/anchor/entry.js'
import { openCheckpoint } from '../../src/transparency-log/checkpoint.js'
import { decodeEntryBundle } from '../../src/transparency-log/entry-bundle.js'
import { Frontier } from '../../src/transparency-log/frontier.js'
import { nodeHasher, sha256 } from '../../src/transparency-log/node-crypto.js'
import { proveRecord, checkRecord } from '../../src/transparency-log/proof.js'
import { logCollections } from '../../src/transparency-log/store.js'
import { edgeTiles } from '../../src/transparency-log/tile.js'
import { TileHashReader } from '../../src/transparency-log/tile-reader.js'
import { minute, useAnchoredWorld } from '../support/anchored-world.js'

const { anchored, anchorLog, bytes, clock, core, findings, get, grow, head, log, url, witness } =
  useAnchoredWorld()

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
  clock.pass(minute)
  expect(await sealing.anchoring.anchorOnce()).toBe('anchored')
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
  const full = await fetch(`${url()}/v1/anchor/1/tile/0/000`)
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
  expect(await findings()).toEqual([
    `anchor log: tile ${String(edge.level)}/${String(edge.index)} is not the tree's`,
  ])
  await tiles.updateOne({ _id }, { $set: { hashes: tile?.hashes ?? forged } })
  expect(await sealing.anchoring.anchorOnce()).toBe('anchored')
})
