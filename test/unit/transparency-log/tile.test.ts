import { describe, expect, it } from 'vitest'
import {
  edgeTiles,
  entryBundlePath,
  parseEntryBundlePath,
  parseTilePath,
  placeOfNode,
  tileAt,
  tilePath,
  tilesForGrowth,
} from '../../../src/transparency-log/tile.js'
import { codeOf } from './support.js'

const pathsForGrowth = (from: number, to: number) => Array.from(tilesForGrowth(from, to), tilePath)

describe('the path of a tile', () => {
  it.each([
    ['tile/0/000', { level: 0, index: 0, width: 256 }],
    ['tile/0/000.p/1', { level: 0, index: 0, width: 1 }],
    ['tile/1/000.p/255', { level: 1, index: 0, width: 255 }],
    ['tile/0/999', { level: 0, index: 999, width: 256 }],
    ['tile/0/x001/000', { level: 0, index: 1000, width: 256 }],
    ['tile/0/x001/x234/067', { level: 0, index: 1_234_067, width: 256 }],
    ['tile/0/x001/x234/067.p/8', { level: 0, index: 1_234_067, width: 8 }],
    ['tile/63/000', { level: 63, index: 0, width: 256 }],
    ['tile/0/x009/x007/x199/x254/x740/991', { level: 0, index: Number.MAX_SAFE_INTEGER, width: 256 }],
  ])('%s is written and read', (path, tile) => {
    expect(tilePath(tile)).toBe(path)
    expect(parseTilePath(path)).toEqual(tile)
  })

  it.each([
    ['tile/entries/000', { index: 0, width: 256 }],
    ['tile/entries/x001/x234/067.p/8', { index: 1_234_067, width: 8 }],
  ])('of entries, %s, is written and read', (path, bundle) => {
    expect(entryBundlePath(bundle)).toBe(path)
    expect(parseEntryBundlePath(path)).toEqual(bundle)
  })

  const malformed = [
    '',
    'tile',
    'tile/0',
    'tile/0/',
    '/tile/0/000',
    'tile/0/000/',
    ' tile/0/000',
    'tile/0/000\n',
    'tile/00/000',
    'tile/01/000',
    'tile/64/000',
    'tile/-1/000',
    'tile/x/000',
    'tile//000',
    'tile/data/000',
    'tile/8/0/000',
    'tile/0/0',
    'tile/0/00',
    'tile/0/0000',
    'tile/0/x000',
    'tile/0/x000/001',
    'tile/0/x000/x001/002',
    'tile/0/001/002',
    'tile/0/x001/x002',
    'tile/0/X001/002',
    'tile/0/x01/002',
    'tile/0/x1234/002',
    'tile/0/+01',
    'tile/0/１23',
    'tile/0/000.p',
    'tile/0/000.p/',
    'tile/0/000.p/0',
    'tile/0/000.p/256',
    'tile/0/000.p/01',
    'tile/0/000.p/-1',
    'tile/0/000.p/1/2',
    'tile/0/000.p/1000',
    'tile/0/000.q/1',
    'tile/0/../000',
    'tile/0/x009/x007/x199/x254/x740/992',
    'tile/0/x001/x000/x000/x000/x000/x000/000',
  ]
  it.each(malformed)('%j is refused', (path) => {
    expect(codeOf(() => parseTilePath(path))).toBe('malformed_tile_path')
  })
  it.each(malformed)('of entries, %j, is refused', (path) => {
    expect(codeOf(() => parseEntryBundlePath(path.replace(/^tile\/0/, 'tile/entries')))).toBe(
      'malformed_tile_path',
    )
  })
  it('of entries and that of hashes are not taken for each other', () => {
    expect(codeOf(() => parseTilePath('tile/entries/000'))).toBe('malformed_tile_path')
    expect(codeOf(() => parseEntryBundlePath('tile/0/000'))).toBe('malformed_tile_path')
  })
})

