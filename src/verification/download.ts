/**
 * Makes a folder from which a log verifies offline (folder-source.ts). Whatever it reads it writes as it came: to
 * judge it is the verifier's part. A second run into the same folder reads again only what can have changed.
 */
import { mkdir, rename, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import {
  entryBundlePath,
  tilePath,
  tilesForGrowth,
  tileWidth,
  type TileAddress,
} from '../transparency-log/tile.js'
import { erasureOf } from './erasures.js'
import {
  anchorFile,
  anchorKeysFile,
  checkpointFile,
  eventsPath,
  keysFile,
  manifestPath,
} from './folder-source.js'
import type { LogServer } from './server-source.js'

export interface DownloadOptions {
  readonly folder: string
  readonly generation: number
  readonly size: number
  /** The signed note, written last: a folder with a checkpoint is whole. */
  readonly checkpoint: string
  readonly keys: readonly string[]
  /** The anchor proof as JSON, and the anchor log's keys, where there are some. */
  readonly anchor: unknown
  readonly anchorKeys: readonly string[]
  readonly values: boolean
  readonly onProgress?: (leaves: number, size: number) => void
}

const atOnce = 4

/** @throws AnnalsClientError; the file system's errors */
export async function downloadLog(server: LogServer, options: DownloadOptions): Promise<void> {
  const { folder, size, generation, values } = options
  const source = server.source(generation, values)
  await mkdir(folder, { recursive: true })
  await writeWhole(folder, keysFile, options.keys.map((key) => `${key}\n`).join(''))
  if (options.anchor !== undefined) {
    await writeWhole(folder, anchorFile, `${JSON.stringify(options.anchor)}\n`)
    await writeWhole(folder, anchorKeysFile, options.anchorKeys.map((key) => `${key}\n`).join(''))
  }
  let leaves = 0
  const fetchTile = async (tile: TileAddress): Promise<void> => {
    const full = tile.width === tileWidth
    await save(folder, tilePath(tile), full, () => source.tile(tile))
    if (tile.level > 0) return
    await save(folder, entryBundlePath(tile), full, () => source.bundle(tile))
    if (source.events !== undefined) {
      const events = await source.events(tile)
      // Values may have been erased since the last download: they are always read again.
      if (events !== undefined) {
        await writeWhole(folder, eventsPath(tile), events.map((line) => `${JSON.stringify(line)}\n`).join(''))
        for (const { event } of events) {
          const erasure = erasureOf(event)
          if (erasure === undefined) continue
          const path = manifestPath(erasure.manifest)
          await save(folder, path, true, async () => source.manifest?.(erasure.manifest))
        }
      }
    }
    leaves += tile.width
    options.onProgress?.(leaves, size)
  }
  const tiles = tilesForGrowth(0, size)
  const work = async (): Promise<void> => {
    for (let next = tiles.next(); next.done !== true; next = tiles.next()) await fetchTile(next.value)
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  await writeWhole(folder, checkpointFile, options.checkpoint)
}

/** What the server does not have is not written: whoever verifies the folder says that it is missing. */
async function save(
  folder: string,
  path: string,
  full: boolean,
  read: () => Promise<Uint8Array | undefined>,
): Promise<void> {
  if (full && (await isThere(join(folder, path)))) return
  const bytes = await read()
  if (bytes !== undefined) await writeWhole(folder, path, bytes)
}

/** A file is there whole or not at all, however the process ends. */
async function writeWhole(folder: string, path: string, content: Uint8Array | string): Promise<void> {
  const target = join(folder, path)
  await mkdir(dirname(target), { recursive: true })
  const part = `${target}.part`
  await writeFile(part, content)
  await rename(part, target)
}

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  )
