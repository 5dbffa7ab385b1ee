/**
 * Everything Annals takes from its environment, read and checked once, at start. No other file of `src` reads
 * `process.env`. A bad value stops the start with its name and what is wrong with it.
 *
 * The variables are pinned in INTERFACE.md and listed for operators in `docs/configuration.md`.
 */
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { z } from 'zod'
import { AddressError, parseStoreAddress, within, type StoreAddress } from './archive/stores/address.js'
import { targetNamePattern } from './erasure/contract.js'
import { LogError } from './transparency-log/errors.js'
import { sha256 } from './transparency-log/node-crypto.js'
import { parseVerifierKey, type VerifierKey } from './transparency-log/note-key.js'

const port = z.coerce.number().int().min(0).max(65_535)
const flag = z.enum(['true', 'false', '1', '0']).transform((value) => value === 'true' || value === '1')
const regionName = z.string().regex(/^[a-z0-9-]{1,32}$/, 'a region is 1 to 32 of a-z, 0-9 and -')

/** `eu=https://eu.example,us=https://us.example` → a map. */
const regionUrls = z.string().transform((text, context) => {
  const urls = new Map<string, string>()
  for (const pair of text.split(',').filter((part) => part.trim() !== '')) {
    const at = pair.indexOf('=')
    const name = regionName.safeParse(pair.slice(0, at).trim())
    const url = z.url({ protocol: /^https?$/ }).safeParse(pair.slice(at + 1).trim())
    if (at < 1 || !name.success || !url.success) {
      context.addIssue({
        code: 'custom',
        message: 'expected region=https://address pairs, separated by commas',
      })
      return z.NEVER
    }
    urls.set(name.data, url.data)
  }
  return urls
})

const storeAddress = z.string().transform((text, context): StoreAddress => {
  try {
    return parseStoreAddress(text)
  } catch (error) {
    if (!(error instanceof AddressError)) throw error
    context.addIssue({ code: 'custom', message: error.message })
    return z.NEVER
  }
})

/** The Temporal task queues, by the short names that `ANNALS_QUEUES` and `annals work --queues` take. */
export const queueNames = ['seal', 'scans', 'retention', 'erasure', 'delivery'] as const
export type QueueName = (typeof queueNames)[number]

const queueList = z.string().transform((text, context): QueueName[] => {
  const names = text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
  const known = queueNames.filter((name) => names.includes(name))
  if (names.length === 0 || known.length !== new Set(names).size) {
    context.addIssue({
      code: 'custom',
      message: `expected some of ${queueNames.join(', ')}, separated by commas`,
    })
    return z.NEVER
  }
  return known
})

/** At most so many witnesses: their cosignatures must fit on a note, and each is asked once a minute. */
const maxWitnesses = 16

/** `<verifier key> <url>`, and so on, separated by commas. */
const witnessList = z.string().transform((text, context): WitnessConfig[] => {
  const witnesses = text.split(',').flatMap((item) => {
    const [key = '', url = '', ...rest] = item.trim().split(/\s+/)
    const parsed = { key: witnessKey(key), url: z.url({ protocol: /^https?$/ }).safeParse(url) }
    if (parsed.key === undefined || !parsed.url.success || rest.length > 0) return []
    return [{ key: parsed.key, url: parsed.url.data.replace(/\/+$/, '') }]
  })
  const names = new Set(witnesses.map(({ key }) => `${key.name}+${String(key.keyId)}`))
  if (
    witnesses.length !== text.split(',').length ||
    names.size !== witnesses.length ||
    names.size > maxWitnesses
  ) {
    context.addIssue({
      code: 'custom',
      message: `expected at most ${String(maxWitnesses)} different witnesses, each <verifier key> <https address>, separated by commas`,
    })
    return z.NEVER
  }
  return witnesses
})

function witnessKey(text: string): VerifierKey | undefined {
  try {
    const key = parseVerifierKey(text, sha256)
    return key.type === 'cosignature' ? key : undefined
  } catch (error) {
    if (error instanceof LogError) return undefined
    throw error
  }
}

/** At most so many: each is opened, or asked for, by every erasure. */
const maxListed = 100

