/** Both servers as `annals up` and the tests need them: by address where one is given, else found, fetched, started. */
import { join } from 'node:path'
import { AnnalsError } from '../errors.js'
import { findBinary, mongodSource, temporalSource, type Progress } from './find-binary.js'
import { LogFile } from './log-file.js'
import { withoutDocuments } from './mongod-log.js'
import { startMongod, type RunningMongod } from './mongod.js'
import { claimPort } from './port-claims.js'
import { recordProcess } from './records.js'
import { randomFromFile } from './random-file.js'
import { startTemporal, type RunningTemporal } from './temporal.js'

export interface MongodPlan {
  readonly binary: string | undefined
  readonly dataDirectory: string
  readonly cacheDirectory: string
  /** 0 takes any free port. */
  readonly preferredPort: number
  readonly cacheGigabytes?: number
  readonly progress: Progress
  /** Ends a fetch of the binary under way. */
  readonly signal?: AbortSignal
}

export interface TemporalPlan {
  readonly binary: string | undefined
  readonly dataDirectory: string
  readonly cacheDirectory: string
  readonly preferredPort: number
  /** Absent: no UI. */
  readonly preferredUiPort?: number
  readonly codecEndpoint?: string
  readonly namespace: string
  readonly progress: Progress
  /** Ends a fetch of the binary under way. */
  readonly signal?: AbortSignal
}

/** Starts (and, after a death, starts again) one server: the same binary, port, data and log file each time. */
export type Start<Running> = () => Promise<Running>

/** Finds mongod and a port for it. The port is decided at the first start and kept for the later ones. */
export async function prepareMongod(plan: MongodPlan): Promise<Start<RunningMongod>> {
  const binary = await findBinary(mongodSource, { ...plan, given: plan.binary })
  const log = new LogFile({ path: join(plan.dataDirectory, 'logs', 'mongod.log'), filter: withoutDocuments })
  const port = await announcedPort('mongod', plan.preferredPort, plan.progress)
  const setId = randomFromFile(join(plan.dataDirectory, 'mongodb-set'), 4)
  return () =>
    startMongod({
      command: binary.command,
      replicaSet: `annals-${setId}`,
      dbPath: join(plan.dataDirectory, 'mongodb'),
      port,
      log,
      onSpawn: (server) => recordProcess(plan.dataDirectory, 'mongod', server),
      ...(plan.cacheGigabytes === undefined ? {} : { cacheGigabytes: plan.cacheGigabytes }),
    })
}

/** Finds the Temporal CLI and ports for server and UI. */
export async function prepareTemporal(plan: TemporalPlan): Promise<Start<RunningTemporal>> {
  const binary = await findBinary(temporalSource, { ...plan, given: plan.binary })
  const log = new LogFile({ path: join(plan.dataDirectory, 'logs', 'temporal.log') })
  const port = await announcedPort('temporal', plan.preferredPort, plan.progress)
  const uiPort =
    plan.preferredUiPort === undefined
      ? undefined
      : await announcedPort('temporal UI', plan.preferredUiPort, plan.progress)
  return () =>
    startTemporal({
      command: binary.command,
      databaseFile: join(plan.dataDirectory, 'temporal', 'temporal.db'),
      port,
      uiPort,
      codecEndpoint: plan.codecEndpoint,
      namespace: plan.namespace,
      log,
      onSpawn: (server) => recordProcess(plan.dataDirectory, 'temporal', server),
    })
}

/** A free port, and a word about it where it is not the one that was asked for. */
export async function announcedPort(name: string, preferred: number, progress: Progress): Promise<number> {
  const port = await claimPort(preferred)
  if (preferred !== 0 && port !== preferred) {
    progress(`${name}: port ${preferred} is in use, taking ${port} instead`)
  }
  return port
}

/**
 * Waits for both, so that after a failure nothing is still being started.
 * @throws the failure; two of them as one AnnalsError that tells both
 */
export async function both<A, B>(first: A | Promise<A>, second: B | Promise<B>): Promise<[A, B]> {
  const [a, b] = await Promise.allSettled([first, second])
  if (a.status === 'rejected' && b.status === 'rejected') {
    const details = [a.reason, b.reason].map((reason: unknown) =>
      reason instanceof AnnalsError ? reason.detail : String(reason),
    )
    throw new AnnalsError('unavailable', details.join('\n'), { cause: a.reason })
  }
  return [await first, await second]
}
