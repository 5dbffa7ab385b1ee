/** Where a log is read from to be verified: a server, a folder, an archive. Nothing that a source gives is trusted. */
import type { TileSource } from '../transparency-log/tile-reader.js'
import type { BundleAddress, TileAddress } from '../transparency-log/tile.js'

/** What is not there is undefined; a source that cannot be read at all rejects. */
export interface LogSource {
  /** The bytes of a tile, as wide as asked or wider. */
  tile(tile: TileAddress): Promise<Uint8Array | undefined>
  /** An entry bundle of exactly this width. */
  bundle(bundle: BundleAddress): Promise<Uint8Array | undefined>
  /**
   * The verifiable events of these leaves, `{id, event}` in leaf order; undefined where they cannot be had. Absent
   * where the source has no values: then records are as far as it goes.
   */
  events?(bundle: BundleAddress): Promise<readonly EventLine[] | undefined>
  /** The same, where `events` is absent: asked only for tiles whose records may say why others are gone. */
  evidence?(bundle: BundleAddress): Promise<readonly EventLine[] | undefined>
  /** A manifest of an erasure by its SHA-256 (64 hex digits); absent where the source has none. */
  manifest?(sha256: string): Promise<Uint8Array | undefined>
}

/** The tiles of a source, for proofs. One that is not there has no bytes, and `tile_mismatch` says so. */
export const tilesOf = (source: Pick<LogSource, 'tile'>): TileSource => ({
  readTiles: (tiles) => Promise.all(tiles.map(async (tile) => (await source.tile(tile)) ?? new Uint8Array())),
})

export interface EventLine {
  readonly id: unknown
  /** null where there is none any more. */
  readonly event: unknown
}
