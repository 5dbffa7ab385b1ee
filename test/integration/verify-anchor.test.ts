/**
 * The anchor log in receipts and in verification: what it proves beside a log's own proof, how its absence is said, and
 * every way in which it can be another's.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { childEnvironment } from '../../src/config.js'
import { anchorCollections } from '../../src/transparency-log/anchor/anchor-store.js'
import type { AnchoredRecordJson } from '../../src/transparency-log/anchor/anchored-record.js'
import { formatVerifierKey } from '../../src/transparency-log/note-key.js'
import type { Sealing } from '../../src/transparency-log/sealing.js'
import { parseTlogProof } from '../../src/transparency-log/tlog-proof.js'
import type { AnchorOptions } from '../../src/verification/anchor-source.js'
import { receiptOfJson, receiptOfText } from '../../src/verification/receipt-check.js'
import { download, verifyFolder, verifyReceipt, verifyServer } from '../../src/verification/run.js'
import { handClock, sealingOf } from '../support/anchoring.js'
import { accept, drainUntilSealed } from '../support/sealing.js'
import { startWitness, type Witness } from '../support/witness.js'
import { openWorld, type World } from '../support/world.js'

let world: World
let witness: Witness
let sealing: Sealing
let folder: string
const clock = handClock()

beforeAll(async () => {
  world = await openWorld()
  folder = await mkdtemp(join(tmpdir(), 'annals-verify-anchor-'))
  witness = await startWitness('witness.example/receipts')
  const { keys } = world.api.core.sealing.anchoring
  witness.trust(keys.origin(1), await keys.verifierKeys(1))
  sealing = sealingOf(world, { now: clock.now, witnesses: [{ url: witness.url, key: witness.key }] })
})
afterAll(async () => {
  await witness.stop()
  await rm(folder, { recursive: true, force: true })
  await world.close()
})

interface Log {
  readonly org: string
  readonly ids: readonly string[]
  readonly keys: readonly string[]
}

let made = 0
async function sealedLog(count = 5): Promise<Log> {
  const org = `org_seen_${String((made += 1))}`
  const ids = (await grow(org, count)).map(({ id }) => id)
  return { org, ids, keys: linesOf((await world.request('GET', `/v1/organizations/${org}/log/keys`)).text) }
}

async function grow(org: string, count: number) {
  const accepted = await accept(world.api.core, org, count)
  await drainUntilSealed(world.api.core, org)
  return accepted
}

async function anchor(): Promise<void> {
  clock.pass(60_000)
  expect(await sealing.anchoring.anchorOnce()).toBe('anchored')
  await sealing.anchoring.witnessOnce()
}

const linesOf = (text: string) => text.trim().split('\n')

/** Whom to believe: the anchor log's own key, and the witness. */
async function trust(): Promise<AnchorOptions> {
  const keys = linesOf((await world.request('GET', '/v1/anchor/keys', { key: '' })).text)
  return { keys, witnessKeys: [formatVerifierKey(witness.key)] }
}

interface ReceiptJson {
  readonly record: string
  readonly size: number
  readonly anchorState: string
  readonly anchor: AnchoredRecordJson | null
}

const proofOf = ({ org, ids }: Log, at: number, accepted: string) =>
  world.request('GET', `/v1/organizations/${org}/events/${String(ids[at])}/proof`, {
    headers: { accept: accepted },
  })
const jsonOf = async (log: Log, at: number) =>
  (await proofOf(log, at, 'application/json')).body as ReceiptJson

async function anchoredOf(log: Log, at: number): Promise<ReceiptJson & { anchor: AnchoredRecordJson }> {
  const json = await jsonOf(log, at)
  if (json.anchor === null) throw new Error(`the receipt has no anchor: ${json.anchorState}`)
  return { ...json, anchor: json.anchor }
}