describe('the tiles of a tree', () => {
  it('of 70,000 leaves are those the module comment and C2SP name', () => {
    const paths = pathsForGrowth(0, 70_000)
    expect(paths).toHaveLength(273 + 1 + 1 + 1 + 1)
    expect(paths.slice(272)).toEqual([
      'tile/0/272',
      'tile/0/273.p/112',
      'tile/1/000',
      'tile/1/001.p/17',
      'tile/2/000.p/1',
    ])
    expect(edgeTiles(70_000).map(tilePath)).toEqual(['tile/0/273.p/112', 'tile/1/001.p/17', 'tile/2/000.p/1'])
  })

  it('of 256 leaves are a full one and a partial one above it', () => {
    expect(pathsForGrowth(0, 256)).toEqual(['tile/0/000', 'tile/1/000.p/1'])
    expect(edgeTiles(256).map(tilePath)).toEqual(['tile/1/000.p/1'])
  })

  it('of a tree without leaves are none', () => {
    expect(pathsForGrowth(0, 0)).toEqual([])
    expect(edgeTiles(0)).toEqual([])
    expect(tileAt(0, 0, 0)).toBeUndefined()
  })

  it('that growth changes are those that were not there, or narrower', () => {
    expect(pathsForGrowth(255, 256)).toEqual(['tile/0/000', 'tile/1/000.p/1'])
    expect(pathsForGrowth(256, 257)).toEqual(['tile/0/001.p/1'])
    expect(pathsForGrowth(257, 257)).toEqual([])
    expect(pathsForGrowth(65_535, 65_537)).toEqual([
      'tile/0/255',
      'tile/0/256.p/1',
      'tile/1/000',
      'tile/2/000.p/1',
    ])
  })

  it('are as wide as C2SP says at every size to 1,000', () => {
    for (let size = 0; size <= 1000; size++) {
      const byRule: string[] = []
      for (let level = 0; level < 3; level++) {
        const hashes = Math.floor(size / 256 ** level)
        for (let index = 0; index < Math.floor(hashes / 256); index++)
          byRule.push(tilePath({ level, index, width: 256 }))
        const width = hashes % 256
        if (width > 0) byRule.push(tilePath({ level, index: Math.floor(hashes / 256), width }))
      }
      expect(pathsForGrowth(0, size)).toEqual(byRule)
    }
  })

  it('do not reach beyond seven levels at the largest size', () => {
    const edge = edgeTiles(Number.MAX_SAFE_INTEGER)
    expect(edge.map((tile) => [tile.level, tile.width])).toEqual([
      ...Array.from({ length: 6 }, (_, level) => [level, 255]),
      [6, 31],
    ])
  })

  it.each([
    [2, 1],
    [-1, 1],
    [0, 2 ** 53],
    [0.5, 1],
  ])('are not those of a growth from %s to %s', (from, to) => {
    expect(codeOf(() => pathsForGrowth(from, to))).toBe('wrong_size')
  })
})

describe('the place of a node', () => {
  it.each([
    [
      { level: 0, index: 69_999 },
      70_000,
      { tile: { level: 0, index: 273, width: 112 }, height: 0, position: 111 },
    ],
    [{ level: 7, index: 1 }, 70_000, { tile: { level: 0, index: 0, width: 256 }, height: 7, position: 1 }],
    [{ level: 8, index: 272 }, 70_000, { tile: { level: 1, index: 1, width: 17 }, height: 0, position: 16 }],
    [{ level: 16, index: 0 }, 70_000, { tile: { level: 2, index: 0, width: 1 }, height: 0, position: 0 }],
    [{ level: 3, index: 33 }, 272, { tile: { level: 0, index: 1, width: 16 }, height: 3, position: 1 }],
  ])('%j in a tree of %s is in one tile', (node, size, place) => {
    expect(placeOfNode(node, size)).toEqual(place)
  })

  it('is nowhere for a node that is not complete', () => {
    expect(codeOf(() => placeOfNode({ level: 1, index: 2 }, 5))).toBe('wrong_size')
    expect(codeOf(() => placeOfNode({ level: 0, index: -1 }, 5))).toBe('wrong_size')
  })
})
