/** Tells whether a process id still means the process it once meant: ids are reused, start times are not. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'

export interface ProcessIdentity {
  readonly pid: number
  /** When it started, in the system's own form; only ever compared for equality. */
  readonly startedAt: string
  readonly command: string
}

/**
 * Describes a running process; undefined where there is none, or only a zombie. One that is ending has no command
 * line any more (`command` is empty) and may still hold its files and locks.
 */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  return existsSync('/proc/self/stat') ? fromProc(pid) : fromPs(pid)
}

/** Is the process that was described still there (and no other under its id), be it only to end? */
export function stillRuns(identity: ProcessIdentity): boolean {
  const now = identifyProcess(identity.pid)
  if (now?.startedAt !== identity.startedAt) return false
  return now.command === identity.command || now.command === ''
}

/** Reads `stat` and `cmdline` of a process as proc(5) has them. */
export function parseProc(pid: number, stat: string, cmdline: string): ProcessIdentity | undefined {
  // The second field is the name in brackets and may hold anything, so count from the last bracket:
  // state is field 3, num_threads field 20, starttime field 22.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const startedAt = fields[19]
  if (startedAt === undefined) return undefined
  // The first thread of a dying server may be a zombie while others still write.
  if (fields[0] === 'Z' && Number(fields[17]) <= 1) return undefined
  return { pid, startedAt, command: cmdline.replaceAll('\0', ' ').trim() }
}

function fromProc(pid: number): ProcessIdentity | undefined {
  try {
    return parseProc(
      pid,
      readFileSync(`/proc/${pid}/stat`, 'utf8'),
      readFileSync(`/proc/${pid}/cmdline`, 'utf8'),
    )
  } catch {
    return undefined
  }
}

/** macOS and the BSDs. `lstart` is five words. */
function fromPs(pid: number): ProcessIdentity | undefined {
  try {
    const line = execFileSync('ps', ['-p', String(pid), '-o', 'stat=,lstart=,command='], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
    const [state = '', ...words] = line.split(/\s+/)
    if (state === '' || state.startsWith('Z')) return undefined
    return { pid, startedAt: words.slice(0, 5).join(' '), command: words.slice(5).join(' ') }
  } catch {
    return undefined
  }
}
