/**
 * Which leaves were sealed by a moment: `sealedAt` grows with the leaf, so it is a range from the left, and where the
 * range ends is found by halving the log, in as many reads of one small document as the number of tiles has digits in
 * binary. Tiles outlive events, so the answer is the same whatever was archived or has expired.
 */
import type { Collection, Db } from 'mongodb'
import { collectionNames } from '../mongo/collections.js'
import { tileDocumentId, type LogTileDocument, type Sealing } from '../transparency-log/store.js'
import { tileWidth } from '../transparency-log/tile.js'

/** A log as it is now. */
export interface LogExtent {
  readonly organizationId: string
  readonly generation: number
  /** Leaves in it. */
  readonly size: number
}

export interface LeafTimes {
  /** How many leaves were sealed at `moment` or before: they are [0, answer). */
  sealedBy(log: LogExtent, moment: Date): Promise<number>
  /** When a leaf was sealed. Rejects where there is no such leaf. */
  sealedAt(log: LogExtent, leaf: number): Promise<Date>
}

const maxKept = 10_000

/** Keeps what it has read, for one question or a few: make a new one for the next. */
export function createLeafTimes(db: Db): LeafTimes {
  const tiles: Collection<LogTileDocument> = db.collection(collectionNames.logTiles)
  const kept = new Map<string, readonly Sealing[]>()

  async function sealingsOf(
    { organizationId, generation }: LogExtent,
    index: number,
  ): Promise<readonly Sealing[]> {
    const _id = tileDocumentId(organizationId, generation, 0, index)
    const known = kept.get(_id)
    if (known !== undefined) return known
    const tile = await tiles.findOne({ _id }, { projection: { sealings: 1 } })
    const sealings = tile?.sealings ?? []
    if (sealings.length === 0) throw new Error('a tile of level 0 that the head covers has no times')
    if (kept.size >= maxKept) kept.clear()
    kept.set(_id, sealings)
    return sealings
  }

  return {
    async sealedBy(log, moment) {
      const tilesInLog = Math.ceil(log.size / tileWidth)
      // Every tile before `low` begins by then, none from `high` on does.
      let low = 0
      let high = tilesInLog
      while (low < high) {
        const middle = Math.floor((low + high) / 2)
        const [first] = await sealingsOf(log, middle)
        if (first !== undefined && first.at <= moment) low = middle + 1
        else high = middle
      }
      if (low === 0) return 0
      const last = low - 1
      let leaves = last * tileWidth
      for (const { at, count } of await sealingsOf(log, last)) {
        if (at > moment) break
        leaves += count
      }
      // The tile may have grown since the head was read.
      return Math.min(leaves, log.size)
    },
    async sealedAt(log, leaf) {
      let position = leaf % tileWidth
      for (const { at, count } of await sealingsOf(log, Math.floor(leaf / tileWidth))) {
        if (position < count) return at
        position -= count
      }
      throw new Error('there is no such leaf in the log')
    },
  }
}
