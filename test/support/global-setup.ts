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
import { allOrNone, prepareMongod, prepareTemporal } from '../../src/embedded/servers.js'
import type {} from './servers.js'

const prefix = 'annals-test-servers-'

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const config = loadConfig()
  await sweepKilledRuns()
  const dataDirectory = mkdtempSync(join(tmpdir(), prefix))
  const lock = lockDataDirectory(dataDirectory)
  const plan = {
    dataDirectory,
    cacheDirectory: config.cacheDirectory,
    preferredPort: 0,
    progress: (line: string) => process.stderr.write(`${line}\n`),
  }
  const [mongod, temporal] = await allOrNone(
    config.mongodb.uri === undefined
      ? prepareMongod({ ...plan, binary: config.binaries.mongod }).then((start) => start())
      : Promise.resolve({ uri: config.mongodb.uri, stop: () => Promise.resolve() }),
    config.temporal.address === undefined
      ? prepareTemporal({ ...plan, binary: config.binaries.temporal, namespace: 'annals' }).then((start) =>
          start(),
        )
      : Promise.resolve({ address: config.temporal.address, stop: () => Promise.resolve() }),
  )
  project.provide('mongoUri', mongod.uri)
  project.provide('temporalAddress', temporal.address)
  return async () => {
    await Promise.all([mongod.stop(), temporal.stop()])
    lock.release()
    rmSync(dataDirectory, { recursive: true, force: true })
  }
}

/** A run that was killed could stop nothing; the next one does it, where no living run holds the folder. */
async function sweepKilledRuns(): Promise<void> {
  for (const name of readdirSync(tmpdir()).filter((entry) => entry.startsWith(prefix))) {
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
