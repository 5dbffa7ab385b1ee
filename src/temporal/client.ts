/** Connects to Temporal, and says whether a failure means that Temporal is away. */
import { Client, Connection, isGrpcServiceError } from '@temporalio/client'
import type { DataConverter } from '@temporalio/common'
import type { Config } from '../config.js'
import { readCodecKeyFile, type CodecKeys } from './codec-keys.js'
import { createDataConverter } from './data-converter.js'

export interface TemporalConnection {
  readonly client: Client
  readonly connection: Connection
  readonly namespace: string
  readonly codecKeys: CodecKeys
  readonly dataConverter: DataConverter
  /** Runs calls that give up after `timeoutMs`, retries included, so that a request is answered in time. */
  withTimeout<T>(timeoutMs: number, call: () => Promise<T>): Promise<T>
  close(): Promise<void>
}

export interface TemporalOptions {
  /** host:port */
  readonly address: string
  readonly namespace: string
  readonly codecKeyFile: string
}

/** The Temporal part of the configuration. @throws Error where no address is configured */
export function temporalOptions(config: Pick<Config, 'temporal' | 'keys'>): TemporalOptions {
  const { address, namespace } = config.temporal
  if (address === undefined) throw new Error('ANNALS_TEMPORAL_ADDRESS is not set')
  return { address, namespace, codecKeyFile: config.keys.codecKeyFile }
}

/**
 * A client with the payload codec. It connects with its first call, so the API starts, and takes events, while
 * Temporal is away.
 * @throws CodecKeyFileError
 */
export async function connectTemporal(options: TemporalOptions): Promise<TemporalConnection> {
  const codecKeys = await readCodecKeyFile(options.codecKeyFile)
  const dataConverter = createDataConverter(codecKeys, options.namespace)
  const connection = Connection.lazy({ address: options.address, connectTimeout: '5s' })
  const client = new Client({ connection, namespace: options.namespace, dataConverter, identity: 'annals' })
  return {
    client,
    connection,
    namespace: options.namespace,
    codecKeys,
    dataConverter,
    withTimeout: (timeoutMs, call) => connection.withDeadline(Date.now() + timeoutMs, call),
    close: () => connection.close(),
  }
}

/**
 * gRPC status codes that say nothing about the request, only that it was not served: CANCELLED, UNKNOWN,
 * DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, INTERNAL, UNAVAILABLE. They are numbers of the protocol
 * (https://grpc.io/docs/guides/status-codes/).
 */
const unavailableCodes: ReadonlySet<number> = new Set([1, 2, 4, 8, 13, 14])

/** Is it Temporal that is away or overloaded, rather than the request that is wrong? Looks through causes. */
export function isTemporalUnavailable(error: unknown): boolean {
  for (let current = error, depth = 0; current instanceof Error && depth < 5; depth += 1) {
    if (isGrpcServiceError(current)) return unavailableCodes.has(current.code)
    current = current.cause
  }
  return false
}
