/**
 * The log files that this machine keeps: those that `annals up` writes (`logs` in the data folder, what was turned over
 * included), and whatever else an operator named. Annals logs nothing of a person, by an allow-list; here it is looked.
 *
 * They are read as they grow and are turned over: what a file holds when it is opened is read, and a file that got another
 * name meanwhile is found under it. Memory is bounded, whatever is in them.
 */
import { constants, type Stats } from 'node:fs'
import { access, open, readdir, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { TargetError } from './targets/contract.js'

export const logFilesTargetName = 'log_files'

export interface LogPlaces {
  /** Where `annals up` writes; that it is not there is no fault. */
  readonly folder: string
  /** Files and folders that an operator named: each has to be there. */
  readonly paths: readonly string[]
}

export interface LogFile {
  /** Without its folder. */
  readonly name: string
  /** Whole lines, some at a time, with the number of the first one from 1; a very long line in parts that overlap. */
  blocks(): AsyncIterable<{ readonly firstLine: number; readonly bytes: Buffer }>
}

export interface LogFiles {
  /** @throws TargetError where one that was named is not there, or cannot be read */
  reach(): Promise<void>
  /** Each file once, whatever it is called by then. @throws TargetError */
  files(): AsyncIterable<LogFile>
}

interface Found {
  readonly path: string
  readonly stats: Stats
}

/** More of them are no logs of one machine. */
const maxFiles = 10_000
/** A file that is there only after so many looks began after this reading did. */
const maxRounds = 5
const chunkBytes = 256 * 1024
/** Longer than any identifier in any of the spellings that are looked for. */
const overlapBytes = 16 * 1024
const maxLineBytes = 1024 * 1024
/** What would have to be unpacked to be looked through, and is not. */
const packed = /\.(?:zst|xz|bz2|zip|lz4|lzma|7z|br)$/i

export function createLogFiles({ folder, paths }: LogPlaces): LogFiles {
  /** All files there are, by the inode that stays with one when it gets another name. */
  async function list(): Promise<ReadonlyMap<string, Found>> {
    const found = new Map<string, Found>()
    const seen = new Set<string>()
    const waiting = [{ path: folder, named: false }, ...paths.map((path) => ({ path, named: true }))]
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { path, named } = next
      const stats = await statOf(path, named)
      if (stats === undefined) continue
      const inode = inodeOf(stats)
      if (seen.has(inode)) continue
      seen.add(inode)
      if (stats.isDirectory()) {
        const names = await orUnavailable(readdir(path), named)
        waiting.push(...(names ?? []).map((name) => ({ path: join(path, name), named: false })))
      } else if (stats.isFile()) found.set(inode, { path, stats })
      if (seen.size > maxFiles) throw unavailable()
    }
    return found
  }

  return {
    async reach() {
      for (const { path } of (await list()).values()) {
        if (packed.test(path)) throw unavailable()
        await orUnavailable(access(path, constants.R_OK), false)
      }
    },

    async *files() {
      const read = new Set<string>()
      for (let round = 0; round < maxRounds; round += 1) {
        const unread = [...(await list()).values()].filter(({ stats }) => !read.has(inodeOf(stats)))
        if (unread.length === 0) return
        for (const { path } of unread) {
          if (packed.test(path)) throw unavailable()
          const file = await orUnavailable(open(path, 'r'), false)
          // It was turned over, or deleted, a moment ago: the next round finds it under its new name.
          if (file === undefined) continue
          try {
            const opened = await file.stat()
            if (read.has(inodeOf(opened))) continue
            read.add(inodeOf(opened))
            // What is appended from now on was logged after this look.
            const upTo = { start: 0, end: opened.size - 1, autoClose: false, highWaterMark: chunkBytes }
            const bytes = () => (opened.size === 0 ? Readable.from([]) : file.createReadStream(upTo))
            const blocks = () => blocksOf(unpacked(path, bytes()))
            yield { name: basename(path), blocks }
          } finally {
            await file.close()
          }
        }
      }
    },
  }
}

const inodeOf = ({ dev, ino }: Stats): string => `${String(dev)}/${String(ino)}`
const unavailable = (cause?: unknown) => new TargetError(logFilesTargetName, 'target_unavailable', { cause })

/** @returns undefined where nothing is there and `required` says that this is no fault */
async function orUnavailable<T>(work: Promise<T>, required: boolean): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    if (!required && isAbsent(error)) return undefined
    throw unavailable(error)
  }
}

const statOf = (path: string, required: boolean): Promise<Stats | undefined> =>
  orUnavailable(stat(path), required)

const isAbsent = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ENOENT'

function unpacked(path: string, bytes: Readable): Readable {
  if (!path.endsWith('.gz')) return bytes
  const gunzip = createGunzip({ chunkSize: chunkBytes })
  bytes.on('error', (error) => gunzip.destroy(error))
  return bytes.pipe(gunzip)
}

async function* blocksOf(stream: Readable): AsyncGenerator<{ firstLine: number; bytes: Buffer }> {
  let rest: Buffer = Buffer.alloc(0)
  let line = 1
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
      const end = bytes.lastIndexOf(10) + 1
      if (end > 0) {
        const whole = bytes.subarray(0, end)
        yield { firstLine: line, bytes: whole }
        line += linesIn(whole)
      }
      rest = bytes.subarray(end)
      if (rest.length <= maxLineBytes) continue
      yield { firstLine: line, bytes: rest }
      rest = rest.subarray(rest.length - overlapBytes)
    }
  } catch (error) {
    throw unavailable(error)
  }
  if (rest.length > 0) yield { firstLine: line, bytes: rest }
}

function linesIn(bytes: Buffer): number {
  let lines = 0
  for (let at = bytes.indexOf(10); at !== -1; at = bytes.indexOf(10, at + 1)) lines += 1
  return lines
}
