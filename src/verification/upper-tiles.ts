/**
 * The tiles above level 0 as the leaves make them, to be compared with those that are served. What is held is one
 * tile a level, whatever the size of the log.
 */
import { equalHashes, hashAt, hashLength, type Hash } from '../transparency-log/hash.js'
import { tileHeight, tileWidth, type TileAddress } from '../transparency-log/tile.js'

/** A tile that was made, from position `from` on: what lies before it was made by leaves that were not read again. */
export interface MadeTile {
  readonly tile: TileAddress
  readonly from: number
  readonly hashes: readonly Hash[]
}

interface OpenTile {
  index: number
  from: number
  hashes: Hash[]
}

export class UpperTiles {
  readonly #open = new Map<number, OpenTile>()
  #full: MadeTile[] = []

  /** To be told of every node that is complete (`Frontier`'s listener). */
  add(level: number, index: number, hash: Hash): void {
    if (level === 0 || level % tileHeight !== 0) return
    const tileLevel = level / tileHeight
    const tile = Math.floor(index / tileWidth)
    const open = this.#open.get(tileLevel) ?? { index: tile, from: index % tileWidth, hashes: [] }
    this.#open.set(tileLevel, open)
    open.hashes.push(hash)
    if (open.from + open.hashes.length < tileWidth) return
    this.#open.delete(tileLevel)
    this.#full.push(made(tileLevel, open))
  }

  /** The full ones since the last call. */
  takeFull(): MadeTile[] {
    const full = this.#full
    this.#full = []
    return full
  }

  /** The partial ones at the end. */
  takeEdge(): MadeTile[] {
    return [...this.#open].map(([level, open]) => made(level, open))
  }
}

const made = (level: number, { index, from, hashes }: OpenTile): MadeTile => ({
  tile: { level, index, width: from + hashes.length },
  from,
  hashes,
})

/** The first position where a served tile has another hash; undefined where there is none. */
export function firstDifference(tile: MadeTile, served: Uint8Array): number | undefined {
  const position = tile.hashes.findIndex(
    (hash, offset) => !equalHashes(hash, hashAt(served, tile.from + offset)),
  )
  return position === -1 ? undefined : tile.from + position
}

/** Has it as many bytes as the tile? A wider one begins with it. */
export const isWideEnough = (bytes: Uint8Array, { width }: TileAddress): boolean =>
  bytes.length >= width * hashLength && bytes.length % hashLength === 0
