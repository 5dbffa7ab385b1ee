/**
 * A server as a child process: in a process group of its own, so that the terminal's Ctrl-C reaches only its
 * parent, which stops things in order; its output in a bounded log file.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { AnnalsError } from '../errors.js'
import type { LogFile } from './log-file.js'

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface ServerProcess {
  readonly pid: number
  /** Resolves, never rejects, when the process has ended and its output is written. */
  readonly exited: Promise<Exit>
  /** Asks the process to end, insists after its grace period, and resolves when it is gone. May be called again. */
  stop(): Promise<void>
  /** The last lines of its log. */
  logTail(): readonly string[]
}

export interface SpawnOptions {
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  readonly env: NodeJS.ProcessEnv
  readonly log: LogFile
  /** How long `stop` waits after SIGTERM before it kills. */
  readonly graceMs: number
}

/** @throws AnnalsError `unavailable` where the program cannot be started at all */
export async function spawnServer(options: SpawnOptions): Promise<ServerProcess> {
  const child = spawn(options.command, options.args, {
    detached: true,
    env: options.env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  return adoptChild(child, options)
}

/** Wraps a child that was started `detached` with piped output. */
export async function adoptChild(
  child: ChildProcess,
  options: Pick<SpawnOptions, 'name' | 'log' | 'graceMs'>,
): Promise<ServerProcess> {
  const { name, log, graceMs } = options
  const ended = new Promise<Exit>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }))
  })
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve)
    child.once('error', (cause) =>
      reject(new AnnalsError('unavailable', `${name} could not be started: ${cause.message}`, { cause })),
    )
  })
  // Later errors (a signal that cannot be sent, a channel that closed) end in an exit, which is what counts.
  child.on('error', () => undefined)
  const { pid } = child
  if (pid === undefined) throw new AnnalsError('unavailable', `${name} was started and has no process id`)

  const copied = [child.stdout, child.stderr].filter((stream) => stream !== null).map((s) => log.follow(s))
  let alive = true
  const exited = ended.then(async (exit) => {
    alive = false
    await Promise.race([Promise.all(copied), new Promise((resolve) => setTimeout(resolve, 1_000).unref())])
    await log.close()
    return exit
  })
  let stopping: Promise<void> | undefined
  const stop = async () => {
    // Its id may belong to another process by now.
    if (!alive) return
    signalGroup(pid, 'SIGTERM')
    const timer = setTimeout(() => signalGroup(pid, 'SIGKILL'), graceMs)
    await exited
    clearTimeout(timer)
  }
  return {
    pid,
    exited,
    stop: () => (stopping ??= stop()),
    logTail: () => log.tail(),
  }
}

/** Signals the group that the process leads. A group that is gone already is what the caller wanted. */
export function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal)
  } catch {
    // ESRCH: nobody left to signal.
  }
}

/** `exit code 1`, `SIGKILL`: for a line that people read. */
export function describeExit(exit: Exit): string {
  return exit.signal ?? `exit code ${exit.code ?? 'unknown'}`
}
