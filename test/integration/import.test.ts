import { spawn } from 'node:child_process'
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createProgress } from '../../src/cli/import/progress.js'
import { runImport, type ImportOptions } from '../../src/cli/import/run.js'
import { createClient } from '../../src/client/index.js'
import { checkWorldsSearch } from '../support/search-oracle.js'
import { openWorld, type World } from '../support/world.js'

const cli = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))

let world: World
let folder: string
beforeAll(async () => {
  world = await openWorld()
})
afterAll(async () => {
  await checkWorldsSearch(world, { otherWriters: true })
  await world.close()
})
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'annals-import-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const event = (organizationId: string, n: number) => ({
  organizationId,
  action: 'record.changed',
  occurredAt: '2025-03-01T10:00:00.000Z',
  actor: { type: 'user', id: `u_${String(n % 50)}`, name: 'Jane Quux' },
  targets: [{ type: 'record', id: `r_${String(n)}` }],
  metadata: { n },
})
const text = (organizationId: string, from: number, to: number) =>
  Array.from({ length: to - from }, (_, at) => `${JSON.stringify(event(organizationId, from + at))}\n`).join(
    '',
  )
const stored = (organizationId: string) =>
  world.api.core.events.countDocuments({ organizationId, category: { $ne: 'system' } })

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const none = createProgress({ write: () => true }, 'none')
const importFile = (
  file: string,
  options: Partial<ImportOptions> = {},
  input = Readable.from([]),
  progress = none,
) =>
  runImport(
    createClient({ url: world.url, key: world.ownerKey }),
    {
      file,
      organization: undefined,
      name: undefined,
      restart: false,
      maxFailures: 1_000,
      failuresFile: undefined,
      signal: new AbortController().signal,
      ...options,
    },
    input,
    progress,
  )
const fileOf = (content: string | Buffer) => {
  const path = join(folder, 'events.ndjson')
  writeFileSync(path, content)
  return path
}
const report = (file: string) =>
  readFileSync(`${file}.failures.ndjson`, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown)

function annals(...args: string[]) {
  const child = spawn(process.execPath, [cli, 'import', ...args], {
    env: {
      ANNALS_URL: world.url,
      ANNALS_KEY: world.ownerKey,
      ANNALS_DATA_DIR: folder,
    },
  })
  let out = ''
  let err = ''
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
  const ended = new Promise<{ code: number | null; out: string; err: string }>((resolve) =>
    child.on('close', (code) => resolve({ code, out, err })),
  )
  return { child, ended }
}

describe('a file', () => {
  test('goes in whole, and a second time nothing is left to do', async () => {
    const file = fileOf(text('org_file', 0, 2_000).trimEnd())
    expect(await importFile(file)).toMatchObject({
      accepted: 2_000,
      rejected: 0,
      resumedAfterLine: 0,
      lastLine: 2_000,
    })
    expect(await stored('org_file')).toBe(2_000)
    expect(await importFile(file)).toMatchObject({ accepted: 0, replayed: 0, resumedAfterLine: 2_000 })
    expect(await stored('org_file')).toBe(2_000)
  })

  test('sent again from its first line stores nothing twice', async () => {
    const file = fileOf(text('org_again', 0, 200))
    await importFile(file)
    expect(await importFile(file, { restart: true })).toMatchObject({ accepted: 0, replayed: 200 })
    expect(await stored('org_again')).toBe(200)
  })

  test('that has grown goes on at its new lines', async () => {
    const file = fileOf(text('org_grow', 0, 300))
    await importFile(file)
    appendFileSync(file, text('org_grow', 300, 450))
    expect(await importFile(file)).toMatchObject({ accepted: 150, resumedAfterLine: 300, lastLine: 450 })
    expect(await stored('org_grow')).toBe(450)
  })

  test('reports refused lines by number, code and path, and never what stood there', async () => {
    const good = text('org_report', 0, 1)
    const bad = JSON.stringify({ ...event('org_report', 1), actor: { type: 'user', name: 'Margarete Quux' } })
    const file = fileOf(`${good}\n{"name":"Margarete Quux"\r\n${bad}\n${good}{"trailing":`)
    expect(await importFile(file)).toMatchObject({ accepted: 2, rejected: 3, lastLine: 6 })
    expect(report(file)).toEqual(
      expect.arrayContaining([
        { line: 3, status: 400, code: 'malformed' },
        { line: 4, status: 422, code: 'invalid', errors: [{ path: 'actor.id', code: 'missing' }] },
        { line: 6, status: 400, code: 'malformed' },
      ]),
    )
    expect(readFileSync(`${file}.failures.ndjson`, 'utf8')).not.toContain('Quux')
    expect(readFileSync(`${file}.annals-import.json`, 'utf8')).not.toContain('Quux')
    // What was refused is not forgotten, nor reported twice.
    expect(await importFile(file)).toMatchObject({ accepted: 0, rejected: 3, resumedAfterLine: 6 })
    expect(report(file)).toHaveLength(3)
  })

  test('stops at the limit of refused lines, whoever refuses them', async () => {
    const file = fileOf('{"a":1}\n'.repeat(400))
    await expect(importFile(file, { maxFailures: 20 })).rejects.toMatchObject({ code: 'too_many_failures' })
    const broken = fileOf('{\n'.repeat(400))
    await expect(importFile(broken, { maxFailures: 20, restart: true })).rejects.toMatchObject({
      code: 'too_many_failures',
    })
    expect(report(broken)).toHaveLength(20)
  })

  test('keeps every byte of its numbers and texts, ids and keys of its own, under another organization too', async () => {
    const first =
      '{ "id":"evt_01h455vb4pex5vsknk084sn02q", "organizationId":"org_other", "action":"a", "occurredAt":"2025-01-01T00:00:00Z", "actor":{"type":"service","id":"s"}, "targets":[], "metadata":{"tiny":1e-300,"text":"}\\u007d"} } '
    const huge = first
      .replace('evt_01h455vb4pex5vsknk084sn02q', 'evt_01h455vb4pex5vsknk084sn02r')
      .replace('1e-300', '1e400')
    const file = fileOf(`${first}\n${huge}\n`)
    expect(await importFile(file, { organization: 'org_mine' })).toMatchObject({ accepted: 1, rejected: 1 })
    expect(report(file)).toMatchObject([
      { line: 2, errors: [{ path: 'metadata.tiny', code: 'unsafe_number' }] },
    ])
    const read = await world.request(
      'GET',
      '/v1/organizations/org_mine/events/evt_01h455vb4pex5vsknk084sn02q',
    )
    expect(read.body).toMatchObject({ metadata: { tiny: 1e-300, text: '}}' } })
    expect(await stored('org_other')).toBe(0)
    await expect(importFile(file)).rejects.toMatchObject({ code: 'wrong_state' })
  })

  test('of any length is held in constant memory: what was answered is let go of', async () => {
    const line = `${JSON.stringify({ ...event('org_long', 0), pad: 'x'.repeat(200_000) })}\n`
    const lines = 500
    const file = fileOf(line.repeat(lines))
    const held: { line: number; bytes: number }[] = []
    await importFile(file, {}, undefined, {
      ...none,
      update: ({ line: at }) => {
        if (at < (lines * (held.length + 1)) / 4) return
        collectGarbage()
        const { heapUsed, external } = process.memoryUsage()
        held.push({ line: at, bytes: heapUsed + external })
      },
    })
    const [early, late] = [held[0], held.at(-1)]
    if (early === undefined || late === undefined) throw new Error('no progress was reported')
    const read = (late.line - early.line) * line.length
    expect(read).toBeGreaterThan(40 * 1_048_576)
    expect(late.bytes - early.bytes).toBeLessThan(read / 3)
  })

  test('that is another one now is not gone on with', async () => {
    const file = fileOf(text('org_swap', 0, 100))
    await importFile(file)
    writeFileSync(file, text('org_swap', 0, 10))
    await expect(importFile(file)).rejects.toMatchObject({ code: 'wrong_state' })
  })
})