describe('a receipt', () => {
  it('says plainly that it is not anchored yet, and holds all the same', async () => {
    const log = await sealedLog()
    const json = await jsonOf(log, 2)
    expect([json.anchorState, json.anchor]).toEqual(['not_anchored', null])
    const { text } = await proofOf(log, 2, 'text/plain')
    expect(parseTlogProof(text).extra).toBeUndefined()
    for (const receipt of [receiptOfJson(json), receiptOfText(text, json.record)]) {
      const { findings, anchor: seen } = verifyReceipt(receipt, log.keys, await trustOrNone())
      expect([findings, seen.state]).toEqual([[], 'not_anchored'])
    }
  })

  it('carries both proofs, in both of its forms, also once the log has grown beyond what is anchored', async () => {
    const log = await sealedLog()
    await anchor()
    const early = await anchoredOf(log, 2)
    expect(early.anchor.size).toBe(early.size)
    await grow(log.org, 300)
    const late = await anchoredOf(log, 2)
    expect(late.size).toBeGreaterThan(late.anchor.size)
    expect(late.anchor.recordProof).toEqual(early.anchor.recordProof)
    const { text } = await proofOf(log, 2, 'text/plain')
    for (const receipt of [receiptOfJson(early), receiptOfJson(late), receiptOfText(text, late.record)]) {
      const { findings, anchor: seen } = verifyReceipt(receipt, log.keys, await trust())
      expect(findings).toEqual([])
      expect(seen).toMatchObject({ state: 'anchored', size: 6, cosignedBy: ['witness.example/receipts'] })
      expect(seen.logId).toBe(early.anchor.logId)
    }
    // A stranger's witness says nothing; without a key of the anchor log nothing is claimed.
    const other = await startWitness('witness.example/stranger')
    await other.stop()
    const strangers = { ...(await trust()), witnessKeys: [formatVerifierKey(other.key)] }
    expect(verifyReceipt(receiptOfJson(late), log.keys, strangers).anchor.cosignedBy).toEqual([])
    expect(verifyReceipt(receiptOfJson(late), log.keys).anchor.state).toBe('unverified')
    // What came after the entry waits for the next one.
    const [fresh] = await grow(log.org, 1)
    expect((await jsonOf({ ...log, ids: [String(fresh?.id)] }, 0)).anchorState).toBe('not_anchored')
  })

  it('names every anchor that is not its own', async () => {
    const [log, other] = [await sealedLog(20), await sealedLog(20)]
    await anchor()
    const json = await anchoredOf(log, 5)
    const foreign = (await anchoredOf(other, 5)).anchor
    const before = json.anchor
    await grow(log.org, 9)
    await anchor()
    const later = (await anchoredOf(log, 5)).anchor
    const given = await trust()
    const codes = (changed: Partial<AnchoredRecordJson>, trusted = given) =>
      verifyReceipt(
        receiptOfJson({ ...json, anchor: { ...before, ...changed } }),
        log.keys,
        trusted,
      ).findings.map(({ code, at }) => `${code} at ${at}`)
    const flipped = (text: string) => {
      const bytes = Buffer.from(text, 'base64')
      bytes.writeUInt8(bytes.readUInt8(3) ^ 1, 3)
      return bytes.toString('base64')
    }
    const flippedFirst = (hashes: readonly string[]): readonly string[] =>
      hashes.with(0, flipped(String(hashes[0])))

    expect(codes({})).toEqual([])
    expect(codes(later)).toEqual([])
    // Another organization's, whole, and part by part.
    expect(codes(foreign)).toEqual(['anchor_differs at anchor'])
    expect(codes({ logId: foreign.logId })).toEqual(['anchor_invalid at anchor'])
    expect(codes({ logId: flipped(before.logId) })).toEqual(['anchor_invalid at anchor'])
    expect(codes({ root: foreign.root })).toEqual(['anchor_invalid at anchor'])
    // Another size: of the tree, of the proof of the record in it, of the entry.
    expect(codes({ size: before.size + 1 })).toEqual(['anchor_invalid at anchor'])
    expect(codes({ size: later.size, root: later.root })).toEqual(['anchor_invalid at anchor'])
    expect(codes({ recordProof: later.recordProof })).toEqual(['anchor_differs at anchor'])
    expect(codes({ entry: later.entry })).toEqual(['anchor_invalid at anchor'])
    expect(codes({ index: before.index + 1 })).toEqual(['anchor_invalid at anchor'])
    // Every other part.
    expect(codes({ salt: flipped(before.salt) })).toEqual(['anchor_invalid at anchor'])
    expect(codes({ logsProof: flippedFirst(before.logsProof) })).toEqual(['anchor_invalid at anchor'])
    expect(codes({ recordProof: flippedFirst(before.recordProof) })).toEqual(['anchor_differs at anchor'])
    const unsigned = before.checkpoint.replace(/\n\d+\n/, '\n999\n')
    expect(codes({ checkpoint: unsigned })).toEqual(['anchor_invalid at anchor'])
    // Another log's key, and another id than the one that was kept.
    expect(codes({}, { ...given, keys: log.keys })).toEqual(['anchor_foreign at anchor'])
    const pinned = (logId: string) => codes({}, { ...given, logId })
    expect(pinned(before.logId)).toEqual([])
    expect(pinned(foreign.logId)).toEqual(['anchor_foreign at anchor'])
    // What is no proof at all.
    expect(() => receiptOfJson({ ...json, anchor: {} })).toThrow(/malformed_proof/)
    expect(() => receiptOfJson({ ...json, anchor: { ...before, recordProof: ['x'] } })).toThrow(/malformed/)
  })

  it('goes without its anchor where the anchor log was edited, and an alarm is raised', async () => {
    const log = await sealedLog()
    await anchor()
    const { tiles } = anchorCollections(world.api.core.db)
    const tile = await tiles.findOne({ _id: '1/0/0' })
    if (tile === null) throw new Error('the anchor log has a tile')
    const edited = Buffer.from(tile.hashes)
    edited.writeUInt8(edited.readUInt8(0) ^ 1, 0)
    await tiles.updateOne({ _id: '1/0/0' }, { $set: { hashes: edited } })
    const json = await jsonOf(log, 1)
    expect([json.anchorState, json.anchor]).toEqual(['damaged', null])
    expect(verifyReceipt(receiptOfJson(json), log.keys).findings).toEqual([])
    expect(world.logs()).toMatch(/"log_damaged".*"log\.alarm"/)
    const served = await verifyServer({ ...serverOf(log), logKeys: log.keys, values: false })
    expect(served.report.findings.map(({ code }) => code)).toEqual(['anchor_invalid'])
    await tiles.updateOne({ _id: '1/0/0' }, { $set: { hashes: tile.hashes } })
    expect((await jsonOf(log, 1)).anchorState).toBe('anchored')
  })
})

