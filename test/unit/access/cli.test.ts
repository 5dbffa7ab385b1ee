import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { AccessKeyService } from '../../../src/access/service.js'
import type { CliContext } from '../../../src/cli/context.js'
import { createOutput } from '../../../src/cli/output.js'
import { createProgram, run } from '../../../src/cli/program.js'
import { loadConfig } from '../../../src/config.js'
import { AnnalsError } from '../../../src/errors.js'
import { createLogger } from '../../../src/logging.js'

const key = {
  id: 'key_01jd2zq8w9e5cs0v1m6k3n7p4r',
  role: 'ingest',
  principal: 'prn_7zzzzzzzzzzzzzzzzzzzzzzzzz',
  name: 'backend',
  organizations: 'all',
  personal: false,
  expiresAt: null,
  createdAt: new Date(0),
  createdBy: 'setup',
  rotatedAt: null,
  revokedAt: null,
  lastUsedAt: null,
  eventsPerMinute: null,
} as const

const keys: AccessKeyService = {
  create: (wanted) => Promise.resolve({ key: { ...key, role: wanted.role }, secret: 'the-secret' }),
  list: () => Promise.resolve([key]),
  revoke: (id) => (id === key.id ? Promise.resolve() : Promise.reject(new AnnalsError('not_found', 'No.'))),
  rotate: () => Promise.reject(new AnnalsError('wrong_state', 'It is revoked.')),
  ensureFirstKey: () => Promise.resolve(undefined),
  ensureAdminKey: () => Promise.resolve(key),
}

const database = { ANNALS_MONGODB_URI: 'mongodb://db', ANNALS_TEMPORAL_ADDRESS: 'temporal:7233' }

/** Runs one command line with a key service in memory. */
async function annals(line: string, environment: Record<string, string> = database) {
  const written = { out: '', error: '' }
  const streams = {
    out: { write: (text: string) => ((written.out += text), true) },
    error: { write: (text: string) => ((written.error += text), true) },
  }
  const unused = () => Promise.reject(new Error('not part of this test'))
  const context: CliContext = {
    services: {
      openApi: unused,
      openKeys: () => Promise.resolve({ keys, close: () => Promise.resolve() }),
      openLog: () => Promise.reject(new Error('not used')),
      setup: () => Promise.resolve({ firstKey: 'the-first-secret' }),
      up: unused,
    },
    loadConfig: () => loadConfig({ ANNALS_DATA_DIR: '/nonexistent', ...environment }),
    createLogger: () => createLogger('silent'),
    output: (command) => createOutput(command.optsWithGlobals<{ json?: boolean }>().json === true, streams),
  }
  const exitCode = await run(line.split(' '), context, createOutput(line.includes('--json'), streams))
  return { exitCode, ...written }
}

describe('annals', () => {
  it('makes a key and prints its secret, as text or as JSON wherever --json stands', async () => {
    const text = await annals('keys create --role ingest --name backend')
    expect([text.exitCode, text.out]).toEqual([0, expect.stringContaining('the-secret')])
    for (const line of [
      '--json keys create --role ingest --name b',
      'keys create --role ingest --name b --json',
    ]) {
      expect(JSON.parse((await annals(line)).out)).toMatchObject({ id: key.id, secret: 'the-secret' })
    }
  })

  it('lists keys as a table or as JSON', async () => {
    expect((await annals('keys list')).out).toMatch(
      /^ID +ROLE .*\nkey_01jd2zq8w9e5cs0v1m6k3n7p4r +ingest +backend/,
    )
    expect(JSON.parse((await annals('keys list --json')).out)).toMatchObject({ data: [{ id: key.id }] })
  })

  it('leaves with 2 for wrong usage or configuration, naming what is wrong', async () => {
    expect((await annals('keys create --role king --name x')).error).toContain('role: must be one of owner')
    expect((await annals('keys create --role king --name x')).exitCode).toBe(2)
    const config = await annals('keys list', { ANNALS_REGION: 'No Region' })
    expect([config.exitCode, config.error]).toEqual([2, expect.stringContaining('ANNALS_REGION')])
  })

  it('leaves with 4 where there is no database, and 5 where it is refused', async () => {
    expect((await annals('keys list', {})).exitCode).toBe(4)
    expect((await annals('serve', {})).exitCode).toBe(4)
    expect((await annals('keys revoke key_nope')).exitCode).toBe(5)
    const refused = await annals(`keys rotate ${key.id} --json`)
    expect([refused.exitCode, JSON.parse(refused.error)]).toMatchObject([
      5,
      { error: { code: 'wrong_state' } },
    ])
  })

  it('finds the database of an "annals up" on the same data folder', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'annals-cli-'))
    expect((await annals('keys list', { ANNALS_DATA_DIR: folder })).exitCode).toBe(4)
    writeFileSync(join(folder, 'run.json'), JSON.stringify({ mongodbUri: 'mongodb://127.0.0.1:1' }))
    expect((await annals('keys list', { ANNALS_DATA_DIR: folder })).exitCode).toBe(0)
  })

  it('prints the first key of a setup', async () => {
    expect(JSON.parse((await annals('setup --json')).out)).toEqual({
      done: true,
      firstKey: 'the-first-secret',
    })
  })

  it('has an example in the help of every command', () => {
    const unused = () => Promise.reject(new Error('help runs nothing'))
    const program = createProgram({
      services: { openApi: unused, openKeys: unused, openLog: unused, setup: unused, up: unused },
      loadConfig: () => loadConfig({}),
      createLogger: () => createLogger('silent'),
      output: () => createOutput(false),
    })
    const all = [program, ...program.commands, ...program.commands.flatMap(({ commands }) => commands)]
    expect(all.length).toBeGreaterThanOrEqual(10)
    for (const command of all) {
      let help = ''
      command.configureOutput({ writeOut: (text) => (help += text) }).outputHelp()
      expect(help).toMatch(/Example:\n {2}\$ .*annals/)
    }
  })
})
