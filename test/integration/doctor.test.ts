import { chmod, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { StoreAddress } from '../../src/archive/stores/address.js'
import type { Config } from '../../src/config.js'
import type { CliContext } from '../../src/cli/context.js'
import { createOutput } from '../../src/cli/output.js'
import { run } from '../../src/cli/program.js'
import { createLogger } from '../../src/logging.js'
import { diagnose, type Finding } from '../../src/operations/doctor.js'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld({ temporal: true })
})
afterAll(() => world.close())

const states = (findings: readonly Finding[]) =>
  Object.fromEntries(
    findings.filter(({ check }) => check !== 'volumes').map(({ check, state }) => [check, state]),
  )
const detailsOf = (findings: readonly Finding[], check: string) =>
  findings.filter((finding) => finding.check === check).map(({ detail }) => detail)
const folderAt = (name: string) =>
  ({ kind: 'folder', folder: join(world.config.dataDirectory, name) }) as const

const healthy = {
  // One member is all that the tests' server has.
  mongodb: 'warning',
  keys: 'ok',
  clock: 'ok',
  'period key rotation': 'ok',
  erasures: 'ok',
  // The tests' server asks nobody who they are.
  'second reader': 'warning',
  temporal: 'ok',
  'root key file': 'ok',
  'codec key file': 'ok',
  'period keys': 'ok',
  archive: 'ok',
  'archive: second write': 'ok',
  'archive: room': 'ok',
  ledger: 'ok',
  'ledger: second write': 'ok',
  'ledger: room': 'ok',
}

describe('the doctor', () => {
  test('finds a deployment healthy, leaves nothing behind, and warns of what shares a volume', async () => {
    const findings = await diagnose(world.config)
    expect(states(findings)).toEqual(healthy)
    for (const shared of [
      'ledger and archive',
      'archive and database',
      'ledger and database',
      'period keys and database',
    ])
      expect(
        detailsOf(findings, 'volumes').some((detail) => detail.startsWith(`${shared} share one`)),
        shared,
      ).toBe(true)
    if (world.config.archive.kind !== 'folder') throw new Error('the archive of a test is a folder')
    const left = await readdir(world.config.archive.folder, { recursive: true })
    expect(left.filter((name) => name.includes('probe'))).toEqual([])
  })

  test('tells stores that lie apart from those that share a bucket', async () => {
    const s3: StoreAddress = {
      kind: 's3',
      bucket: 'ledger',
      prefix: '',
      endpoint: 'http://127.0.0.1:1',
      region: 'us-east-1',
      pathStyle: true,
      objectLock: false,
      sse: undefined,
      kmsKeyId: undefined,
    }
    const findings = await diagnose({
      ...world.config,
      ledger: folderAt('elsewhere'),
      archive: folderAt('a'),
    })
    expect(detailsOf(findings, 'volumes')).toContainEqual(
      expect.stringMatching(/^ledger and archive share one/),
    )
    const apart: Config = { ...world.config, ledger: s3, archive: folderAt('a') }
    expect(detailsOf(await diagnose(apart), 'volumes')).toContainEqual('ledger and archive lie apart')
  })

  test.each<[string, () => Promise<Partial<Config>>, Record<string, string>]>([
    [
      'a database that nobody answers for',
      () =>
        Promise.resolve({ mongodb: { ...world.config.mongodb, uri: 'mongodb://127.0.0.1:1/?replicaSet=x' } }),
      { mongodb: 'unreachable', archive: 'ok' },
    ],
    [
      'no address of a database',
      () => Promise.resolve({ mongodb: { ...world.config.mongodb, uri: undefined } }),
      { mongodb: 'unreachable', temporal: 'ok' },
    ],
    [
      'a Temporal that nobody answers for',
      () => Promise.resolve({ temporal: { ...world.config.temporal, address: '127.0.0.1:1' } }),
      { mongodb: 'warning', temporal: 'unreachable', ledger: 'ok' },
    ],
    [
      'a namespace that is not there',
      () => Promise.resolve({ temporal: { ...world.config.temporal, namespace: 'nowhere' } }),
      { temporal: 'failed' },
    ],
    [
      'another root key than the database was made with',
      async () => {
        const rootKeyFile = join(world.config.dataDirectory, 'other.key')
        await writeFile(rootKeyFile, `${Buffer.alloc(32, 7).toString('base64')}\n`, { mode: 0o600 })
        return { keys: { ...world.config.keys, rootKeyFile } }
      },
      { keys: 'failed', archive: 'ok' },
    ],
    [
      'a codec key that is not there',
      () =>
        Promise.resolve({
          keys: { ...world.config.keys, codecKeyFile: join(world.config.dataDirectory, 'no') },
        }),
      { 'codec key file': 'failed', temporal: 'failed', mongodb: 'warning' },
    ],
    [
      'an archive that is a file',
      async () => {
        await writeFile(folderAt('file').folder, '')
        return { archive: folderAt('file') }
      },
      { archive: 'unreachable', ledger: 'ok' },
    ],
  ])('says so, and goes on: %s', async (_, change, expected) => {
    const findings = await diagnose({ ...world.config, ...(await change()) })
    expect(states(findings)).toMatchObject(expected)
    expect(JSON.stringify(findings)).not.toContain(world.config.dataDirectory)
  })

  test('warns of a key that others can read', async () => {
    const { rootKeyFile } = world.config.keys
    await chmod(rootKeyFile, 0o644)
    try {
      expect(states(await diagnose(world.config))).toEqual({ ...healthy, 'root key file': 'warning' })
    } finally {
      await chmod(rootKeyFile, 0o600)
    }
  })
})

test('the command answers with the exit code of what it found', async () => {
  const said: string[] = []
  const never = () => Promise.reject(new Error('not part of this command'))
  const streams = { out: { write: (text: string) => said.push(text) > 0 }, error: { write: () => true } }
  const context = (config: Config): CliContext => ({
    services: { openApi: never, openKeys: never, openLog: never, setup: never, up: never },
    loadConfig: () => config,
    createLogger: () => createLogger('error'),
    output: (command) => createOutput(command.optsWithGlobals<{ json?: boolean }>().json === true, streams),
  })
  const exitCode = (config: Config) => run(['doctor', '--json'], context(config), createOutput(true, streams))
  expect(await exitCode(world.config)).toBe(0)
  const { findings } = JSON.parse(said[0] ?? '') as { findings: Finding[] }
  expect(states(findings)).toEqual(healthy)
  const codecKeyFile = join(world.config.dataDirectory, 'no')
  expect(await exitCode({ ...world.config, keys: { ...world.config.keys, codecKeyFile } })).toBe(1)
  expect(await exitCode({ ...world.config, mongodb: { ...world.config.mongodb, uri: undefined } })).toBe(4)
})
