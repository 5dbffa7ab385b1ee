/**
 * An archive in a folder, of any file system that has hard links.
 *
 * A file is written under a temporary name beside its own (`.<name>.<uuid>.tmp`), flushed, and linked to its name, which
 * succeeds for one writer alone and never over another file; then the folder is flushed. If the process dies before the
 * link nothing stands under the name; after it everything does. What it leaves is a temporary file: no object, but
 * listed by `versions`, since it may hold what an erasure looks for, and removed with its object, or after a day.
 */
import { randomUUID } from 'node:crypto'
import { link, mkdir, open, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { basename, dirname, join, relative, sep } from 'node:path'
import { Readable } from 'node:stream'
import { LRUCache } from 'lru-cache'
import { byPath, checkPath, checkPrefix, checkPut, checkRange, isPath } from './checks.js'
import {
  ArchiveStoreError,
  type ArchiveStore,
  type ByteRange,
  type PutOptions,
  type StoredObject,
  type StoredVersion,
} from './contract.js'
import { announcedBytes, guarded, matches, SourceFailure } from './streams.js'

export interface FolderStoreOptions {
  /** Absolute path; made with the first object. */
  readonly folder: string
  /** Passed each handle on a file that is to be written: a test makes it fail there. */
  readonly onOpen?: (handle: FileHandle) => void
  /** Milliseconds since 1970. */
  readonly now?: () => number
}

/** An unfinished file as old as that has no writer any more. */
const abandonedAfterMs = 86_400_000
/** Folders of which this process knows that their own names are on disk. */
const maxRememberedFolders = 10_000
/** Read at once: segments are read from their beginning to their end. */
const readBytes = 256 * 1024

export function createFolderStore(options: FolderStoreOptions): ArchiveStore {
  const { folder: root, onOpen = () => undefined, now = Date.now } = options
  const durableFolders = new LRUCache<string, true>({ max: maxRememberedFolders })

  const fileOf = (path: string): string => {
    checkPath(path)
    return join(root, path)
  }

  /** Makes the folder of a file; its name and those of the folders above it are on disk when this resolves. */
  async function prepareFolder(folder: string): Promise<void> {
    const made = await makeFolders(folder)
    if (made === undefined && durableFolders.has(folder)) return
    await removeUnfinished(folder, (_name, modifiedMs) => now() - modifiedMs > abandonedAfterMs)
    // Another process may have made a folder and not flushed its name yet: so the names of all of them, up to the root.
    const rootIsNew = made !== undefined && (root === made || root.startsWith(made + sep))
    const top = rootIsNew ? dirname(made) : root
    for (let each = folder; each !== top;) {
      each = dirname(each)
      await syncFolder(each)
    }
    durableFolders.set(folder, true)
  }

  /** Writes all of `chunks` to a new file beside `file`, and flushes it. */
  async function writeBeside(
    file: string,
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<string> {
    const temporary = join(dirname(file), `.${basename(file)}.${randomUUID()}.tmp`)
    try {
      const handle = await open(temporary, 'wx', 0o600)
      try {
        onOpen(handle)
        for await (const chunk of chunks) await handle.writeFile(chunk)
        await handle.sync()
      } finally {
        await handle.close()
      }
    } catch (error) {
      // Best effort: a disk that fails keeps it, until it is a day old.
      await rm(temporary, { force: true }).catch(() => undefined)
      throw error
    }
    return temporary
  }

  /** Is what lies there what was announced? undefined where nothing does. */
  async function compare(file: string, announced: PutOptions): Promise<boolean | undefined> {
    const stream = await readFrom(file)
    return stream === undefined ? undefined : matches(stream, announced)
  }

  /** Deletes unfinished files of a folder: a name of which object, and when it was written to last. */
  async function removeUnfinished(
    folder: string,
    which: (name: string, modifiedMs: number) => boolean,
  ): Promise<void> {
    for (const entry of (await readdir(folder).catch(ignoreMissing)) ?? []) {
      const name = unfinishedOf(entry)
      if (name === undefined) continue
      const found = await stat(join(folder, entry)).catch(ignoreMissing)
      if (found !== undefined && which(name, found.mtimeMs)) await rm(join(folder, entry), { force: true })
    }
  }

  /** Files under a prefix, in the order of paths; each unfinished one under the path it was meant for. */
  async function* walk(prefix: string): AsyncGenerator<StoredVersion> {
    checkPrefix(prefix)
    yield* walkFolder(join(root, prefix.slice(0, prefix.lastIndexOf('/') + 1)), prefix)
  }

  async function* walkFolder(folder: string, prefix: string): AsyncGenerator<StoredVersion> {
    const entries = (await readdir(folder, { withFileTypes: true }).catch(ignoreMissing)) ?? []
    const base = relative(root, folder)
    const found = entries.flatMap((entry) => {
      const name = entry.isFile() ? (unfinishedOf(entry.name) ?? entry.name) : entry.name
      if (!isPath(name) || !(entry.isFile() || entry.isDirectory())) return []
      const path = base === '' ? name : `${base}/${name}`
      // A folder sorts as its paths do: `a.b`, then `a/b`.
      return [
        {
          path: entry.isDirectory() ? `${path}/` : path,
          file: entry.name,
          version: name === entry.name ? '' : entry.name,
        },
      ]
    })
    found.sort((a, b) => byPath(a.path, b.path) || byPath(a.version, b.version))
    for (const { path, file, version } of found) {
      if (path.endsWith('/')) {
        if (path.startsWith(prefix) || prefix.startsWith(path)) yield* walkFolder(join(folder, file), prefix)
      } else if (path.startsWith(prefix)) {
        const known = await stat(join(folder, file)).catch(ignoreMissing)
        if (known !== undefined) yield { path, bytes: known.size, version }
      }
    }
  }

  return {
    put: (path, source, announced) =>
      writing(async () => {
        checkPut(path, announced)
        const file = fileOf(path)
        await prepareFolder(dirname(file))
        let same = await compare(file, announced)
        if (same === undefined) {
          const input = source()
          const temporary = await writeBeside(file, announcedBytes(input, announced)).finally(() =>
            input.destroy(),
          )
          try {
            await link(temporary, file)
          } catch (error) {
            if (codeOf(error) !== 'EEXIST') throw error
            same = await compare(file, announced)
          } finally {
            await rm(temporary, { force: true })
          }
        }
        if (same === false) {
          throw new ArchiveStoreError('exists', 'another object lies under this path already')
        }
        // Also where another wrote it: it may not have come to this line yet.
        await syncFolder(dirname(file))
        return same === undefined ? 'written' : 'already'
      }),

    get: (path, range) => reading(() => readFrom(fileOf(path), range)),

    head: (path) =>
      reading(async () => {
        const found = await stat(fileOf(path)).catch(ignoreMissing)
        return found?.isFile() === true ? { path, bytes: found.size } : undefined
      }),

    async *list(prefix) {
      yield* readingAll(walk(prefix), ({ path, bytes, version }): StoredObject | undefined =>
        version === '' ? { path, bytes } : undefined,
      )
    },

    delete: (path) =>
      writing(async () => {
        const file = fileOf(path)
        await rm(file, { force: true }).catch(ignoreMissing)
        await removeUnfinished(dirname(file), (name) => name === basename(file))
        await syncFolder(dirname(file)).catch(ignoreMissing)
      }),

    async *versions(prefix) {
      yield* readingAll(walk(prefix), (version) => version)
    },

    getVersion: ({ path, version }) =>
      reading(async () => {
        const file = fileOf(path)
        if (version === '') return readFrom(file)
        const own = unfinishedOf(version) === basename(file)
        return own ? readFrom(join(dirname(file), version)) : undefined
      }),

    // A folder has no locks: what guards it is who may write to it.
    lock: () => Promise.resolve(),

    replace: (path, bytes) =>
      writing(async () => {
        const file = fileOf(path)
        await prepareFolder(dirname(file))
        const temporary = await writeBeside(file, [bytes])
        try {
          await rename(temporary, file)
        } catch (error) {
          await rm(temporary, { force: true })
          throw error
        }
        await syncFolder(dirname(file))
      }),
  }
}

/** The name of the file that an unfinished one was to become. */
const unfinishedOf = (entry: string): string | undefined => /^\.(.+)\.[0-9a-f-]{36}\.tmp$/.exec(entry)?.[1]

/** How long a disk may take for one read. */
const stallMs = 60_000

/** undefined where there is no such file. */
async function readFrom(file: string, range: ByteRange = { offset: 0 }): Promise<Readable | undefined> {
  checkRange(range)
  const handle = await open(file, 'r').catch(ignoreMissing)
  if (handle === undefined) return undefined
  try {
    const found = await handle.stat()
    const { offset, length = found.size } = range
    const bytes = Math.max(0, Math.min(length, found.size - offset))
    if (!found.isFile() || bytes === 0) {
      await handle.close()
      return found.isFile() ? Readable.from([], { objectMode: false }) : undefined
    }
    const stream = handle.createReadStream({
      start: offset,
      end: offset + bytes - 1,
      highWaterMark: readBytes,
    })
    return guarded(stream, { bytes, stallMs, explain: (error) => failure(error, 'reading') })
  } catch (error) {
    await handle.close()
    throw error
  }
}

/**
 * Makes a folder and those above it; answers the topmost that was made. (Node's own recursive `mkdir` says ENOENT where
 * the disk is read-only.)
 */
async function makeFolders(folder: string): Promise<string | undefined> {
  const make = () => mkdir(folder, { mode: 0o700 })
  try {
    await make()
    return folder
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return undefined
    if (codeOf(error) !== 'ENOENT') throw error
  }
  const above = await makeFolders(dirname(folder))
  await make().catch((error: unknown) => {
    if (codeOf(error) !== 'EEXIST') throw error
  })
  return above ?? folder
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

const writing = <T>(work: () => Promise<T>): Promise<T> => explained(work, 'writing')
const reading = <T>(work: () => Promise<T>): Promise<T> => explained(work, 'reading')

async function explained<T>(work: () => Promise<T>, what: 'writing' | 'reading'): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof SourceFailure) throw error.cause
    if (codeOf(error) === undefined) throw error
    throw failure(error, what)
  }
}

async function* readingAll<T>(
  found: AsyncGenerator<StoredVersion>,
  pick: (version: StoredVersion) => T | undefined,
): AsyncGenerator<T> {
  try {
    for await (const version of found) {
      const picked = pick(version)
      if (picked !== undefined) yield picked
    }
  } catch (error) {
    throw codeOf(error) === undefined ? error : failure(error, 'reading')
  }
}

function failure(cause: unknown, what: 'writing' | 'reading'): ArchiveStoreError {
  if (cause instanceof ArchiveStoreError) return cause
  const code = codeOf(cause) ?? ''
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new ArchiveStoreError('full', "the archive's disk is full", { cause })
  }
  if (what === 'writing' && ['EROFS', 'EACCES', 'EPERM'].includes(code)) {
    return new ArchiveStoreError('read_only', 'the archive may not be written to', { cause })
  }
  return new ArchiveStoreError('unavailable', `the archive's disk failed (${code})`, { cause })
}

/** The code of a failed system call. */
function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('syscall' in error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/** Only what is certainly not there: whoever cannot look does not know. */
function ignoreMissing(error: unknown): undefined {
  if (codeOf(error) === 'ENOENT') return undefined
  throw error
}
