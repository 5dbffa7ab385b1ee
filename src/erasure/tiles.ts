/** Under which tiles events lie in archives: there a change looks for them, and passes over all others. */
import { tileOf } from '../archive/segment.js'
import type { LogStore } from '../transparency-log/store.js'

export interface Tiles {
  readonly isEmpty: boolean
  has(tile: { readonly generation: number; readonly tile: number }): boolean
}

const nameOf = (generation: number, tile: number) => `${String(generation)}/${String(tile)}`

/** @param pages event ids, some hundred at a time; the log knows where they are */
export async function tilesOf(
  log: Pick<LogStore, 'locateAll'>,
  organizationId: string,
  pages: AsyncIterable<readonly string[]> | Iterable<readonly string[]>,
): Promise<Tiles> {
  const tiles = new Set<string>()
  for await (const eventIds of pages)
    for (const { generation, index } of (await log.locateAll(organizationId, eventIds)).values())
      tiles.add(nameOf(generation, tileOf(index)))
  return { isEmpty: tiles.size === 0, has: ({ generation, tile }) => tiles.has(nameOf(generation, tile)) }
}
