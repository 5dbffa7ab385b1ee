/** Where a running `annals up` has its database: for commands that were given no address. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import type { Config } from '../config.js'
import { AnnalsError } from '../errors.js'

/** The file that `annals up` writes into the data folder while it runs. */
export const runFileName = 'run.json'
const runFileSchema = z.object({
  mongodbUri: z.string(),
  temporalAddress: z.string().optional(),
  apiUrl: z.string().optional(),
})

/**
 * The configuration with a database: the one it names, else the one of an `annals up` on the same data folder.
 * @throws AnnalsError `unavailable` where there is neither
 */
export function withDatabase(config: Config): Config {
  if (config.mongodb.uri !== undefined) return config
  const running = readRunFile(join(config.dataDirectory, runFileName))
  if (running === undefined) {
    throw new AnnalsError(
      'unavailable',
      `No database: ANNALS_MONGODB_URI is not set, and no "annals up" runs on ${config.dataDirectory}.`,
    )
  }
  const address = config.temporal.address ?? running.temporalAddress
  return {
    ...config,
    mongodb: { ...config.mongodb, uri: running.mongodbUri },
    temporal: { ...config.temporal, address },
  }
}

export interface ApiAddress {
  readonly url: string
  readonly key: string | undefined
}

/** Where the API is: as given, as configured, where `annals up` has it, or at its usual port. */
export function apiAddress(
  config: Config,
  given: { readonly url?: string | undefined; readonly key?: string | undefined },
): ApiAddress {
  const { client, http } = config
  const url =
    given.url ??
    client.url ??
    readRunFile(join(config.dataDirectory, runFileName))?.apiUrl ??
    http.publicUrl ??
    `http://${http.host}:${String(http.port)}`
  return { url, key: given.key ?? client.key ?? config.adminKey }
}

/** @throws AnnalsError `temporal_unavailable` where the configuration names no Temporal server */
export function requireTemporal(config: Config): Config {
  if (config.temporal.address !== undefined) return config
  throw new AnnalsError('temporal_unavailable', 'No Temporal server: ANNALS_TEMPORAL_ADDRESS is not set.')
}

function readRunFile(path: string): z.infer<typeof runFileSchema> | undefined {
  try {
    return runFileSchema.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch {
    // Not there, or not whole: nothing runs.
    return undefined
  }
}