/** Before the first entry the anchor log has no key either. */
async function trustOrNone(): Promise<AnchorOptions> {
  const { status } = await world.request('GET', '/v1/anchor/keys', { key: '' })
  return status === 404 ? { keys: [], witnessKeys: [] } : trust()
}

const serverOf = ({ org }: Log) => ({ url: world.url, key: world.ownerKey, organization: org })

describe('a server, and a copy of it', () => {
  it('is verified to go on from the tree that is anchored and cosigned, and says which id it has there', async () => {
    const log = await sealedLog(300)
    await anchor()
    await grow(log.org, 7)
    const options = { logKeys: log.keys, values: false, anchor: await trust() }
    const verified = await verifyServer({ ...serverOf(log), ...options })
    expect(verified.report.findings).toEqual([])
    const { logId } = (await anchoredOf(log, 0)).anchor
    const seen = { state: 'anchored', size: 301, logId, cosignedBy: ['witness.example/receipts'] }
    expect(verified.anchor).toMatchObject(seen)

    const copy = join(folder, 'copy')
    await download({ ...serverOf(log), ...options, download: copy })
    const offline = await verifyFolder(copy, options)
    expect([offline.report.findings, offline.anchor]).toMatchObject([[], seen])
    // The copy with the anchor of another log, and with rubbish for one.
    const other = await sealedLog()
    await anchor()
    const answer = await world.request('GET', `/v1/organizations/${other.org}/log/anchor`)
    const foreign = (answer.body as { anchor: unknown }).anchor
    const before = await readFile(join(copy, 'anchor'))
    for (const [text, code] of [
      [JSON.stringify(foreign), 'anchor_differs'],
      ['{}', 'anchor_invalid'],
      ['no JSON', 'anchor_invalid'],
    ] as const) {
      await writeFile(join(copy, 'anchor'), text)
      const { report, anchor: state } = await verifyFolder(copy, options)
      expect([report.findings.map((one) => one.code), state.state]).toEqual([[code], 'invalid'])
    }
    await writeFile(join(copy, 'anchor'), before)
  })

  it('is waited for while the witnesses of the newest entry are on their way, and not for ever', async () => {
    const log = await sealedLog()
    await anchor()
    await grow(log.org, 2)
    clock.pass(60_000)
    expect(await sealing.anchoring.anchorOnce()).toBe('anchored')
    await grow(log.org, 2)
    const verified = async (options: AnchorOptions) =>
      (await verifyServer({ ...serverOf(log), logKeys: log.keys, values: false, anchor: options })).anchor
    let looks = 0
    const never = () => Promise.resolve((looks += 1))
    const given = await trust()
    expect(await verified({ ...given, wait: never })).toMatchObject({ cosignedBy: [] })
    // More than there are keys for.
    expect(await verified({ ...given, witnesses: 2, wait: never })).toMatchObject({ cosignedBy: [] })
    expect(looks).toBe(0)
    expect(await verified({ ...given, witnesses: 1, wait: never })).toMatchObject({ cosignedBy: [] })
    expect(looks).toBe(15)
    const coming = () => sealing.anchoring.witnessOnce()
    expect(await verified({ ...given, witnesses: 1, wait: coming })).toMatchObject({
      state: 'anchored',
      size: 8,
      cosignedBy: ['witness.example/receipts'],
    })
  })

  it('is found out where it serves another history than the one that is anchored', async () => {
    const [log, other] = [await sealedLog(6), await sealedLog(6)]
    const short = await world.request('GET', `/v1/organizations/${log.org}/log/checkpoint`)
    await grow(log.org, 3)
    await anchor()
    const answering = (path: RegExp, with_: (url: string) => Promise<Response>): typeof fetch =>
      function answer(input, init) {
        const url = input instanceof Request ? input.url : String(input)
        return path.test(url) ? with_(url) : fetch(input, init)
      }
    const codesWith = async (served: typeof fetch) => {
      const options = { logKeys: log.keys, values: false, anchor: await trust(), fetch: served }
      const { report } = await verifyServer({ ...serverOf(log), ...options })
      return report.findings.map(({ code }) => code)
    }
    // The anchor of another organization.
    const authorization = `Bearer ${world.ownerKey}`
    const foreign = answering(/\/log(\/1)?\/anchor$/, (url) =>
      fetch(url.replace(log.org, other.org), { headers: { authorization } }),
    )
    expect(await codesWith(foreign)).toEqual(['anchor_differs'])
    // A checkpoint from before what is anchored: the log was set back.
    const setBack = answering(/\/checkpoint$/, () => Promise.resolve(new Response(short.text)))
    expect(await codesWith(setBack)).toEqual(['anchor_differs'])
  })
})

