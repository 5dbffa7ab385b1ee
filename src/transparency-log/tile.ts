/**
 * Tiles and their paths: C2SP tlog-tiles, height 8.
 *
 * The hashes of every eighth level of the tree are stored, 256 to a tile. Tile `index` of tile level `level` is the
 * concatenation of the 32-byte hashes of the complete subtrees of 256^level leaves numbered `index · 256` and up;
 * what lies between two tile levels is hashed again from them. A tile of fewer than 256 hashes is *partial*: it is
 * the beginning of the full one, and no tile above holds its hash yet.
 *
 *   tile/<level>/<index>[.p/<width>]        hashes; level 0 holds leaf hashes
 *   tile/entries/<index>[.p/<width>]        the records of the level 0 tile of that index (entry-bundle.ts)
 *
 * `<index>` is written in groups of three digits, all but the last with an `x` before them: 1234067 is
 * `x001/x234/067`. `<width>` is 1 to 255 and absent for a full tile.
 *
 * Example: the tree of 70,000 leaves has 273 full tiles at level 0 and the partial `tile/0/273.p/112`, one full
 * tile `tile/1/000` and the partial `tile/1/001.p/17`, and `tile/2/000.p/1`. The tree of 256 leaves has
 * `tile/0/000` and `tile/1/000.p/1`.
 */
import { decimal } from './encoding.js'
import { LogError } from './errors.js'
import { requireSize, type NodeAddress } from './tree.js'

/** Levels of the tree that one tile spans. */
export const tileHeight = 8
/** Hashes in a full tile. */
export const tileWidth = 256

/** A tile of hashes, as wide (1 to 256) as it is in a tree of some size. */
export interface TileAddress {
  readonly level: number
  readonly index: number
  readonly width: number
}

/** The records of the `index`-th 256 leaves, `width` (1 to 256) of them. */
export interface BundleAddress {
  readonly index: number
  readonly width: number
}

/** How many hashes tile level `level` holds in a tree of `size` leaves. */
function hashesAt(level: number, size: number): number {
  return Math.floor(size / tileWidth ** level)
}

/**
 * The tile at a place as it is in a tree of `size` leaves; undefined where that tree has no hash there.
 * @throws LogError `wrong_size` for a size that cannot be
 */
export function tileAt(level: number, index: number, size: number): TileAddress | undefined {
  requireSize(size)
  const width = Math.min(tileWidth, hashesAt(level, size) - index * tileWidth)
  return width > 0 ? { level, index, width } : undefined
}

/**
 * Every tile that a tree has at `newSize` and had not, or had narrower, at `oldSize`: by level, then index.
 * From 0 these are all tiles of the tree. A generator, because a large tree has many.
 * @throws LogError `wrong_size`
 */
export function* tilesForGrowth(oldSize: number, newSize: number): Generator<TileAddress, void, undefined> {
  requireSize(oldSize)
  requireSize(newSize)
  if (oldSize > newSize) throw new LogError('wrong_size', 'a tree does not shrink')
  for (let level = 0; hashesAt(level, newSize) > 0; level++) {
    const before = hashesAt(level, oldSize)
    const after = hashesAt(level, newSize)
    for (let index = Math.floor(before / tileWidth); index * tileWidth < after; index++) {
      if (before < after) yield { level, index, width: Math.min(tileWidth, after - index * tileWidth) }
    }
  }
}

/** The partial tiles of a tree, at most seven, from level 0 up: all that the next leaf may change. */
export function edgeTiles(size: number): TileAddress[] {
  requireSize(size)
  const edge: TileAddress[] = []
  for (let level = 0; hashesAt(level, size) > 0; level++) {
    const width = hashesAt(level, size) % tileWidth
    if (width > 0) edge.push({ level, index: Math.floor(hashesAt(level, size) / tileWidth), width })
  }
  return edge
}

/** Where a node is in a tile: `height` levels above the tile's own hashes, `position`-th of its height there. */
export interface NodePlace {
  readonly tile: TileAddress
  readonly height: number
  readonly position: number
}

/**
 * The tile from which the hash of a node is had, in a tree of `size` leaves.
 * @throws LogError `wrong_size` where the tree does not hold all leaves of the node
 */
export function placeOfNode(node: NodeAddress, size: number): NodePlace {
  requireSize(size)
  if (!Number.isSafeInteger(node.index) || node.index < 0 || (node.index + 1) * 2 ** node.level > size) {
    throw new LogError('wrong_size', 'the tree has no such node yet')
  }
  const level = Math.floor(node.level / tileHeight)
  const height = node.level - level * tileHeight
  // Nodes of one tile at this height.
  const nodes = tileWidth / 2 ** height
  const tile = tileAt(level, Math.floor(node.index / nodes), size)
  if (tile === undefined) throw new Error('a node within the tree has a tile')
  return { tile, height, position: node.index % nodes }
}

export function tilePath(tile: TileAddress): string {
  return `tile/${tile.level}/${placePath(tile.index, tile.width)}`
}

export function entryBundlePath(bundle: BundleAddress): string {
  return `tile/entries/${placePath(bundle.index, bundle.width)}`
}

/** @throws LogError `malformed_tile_path` for anything but the one spelling of a tile's path */
export function parseTilePath(path: string): TileAddress {
  const [, levelText = '', place = ''] = /^tile\/(\d{1,2})\/([^]*)$/.exec(path) ?? []
  const level = decimal(levelText)
  const parsed = parsePlace(place)
  if (level === undefined || level > 63 || parsed === undefined) {
    throw new LogError('malformed_tile_path', 'expected tile/<level>/<index>[.p/<width>]')
  }
  return { level, ...parsed }
}

/** @throws LogError `malformed_tile_path` for anything but the one spelling of an entry bundle's path */
export function parseEntryBundlePath(path: string): BundleAddress {
  const prefix = 'tile/entries/'
  const parsed = path.startsWith(prefix) ? parsePlace(path.slice(prefix.length)) : undefined
  if (parsed === undefined) {
    throw new LogError('malformed_tile_path', 'expected tile/entries/<index>[.p/<width>]')
  }
  return parsed
}

function placePath(index: number, width: number): string {
  let groups = String(index % 1000).padStart(3, '0')
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    groups = `x${String(rest % 1000).padStart(3, '0')}/${groups}`
  }
  return width < tileWidth ? `${groups}.p/${width}` : groups
}

function parsePlace(place: string): BundleAddress | undefined {
  // 2^53 has sixteen digits: six groups.
  const [, high = '', low = '', widthText] =
    /^((?:x\d{3}\/){0,5})(\d{3})(?:\.p\/(\d{1,3}))?$/.exec(place) ?? []
  const index = Number(high.replace(/[x/]/g, '') + low)
  const width = widthText === undefined ? tileWidth : decimal(widthText)
  if (low === '' || width === undefined || !Number.isSafeInteger(index)) return undefined
  // One spelling only: no leading group of zeros, no width of 0, none of 256 or more.
  return width >= 1 && placePath(index, width) === place ? { index, width } : undefined
}
