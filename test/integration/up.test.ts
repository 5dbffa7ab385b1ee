/** `annals up` as a person runs it: the built program in a process of its own, on a fresh data folder. */
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { childEnvironment } from '../../src/config.js'
import { identifyProcess, type ProcessIdentity } from '../../src/embedded/process-table.js'
import { freePort } from '../../src/embedded/ports.js'

const program = resolve('dist/src/cli/main.js')
const reportSchema = z.object({
  api: z.string(),
  docs: z.string(),
  openapi: z.string(),
  temporalUi: z.string().nullable(),
  firstKey: z.string().nullable(),
})

interface RunningUp {
  readonly process: ChildProcess
  readonly report: z.infer<typeof reportSchema>
  readonly notes: () => string
  /** Exit code. */
  readonly ended: Promise<number | null>
}

describe('annals up', () => {
  let folder: string
  let port: number
  let up: RunningUp
  let key: string
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'annals-up-'))
    port = await freePort(0)
  })
  afterAll(async () => {
    for (const { pid } of recorded()) if (identifyProcess(pid)) process.kill(-pid, 'SIGKILL')
    if (up.process.exitCode === null) up.process.kill('SIGKILL')
    await up.ended
    rmSync(folder, { recursive: true, force: true })
  })

  const environment = () =>
    childEnvironment({
      ANNALS_DATA_DIR: join(folder, 'data'),
      ANNALS_HTTP_PORT: String(port),
      ANNALS_TEMPORAL_UI_PORT: '0',
      ANNALS_MONGODB_URI: undefined,
      ANNALS_TEMPORAL_ADDRESS: undefined,
      ANNALS_ADMIN_KEY: undefined,
    })
  const launch = (args: readonly string[]) => {
    const child = spawn(process.execPath, [program, 'up', ...args], {
      env: environment(),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const texts = { out: '', error: '' }
    child.stdout.setEncoding('utf8').on('data', (text: string) => (texts.out += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (texts.error += text))
    const ended = new Promise<number | null>((done) => child.once('close', done))
    return { child, texts, ended }
  }
  const start = async (): Promise<RunningUp> => {
    const { child, texts, ended } = launch(['--json'])
    const firstLine = async () => {
      while (!texts.out.includes('\n')) await sleep(50)
    }
    await Promise.race([
      firstLine(),
      ended.then((code) => {
        throw new Error(`annals up ended with ${code ?? 'a signal'}: ${texts.error}`)
      }),
    ])
    const report = reportSchema.parse(JSON.parse(texts.out))
    return { process: child, report, notes: () => texts.error, ended }
  }
  /** The processes under `up`, as it recorded them itself. */
  const recorded = (): ProcessIdentity[] => {
    const run = join(folder, 'data', 'run')
    if (!existsSync(run)) return []
    return readdirSync(run).map((file) => {
      const record = z.object({ pid: z.number(), startedAt: z.string(), command: z.string() })
      return record.parse(JSON.parse(readFileSync(join(run, file), 'utf8')))
    })
  }
  const recordedPid = (name: string) =>
    z
      .object({ pid: z.number() })
      .parse(JSON.parse(readFileSync(join(folder, 'data', 'run', `${name}.json`), 'utf8'))).pid
  const authorized = { authorization: '' }
  const post = async (action: string) => {
    const response = await fetch(`${up.report.api}/v1/events`, {
      method: 'POST',
      headers: { ...authorized, 'content-type': 'application/json' },
      body: JSON.stringify({
        organizationId: 'org_demo',
        action,
        occurredAt: new Date().toISOString(),
        actor: { type: 'user', id: 'u_17', email: 'jane@demo.example' },
        targets: [],
      }),
    })
    expect(response.status).toBe(201)
  }
  const actions = async () => {
    const response = await fetch(`${up.report.api}/v1/organizations/org_demo/events`, { headers: authorized })
    expect(response.status).toBe(200)
    const page = z.object({ data: z.array(z.object({ action: z.string() })) }).parse(await response.json())
    return page.data.map((event) => event.action)
  }
  const killEverything = async () => {
    const everything = recorded()
    expect(everything).toHaveLength(4)
    up.process.kill('SIGKILL')
    for (const { pid } of everything) process.kill(pid, 'SIGKILL')
    await up.ended
  }

  test('starts everything on an empty folder; an event posted with the first key is read back', async () => {
    up = await start()
    expect(up.report.api).toBe(`http://127.0.0.1:${port}`)
    key = up.report.firstKey ?? ''
    expect(key).not.toBe('')
    authorized.authorization = `Bearer ${key}`
    await post('first.event')
    expect(await actions()).toContain('first.event')
    for (const page of [up.report.docs, up.report.openapi, up.report.temporalUi ?? '']) {
      expect((await fetch(page)).status).toBe(200)
    }
  })

  test('a second start on the same folder is refused and names the first', async () => {
    const { texts, ended } = launch([])
    expect(await ended).toBe(4)
    expect(texts.error).toContain(`process ${up.process.pid ?? 0}`)
  })

  test('an API that is killed comes back on its port, and so does a worker', async () => {
    for (const name of ['serve', 'work']) {
      process.kill(recordedPid(name), 'SIGKILL')
      await expect.poll(up.notes, { timeout: 30_000 }).toContain(`annals ${name}: runs again`)
    }
    expect(await actions()).toContain('first.event')
  })

  test('after kill -9 of everything the next start has all data, and no new first key', async () => {
    await post('second.event')
    await killEverything()
    up = await start()
    expect(up.report.firstKey).toBeNull()
    expect(await actions()).toEqual(expect.arrayContaining(['first.event', 'second.event']))
  })

  test('after kill -9 of itself alone, API and worker end by themselves and the servers are taken care of', async () => {
    const children = recorded()
    const apart = [recordedPid('serve'), recordedPid('work')]
    up.process.kill('SIGKILL')
    await up.ended
    await expect.poll(() => apart.filter((pid) => identifyProcess(pid)), { timeout: 40_000 }).toEqual([])
    up = await start()
    expect(up.notes()).toContain('mongod: one was left over')
    expect(children.filter(({ pid }) => identifyProcess(pid))).toEqual([])
    expect(await actions()).toContain('second.event')
  })

  test('Ctrl-C stops everything and leaves no process; a busy port then gives another, said aloud', async () => {
    const children = recorded()
    up.process.kill('SIGINT')
    expect(await up.ended).toBe(0)
    expect(children.filter(({ pid }) => identifyProcess(pid))).toEqual([])
    expect(recorded()).toEqual([])

    const blocker = createServer((socket) => socket.destroy())
    await new Promise<void>((listening) => blocker.listen(port, '127.0.0.1', listening))
    up = await start()
    expect(up.report.api).not.toBe(`http://127.0.0.1:${port}`)
    expect(up.notes()).toContain(`API: port ${port} is in use, taking`)
    expect(await actions()).toContain('second.event')
    blocker.close()
  })

  test('goes on when nobody reads what it prints, and a second signal forces the end', async () => {
    up.process.stdout?.destroy()
    up.process.stderr?.destroy()
    process.kill(recordedPid('serve'), 'SIGKILL')
    const before = recordedPid('work')
    await sleep(1_500)
    expect(up.process.exitCode).toBeNull()
    expect(recordedPid('work')).toBe(before)
    const children = recorded()
    // Two that differ: of two alike that wait to be taken, a process sees one.
    up.process.kill('SIGTERM')
    up.process.kill('SIGINT')
    expect(await up.ended).toBe(130)
    await expect.poll(() => children.filter(({ pid }) => identifyProcess(pid))).toEqual([])
  })

  test('a start that is called off stops what it had started', async () => {
    const { child, texts, ended } = launch([])
    while (!texts.error.includes('starting …')) await sleep(10)
    child.kill('SIGINT')
    expect(await ended).toBe(0)
    expect(recorded()).toEqual([])
    expect(texts.out).toBe('')
  })
})
