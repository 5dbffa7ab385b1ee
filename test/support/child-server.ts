/** Servers that a test starts as children of its own: on a port, and answering there before anything goes on. */
import { portAnswers } from '../../src/embedded/ports.js'
import { spawnServer, type ServerProcess, type SpawnOptions } from '../../src/embedded/server-process.js'

/** A busy machine needs its time. */
const startTimeoutMs = 60_000

/**
 * Starts a server that listens on the port. One that ends before it answers says why; nothing is left running then.
 * @param onSpawn called at once, long before it answers
 */
export async function startOnPort(
  port: number,
  options: SpawnOptions,
  onSpawn?: (server: ServerProcess) => void,
): Promise<ServerProcess> {
  const server = await spawnServer(options)
  onSpawn?.(server)
  const giveUp = new AbortController()
  try {
    await Promise.race([
      portAnswers(port, AbortSignal.any([giveUp.signal, AbortSignal.timeout(startTimeoutMs)])),
      server.exited.then(() => {
        throw new Error(`${options.name} did not start:\n${server.logTail().join('\n')}`)
      }),
    ])
    return server
  } catch (error) {
    await server.stop()
    throw error
  } finally {
    giveUp.abort()
  }
}
