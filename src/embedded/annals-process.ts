/** `annals serve` and `annals work` as children of `annals up`, with a channel on which they say that they are ready. */
import { fork } from 'node:child_process'
import { z } from 'zod'
import { childEnvironment } from '../config.js'
import { AnnalsError } from '../errors.js'
import type { LogFile } from './log-file.js'
import { adoptChild, describeExit, type ServerProcess } from './server-process.js'

const readySchema = z.object({ type: z.literal('ready'), url: z.string().optional() })

export interface AnnalsProcessOptions {
  readonly name: string
  /** The CLI's entry file, the one this process runs from. */
  readonly entryFile: string
  readonly args: readonly string[]
  /** What differs from this process's own environment. */
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly log: LogFile
  readonly readyTimeoutMs: number
  /** Above the child's own limit for draining. */
  readonly graceMs: number
  readonly onSpawn?: (server: ServerProcess) => void
}

export interface AnnalsProcess extends ServerProcess {
  /** Where it serves, as it says itself. */
  readonly url: string | undefined
}

/**
 * Starts the child and waits for its `{type: 'ready'}`. The child ends by itself when the channel closes, so that
 * `kill -9` of this process leaves none behind.
 * @throws AnnalsError `unavailable` where it ends or stays silent; nothing is left running then
 */
export async function startAnnalsProcess(options: AnnalsProcessOptions): Promise<AnnalsProcess> {
  const { name, log, graceMs, readyTimeoutMs } = options
  const child = fork(options.entryFile, options.args, {
    detached: true,
    env: childEnvironment(options.environment),
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  const ready = new Promise<string | undefined>((resolve) => {
    child.on('message', (message) => {
      const parsed = readySchema.safeParse(message)
      if (parsed.success) resolve(parsed.data.url)
    })
  })
  const server = await adoptChild(child, { name, log, graceMs })
  options.onSpawn?.(server)
  let timer: NodeJS.Timeout | undefined
  try {
    const url = await Promise.race([
      ready,
      server.exited.then((exit) => {
        const tail = server.logTail().slice(-5).join('\n  ')
        throw new AnnalsError('unavailable', `${name} did not start (${describeExit(exit)}):\n  ${tail}`)
      }),
      new Promise<never>((_resolve, reject) => {
        timer = setTimeout(
          () =>
            reject(new AnnalsError('unavailable', `${name} was not ready in ${readyTimeoutMs / 1_000} s`)),
          readyTimeoutMs,
        )
      }),
    ])
    return { ...server, url }
  } catch (error) {
    await server.stop()
    throw error
  } finally {
    clearTimeout(timer)
  }
}
