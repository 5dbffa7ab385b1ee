/** `annals serve` as a process of its own, as `annals up` and a container run it. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { childEnvironment } from '../../src/config.js'
import { openWorld, worldEnvironment, type World } from '../support/world.js'

const entryFile = new URL('../../dist/src/cli/main.js', import.meta.url)
let world: World
const children: ChildProcess[] = []

beforeAll(async () => {
  world = await openWorld()
})
afterAll(async () => {
  for (const child of children) if (child.exitCode === null) child.kill('SIGKILL')
  await world.close()
})

interface Served {
  readonly child: ChildProcess
  readonly url: string
  readonly exit: Promise<number | null>
  readonly output: () => string
}

async function serve(port = '0'): Promise<Served> {
  const { dataDirectory, mongodb } = world.config
  const env = { ...worldEnvironment(dataDirectory, mongodb.database), ANNALS_HTTP_PORT: port }
  const child = fork(entryFile, ['serve'], {
    env: childEnvironment(env),
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  children.push(child)
  let output = ''
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const exit = once(child, 'exit').then(() => child.exitCode)
  const ready = new Promise<string>((resolve) => {
    child.on('message', (message: { type: string; url: string }) => {
      if (message.type === 'ready') resolve(message.url)
    })
  })
  const url = await Promise.race([ready, exit.then(() => '')])
  return { child, url, exit, output: () => output }
}

it('tells its parent where it is, serves, and leaves with 0 after SIGTERM', async () => {
  const { child, url, exit, output } = await serve()
  expect((await fetch(`${url}/readyz`)).status).toBe(200)
  child.kill('SIGTERM')
  expect(await exit).toBe(0)
  expect(output()).toContain('serve.draining')
})

it('stops when its parent goes away', async () => {
  const { child, url, exit } = await serve()
  expect((await fetch(`${url}/healthz`)).status).toBe(200)
  child.disconnect()
  expect(await exit).toBe(0)
})

it('says which port is busy, and leaves with 1', async () => {
  const { exit, output } = await serve(new URL(world.url).port)
  expect(await exit).toBe(1)
  expect(output()).toContain('is in use by another process')
})
