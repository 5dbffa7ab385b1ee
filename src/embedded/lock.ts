/** One `annals up` per data folder. */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { AnnalsError } from '../errors.js'
import { identifyProcess } from './process-table.js'

const holderSchema = z.object({ pid: z.int().positive(), startedAt: z.string() })

export interface DataLock {
  release(): void
}

/**
 * Locks the folder (made where it does not exist) for this process. The lock of a process that is gone, even by
 * `kill -9`, is taken over.
 * @throws AnnalsError `unavailable`, naming the process that holds it
 */
export function lockDataDirectory(dataDirectory: string): DataLock {
  mkdirSync(dataDirectory, { recursive: true, mode: 0o700 })
  const path = join(dataDirectory, 'up.lock')
  const draft = `${path}.${process.pid}`
  const aside = `${draft}.stale`
  const mine = JSON.stringify({ pid: process.pid, startedAt: identifyProcess(process.pid)?.startedAt ?? '' })
  writeFileSync(draft, mine, { mode: 0o600 })
  try {
    for (let attempt = 0; attempt < 10; attempt += 1) {
      // A link appears whole or not at all: nobody ever reads a lock without its holder.
      if (succeeds(() => linkSync(draft, path), 'EEXIST')) return { release: () => release(path, mine) }
      const text = readIfThere(path)
      if (text === undefined) continue
      const holder = parseHolder(text)
      if (holder !== undefined && identifyProcess(holder.pid)?.startedAt === holder.startedAt) {
        throw new AnnalsError(
          'unavailable',
          `another "annals up" (process ${holder.pid}) already runs on ${dataDirectory}; ` +
            'stop it first, or give this one another ANNALS_DATA_DIR',
        )
      }
      if (!succeeds(() => renameSync(path, aside), 'ENOENT')) continue
      // Two starts may have read the same stale lock. Where the other one was quicker, what we moved away is its
      // fresh lock: put it back. (mongod's own lock on its files stands behind this one.)
      if (readIfThere(aside) !== text) succeeds(() => linkSync(aside, path), 'EEXIST')
      rmSync(aside, { force: true })
    }
    throw new AnnalsError('unavailable', `the lock ${path} changes hands too fast; try again`)
  } finally {
    rmSync(draft, { force: true })
  }
}

function release(path: string, mine: string): void {
  if (readIfThere(path) === mine) rmSync(path, { force: true })
}

function parseHolder(text: string): z.infer<typeof holderSchema> | undefined {
  try {
    return holderSchema.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}

function readIfThere(path: string): string | undefined {
  let text: string | undefined
  succeeds(() => (text = readFileSync(path, 'utf8')), 'ENOENT')
  return text
}

/** Runs a file operation; false where it fails with the one expected code. */
function succeeds(operation: () => unknown, expectedCode: string): boolean {
  try {
    operation()
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === expectedCode) return false
    throw error
  }
}
