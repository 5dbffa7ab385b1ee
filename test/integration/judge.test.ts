/**
 * The independent judge (test/interop: Go, with `sumdb/tlog` and `sumdb/note`) against a running Annals: several
 * organizations, several checkpoints one after another.
 */
import { execFile, execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { childEnvironment } from '../../src/config.js'
import { rotateSigningKey } from '../../src/operations/rotate-signing-key.js'
import { logCollections } from '../../src/transparency-log/store.js'
import { accept, drainUntilSealed } from '../support/sealing.js'
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
  let world: World
  let folder: string

  beforeAll(async () => {
    world = await openWorld()
    folder = await mkdtemp(join(tmpdir(), 'annals-judge-'))
    const source = fileURLToPath(new URL('../interop', import.meta.url))
    execFileSync('go', ['build', '-o', join(folder, 'judge'), './cmd/judge'], {
      cwd: source,
      env: environment,
    })
  }, 300_000)
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true })
    await world.close()
  })

  const grow = async (org: string, count: number) => {
    await accept(world.api.core, org, count)
    await drainUntilSealed(world.api.core, org)
  }

  async function judge(org: string, ...options: string[]): Promise<{ code: number; text: string }> {
    const url = `${world.url}/v1/organizations/${org}/log`
    const keys = (await world.request('GET', `/v1/organizations/${org}/log/keys`)).text.trim().split('\n')
    const pins = keys.flatMap((key) => ['-key', key])
    const state = ['-state', join(folder, org)]
    return new Promise((resolve) => {
      execFile(
        join(folder, 'judge'),
        ['-url', url, ...pins, '-token', world.ownerKey, ...state, ...options],
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
  }, 180_000)

  it('goes along with a rotation of the log’s key', async () => {
    await rotateSigningKey(world.api.core, { purpose: 'checkpoint' })
    for (const org of organizations) {
      await grow(org, 2)
      const { code, text } = await judge(org, '-samples', '5')
      expect([org, code, text]).toEqual([org, 0, text])
    }
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
