/**
 * A real S3 server for one test file: versitygw on a folder, with versions, object lock, conditional writes and
 * checksums. `.ci/run` builds it (VERSITYGW_VERSION there); it is looked for on PATH, where Go installs, and in the cache
 * of fetched servers. Where it is absent, a test says so by name:
 *
 *     test.skipIf(versitygwBinary === undefined)(…)
 */
import { CreateBucketCommand, PutBucketVersioningCommand, S3Client } from '@aws-sdk/client-s3'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { vi } from 'vitest'
import { childEnvironment, loadConfig } from '../../src/config.js'
import { LogFile } from '../../src/embedded/log-file.js'
import { claimPort } from '../../src/embedded/port-claims.js'
import { loopback } from '../../src/embedded/ports.js'
import { startOnPort } from './child-server.js'

const version = 'v1.8.0'
export const absentVersitygw = `versitygw is not on this machine: go install github.com/versity/versitygw/cmd/versitygw@${version}`

const environment = childEnvironment({})

/** undefined where there is none. */
export const versitygwBinary: string | undefined = [
  ...(environment['PATH'] ?? '').split(delimiter),
  environment['GOBIN'] ?? join(environment['GOPATH'] ?? join(homedir(), 'go'), 'bin'),
  join(loadConfig().cacheDirectory, `versitygw-${version}`),
]
  .map((folder) => join(folder, 'versitygw'))
  .find((path) => existsSync(path))

export interface Versitygw {
  readonly port: number
  readonly endpoint: string
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string }
  /** Of the server itself, for what no store does. */
  readonly client: S3Client
  /** The folder whose subfolders are the buckets: where a test alters an object by hand. */
  readonly folder: string
  /** Makes a bucket, with versions and object lock unless `plain`, and answers its address (`s3://…`). */
  createBucket(bucket: string, plain?: 'plain'): Promise<string>
  stop(): Promise<void>
}

export interface VersitygwOptions {
  /** Another server's folder is served, and nothing may be written. */
  readonly readOnly?: Pick<Versitygw, 'folder'>
  /** Where to keep everything; a temporary folder where nothing else is said. */
  readonly within?: string
}

/** The environment of this process takes the keys: the SDK finds them as it does in production. */
export async function startVersitygw(options: VersitygwOptions = {}): Promise<Versitygw> {
  if (versitygwBinary === undefined) throw new Error(absentVersitygw)
  const own = await mkdtemp(join(options.within ?? tmpdir(), 'annals-versitygw-'))
  const folder = options.readOnly?.folder ?? join(own, 'buckets')
  const versions = join(own, 'versions')
  await mkdir(folder, { recursive: true })
  await mkdir(versions)
  const credentials = { accessKeyId: 'annals-test', secretAccessKey: 'annals-test-secret' }
  vi.stubEnv('AWS_ACCESS_KEY_ID', credentials.accessKeyId)
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', credentials.secretAccessKey)
  const port = await claimPort(0)
  const server = await startOnPort(port, {
    name: 'versitygw',
    command: versitygwBinary,
    args: [
      ['--port', `${loopback}:${String(port)}`, '--keep-alive', '--quiet'],
      options.readOnly === undefined ? [] : ['--readonly'],
      ['posix', '--versioning-dir', versions, folder],
    ].flat(),
    env: childEnvironment({
      ROOT_ACCESS_KEY: credentials.accessKeyId,
      ROOT_SECRET_KEY: credentials.secretAccessKey,
    }),
    log: new LogFile({ path: join(own, 'versitygw.log') }),
    graceMs: 2_000,
  }).catch(async (error: unknown) => {
    await rm(own, { recursive: true, force: true })
    throw error
  })
  const endpoint = `http://${loopback}:${String(port)}`
  const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials })
  return {
    port,
    endpoint,
    credentials,
    client,
    folder,
    async createBucket(bucket, plain) {
      const lock = plain === undefined
      await client.send(new CreateBucketCommand({ Bucket: bucket, ObjectLockEnabledForBucket: lock }))
      if (lock) {
        const VersioningConfiguration = { Status: 'Enabled' } as const
        await client.send(new PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration }))
      }
      return `s3://${bucket}?endpoint=${endpoint}${lock ? '&objectLock=true' : ''}`
    },
    async stop() {
      client.destroy()
      await server.stop()
      await rm(own, { recursive: true, force: true })
    },
  }
}
