/** The walk over a log that lies in memory: everything in it is edited once, and found where it was edited. */
import { describe, expect, test } from 'vitest'
import {
  formatCheckpoint,
  parseCheckpoint,
  type Checkpoint,
} from '../../../src/transparency-log/checkpoint.js'
import { utf8 } from '../../../src/transparency-log/encoding.js'
import { encodeEntryBundle } from '../../../src/transparency-log/entry-bundle.js'
import { nodeHasher } from '../../../src/transparency-log/node-crypto.js'
import { TileAppender } from '../../../src/transparency-log/tile-appender.js'
import { entryBundlePath, tilePath, tileWidth } from '../../../src/transparency-log/tile.js'
import type { LogReport } from '../../../src/verification/contract.js'
import type { LogSource } from '../../../src/verification/log-source.js'
import { walkLog } from '../../../src/verification/log-walk.js'
import { nodeRules } from '../../../src/verification/node-rules.js'

const idOf = (index: number) => `evt_${String(index).padStart(26, '0')}`
const recordOf = (index: number) => utf8(`{"id":"${idOf(index)}","v":1}`)

interface MemoryLog {
  readonly files: Map<string, Uint8Array>
  readonly checkpoint: Checkpoint
  readonly source: LogSource
}

/** A log of so many leaves, with every tile at its final width. */
function logOf(size: number, record = recordOf): MemoryLog {
  const tree = new TileAppender(nodeHasher)
  for (let index = 0; index < size; index += 1) tree.append(nodeHasher.leaf(record(index)))
  const files = new Map<string, Uint8Array>()
  for (const { tile, bytes } of tree.takeTiles()) {
    files.set(tilePath(tile), Uint8Array.from(bytes))
    if (tile.level > 0) continue
    const records = Array.from({ length: tile.width }, (_, position) =>
      record(tile.index * tileWidth + position),
    )
    files.set(entryBundlePath(tile), encodeEntryBundle(records))
  }
  const text = formatCheckpoint({ origin: 'annals.local/org/1', size, root: tree.root(), extensions: [] })
  const widest = (tile: { level: number; index: number; width: number }) => {
    for (let width = tile.width; width <= tileWidth; width += 1) {
      const bytes = files.get(tilePath({ ...tile, width }))
      if (bytes !== undefined) return bytes
    }
    return undefined
  }
  return {
    files,
    checkpoint: parseCheckpoint(text),
    source: {
      tile: (tile) => Promise.resolve(widest(tile)),
      bundle: (bundle) => Promise.resolve(files.get(entryBundlePath(bundle))),
    },
  }
}

const walk = (log: MemoryLog, earlier?: Checkpoint): Promise<LogReport> =>
  walkLog(log.source, log.checkpoint, { ...nodeRules, generation: 1, earlier })

const codes = ({ findings }: LogReport) => findings.map(({ code, at }) => `${code} ${at}`)

describe('an untouched log', () => {
  test.each([0, 1, 255, 256, 257, 600, 65_536, 66_000])(
    'of %i leaves holds, from its start and from any earlier size',
    async (size) => {
      const log = logOf(size)
      const report = await walk(log)
      expect([codes(report), report.leaves, report.records]).toEqual([[], size, size])
      for (const earlier of [0, 1, Math.floor(size / 2), size - 1, size]) {
        if (earlier < 0 || earlier > size) continue
        const resumed = await walk(log, logOf(earlier).checkpoint)
        expect([codes(resumed), resumed.trustedLeaves, resumed.leaves]).toEqual([[], earlier, size - earlier])
      }
    },
  )
})

describe('an edited log', () => {
  const size = 600
  const flip = (log: MemoryLog, path: string, at: number) => {
    const bytes = log.files.get(path)
    if (bytes === undefined) throw new Error(`${path} is there`)
    bytes[at] = (bytes[at] ?? 0) ^ 1
  }

  test.each([0, 100, 255, 256, 511, 512, 599])(
    'names the tile and the leaf whose hash was changed (%i)',
    async (leaf) => {
      const log = logOf(size)
      const index = Math.floor(leaf / tileWidth)
      const path = index === 2 ? 'tile/0/002.p/88' : `tile/0/00${String(index)}`
      flip(log, path, (leaf % tileWidth) * 32 + 5)
      const { findings } = await walk(log)
      expect(findings).toMatchObject([
        { code: 'tile_differs', at: path, leaf: { index: leaf, eventId: idOf(leaf) } },
      ])
    },
  )

  test.each([0, 100, 255, 256, 511, 512, 599])(
    'names the leaf whose record was changed (%i)',
    async (leaf) => {
      const log = logOf(size)
      const index = Math.floor(leaf / tileWidth)
      const path = index === 2 ? 'tile/entries/002.p/88' : `tile/entries/00${String(index)}`
      const entryBytes = recordOf(0).length + 2
      flip(log, path, (leaf % tileWidth) * entryBytes + entryBytes - 2)
      const { findings } = await walk(log)
      expect(findings).toMatchObject([
        { code: 'record_differs', at: `leaf 1.${String(leaf)}`, leaf: { index: leaf } },
      ])
    },
  )

  test('names the upper tile that was changed', async () => {
    const log = logOf(size)
    flip(log, 'tile/1/000.p/2', 33)
    expect(codes(await walk(log))).toEqual(['tile_differs tile/1/000.p/2'])
  })

  test('names every object that is gone or cut short', async () => {
    for (const path of logOf(size).files.keys()) {
      const gone = logOf(size)
      gone.files.delete(path)
      const kind = path.startsWith('tile/entries/') ? 'bundle' : 'tile'
      expect(codes(await walk(gone))[0]).toBe(`${kind}_missing ${path}`)
      const short = logOf(size)
      short.files.set(path, short.files.get(path)?.subarray(0, -7) ?? new Uint8Array())
      expect(codes(await walk(short))[0]).toBe(`${kind}_malformed ${path}`)
    }
  })

  test('that was rewritten, tile and record together, shows the tile that has another place above it', async () => {
    const log = logOf(size)
    const other = logOf(size, (index) => recordOf(index === 300 ? 9_999 : index))
    for (const path of ['tile/0/001', 'tile/entries/001'])
      log.files.set(path, other.files.get(path) ?? new Uint8Array())
    expect(codes(await walk(log))).toEqual(['root_differs checkpoint', 'tile_differs tile/0/001'])
  })

  test('that was rewritten throughout does not lead to the root that was signed', async () => {
    const log = logOf(size, (index) => recordOf(index === 300 ? 9_999 : index))
    const report = await walkLog(log.source, logOf(size).checkpoint, { ...nodeRules, generation: 1 })
    expect(codes(report)).toEqual(['root_differs checkpoint'])
  })

  test('that was signed anew after it was rewritten is not consistent with the checkpoint before', async () => {
    const forked = logOf(700, (index) => recordOf(index === 300 ? 9_999 : index))
    const report = await walk(forked, logOf(600).checkpoint)
    expect(codes(report)).toEqual([expect.stringMatching(/^checkpoint_inconsistent /)])
    expect(codes(await walk(forked, logOf(200).checkpoint))).toEqual([])
  })

  test('of which records are gone says so at each leaf', async () => {
    const log = logOf(3)
    log.files.set('tile/entries/000.p/3', encodeEntryBundle([recordOf(0), new Uint8Array(), recordOf(2)]))
    expect(codes(await walk(log))).toEqual(['record_missing leaf 1.1'])
  })
})
