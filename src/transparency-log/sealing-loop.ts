/**
 * Sealing of one partition, for as long as it is let: looks who waits, drains them, looks again. Where nobody waits
 * it looks every quarter of a second into an index that is empty then (pending.ts).
 */
import { hash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../logging.js'
import { isMongoUnavailable } from '../mongo/unavailable.js'
import type { Alarms } from './alarms.js'
import { RolledBackError } from './checkpoint-copies/guard.js'
import { LogError } from './errors.js'
import type { PendingEvents } from './pending.js'
import type { DrainResult, Sealer } from './sealer.js'

export interface SealingLoopDependencies {
  readonly sealer: Sealer
  readonly pending: PendingEvents
  readonly alarms: Alarms
  readonly logger: Logger
}

export interface SealingLoopOptions {
  /** Only organizations of this partition of so many. */
  readonly partition: number
  readonly partitions: number
  /** Ends soon after it is aborted, with what is under way done. */
  readonly signal: AbortSignal
  /** Called at least every few seconds, with the events sealed so far. */
  readonly beat?: (sealed: number) => void
}

export interface SealingLoopResult {
  readonly sealed: number
  readonly setAside: number
}

const idleMs = 250
/** Organizations of one partition that are drained side by side: while one waits for its commit, another hashes. */
const atOnce = 4
/** One whose remaining events are all of fenced subjects, or whose log another sealer holds, is looked at again then. */
const heldPauseMs = 1_000
/** One that failed: its log does not fit together, or an error that nobody foresaw. */
const failedPauseMs = 30_000

/** The partition of an organization, from 0: the same in every process. */
export function partitionOf(organizationId: string, partitions: number): number {
  return hash('sha256', organizationId, 'buffer').readUInt32BE(0) % partitions
}

/**
 * Seals until the signal comes. A log that does not fit together stops no other organization's.
 * @throws MongoDB's errors where it is away
 */
export async function runSealingLoop(
  dependencies: SealingLoopDependencies,
  options: SealingLoopOptions,
): Promise<SealingLoopResult> {
  const { pending } = dependencies
  const { partition, partitions, signal, beat = () => undefined } = options
  const pauses = new Map<string, number>()
  let sealed = 0
  let setAside = 0

  const drainOne = async (organizationId: string): Promise<void> => {
    const result = await drain(dependencies, organizationId, signal)
    if (result === undefined) pauses.set(organizationId, performance.now() + failedPauseMs)
    else if (result.sealed === 0 && (result.skipped > 0 || !result.drained)) {
      pauses.set(organizationId, performance.now() + heldPauseMs)
    }
    sealed += result?.sealed ?? 0
    setAside += result?.setAside ?? 0
    beat(sealed)
  }

  while (!signal.aborted) {
    beat(sealed)
    const now = performance.now()
    for (const [organizationId, until] of pauses) if (until <= now) pauses.delete(organizationId)
    const waiting = (await pending.organizations())
      .map(({ organizationId }) => organizationId)
      .filter((id) => partitionOf(id, partitions) === partition && !pauses.has(id))
    if (waiting.length === 0) await pause(idleMs, signal)
    else await inTurns(waiting, drainOne, signal)
  }
  return { sealed, setAside }
}

/** @returns undefined where the organization cannot be sealed now, and others can */
async function drain(
  { sealer, alarms, logger }: SealingLoopDependencies,
  organizationId: string,
  signal: AbortSignal,
): Promise<DrainResult | undefined> {
  try {
    return await sealer.drainOrganization(organizationId, { signal })
  } catch (error) {
    if (isMongoUnavailable(error)) throw error
    if (error instanceof LogError) alarms.raise('log_damaged', { organizationId })
    // The guard has raised its alarm.
    if (error instanceof RolledBackError)
      logger.error('seal.refused', { organizationId, state: error.comparison })
    else logger.error('seal.failed', { organizationId, error })
    return undefined
  }
}

/** Does `work` for each item, a few side by side. The first failure lets what is under way end, and passes on. */
async function inTurns<T>(
  items: readonly T[],
  work: (item: T) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const queue = items.values()
  let failed = false
  const workers = Array.from({ length: Math.min(atOnce, items.length) }, async () => {
    for (const item of queue) {
      if (failed || signal.aborted) return
      try {
        await work(item)
      } catch (error) {
        failed = true
        throw error
      }
    }
  })
  const results = await Promise.allSettled(workers)
  const failure = results.find((result) => result.status === 'rejected')
  if (failure !== undefined) throw failure.reason
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined)
}
