/** What the benchmarks share: the deployment under test, servers in processes of their own, rows of figures. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Config } from '../src/config.js'
import { quantile, type LoadResult } from './http-load.js'

export interface BenchWorld {
  readonly config: Config
  /** The environment of a server process on the same database. */
  readonly environment: Readonly<Record<string, string>>
  /** An owner's key. */
  readonly key: string
  /** Of one measured run. */
  readonly durationMs: number
  readonly rounds: number
  /** Of single posts. */
  readonly connections: number
  readonly say: (line: string) => void
}

export interface Usage {
  /** Microseconds of CPU since the start. */
  readonly cpu: number
  /** Bytes of memory now. */
  readonly rss: number
}

export interface BenchServer {
  readonly port: number
  usage(): Promise<Usage>
  stop(): void
}

/** Starts one of the servers of `server.ts`. */
export async function startBenchServer(kind: string, { environment }: BenchWorld): Promise<BenchServer> {
  const child: ChildProcess = fork(fileURLToPath(new URL('./server.js', import.meta.url)), [kind], {
    env: environment,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const port = await new Promise<number>((resolve, reject) => {
    child.once('message', (message: { port: number }) => resolve(message.port))
    child.once('exit', () => reject(new Error(`the ${kind} server did not start`)))
  })
  return {
    port,
    async usage() {
      const answer = once(child, 'message') as Promise<[Usage]>
      child.send('usage')
      return (await answer)[0]
    },
    stop: () => child.kill('SIGKILL'),
  }
}

/** Requests a second. */
export const rate = ({ requests, seconds }: LoadResult) => requests / seconds

/** The middle one of several runs, by requests a second. */
export function middle(results: readonly LoadResult[]): LoadResult {
  const sorted = [...results].sort((a, b) => rate(a) - rate(b))
  const result = sorted[Math.floor(sorted.length / 2)]
  if (result === undefined) throw new Error('nothing was measured')
  return result
}

/** One line: a name, a rate, latencies, and failures if there were any. */
export function row(name: string, perSecond: number, result: LoadResult): string {
  const ms = (share: number) => quantile(result.latencies, share).toFixed(1).padStart(8)
  const failed = result.failures === 0 ? '' : `  ${String(result.failures)} FAILED`
  return `${name.padEnd(34)}${perSecond.toFixed(0).padStart(9)}/s   p50 ${ms(0.5)} ms   p99 ${ms(0.99)} ms${failed}`
}

export const jsonHeaders = (key: string) => ({
  authorization: `Bearer ${key}`,
  'content-type': 'application/json',
})
