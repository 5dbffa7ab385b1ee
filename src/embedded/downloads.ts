/**
 * The vendors' downloads, through the downloaders that others keep well: `mongodb-memory-server-core` for mongod,
 * the Temporal SDK's for the Temporal server. Each runs in a child process of a few lines: they print on standard
 * output, install signal handlers and cannot be cancelled, and a child can be silenced and ended.
 */
import { spawn } from 'node:child_process'
import { readdirSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { childEnvironment } from '../config.js'

const require = createRequire(import.meta.url)

export interface Download {
  /** Names the file in the cache, so that another version is another file. */
  readonly version: string
  /** Finds the package whose downloader does the work. */
  readonly packagePath: () => string
  /** Runs with the package's path, the version and an empty folder as arguments, and leaves the binary in the folder. */
  readonly script: string
  /** How long it may take until the first bytes are there. */
  readonly firstBytesMs?: number
}

/**
 * Pinned, so that an update of the library does not put a newer major version on old data files: MongoDB goes up
 * one major version at a time.
 */
export const mongodDownload: Download = {
  version: '8.0.12',
  packagePath: () => require.resolve('mongodb-memory-server-core'),
  script: `
    const [, packagePath, version, downloadDir] = process.argv
    const { MongoBinary } = require(packagePath)
    const { copyFileSync } = require('node:fs')
    const { dirname, join } = require('node:path')
    MongoBinary.getPath({ version, downloadDir, checkMD5: true })
      .then((path) => { if (dirname(path) !== downloadDir) copyFileSync(path, join(downloadDir, 'mongod')) })
      .catch((error) => { process.stderr.write(String(error.message)); process.exit(1) })`,
}

/** The SDK has no call that only downloads; it starts a server from what it fetched, which is stopped at once. */
export const temporalDownload: Download = {
  version: 'sdk-default',
  packagePath: () => require.resolve('@temporalio/testing'),
  script: `
    const [, packagePath, , downloadDir] = process.argv
    const { TestWorkflowEnvironment } = require(packagePath)
    TestWorkflowEnvironment.createLocal({ server: { executable: { type: 'cached-download', downloadDir } } })
      .then((environment) => environment.teardown())
      .then(() => process.exit(0))
      .catch((error) => { process.stderr.write(String(error.message)); process.exit(1) })`,
}

/** Where nothing has come by then, the vendor is out of reach from here (a firewall drops, it does not refuse). */
const defaultFirstBytesMs = 10_000
const stalledMs = 60_000
const overallMs = 20 * 60_000
/** Lock files and empty archives are no sign of life. */
const lifeBytes = 64 * 1024
const minimumBinaryBytes = 10 * 1024 * 1024

/**
 * Runs a download into an empty folder.
 * @returns the path of the binary inside the folder
 * @throws Error whose message says why the download is of no use here
 */
export async function runDownload(
  download: Download,
  folder: string,
  progress: (words: string) => void,
  signal?: AbortSignal,
): Promise<string> {
  const { firstBytesMs = defaultFirstBytesMs } = download
  const packagePath = download.packagePath()
  const child = spawn(process.execPath, ['-e', download.script, packagePath, download.version, folder], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: childEnvironment({ NODE_OPTIONS: undefined }),
    killSignal: 'SIGKILL',
    ...(signal === undefined ? {} : { signal }),
  })
  let words = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (words = (words + text).slice(-2_000)))

  const began = Date.now()
  let bytes = 0
  let grewAt = began
  let reportedAt = began
  let verdict: string | undefined
  const watch = setInterval(() => {
    const now = Date.now()
    const size = folderBytes(folder)
    if (size > bytes) grewAt = now
    bytes = Math.max(bytes, size)
    if (bytes < lifeBytes && now - began > firstBytesMs) verdict = `no answer in ${firstBytesMs / 1_000} s`
    else if (now - grewAt > stalledMs) verdict = `stalled at ${megabytes(bytes)} MB`
    else if (now - began > overallMs) verdict = `not done after ${overallMs / 60_000} min`
    if (verdict !== undefined) child.kill('SIGKILL')
    else if (bytes >= lifeBytes && now - reportedAt > 3_000) {
      reportedAt = now
      progress(`downloading, ${megabytes(bytes)} MB so far …`)
    }
  }, 250)
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('close', resolve)
    child.once('error', reject)
  }).finally(() => clearInterval(watch))

  if (verdict !== undefined) throw new Error(verdict)
  if (code !== 0) throw new Error(shortened(words))
  const binary = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(folder, entry.name))
    .find((path) => statSync(path).size > minimumBinaryBytes)
  if (binary === undefined) throw new Error('the downloader left no binary')
  return binary
}

function folderBytes(folder: string): number {
  try {
    return readdirSync(folder).reduce((sum, name) => {
      return sum + (statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0)
    }, 0)
  } catch {
    return 0
  }
}

const megabytes = (bytes: number) => Math.round(bytes / 1_000_000)

function shortened(words: string): string {
  const line = words.trim().replace(/\s+/g, ' ')
  return line === ''
    ? 'the downloader failed without a word'
    : line.length > 160
      ? `${line.slice(0, 160)}…`
      : line
}
