/** Tells whether a process id still means the process it once meant: ids are reused, start times are not. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'

export interface ProcessIdentity {
  readonly pid: number
  /** When it started, in the system's own form; only ever compared for equality. */
  readonly startedAt: string
  readonly command: string
}

/** Describes a running process; undefined where there is none, or only a zombie. */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  return existsSync('/proc/self/stat') ? fromProc(pid) : fromPs(pid)
}

/** Is the process that was described still running (and no other under its id)? */
export function stillRuns(identity: ProcessIdentity): boolean {
  const now = identifyProcess(identity.pid)
  return now?.startedAt === identity.startedAt && now.command === identity.command
}

function fromProc(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The second field is the name in brackets and may hold anything, so count from the last bracket:
    // state is field 3 of proc(5), starttime field 22.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const startedAt = fields[19]
    if (startedAt === undefined || fields[0] === 'Z') return undefined
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
    return { pid, startedAt, command }
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
