/**
 * Hashes for proofs, read from tiles that nobody has to trust: every tile is hashed up to the root of a checkpoint
 * before one of its hashes is used. So whoever answers a proof finds an edited or truncated tile himself, and a
 * client can read tiles from anywhere.
 *
 * The partial tiles on the right edge hash, together, to the root; a full tile hashes to its place in the tile
 * above it. Example: in the tree of 70,000 leaves, `tile/0/000` is vouched for by the first hash of `tile/1/000`,
 * that by `tile/2/000.p/1`, and that with `tile/1/001.p/17` and `tile/0/273.p/112` by the root.
 */
import { LogError } from './errors.js'
import { emptyRoot, equalHashes, requireHash, type Hash, type Hasher } from './hash.js'
import { Frontier } from './frontier.js'
import { TileNodes } from './tile-nodes.js'
import { edgeTiles, placeOfNode, tileAt, tileHeight, tilePath, tileWidth, type TileAddress } from './tile.js'
import { requireSize, type HashReader, type NodeAddress } from './tree.js'

/** Where tiles come from: a database, a folder, a server. */
export interface TileSource {
  /**
   * The bytes of `tiles`, in order. A wider tile may be given for a narrower one, since it begins with it.
   * Rejects where one cannot be had.
   */
  readTiles(tiles: readonly TileAddress[]): Promise<readonly Uint8Array[]>
}

export interface TileHashReaderOptions {
  /** Full tiles kept, checked and opened (about 50 KiB each). Default 16. Edge tiles, at most seven, are kept besides. */
  readonly maxCachedTiles?: number
}

/** Reads the hashes of one tree: a size and its root. A proof made with it always belongs to that size. */
export class TileHashReader implements HashReader {
  /** Edge tiles by path, once they were checked. */
  #edge: ReadonlyMap<string, TileNodes> | undefined
  /** Full tiles that were checked, the least recently used first. */
  readonly #checked = new Map<string, TileNodes>()
  readonly #maxCachedTiles: number

  /** @throws LogError `wrong_size`; `tile_mismatch` where an empty tree is said to have another root than its own */
  constructor(
    readonly size: number,
    readonly root: Hash,
    private readonly source: TileSource,
    private readonly hasher: Hasher,
    options: TileHashReaderOptions = {},
  ) {
    requireSize(size)
    requireHash(root, 'a root')
    if (size === 0 && !equalHashes(root, emptyRoot())) {
      throw new LogError('tile_mismatch', 'this is not the root of the empty tree')
    }
    this.#maxCachedTiles = options.maxCachedTiles ?? 16
  }

  /** @throws LogError `wrong_size` | `tile_mismatch`, and whatever the source rejects with */
  async readHashes(nodes: readonly NodeAddress[]): Promise<readonly Hash[]> {
    const places = nodes.map((node) => placeOfNode(node, this.size))
    const { tiles, missing } = this.#survey(places.map((place) => place.tile))
    const read = await this.#read([...missing.values()])
    // Another call may have checked the edge while this one was reading it.
    this.#edge ??= this.#checkEdge(read.filter((tile) => tile.address.width < tileWidth))
    for (const [path, tile] of this.#edge) tiles.set(path, tile)
    // From the top down, so that whoever vouches has been checked before.
    const full = read.filter((tile) => tile.address.width === tileWidth)
    for (const tile of full.sort((a, b) => b.address.level - a.address.level)) {
      this.#checkFull(tile, tiles)
      tiles.set(tilePath(tile.address), tile)
      this.#remember(tile)
    }
    return places.map((place) => found(tiles, place.tile).node(place.height, place.position))
  }

  /** What is needed for `asked`: the tiles that are checked already, and those to be read. */
  #survey(asked: readonly TileAddress[]): {
    tiles: Map<string, TileNodes>
    missing: Map<string, TileAddress>
  } {
    const tiles = new Map(this.#edge)
    const missing = new Map<string, TileAddress>()
    const edge = this.#edge === undefined ? edgeTiles(this.size) : []
    for (const tile of [...edge, ...asked]) {
      // Upwards, until a tile that is known or will be: it vouches for those below.
      for (let next: TileAddress | undefined = tile; next !== undefined; next = this.#voucher(next)) {
        const path = tilePath(next)
        if (tiles.has(path) || missing.has(path)) break
        const checked = this.#recall(path)
        if (checked === undefined) {
          missing.set(path, next)
        } else {
          tiles.set(path, checked)
          break
        }
      }
    }
    return { tiles, missing }
  }

  async #read(tiles: readonly TileAddress[]): Promise<TileNodes[]> {
    const contents = tiles.length === 0 ? [] : await this.source.readTiles(tiles)
    return tiles.map((tile, i) => {
      const bytes = contents[i]
      if (bytes === undefined) throw new Error('a tile source must answer as many tiles as it was asked for')
      return new TileNodes(tile, bytes, this.hasher)
    })
  }

  /** The tile that holds the hash of a full tile; undefined for a partial tile, which only the root vouches for. */
  #voucher(tile: TileAddress): TileAddress | undefined {
    if (tile.width < tileWidth) return undefined
    return tileAt(tile.level + 1, Math.floor(tile.index / tileWidth), this.size)
  }

  #checkEdge(edge: readonly TileNodes[]): ReadonlyMap<string, TileNodes> {
    if (!equalHashes(edgeRoot(edge, this.hasher), this.root)) {
      throw new LogError('tile_mismatch', 'the tiles on the right edge do not hash to the root')
    }
    return new Map(edge.map((tile) => [tilePath(tile.address), tile]))
  }

  #checkFull(tile: TileNodes, checked: ReadonlyMap<string, TileNodes>): void {
    const voucher = this.#voucher(tile.address)
    if (voucher === undefined) throw new Error('a full tile has a tile above it')
    if (!equalHashes(tile.root(), found(checked, voucher).node(0, tile.address.index % tileWidth))) {
      const path = tilePath(tile.address)
      throw new LogError('tile_mismatch', 'the tile does not hash to its place in the tile above', path)
    }
  }

  #recall(path: string): TileNodes | undefined {
    const tile = this.#checked.get(path)
    if (tile !== undefined) {
      this.#checked.delete(path)
      this.#checked.set(path, tile)
    }
    return tile
  }

  #remember(tile: TileNodes): void {
    this.#checked.set(tilePath(tile.address), tile)
    for (const oldest of this.#checked.keys()) {
      if (this.#checked.size <= this.#maxCachedTiles) break
      this.#checked.delete(oldest)
    }
  }
}

/** The root of a tree from its partial tiles: each holds one base-256 digit of its size. */
function edgeRoot(edge: readonly TileNodes[], hasher: Hasher): Hash {
  const frontier = new Frontier(hasher)
  for (const tile of edge.toSorted((a, b) => b.address.level - a.address.level)) {
    for (const hash of tile.hashes()) frontier.appendSubtree(tile.address.level * tileHeight, hash)
  }
  return frontier.root()
}

function found(tiles: ReadonlyMap<string, TileNodes>, tile: TileAddress): TileNodes {
  const nodes = tiles.get(tilePath(tile))
  if (nodes === undefined) throw new Error('a tile that was asked for was read')
  return nodes
}
