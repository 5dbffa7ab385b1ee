/**
 * Records of a log wherever they are: in `logEntries`, or in the archive. A log store with this in front of it answers
 * bundles, proofs and feeds of archived events byte for byte as before.
 */
import type { LogStore } from '../transparency-log/store.js'
import { tileWidth } from '../transparency-log/tile.js'

export interface ArchivedRecords {
  /**
   * The records of a tile of level 0 by position: '' where a segment covers the leaf and has none (any more), undefined
   * where no segment covers it.
   * @throws AnnalsError `unavailable` | `archive_damaged`
   */
  records(organizationId: string, generation: number, tile: number): Promise<readonly (string | undefined)[]>
}

/** The same log store, which looks for a record in the archive where MongoDB has none. */
export function withArchivedRecords(store: LogStore, archived: ArchivedRecords): LogStore {
  async function records(organizationId: string, generation: number, tile: number) {
    const hot = await store.records(organizationId, generation, tile)
    if (hot !== undefined && !hot.includes('')) return hot
    const moved = await archived.records(organizationId, generation, tile)
    if (moved.length === 0) return hot
    const length = Math.max(hot?.length ?? 0, moved.length)
    return Array.from({ length }, (_, position) => {
      const kept = hot?.[position]
      return kept === undefined || kept === '' ? (moved[position] ?? '') : kept
    })
  }
  return {
    ...store,
    records,
    async record(organizationId, generation, index) {
      const hot = await store.record(organizationId, generation, index)
      if (hot !== '') return hot
      const tile = Math.floor(index / tileWidth)
      const moved = await archived.records(organizationId, generation, tile)
      return moved[index % tileWidth] ?? ''
    },
  }
}
