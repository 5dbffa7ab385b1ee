/**
 * A process that erases is killed (SIGKILL) behind each step in turn: what the step did is on the disks, and nothing says
 * so. The next process goes on from there. One request dies as many times as there are steps.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { childEnvironment } from '../../src/config.js'
import { erasingSteps } from '../../src/erasure/progress.js'
import { verifyServer } from '../../src/verification/run.js'
import {
  archiveAll,
  canary,
  canaryIdentifiers,
  hitsOf,
  person,
  post,
  spread,
} from '../support/archived-person.js'
import { checkErasure } from '../support/erasure-oracle.js'
import { erasingRun } from '../support/erasing.js'
import { mongoUri, temporalAddress } from '../support/servers.js'
import { drainUntilSealed } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'

const organizationId = 'org_killed'
let world: World
let folder: string
let program: string

/** Runs the steps of a request over the built product, as the worker does, and dies behind the first that none died at. */
const source = (dist: (path: string) => string) => `
import { createErasing } from ${dist('erasure/erasing.js')}
import { openCore } from ${dist('composition.js')}
import { loadConfig } from ${dist('config.js')}
import { createLogger } from ${dist('logging.js')}

process.once('message', async ({ environment, opened, died }) => {
  const core = await openCore(loadConfig(environment), createLogger('silent'))
  const { deps } = core.erasing
  const progress = {
    ...deps.progress,
    once: (request, step, work) =>
      deps.progress.once(request, step, async () => {
        await work()
        if (died.includes(step)) return
        process.send(step, () => process.kill(process.pid, 'SIGKILL'))
        await new Promise(() => undefined)
      }),
  }
  const whole = { ...opened, submittedAt: new Date(opened.submittedAt) }
  const requests = { open: () => Promise.resolve(whole), saveScope: () => Promise.resolve() }
  const erasing = createErasing({ ...deps, progress, requests })
  const request = { organizationId: opened.organizationId, requestId: opened.requestId }
  const beat = () => undefined
  await erasing.fence(request, beat)
  await erasing.prepare(request, beat)
  await erasing.erase(request, beat)
  process.send(await erasing.verify(request, beat), () => process.exit(0))
})
`

beforeAll(async () => {
  world = await openWorld()
  folder = await mkdtemp(join(tmpdir(), 'annals-killed-'))
  program = join(folder, 'erase.mjs')
  await writeFile(
    program,
    source((path) => JSON.stringify(pathToFileURL(resolve('dist/src', path)).href)),
  )
})
afterAll(async () => {
  await world.close()
  await rm(folder, { recursive: true, force: true })
})

/** @returns how the process ended, and what it found last */
async function erase(
  opened: object,
  died: readonly unknown[],
): Promise<{ signal: string | null; said: unknown }> {
  const { config } = world
  const environment = {
    ANNALS_MONGODB_URI: mongoUri(),
    ANNALS_MONGODB_DATABASE: config.mongodb.database,
    ANNALS_TEMPORAL_ADDRESS: temporalAddress(),
    ANNALS_DATA_DIR: config.dataDirectory,
  }
  const child = fork(program, { env: childEnvironment({}), stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  let said: unknown
  child.on('message', (message) => {
    said = message
  })
  const ended = once(child, 'exit') as Promise<[number | null, string | null]>
  child.send({ environment, opened, died })
  const [code, signal] = await ended
  if (signal === null) expect(code).toBe(0)
  return { signal, said }
}

test('killed behind every step, an erasure goes on from there, and forgets the person once and wholly', async () => {
  const { core } = world.api
  await spread(world, organizationId)
  await archiveAll(world, organizationId)
  await spread(world, organizationId)
  await drainUntilSealed(core, organizationId)
  await post(world, organizationId, { actor: person, description: `pending: ${canary.email}` })
  await spread(world, 'org_alive')
  await drainUntilSealed(core, 'org_alive')
  const others = await hitsOf(world, 'org_alive')
  const hot = await core.events.countDocuments({ organizationId, category: { $ne: 'system' } })

  const run = erasingRun(core, organizationId, canaryIdentifiers)
  expect(await run.scope()).toBe('matched')
  const died: unknown[] = []
  for (;;) {
    const { signal, said } = await erase(run.opened, died)
    await checkErasure(core, run, hot)
    if (signal === null) {
      expect(said).toEqual({ result: 'clean' })
      break
    }
    expect(signal).toBe('SIGKILL')
    died.push(said)
  }
  // Each was reached, with its work done and nothing to say so.
  expect(died.toSorted()).toEqual(erasingSteps.toSorted())

  expect(await hitsOf(world, organizationId)).toEqual([])
  expect(await hitsOf(world, 'org_alive')).toEqual(others)
  for (const action of ['annals.subject.erasure_started', 'annals.subject.erased'])
    expect(await core.events.countDocuments({ organizationId, action }), action).toBe(1)
  const entries: string[] = []
  for await (const { requestId } of core.erasing.deps.ledger.entries(organizationId)) entries.push(requestId)
  expect(entries).toEqual([run.requestId])
  await drainUntilSealed(core, organizationId)
  const { report } = await verifyServer({
    url: world.url,
    key: world.ownerKey,
    organization: organizationId,
    logKeys: [],
    values: true,
  })
  expect(report.findings).toEqual([])
  expect(report.fields.missing).toBe(0)
  expect(report.fields.erased).toBeGreaterThan(10)
}, 300_000)
