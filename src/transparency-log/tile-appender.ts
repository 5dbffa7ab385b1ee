/**
 * A tree that grows, and the tiles that have to be written for it.
 *
 * Sealing resumes it from the partial tiles of the log's head, appends a batch of leaf hashes and stores what
 * `takeTiles()` gives in one transaction with the new size and root. What it holds between two calls of
 * `takeTiles()` is 8 KiB for every 256 leaves appended.
 *
 * Example: resumed at 255 leaves with one tile of 255 hashes, and given one leaf more, it gives `tile/0/000` (full)
 * and `tile/1/000.p/1`.
 */
import { LogError } from './errors.js'
import { Frontier } from './frontier.js'
import { equalHashes, hashAt, hashLength, requireHash, type Hash, type Hasher } from './hash.js'
import { edgeTiles, tileHeight, tilePath, tileWidth, type TileAddress } from './tile.js'

/** A tile and its `width` hashes. */
export interface TileContent {
  readonly tile: TileAddress
  readonly bytes: Uint8Array
}

/** The head of a log and the bytes of its partial tiles, in the order of `edgeTiles(size)`. */
export interface TreeHead {
  readonly size: number
  readonly root: Hash
  readonly edge: readonly Uint8Array[]
}

/** The tile of one level that is being filled. */
interface OpenTile {
  index: number
  width: number
  bytes: Uint8Array
  changed: boolean
}

export class TileAppender {
  readonly #frontier: Frontier
  readonly #open: OpenTile[] = []
  #full: TileContent[] = []
  #resuming = false

  /** A tree without leaves. */
  constructor(hasher: Hasher) {
    this.#frontier = new Frontier(hasher, (level, index, hash) => {
      if (level % tileHeight === 0 && !this.#resuming) this.#store(level / tileHeight, index, hash)
    })
  }

  /**
   * The tree at `head`. Its partial tiles are hashed up to its root first: a tile that was edited in the store is
   * found here and never signed over. An edge tile may be wider than the head calls for.
   * @throws LogError `wrong_size` | `tile_mismatch`
   */
  static resume(head: TreeHead, hasher: Hasher): TileAppender {
    const tiles = edgeTiles(head.size)
    if (head.edge.length !== tiles.length)
      throw new LogError('wrong_size', 'one tile is needed for every edge tile')
    const appender = new TileAppender(hasher)
    appender.#resuming = true
    for (const [i, tile] of [...tiles.entries()].reverse()) {
      const bytes = head.edge[i] ?? new Uint8Array()
      if (bytes.length < tile.width * hashLength || bytes.length % hashLength !== 0) {
        throw new LogError('tile_mismatch', 'the tile has too few bytes', tilePath(tile))
      }
      const open = appender.#openTile(tile.level)
      open.index = tile.index
      open.width = tile.width
      open.bytes.set(bytes.subarray(0, tile.width * hashLength))
      for (let position = 0; position < tile.width; position++) {
        appender.#frontier.appendSubtree(tile.level * tileHeight, hashAt(open.bytes, position))
      }
    }
    appender.#resuming = false
    if (!equalHashes(appender.root(), head.root)) {
      throw new LogError('tile_mismatch', 'the tiles on the right edge do not hash to the root')
    }
    return appender
  }

  get size(): number {
    return this.#frontier.size
  }

  root(): Hash {
    return this.#frontier.root()
  }

  /** Adds a leaf by its leaf hash. @throws LogError `wrong_size` where it has not 32 bytes, or the tree is full */
  append(leaf: Hash): void {
    requireHash(leaf, 'a leaf hash')
    this.#frontier.append(leaf)
  }

  /** The tiles that changed since the last call (or the start), as they are at the present size. */
  takeTiles(): TileContent[] {
    const tiles = this.#full
    this.#full = []
    for (const [level, open] of this.#open.entries()) {
      if (!open.changed) continue
      open.changed = false
      const { index, width } = open
      tiles.push({ tile: { level, index, width }, bytes: open.bytes.slice(0, width * hashLength) })
    }
    return tiles
  }

  #openTile(level: number): OpenTile {
    while (this.#open.length <= level) {
      this.#open.push({ index: 0, width: 0, bytes: new Uint8Array(tileWidth * hashLength), changed: false })
    }
    const open = this.#open[level]
    if (open === undefined) throw new Error('every level up to the one asked for was opened')
    return open
  }

  #store(level: number, index: number, hash: Hash): void {
    const open = this.#openTile(level)
    if (open.width === 0) open.index = Math.floor(index / tileWidth)
    open.bytes.set(hash, open.width * hashLength)
    open.width++
    open.changed = true
    if (open.width < tileWidth) return
    this.#full.push({ tile: { level, index: open.index, width: tileWidth }, bytes: open.bytes })
    open.width = 0
    open.bytes = new Uint8Array(tileWidth * hashLength)
    open.changed = false
  }
}