/** Paths, separated by commas. */
const pathList = z.string().transform((text, context): string[] => {
  const paths = text.split(',').map((path) => path.trim())
  if (paths.length <= maxListed && paths.every((path) => path !== ''))
    return paths.map((path) => resolve(path))
  context.addIssue({
    code: 'custom',
    message: `expected at most ${String(maxListed)} paths, separated by commas`,
  })
  return z.NEVER
})

/** Names that an officer attests, separated by commas. */
const nameList = z.string().transform((text, context): string[] => {
  const names = text.split(',').map((name) => name.trim())
  const fit = names.every((name) => targetNamePattern.test(name)) && new Set(names).size === names.length
  if (fit && names.length <= maxListed) return names
  context.addIssue({
    code: 'custom',
    message: `expected at most ${String(maxListed)} different names such as siem or cloud-logs, separated by commas`,
  })
  return z.NEVER
})

const environmentSchema = z.object({
  ANNALS_HTTP_HOST: z.string().min(1).default('127.0.0.1'),
  ANNALS_HTTP_PORT: port.default(4100),
  ANNALS_PUBLIC_URL: z.url({ protocol: /^https?$/ }).optional(),
  ANNALS_MONGODB_URI: z
    .string()
    .regex(/^mongodb(\+srv)?:\/\//, 'must start with mongodb:// or mongodb+srv://')
    .optional(),
  ANNALS_MONGODB_READER_URI: z
    .string()
    .regex(/^mongodb(\+srv)?:\/\//, 'must start with mongodb:// or mongodb+srv://')
    .optional(),
  ANNALS_MONGODB_DATABASE: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,38}$/)
    .default('annals'),
  ANNALS_TEMPORAL_ADDRESS: z
    .string()
    .regex(/^[^\s/]+:\d+$/, 'must be host:port')
    .optional(),
  ANNALS_TEMPORAL_NAMESPACE: z
    .string()
    .regex(/^[A-Za-z0-9_-]{2,200}$/)
    .default('annals'),
  ANNALS_TEMPORAL_UI_PORT: port.default(8233),
  ANNALS_MONGOD: z.string().min(1).optional(),
  ANNALS_TEMPORAL: z.string().min(1).optional(),
  ANNALS_DATA_DIR: z.string().min(1).default('.annals'),
  ANNALS_ARCHIVE_URL: storeAddress.optional(),
  ANNALS_ARCHIVE_READER_PROFILE: z
    .string()
    .regex(/^[A-Za-z0-9_.-]{1,128}$/, 'is a profile of 1 to 128 of A-Z, a-z, 0-9, ., _ and -')
    .optional(),
  ANNALS_LEDGER_URL: storeAddress.optional(),
  ANNALS_KEYS_URL: z
    .string()
    .regex(/^file:/, 'must start with file:')
    .optional(),
  ANNALS_PERIOD_KEY_DAYS: z.coerce.number().int().min(1).max(3_650).default(30),
  ANNALS_PERIOD_KEY_OVERLAP_DAYS: z.coerce.number().int().min(0).max(3_650).default(7),
  ANNALS_ROOT_KEY_FILE: z.string().min(1).optional(),
  ANNALS_CODEC_KEY_FILE: z.string().min(1).optional(),
  ANNALS_CODEC_PATH_SECRET: z
    .string()
    .regex(/^[A-Za-z0-9_-]{32,}$/, 'must be at least 32 of A-Z, a-z, 0-9, _ and -')
    .optional(),
  ANNALS_LOG_ORIGIN: z
    .string()
    .regex(/^[^\s+]{1,200}$/, 'must have neither space nor +')
    .default('annals.local'),
  ANNALS_WITNESS_URLS: witnessList.optional(),
  ANNALS_REGION: regionName.default('local'),
  ANNALS_REGION_URLS: regionUrls.optional(),
  ANNALS_AUTO_PROVISION: flag.optional(),
  ANNALS_ADMIN_KEY: z.string().min(32, 'must have at least 32 characters').max(256).optional(),
  ANNALS_URL: z.url({ protocol: /^https?$/ }).optional(),
  ANNALS_KEY: z.string().min(1).max(256).optional(),
  ANNALS_QUEUES: queueList.optional(),
  ANNALS_LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info'),
  ANNALS_METRICS_TOKEN: z.string().min(16, 'must have at least 16 characters').optional(),
  ANNALS_WORKER_HTTP_PORT: port.default(0),
  ANNALS_LOG_PATHS: pathList.optional(),
  ANNALS_LOGS_ELSEWHERE: nameList.optional(),
  ANNALS_BACKUP_DAYS: z.coerce.number().int().min(0).max(36_500).optional(),
  ANNALS_WEBHOOK_ALLOW_PRIVATE: flag.default(false),
  ANNALS_WEBHOOK_GIVE_UP_HOURS: z.coerce.number().int().min(1).max(720).default(72),
  XDG_CACHE_HOME: z.string().min(1).optional(),
  AWS_REGION: z.string().min(1).max(64).optional(),
})

