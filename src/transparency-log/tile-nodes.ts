/**
 * One tile opened up: its hashes and every complete node above them, up to its own root where it is full.
 */
import { LogError } from './errors.js'
import { hashAt, hashLength, type Hash, type Hasher } from './hash.js'
import { tileHeight, tilePath, type TileAddress } from './tile.js'

export class TileNodes {
  /** By height: the tile's own hashes first. */
  readonly #heights: Hash[][] = []

  /**
   * @param bytes the tile as read; where it is wider than `tile` (it has grown since), the rest is not looked at
   * @throws LogError `tile_mismatch` where it is narrower, or not a whole number of hashes
   */
  constructor(
    private readonly tile: TileAddress,
    bytes: Uint8Array,
    hasher: Hasher,
  ) {
    if (bytes.length < tile.width * hashLength || bytes.length % hashLength !== 0) {
      throw new LogError('tile_mismatch', 'the tile has too few bytes', tilePath(tile))
    }
    let row = Array.from({ length: tile.width }, (_, position) => hashAt(bytes, position))
    for (let height = 0; height <= tileHeight && row.length > 0; height++) {
      this.#heights.push(row)
      const above: Hash[] = []
      let left: Hash | undefined
      for (const hash of row) {
        if (left === undefined) {
          left = hash
        } else {
          above.push(hasher.node(left, hash))
          left = undefined
        }
      }
      row = above
    }
  }

  /** The `position`-th complete node at `height` (0 to 8) above the tile's hashes. */
  node(height: number, position: number): Hash {
    const hash = this.#heights[height]?.[position]
    if (hash === undefined) throw new Error('asked a tile for a node that it is too narrow for')
    return hash
  }

  /** The tile's own hashes. */
  hashes(): readonly Hash[] {
    return this.#heights[0] ?? []
  }

  /** The hash that the tile above holds of this one. Full tiles only. */
  root(): Hash {
    return this.node(tileHeight, 0)
  }

  get address(): TileAddress {
    return this.tile
  }
}
