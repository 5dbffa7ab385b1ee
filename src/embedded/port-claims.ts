/**
 * Ports that other `annals up` processes of this user hold. A port looks free while its server is being started
 * again after a crash; another `up` that took it then would get the first one's clients. So each process leaves a
 * claim for its ports, which counts for as long as the process runs.
 */
import { linkSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { freePort } from './ports.js'
import { identifyProcess } from './process-table.js'

const claimSchema = z.object({ pid: z.int().positive(), startedAt: z.string() })
export const claimFolder = join(tmpdir(), `annals-ports-${userInfo().username}`)
const maxAttempts = 50
const own = new Set<number>()

/**
 * Answers a port that is free and claimed by no other process, and claims it until this process ends.
 * @param preferred taken where it can be; 0 asks for any
 */
export async function claimPort(preferred: number): Promise<number> {
  mkdirSync(claimFolder, { recursive: true, mode: 0o700 })
  let wanted = preferred
  for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
    const port = await freePort(wanted)
    if (claim(port)) return port
    wanted = 0
  }
  throw new Error(`no port could be had in ${maxAttempts} attempts`)
}

function claim(port: number): boolean {
  if (own.has(port)) return true
  removeAbandonedClaims()
  const draft = join(claimFolder, `draft-${process.pid}`)
  const startedAt = identifyProcess(process.pid)?.startedAt ?? ''
  writeFileSync(draft, JSON.stringify({ pid: process.pid, startedAt }), { mode: 0o600 })
  try {
    // A link appears whole or not at all, for one process alone.
    linkSync(draft, join(claimFolder, String(port)))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  } finally {
    rmSync(draft, { force: true })
  }
  if (own.size === 0) process.once('exit', releaseAll)
  own.add(port)
  return true
}

/** Of processes that were killed. */
function removeAbandonedClaims(): void {
  for (const name of readdirSync(claimFolder).filter((entry) => /^\d+$/.test(entry))) {
    const path = join(claimFolder, name)
    if (!isHeld(path)) rmSync(path, { force: true })
  }
}

function isHeld(path: string): boolean {
  try {
    const holder = claimSchema.parse(JSON.parse(readFileSync(path, 'utf8')))
    return identifyProcess(holder.pid)?.startedAt === holder.startedAt
  } catch {
    return false
  }
}

function releaseAll(): void {
  for (const port of own) rmSync(join(claimFolder, String(port)), { force: true })
}
