/**
 * One mongod and one Temporal server for a whole test run, through the same module as `annals up`, in a temporary
 * folder. ANNALS_MONGODB_URI and ANNALS_TEMPORAL_ADDRESS replace either. Runs only when a test that needs servers
 * is selected (vitest.config.ts).
 */
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { loadConfig } from '../../src/config.js'
import { lockDataDirectory } from '../../src/embedded/lock.js'
import { stopLeftovers } from '../../src/embedded/records.js'
import type { ServerProcess } from '../../src/embedded/server-process.js'
import { both, prepareMongod, prepareTemporal } from '../../src/embedded/servers.js'
import type {} from './servers.js'

/** Of the folders in which test runs keep servers. */
export const serversPrefix = 'annals-test-servers-'

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const config = loadConfig()
  await sweepKilledRuns()
  const dataDirectory = mkdtempSync(join(tmpdir(), serversPrefix))
  const lock = lockDataDirectory(dataDirectory)
  const plan = {
    dataDirectory,
    cacheDirectory: config.cacheDirectory,
    preferredPort: 0,
    progress: (line: string) => process.stderr.write(`${line}\n`),
  }
  const started: ServerProcess[] = []
  const start = async <Running extends ServerProcess>(prepared: Promise<() => Promise<Running>>) => {
    const running = await (await prepared)()
    started.push(running)
    return running
  }
  const teardown = async () => {
    await Promise.all(started.map((server) => server.stop()))
    lock.release()
    rmSync(dataDirectory, { recursive: true, force: true })
  }
  try {
    const { mongodb, binaries, temporal } = config
    const [uri, address] = await both(
      mongodb.uri ?? start(prepareMongod({ ...plan, binary: binaries.mongod })).then((server) => server.uri),
      temporal.address ??
        start(prepareTemporal({ ...plan, binary: binaries.temporal, namespace: 'annals' })).then(
          (server) => server.address,
        ),
    )
    project.provide('mongoUri', uri)
    project.provide('temporalAddress', address)
  } catch (error) {
    await teardown()
    throw error
  }
  return teardown
}

/** A run that was killed could stop nothing; the next one does it, where no living run holds the folder. */
async function sweepKilledRuns(): Promise<void> {
  for (const name of readdirSync(tmpdir()).filter((entry) => entry.startsWith(serversPrefix))) {
    const folder = join(tmpdir(), name)
    // Between making the folder and locking it, a run that just starts has no lock yet.
    if (Date.now() - statSync(folder).mtimeMs < 10_000) continue
    try {
      lockDataDirectory(folder)
    } catch {
      continue
    }
    await stopLeftovers(folder)
    rmSync(folder, { recursive: true, force: true })
  }
}
