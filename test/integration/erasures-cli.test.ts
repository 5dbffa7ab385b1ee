import { afterAll, beforeAll, expect, test } from 'vitest'
import type { CliContext } from '../../src/cli/context.js'
import { createOutput } from '../../src/cli/output.js'
import { run } from '../../src/cli/program.js'
import { loadConfig } from '../../src/config.js'
import { createLogger } from '../../src/logging.js'
import { eventually, openErasureWorld, organizationId, type ErasureWorld } from './erasures-world.js'

let world: ErasureWorld

beforeAll(async () => {
  world = await openErasureWorld()
  await world.work()
})
afterAll(() => world.close())

/** Runs one command line as the holder of a key. */
async function annals(key: string, ...line: string[]) {
  const written = { out: '', error: '' }
  const streams = {
    out: { write: (text: string) => ((written.out += text), true) },
    error: { write: (text: string) => ((written.error += text), true) },
  }
  const unused = () => Promise.reject(new Error('not part of this test'))
  const context: CliContext = {
    services: { openApi: unused, openKeys: unused, openLog: unused, setup: unused, up: unused },
    loadConfig: () => loadConfig({ ANNALS_DATA_DIR: '/nonexistent', ANNALS_URL: world.url, ANNALS_KEY: key }),
    createLogger: () => createLogger('silent'),
    output: (command) => createOutput(command.optsWithGlobals<{ json?: boolean }>().json === true, streams),
  }
  const args = ['erasure', ...line, '--organization', organizationId]
  const exitCode = await run(args, context, createOutput(line.includes('--json'), streams))
  return { exitCode, ...written }
}

const submitted = async (): Promise<string> => {
  const who = [
    '--id',
    `user:u_${String(Math.random())}`,
    '--email',
    `jane.${String(Math.random())}@acme.example`,
  ]
  const about = ['--ground', '17(1)(b)', '--requester', 'the person', '--channel', 'letter']
  const { exitCode, out, error } = await annals(world.keys.first, 'submit', ...who, ...about, '--json')
  expect([exitCode, error]).toEqual([0, ''])
  return (JSON.parse(out) as { id: string }).id
}

test('an officer submits and verifies, a second one approves, and the first one follows it to its end', async () => {
  const id = await submitted()
  const verified = await annals(
    world.keys.first,
    'verify-identity',
    id,
    '--method',
    'passport',
    '--result',
    'verified',
  )
  expect(verified).toMatchObject({ exitCode: 0, error: '' })
  await eventually(
    () => annals(world.keys.first, 'show', id),
    ({ out }) => out.includes(': review, due'),
  )
  const { out: reviewed } = await annals(world.keys.second, 'show', id)
  expect(reviewed).toContain('  persons: ')
  expect(reviewed).toContain(
    `  next: annals erasure approve ${id} --organization ${organizationId}, by another`,
  )
  const said = ['attest', id, '--target', 'siem', '--statement', 'searched: nothing']
  expect((await annals(world.keys.first, ...said)).exitCode).toBe(0)
  // It has not stopped for it: there is nothing to retire.
  expect((await annals(world.keys.second, ...said, '--outcome', 'destroyed')).exitCode).toBe(5)
  expect((await annals(world.keys.second, ...said, '--outcome', 'lost')).exitCode).toBe(2)
  const own = await annals(world.keys.first, 'approve', id)
  expect(own.exitCode).toBe(5)
  const approved = await annals(
    world.keys.second,
    'approve',
    id,
    '--exempt',
    'billing.*=17(3)(b)',
    '--confirm',
    '1',
    '--json',
  )
  expect(approved.exitCode).toBe(0)
  expect(JSON.parse(approved.out)).toMatchObject({ exempt: [{ class: 'billing.*', ground: '17(3)(b)' }] })
  const shown = await eventually(
    () => annals(world.keys.first, 'show', id),
    ({ out }) => out.includes(`${id}: completed`),
  )
  expect(shown.out).toContain('hot_events: 3')
  expect(shown.out).toContain('verified_clean')
  expect((await annals(world.keys.second, 'withdraw', id)).exitCode).toBe(5)
})

test('show tells of each recipient how it stands, apart', async () => {
  const id = await submitted()
  const { deliveries } = world.api.core.delivery
  const about = { organizationId, requestId: id }
  const at = new Date('2026-11-25T10:00:00Z')
  const next = new Date('2026-11-25T10:00:15Z')
  await deliveries.ensure(about, 3, at, new Date('2026-11-28T10:00:00Z'))
  const [first, second] = await deliveries.of(about)
  if (first === undefined || second === undefined) throw new Error('there are no deliveries')
  for (const document of [first, second]) await deliveries.begin(document, at, next)
  const answered = { at, nextAttemptAt: null, lastStatus: 204, lastFailure: null }
  await deliveries.record({ ...first, attempts: 1 }, { ...answered, status: 'acknowledged' })
  const unanswered = { at, nextAttemptAt: next, lastStatus: null, lastFailure: 'tls_refused' as const }
  await deliveries.record({ ...second, attempts: 1 }, { ...unanswered, status: 'pending' })
  const { out } = await annals(world.keys.first, 'show', id)
  expect(out).toContain('  recipient 0: acknowledged, 1 attempt, last 204\n')
  expect(out).toContain(
    '  recipient 1: pending, 1 attempt, last tls_refused, next 2026-11-25T10:00:15.000Z\n',
  )
  expect(out).toContain('  recipient 2: pending, 0 attempts, next 2026-11-25T10:00:00.000Z\n')
})

test('refusals of role and state exit with 5, bad words with 2, an address where nobody is with 4', async () => {
  const id = await submitted()
  expect((await annals(world.keys.operator, 'show', id)).exitCode).toBe(5)
  const early = await annals(world.keys.second, 'approve', id)
  expect(early.exitCode).toBe(5)
  expect(early.error).toMatch(/is in (received|identity_pending), .*What it allows: verifyIdentity, /)
  expect((await annals(world.keys.operator, 'retry', id)).exitCode).toBe(5)
  expect((await annals(world.keys.first, 'show', 'erasure_nonsense')).exitCode).toBe(5)
  expect((await annals(world.keys.first, 'extend', id)).exitCode).toBe(2)
  expect((await annals(world.keys.second, 'deny', id, '--ground', '17(1)(a)', '--note', 'x')).exitCode).toBe(
    2,
  )
  expect((await annals(world.keys.second, 'approve', id, '--exempt', 'billing')).exitCode).toBe(2)
  expect((await annals(world.keys.first, 'show', id, '--url', 'http://127.0.0.1:9')).exitCode).toBe(4)
  const denied = await annals(world.keys.first, 'extend', id, '--reason', 'many records', '--json')
  expect(JSON.parse(denied.out)).toMatchObject({ id, extended: true })
  expect((await annals(world.keys.first, 'withdraw', id)).out).toContain(`${id}: withdrawn`)
})
