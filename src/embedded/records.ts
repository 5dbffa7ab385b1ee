/**
 * What a killed `annals up` leaves behind: each server it starts is recorded in `run/<name>.json` of the data
 * folder, and the next start ends those that still run before it starts its own.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { identifyProcess, stillRuns } from './process-table.js'
import { signalGroup, type ServerProcess } from './server-process.js'

const recordSchema = z.object({ pid: z.int().positive(), startedAt: z.string(), command: z.string() })
const graceMs = 15_000

/** Records a process until it has ended. Synchronous, so that hardly any death of ours falls between start and record. */
export function recordProcess(dataDirectory: string, name: string, server: ServerProcess): void {
  const identity = identifyProcess(server.pid)
  if (identity === undefined) return
  const folder = join(dataDirectory, 'run')
  const file = join(folder, `${name}.json`)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  writeFileSync(file, JSON.stringify(identity), { mode: 0o600 })
  void server.exited.then(() => {
    // A successor may have been recorded meanwhile.
    if (readRecord(file)?.pid === server.pid) rmSync(file, { force: true })
  })
}

/**
 * Ends the recorded processes that still run. A process counts as ours only where its id, start time and command
 * line (which names the data folder) are all as recorded.
 * @returns the names of those that were found running
 */
export async function stopLeftovers(dataDirectory: string): Promise<string[]> {
  const folder = join(dataDirectory, 'run')
  const files = readFolder(folder).filter((file) => file.endsWith('.json'))
  const stopped = await Promise.all(
    files.map(async (file) => {
      const record = readRecord(join(folder, file))
      const running = record !== undefined && stillRuns(record)
      if (running) {
        signalGroup(record.pid, 'SIGTERM')
        const deadline = Date.now() + graceMs
        while (stillRuns(record) && Date.now() < deadline) await sleep(50)
        if (stillRuns(record)) signalGroup(record.pid, 'SIGKILL')
        while (stillRuns(record)) await sleep(50)
      }
      rmSync(join(folder, file), { force: true })
      return running ? [file.slice(0, -'.json'.length)] : []
    }),
  )
  return stopped.flat()
}

/** Ends every recorded process at once, without waiting: for the second Ctrl-C. */
export function killRecorded(dataDirectory: string): void {
  const folder = join(dataDirectory, 'run')
  for (const file of readFolder(folder)) {
    const record = readRecord(join(folder, file))
    if (record !== undefined && stillRuns(record)) signalGroup(record.pid, 'SIGKILL')
    rmSync(join(folder, file), { force: true })
  }
}

function readFolder(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function readRecord(file: string): z.infer<typeof recordSchema> | undefined {
  try {
    return recordSchema.parse(JSON.parse(readFileSync(file, 'utf8')))
  } catch {
    // Unreadable or half-written: a record that names no process.
    return undefined
  }
}
