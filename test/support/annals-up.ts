/** `annals up` as a user runs it, in a process and a data folder of its own. Needs the built `dist/`. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { childEnvironment } from '../../src/config.js'

export interface RunningUp {
  readonly apiUrl: string
  /** On the first start of a data folder. */
  readonly firstKey: string | undefined
  readonly mongodbUri: string
  readonly temporalAddress: string
  /** The process id of a part: `mongod`, `temporal`, `serve`, `work`. Changes when it is restarted. */
  pid(part: string): number
  /** `kill -9` of `up` itself and of everything it started. */
  killEverything(): void
  /** As Ctrl-C; resolves with the exit code. */
  stop(): Promise<number | null>
}

export async function startUp(dataDirectory: string): Promise<RunningUp> {
  const child = spawn(process.execPath, [resolve('dist/src/cli/main.js'), 'up', '--json'], {
    env: childEnvironment({
      ANNALS_DATA_DIR: dataDirectory,
      ANNALS_HTTP_PORT: '0',
      ANNALS_TEMPORAL_UI_PORT: '0',
      ANNALS_LOG_LEVEL: 'info',
    }),
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  const notes: string[] = []
  child.stderr.on('data', (chunk: Buffer) => notes.push(chunk.toString()))
  const lines = createInterface({ input: child.stdout })
  const first = await Promise.race([once(lines, 'line'), once(child, 'exit').then(() => undefined)])
  if (first === undefined) throw new Error(`annals up did not start:\n${notes.join('')}`)
  const report = JSON.parse(String(first[0])) as { api: string; firstKey: string | null }
  const addresses = JSON.parse(readFileSync(join(dataDirectory, 'run.json'), 'utf8')) as {
    mongodbUri: string
    temporalAddress: string
  }
  const pid = (part: string) =>
    (JSON.parse(readFileSync(join(dataDirectory, 'run', `${part}.json`), 'utf8')) as { pid: number }).pid
  return {
    apiUrl: report.api,
    firstKey: report.firstKey ?? undefined,
    ...addresses,
    pid,
    killEverything() {
      const parts = ['serve', 'work', 'mongod', 'temporal'].map(pid)
      for (const one of [child.pid ?? 0, ...parts]) process.kill(one, 'SIGKILL')
    },
    async stop() {
      if (child.exitCode !== null) return child.exitCode
      const exited = once(child, 'exit')
      child.kill('SIGINT')
      await exited
      return child.exitCode
    },
  }
}