describe('the command', () => {
  const cli = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))
  const run = (...options: string[]) =>
    new Promise<{ code: number; out: string; error: string }>((resolve) => {
      const environment = childEnvironment({ ANNALS_DATA_DIR: folder })
      execFile(process.execPath, [cli, 'verify', ...options], { env: environment }, (failure, out, error) =>
        resolve({ code: failure === null ? 0 : Number(failure.code), out, error }),
      )
    })

  it('says who has cosigned, exits 1 where that are too few, and 3 where the anchor is another log’s', async () => {
    const log = await sealedLog()
    await anchor()
    const { keys, witnessKeys } = await trust()
    const pins = [
      ...log.keys.flatMap((key) => ['--log-key', key]),
      ...keys.flatMap((key) => ['--anchor-key', key]),
      ...witnessKeys.flatMap((key) => ['--witness-key', key]),
    ]
    const file = join(folder, 'receipt.json')
    await writeFile(file, (await proofOf(log, 1, 'application/json')).text)
    const enough = await run(file, ...pins, '--witnesses', '1')
    expect([enough.code, enough.error]).toEqual([0, ''])
    expect(enough.out).toMatch(/anchor {3}the tree of 6 leaves.*cosigned by witness\.example\/receipts/)
    const few = await run(file, ...pins, '--witnesses', '2')
    expect([few.code, few.error]).toEqual([1, expect.stringContaining('1 have cosigned it')])
    const foreign = await run(file, ...pins, '--log-id', Buffer.alloc(16).toString('base64'))
    expect([foreign.code, foreign.out]).toEqual([3, expect.stringContaining('anchor_foreign')])
    const [fresh] = await grow(log.org, 1)
    await writeFile(file, (await proofOf({ ...log, ids: [String(fresh?.id)] }, 0, 'application/json')).text)
    const early = await run(file, ...pins)
    expect([early.code, early.out]).toEqual([0, expect.stringContaining('not anchored (yet)')])
    expect((await run(file, ...pins, '--witnesses', '0')).code).toBe(1)
  })
})
