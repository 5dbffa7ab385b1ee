/**
 * A downloaded log, read from its folder. It is laid out as the server serves it (C2SP tlog-tiles), with the events
 * beside it:
 *
 *     checkpoint          the signed note
 *     keys                verifier keys, one a line; from the server, so they are as good as the moment of the download
 *     anchor              the proof that the anchor log has a tree of this log, as the server answered it; may be absent
 *     anchor-keys         verifier keys of the anchor log, as keys
 *     tile/…              hashes, and tile/entries/… records
 *     events/…            the verifiable events of an entry bundle of the same name, NDJSON: {id, log, event}
 *     manifests/…         what erasures took, by SHA-256: <hex>.json
 */
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import {
  entryBundlePath,
  tilePath,
  tileWidth,
  type BundleAddress,
  type TileAddress,
} from '../transparency-log/tile.js'
import type { EventLine, LogSource } from './log-source.js'

export const checkpointFile = 'checkpoint'
export const keysFile = 'keys'
export const anchorFile = 'anchor'
export const anchorKeysFile = 'anchor-keys'

/** The path of the events of a bundle: that of the bundle, in a folder of its own. */
export const eventsPath = (bundle: BundleAddress): string =>
  `${entryBundlePath(bundle).replace('tile/entries/', 'events/')}.ndjson`

export const manifestPath = (sha256: string): string => `manifests/${sha256}.json`

export interface LogFolder {
  readonly checkpoint: string
  /** Empty where the folder has none. */
  readonly keys: readonly string[]
  /** Of the anchor log: its proof as text, and keys. Absent and empty where the folder has none. */
  readonly anchor: string | undefined
  readonly anchorKeys: readonly string[]
  readonly source: LogSource
}

/** Opens a folder; undefined where it holds no log. */
export async function openLogFolder(folder: string, values: boolean): Promise<LogFolder | undefined> {
  const checkpoint = await textIn(folder, checkpointFile)
  if (checkpoint === undefined) return undefined
  const withEvents = await isFolder(join(folder, 'events'))
  const events = (bundle: BundleAddress) => eventsIn(folder, bundle)
  return {
    checkpoint,
    keys: await linesIn(folder, keysFile),
    anchor: await textIn(folder, anchorFile),
    anchorKeys: await linesIn(folder, anchorKeysFile),
    source: {
      tile: (tile) => tileIn(folder, tile),
      bundle: (bundle) => bytesIn(folder, entryBundlePath(bundle)),
      manifest: (sha256) => bytesIn(folder, manifestPath(sha256)),
      ...(withEvents ? (values ? { events } : { evidence: events }) : {}),
    },
  }
}

/** A folder has one width of each tile: what is asked for is a beginning of it. */
async function tileIn(folder: string, tile: TileAddress): Promise<Uint8Array | undefined> {
  for (let width = tile.width; width <= tileWidth; width += 1) {
    const bytes = await bytesIn(folder, tilePath({ ...tile, width }))
    if (bytes !== undefined) return bytes
  }
  return undefined
}

async function eventsIn(folder: string, bundle: BundleAddress): Promise<EventLine[] | undefined> {
  const text = await textIn(folder, eventsPath(bundle))
  if (text === undefined) return undefined
  return text.split('\n').flatMap((line) => (line === '' ? [] : [parsedLine(line)]))
}

function parsedLine(line: string): EventLine {
  try {
    const parsed: unknown = JSON.parse(line)
    if (typeof parsed === 'object' && parsed !== null && 'event' in parsed && 'id' in parsed) {
      return { id: parsed.id, event: parsed.event }
    }
  } catch {
    // What is no line of a download is no event: said where its leaf is.
  }
  return { id: undefined, event: undefined }
}

async function bytesIn(folder: string, path: string): Promise<Uint8Array | undefined> {
  try {
    return await readFile(join(folder, path))
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return undefined
    throw error
  }
}

const textIn = async (folder: string, path: string): Promise<string | undefined> => {
  const bytes = await bytesIn(folder, path)
  return bytes === undefined ? undefined : Buffer.from(bytes).toString('utf8')
}

const linesIn = async (folder: string, path: string): Promise<string[]> =>
  (await textIn(folder, path))?.split('\n').filter((line) => line !== '') ?? []

const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  )
