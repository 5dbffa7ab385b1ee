/**
 * A process that archives one range when it is asked to, as a worker does it, and says how long each step took and how
 * large the process grew. By itself, so that its memory is its own.
 */
import { openCore } from '../src/composition.js'
import { loadConfig } from '../src/config.js'
import { createLogger } from '../src/logging.js'
import type { ArchiveInput } from '../src/retention/contract.js'

export interface ArchivingFigures {
  readonly seconds: { readonly write: number; readonly verify: number; readonly remove: number }
  /** Of CPU, over all steps, threads that pack included: what it costs however busy the machine is. */
  readonly cpuSeconds: number
  readonly peakBytes: number
  readonly idleBytes: number
  readonly deleted: number
  readonly hotBytes: number
  readonly archivedBytes: number
}

const sampleEveryMs = 50

async function archive(range: ArchiveInput): Promise<ArchivingFigures> {
  const core = await openCore(loadConfig(), createLogger('silent'))
  const { archiver } = core.archiving
  const idleBytes = process.memoryUsage.rss()
  let peakBytes = idleBytes
  const sampling = setInterval(() => {
    peakBytes = Math.max(peakBytes, process.memoryUsage.rss())
  }, sampleEveryMs)
  const before = process.cpuUsage()
  try {
    const write = await timed(() => archiver.write(range))
    const verify = await timed(async () => {
      await archiver.verify(range)
      await archiver.record(range)
    })
    let done = { deleted: 0, hot: 0, archived: 0 }
    const remove = await timed(async () => {
      const { counts, bytes } = await archiver.remove(range)
      done = { deleted: counts.deleted ?? 0, hot: bytes.hot ?? 0, archived: bytes.archived ?? 0 }
    })
    const { deleted, hot: hotBytes, archived: archivedBytes } = done
    const { user, system } = process.cpuUsage(before)
    const cpuSeconds = (user + system) / 1e6
    return {
      seconds: { write, verify, remove },
      cpuSeconds,
      peakBytes,
      idleBytes,
      deleted,
      hotBytes,
      archivedBytes,
    }
  } finally {
    clearInterval(sampling)
    await core.close()
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await work()
  return (performance.now() - startedAt) / 1_000
}

process.once('message', (range: ArchiveInput) => {
  archive(range).then(
    (figures) => process.send?.(figures, () => process.disconnect()),
    (error: unknown) => {
      process.stderr.write(`${String(error)}\n`)
      process.exit(1)
    },
  )
})
