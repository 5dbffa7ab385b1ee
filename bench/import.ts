/**
 * `annals import` of a large file: as events a second, and as memory, which must not grow with the file. In mid-import it
 * is killed with SIGKILL and started again; nothing may be lost or doubled.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { openCore } from '../src/composition.js'
import { createLogger } from '../src/logging.js'
import { sampleEvents } from './data.js'
import { startBenchServer, type BenchWorld } from './harness.js'

const organizationId = 'org_import'
const sampleEveryMs = 250
const mebibyte = 1_048_576

export async function benchImport(world: BenchWorld, { events }: { events: number }): Promise<void> {
  const { say } = world
  const file = join(world.config.dataDirectory, 'import.ndjson')
  await pipeline(Readable.from(lines(events)), createWriteStream(file))
  const bytes = (await stat(file)).size
  say(
    `\nImport of ${String(events)} sample events, ${(bytes / mebibyte).toFixed(0)} MiB, killed once on the way:`,
  )
  const core = await openCore(world.config, createLogger('silent'))
  const stored = () => core.events.countDocuments({ organizationId, category: { $ne: 'system' } })
  const server = await startBenchServer('annals', world)
  const startedAt = performance.now()
  const first = importing(world, file, server.port)
  const memory: { client: number; server: number; share: number }[] = []
  const watch = async (child: ChildProcess) => {
    while (child.exitCode === null && child.signalCode === null) {
      const count = await core.events.estimatedDocumentCount()
      const client = await residentBytes(child.pid)
      if (client !== undefined)
        memory.push({ client, server: (await server.usage()).rss, share: count / events })
      await sleep(sampleEveryMs)
    }
  }
  const watching = watch(first)
  while ((await core.events.estimatedDocumentCount()) < events / 3) await sleep(sampleEveryMs)
  first.kill('SIGKILL')
  await watching
  const second = importing(world, file, server.port)
  await Promise.all([watch(second), once(second, 'exit')])
  const seconds = (performance.now() - startedAt) / 1_000
  server.stop()
  const count = await stored()
  await core.close()
  const peak = (who: 'client' | 'server', from: number, to: number) =>
    Math.max(0, ...memory.filter(({ share }) => share >= from && share < to).map((at) => at[who])) / mebibyte
  say(
    `  ${(events / seconds).toFixed(0)} events/s with the kill; stored ${String(count)}, exit ${String(second.exitCode)}`,
  )
  for (const who of ['client', 'server'] as const) {
    const name = who === 'client' ? 'annals import' : 'the API'
    say(
      `  memory of ${name}, peak in MiB by third: ${[0, 1, 2].map((third) => peak(who, third / 3, (third + 1) / 3 + (third === 2 ? 1 : 0)).toFixed(0)).join(', ')}`,
    )
  }
}

function* lines(events: number): Generator<string> {
  const samples = sampleEvents()
  const texts = samples.map((sample) => JSON.stringify({ ...sample, organizationId }))
  const block = 500
  for (let from = 0; from < events; from += block) {
    let text = ''
    for (let index = from; index < Math.min(events, from + block); index += 1)
      text += `${texts[index % texts.length] ?? ''}\n`
    yield text
  }
}

function importing({ environment, key }: BenchWorld, file: string, port: number): ChildProcess {
  const main = fileURLToPath(new URL('../src/cli/main.js', import.meta.url))
  const url = `http://127.0.0.1:${String(port)}`
  return fork(main, ['import', file, '--url', url, '--json'], {
    env: { ...environment, ANNALS_KEY: key },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
}

/** undefined where the process is gone, or the system does not say (Linux does). */
async function residentBytes(pid: number | undefined): Promise<number | undefined> {
  const status = await readFile(`/proc/${String(pid)}/status`, 'utf8').catch(() => undefined)
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(status ?? '')?.[1]
  return kibibytes === undefined ? undefined : Number(kibibytes) * 1_024
}