/** A C2SP tlog-witness: where it is, and the key of its cosignatures. */
export interface WitnessConfig {
  /** Without a slash at its end. */
  readonly url: string
  readonly key: VerifierKey
}

export interface Config {
  readonly http: { readonly host: string; readonly port: number; readonly publicUrl: string | undefined }
  readonly mongodb: {
    readonly uri: string | undefined
    /** The same database by a user that can only read, for the second reader of erasures. */
    readonly readerUri: string | undefined
    readonly database: string
  }
  readonly temporal: {
    readonly address: string | undefined
    readonly namespace: string
    readonly uiPort: number
  }
  /** Paths of server binaries given by hand, for the embedded servers. */
  readonly binaries: { readonly mongod: string | undefined; readonly temporal: string | undefined }
  /** Absolute path of the folder that holds everything `annals up` keeps. */
  readonly dataDirectory: string
  /** Absolute path of the per-user folder in which fetched server binaries are kept. */
  readonly cacheDirectory: string
  readonly keys: {
    readonly rootKeyFile: string
    readonly codecKeyFile: string
    /** `file:` URL of the folder that holds the period keys: never inside MongoDB, so that a database backup lacks them. */
    readonly periodKeysUrl: string
    /** How often the period key is rotated, and how long the one before is kept, for backups that are restored whole. */
    readonly rotation: { readonly everyDays: number; readonly overlapDays: number }
  }
  /** Secret path segment under which the embedded Temporal UI reaches the decode endpoint; absent = endpoint needs an operator key. */
  readonly codecPathSecret: string | undefined
  readonly logOrigin: string
  /** The archive: `segments` under it, and the next two. */
  readonly archive: StoreAddress
  /** Of an archive in S3: the profile by which the second reader of erasures reads it; undefined = as all else does. */
  readonly archiveReaderProfile: string | undefined
  /** The copies of the newest checkpoint of every log. */
  readonly checkpointCopies: StoreAddress
  /** The erasure ledger; `ledger` in the archive where nothing else is said. */
  readonly ledger: StoreAddress
  /** Who is shown the anchor log. */
  readonly witnesses: readonly WitnessConfig[]
  readonly region: { readonly name: string; readonly urls: ReadonlyMap<string, string> }
  readonly autoProvision: boolean
  readonly adminKey: string | undefined
  /** Where commands that are clients (`import`, `demo`) find the API, and the key they use. */
  readonly client: { readonly url: string | undefined; readonly key: string | undefined }
  readonly queues: readonly QueueName[]
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent'
  /** Log files and folders of them, beside those of `annals up`, that an erasure looks through: absolute paths. */
  readonly logPaths: readonly string[]
  /** Log systems that Annals cannot look at: an officer attests each before an erasure is verified. */
  readonly logsElsewhere: readonly string[]
  /** How long backups of the database are kept; 0 = there are none, undefined = nobody has said. */
  readonly backupDays: number | undefined
  /** `allowPrivate`: private addresses may be called, and those without TLS. `giveUpHours`: how long one is called. */
  readonly webhooks: { readonly allowPrivate: boolean; readonly giveUpHours: number }
  readonly metricsToken: string | undefined
  readonly workerHttpPort: number
}

/** A value of the environment that Annals cannot start with. The message names each variable and what is wrong. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/**
 * Reads and checks the environment.
 * @throws ConfigError with one line per bad variable
 */