test('standard input under a name is idempotent', async () => {
  const input = () => Readable.from([Buffer.from(text('org_stdin', 0, 200))])
  const options = { name: 'history', failuresFile: join(folder, 'failures') }
  expect(await importFile('-', options, input())).toMatchObject({ accepted: 200, replayed: 0 })
  expect(await importFile('-', options, input())).toMatchObject({ accepted: 0, replayed: 200 })
  expect(existsSync(join(folder, 'failures'))).toBe(false)
})

describe('the command', () => {
  test('killed in the middle and run again loses nothing and doubles nothing', async () => {
    const count = 12_000
    const file = fileOf(text('org_kill', 0, count))
    let kills = 0
    for (const killAt of [1_500, 5_000]) {
      const { child, ended } = annals(file)
      await expect.poll(() => stored('org_kill'), { timeout: 30_000, interval: 20 }).toBeGreaterThan(killAt)
      child.kill('SIGKILL')
      if ((await ended).code === null) kills += 1
    }
    expect(kills).toBe(2)
    const state = JSON.parse(readFileSync(`${file}.annals-import.json`, 'utf8')) as { line: number }
    expect(state.line).toBeLessThan(count)
    const { code, out } = await annals(file, '--json').ended
    const result = JSON.parse(out) as { accepted: number; resumedAfterLine: number; rejected: number }
    expect([code, result.resumedAfterLine, result.rejected]).toEqual([0, state.line, 0])
    expect(await stored('org_kill')).toBe(count)
    const records = await world.api.core.events.distinct('leafHash', {
      organizationId: 'org_kill',
      category: { $ne: 'system' },
    })
    expect(records).toHaveLength(count)
    expect(statSync(file).size).toBe(
      (JSON.parse(readFileSync(`${file}.annals-import.json`, 'utf8')) as { offset: number }).offset,
    )
  })

  test('leaves with the pinned exit codes', async () => {
    const file = fileOf(text('org_exit', 0, 3))
    expect(await annals(file).ended).toMatchObject({
      code: 0,
      out: expect.stringContaining('3 stored') as string,
    })
    expect(await annals(fileOf('{}\n'), '--restart').ended).toMatchObject({
      code: 1,
      err: expect.stringContaining('1 lines were refused') as string,
    })
    expect((await annals(file, '--organization', 'a b').ended).code).toBe(2)
    expect((await annals(file, '--key', 'ak_wrong', '--restart').ended).code).toBe(5)
    expect((await annals(join(folder, 'none')).ended).code).toBe(1)
  })
})
