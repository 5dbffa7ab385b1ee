/**
 * The independent judge (test/interop: Go, with `sumdb/tlog` and `sumdb/note`) against a running Annals: several
 * organizations, several checkpoints one after another, the anchor log over them and its witness.
 */
import { execFile, execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { childEnvironment } from '../../src/config.js'
import { rotateSigningKey } from '../../src/operations/rotate-signing-key.js'
import { anchorCollections } from '../../src/transparency-log/anchor/anchor-store.js'
import { formatVerifierKey } from '../../src/transparency-log/note-key.js'
import { logCollections } from '../../src/transparency-log/store.js'
import { handClock, sealingOf } from '../support/anchoring.js'
import { accept, drainUntilSealed } from '../support/sealing.js'
import { startWitness, type Witness } from '../support/witness.js'
import { openWorld, type World } from '../support/world.js'

const inherited = childEnvironment({})
const environment = { ...inherited, PATH: [inherited['PATH'], '/usr/local/go/bin'].join(delimiter) }

function hasGo(): boolean {
  try {
    execFileSync('go', ['version'], { env: environment, stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

describe.skipIf(!hasGo())('the Go judge (skipped where there is no Go)', () => {
  const organizations = ['org_judged_1', 'org_judged_2', 'org_judged_3']
  const sizes = [3, 255, 300]
  const clock = handClock()
  let world: World
  let folder: string
  let witness: Witness

  beforeAll(async () => {
    world = await openWorld()
    witness = await startWitness('witness.example/judged')
    folder = await mkdtemp(join(tmpdir(), 'annals-judge-'))
    const source = fileURLToPath(new URL('../interop', import.meta.url))
    execFileSync('go', ['build', '-o', join(folder, 'judge'), './cmd/judge'], {
      cwd: source,
      env: environment,
    })
  }, 300_000)
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true })
    await witness.stop()
    await world.close()
  })

  const grow = async (org: string, count: number) => {
    await accept(world.api.core, org, count)
    await drainUntilSealed(world.api.core, org)
  }

  async function judge(org: string, ...options: string[]): Promise<{ code: number; text: string }> {
    return judgeLog(`/v1/organizations/${org}/log`, org, '-token', world.ownerKey, ...options)
  }

  const keysAt = async (prefix: string) =>
    (await world.request('GET', `${prefix}/keys`)).text.trim().split('\n')

  async function judgeLog(
    prefix: string,
    name: string,
    ...options: string[]
  ): Promise<{ code: number; text: string }> {
    const pins = (await keysAt(prefix)).flatMap((key) => ['-key', key])
    const state = ['-state', join(folder, name)]
    return new Promise((resolve) => {
      execFile(
        join(folder, 'judge'),
        ['-url', world.url + prefix, ...pins, ...state, ...options],
        (failure, out, error) =>
          resolve({ code: failure === null ? 0 : Number(failure.code), text: out + error }),
      )
    })
  }

  it('finds every checkpoint, tile, bundle and receipt right, and each checkpoint consistent with the last', async () => {
    for (const round of [1, 2, 3]) {
      for (const [index, org] of organizations.entries()) {
        await grow(org, sizes[index] ?? 1)
        const { code, text } = await judge(org, '-samples', '40')
        expect([org, round, code, text]).toEqual([org, round, 0, text])
        expect(text).toMatch(round === 1 ? / 0 consistency proofs/ : / [1-9]\d* consistency proofs/)
        expect(text).toMatch(/, [1-9]\d* receipts/)
      }
    }
  })

  it('goes along with a rotation of the log’s key', async () => {
    await rotateSigningKey(world.api.core, { purpose: 'checkpoint' })
    for (const org of organizations) {
      await grow(org, 2)
      const { code, text } = await judge(org, '-samples', '5')
      expect([org, code, text]).toEqual([org, 0, text])
    }
  })

  it('finds the anchor log right, with its witness, and every receipt that is anchored in it', async () => {
    const sealing = sealingOf(world, {
      now: clock.now,
      witnesses: [{ url: witness.url, key: witness.key }],
    })
    const { keys } = world.api.core.sealing.anchoring
    witness.trust(keys.origin(1), await keys.verifierKeys(1))
    const cosigner = ['-witness', formatVerifierKey(witness.key)]
    for (const round of [1, 2, 3]) {
      for (const org of organizations) await grow(org, 3)
      clock.pass(60_000)
      expect(await sealing.anchoring.anchorOnce()).toBe('anchored')
      await sealing.anchoring.witnessOnce()
      // Nobody's key is needed, and each checkpoint goes on from the last.
      const anchor = await judgeLog('/v1/anchor', 'anchor', ...cosigner)
      expect([round, anchor.code, anchor.text]).toEqual([round, 0, anchor.text])
      expect(anchor.text).toMatch(
        new RegExp(
          `^annals\\.local/anchor: ${String(round)} leaves;.* ${String(round === 1 ? 0 : 1)} consistency`,
        ),
      )
      expect(anchor.text).toMatch(/; 1 witnesses/)
      // Some leaves came after the entry: their receipts have no anchor yet.
      for (const org of organizations) await grow(org, 2)
      const pins = (await keysAt('/v1/anchor')).flatMap((key) => ['-anchor-key', key])
      for (const org of organizations) {
        const { code, text } = await judge(org, '-samples', '20', ...pins, ...cosigner)
        expect([org, code, text]).toEqual([org, 0, text])
        const [, receipts, anchored] = /(\d+) receipts \((\d+) anchored\)/.exec(text) ?? []
        expect(Number(anchored)).toBeGreaterThan(10)
        expect(Number(anchored)).toBeLessThan(Number(receipts))
      }
    }
  })

  it('refuses an anchor by keys that are not the anchor log’s, and names what was edited of the anchor log', async () => {
    const [org = '', other = ''] = organizations
    const [key = ''] = await keysAt(`/v1/organizations/${other}/log`)
    const refused = await judge(org, '-samples', '5', '-anchor-key', key)
    expect([refused.code, refused.text]).toEqual([3, expect.stringContaining('is not signed')])
    const { tiles } = anchorCollections(world.api.core.db)
    const entries = (await tiles.findOne({ _id: '1/0/0' }))?.entries ?? []
    const edited = entries.with(1, String(entries[1]).replace('2026', '2025'))
    await tiles.updateOne({ _id: '1/0/0' }, { $set: { entries: edited } })
    const found = await judgeLog('/v1/anchor', 'anchor')
    expect([found.code, found.text]).toEqual([
      3,
      expect.stringContaining('the record of leaf 1 does not hash to its leaf'),
    ])
    await tiles.updateOne({ _id: '1/0/0' }, { $set: { entries } })
  })

  it('says where something was edited in the database', async () => {
    const [org = ''] = organizations
    const { entries } = logCollections(world.api.core.db)
    const found = await entries.findOne({ _id: `${org}/1/0` })
    const records = found?.records.with(2, String(found.records[2]).replace('account', 'product')) ?? []
    await entries.updateOne({ _id: `${org}/1/0` }, { $set: { records } })
    const { code, text } = await judge(org)
    expect([code, text]).toEqual([
      3,
      expect.stringContaining('the record of leaf 2 does not hash to its leaf'),
    ])
  })
})