export function loadConfig(environment: NodeJS.ProcessEnv = process.env): Config {
  // An empty variable (`ANNALS_REGION=` in a compose file) means "not set".
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''))
  const parsed = environmentSchema.safeParse(given)
  if (!parsed.success) {
    const lines = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`)
    throw new ConfigError(`The environment is not usable:\n  ${lines.join('\n  ')}`)
  }
  const env = parsed.data
  const dataDirectory = resolve(env.ANNALS_DATA_DIR)
  const archive = withRegion(
    'ANNALS_ARCHIVE_URL',
    env.ANNALS_ARCHIVE_URL ?? { kind: 'folder', folder: join(dataDirectory, 'archive') },
    env.AWS_REGION,
  )
  return {
    http: { host: env.ANNALS_HTTP_HOST, port: env.ANNALS_HTTP_PORT, publicUrl: env.ANNALS_PUBLIC_URL },
    mongodb: {
      uri: env.ANNALS_MONGODB_URI,
      readerUri: env.ANNALS_MONGODB_READER_URI,
      database: env.ANNALS_MONGODB_DATABASE,
    },
    temporal: {
      address: env.ANNALS_TEMPORAL_ADDRESS,
      namespace: env.ANNALS_TEMPORAL_NAMESPACE,
      uiPort: env.ANNALS_TEMPORAL_UI_PORT,
    },
    binaries: { mongod: env.ANNALS_MONGOD, temporal: env.ANNALS_TEMPORAL },
    dataDirectory,
    cacheDirectory: resolve(env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'annals'),
    keys: {
      rootKeyFile: resolve(env.ANNALS_ROOT_KEY_FILE ?? `${dataDirectory}/keys/root.key`),
      codecKeyFile: resolve(env.ANNALS_CODEC_KEY_FILE ?? `${dataDirectory}/keys/codec.json`),
      periodKeysUrl: env.ANNALS_KEYS_URL ?? `file://${dataDirectory}/keys/periods`,
      rotation: { everyDays: env.ANNALS_PERIOD_KEY_DAYS, overlapDays: env.ANNALS_PERIOD_KEY_OVERLAP_DAYS },
    },
    codecPathSecret: env.ANNALS_CODEC_PATH_SECRET,
    logOrigin: env.ANNALS_LOG_ORIGIN,
    archive,
    archiveReaderProfile: env.ANNALS_ARCHIVE_READER_PROFILE,
    ledger:
      env.ANNALS_LEDGER_URL === undefined
        ? within(archive, 'ledger')
        : withRegion('ANNALS_LEDGER_URL', env.ANNALS_LEDGER_URL, env.AWS_REGION),
    checkpointCopies: within(archive, 'checkpoints'),
    witnesses: env.ANNALS_WITNESS_URLS ?? [],
    region: { name: env.ANNALS_REGION, urls: env.ANNALS_REGION_URLS ?? new Map() },
    autoProvision: env.ANNALS_AUTO_PROVISION ?? env.ANNALS_REGION_URLS === undefined,
    adminKey: env.ANNALS_ADMIN_KEY,
    client: { url: env.ANNALS_URL, key: env.ANNALS_KEY },
    queues: env.ANNALS_QUEUES ?? queueNames,
    logLevel: env.ANNALS_LOG_LEVEL,
    logPaths: env.ANNALS_LOG_PATHS ?? [],
    logsElsewhere: env.ANNALS_LOGS_ELSEWHERE ?? [],
    backupDays: env.ANNALS_BACKUP_DAYS,
    webhooks: {
      allowPrivate: env.ANNALS_WEBHOOK_ALLOW_PRIVATE,
      giveUpHours: env.ANNALS_WEBHOOK_GIVE_UP_HOURS,
    },
    metricsToken: env.ANNALS_METRICS_TOKEN,
    workerHttpPort: env.ANNALS_WORKER_HTTP_PORT,
  }
}

/** Without a region the SDK fails at its first request, long after the start. */
function withRegion(variable: string, address: StoreAddress, region: string | undefined): StoreAddress {
  if (address.kind === 'folder' || address.region !== undefined) return address
  if (region !== undefined) return { ...address, region }
  throw new ConfigError(
    `The environment is not usable:\n  ${variable}: names no region (?region=…), and AWS_REGION is not set`,
  )
}

/**
 * The environment for a child process: this process's own, with `overrides` in place (`undefined` removes a
 * variable). Variables of the Temporal CLI and SDK are left out, so that a shell set up for another cluster
 * changes nothing about a server that `annals up` starts.
 */
export function childEnvironment(overrides: Readonly<Record<string, string | undefined>>): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('TEMPORAL_'))
  return { ...Object.fromEntries(inherited), ...overrides }
}
