/**
 * Where sealed events lie. What an erasure searches and counts goes by the log, which says which events there are, and
 * asks one source after the other for those of some leaves: the hot store first, then the archive. An event moves from
 * the one to the other only, and lies in both for a while; so asked in this order it is found, and found once.
 */
import type { StoredEvent } from '../../events/store.js'
import type { LeafId, LogStore } from '../../transparency-log/store.js'
import { tileWidth } from '../../transparency-log/tile.js'
import type { CutOff } from '../progress.js'

export interface EventSource {
  /** Of the target that answers for what lies there. */
  readonly name: string
  /**
   * Those events of these leaves (of some neighbouring tiles, in order) that it has.
   * @param sieve which of them are worth decoding; a source that reads no BSON decodes all
   * @throws TargetError
   */
  at(organizationId: string, leaves: GenerationLeaves, sieve: EventSieve): Promise<EventsAt>
}

/** Says of each stored event, by its BSON, whether anybody wants to see it. A no has to be sure. */
export type EventSieve = (raw: readonly Buffer[]) => Promise<readonly boolean[]>

export interface EventsAt {
  /** The event ids of all that are there. */
  readonly there: ReadonlySet<string>
  readonly events: readonly StoredEvent[]
}

/** Some events of one source. */
export interface FoundEvents {
  readonly source: string
  readonly events: readonly StoredEvent[]
}

export interface GenerationLeaves {
  readonly generation: number
  readonly leaves: readonly LeafId[]
}

const tilesAtOnce = 8

/** Groups of leaves that are looked up at once: the database reads the next while this one is searched. */
const ahead = 2

/**
 * The events of every generation before the cut-off (absent = all), some tiles at a time; what is in no source is not
 * there any more. Memory does not grow with the log.
 */
export async function* eventsBefore(
  log: Pick<LogStore, 'head' | 'leafIds'>,
  sources: readonly EventSource[],
  organizationId: string,
  cutOff: CutOff | undefined,
  sieve: EventSieve,
): AsyncGenerator<FoundEvents> {
  async function lookUp(wanted: GenerationLeaves): Promise<FoundEvents[]> {
    const found: FoundEvents[] = []
    let { leaves } = wanted
    for (const source of sources) {
      if (leaves.length === 0) break
      const { there, events } = await source.at(organizationId, { ...wanted, leaves }, sieve)
      leaves = leaves.filter(({ eventId }) => !there.has(eventId))
      found.push({ source: source.name, events })
    }
    return found
  }
  const running: Promise<FoundEvents[]>[] = []
  try {
    for await (const wanted of leavesBefore(log, organizationId, cutOff)) {
      const found = lookUp(wanted)
      // Whoever waits for it gets its failure; until then it is nobody's.
      found.catch(() => undefined)
      running.push(found)
      if (running.length > ahead) yield* (await running.shift()) ?? []
    }
    while (running.length > 0) yield* (await running.shift()) ?? []
  } finally {
    await Promise.allSettled(running)
  }
}

async function* leavesBefore(
  log: Pick<LogStore, 'head' | 'leafIds'>,
  organizationId: string,
  cutOff: CutOff | undefined,
): AsyncGenerator<GenerationLeaves> {
  const newest = cutOff?.generation ?? (await log.head(organizationId))?.generation ?? 0
  for (let generation = 1; generation <= newest; generation += 1) {
    const head = await log.head(organizationId, generation)
    if (head === undefined) continue
    const size = cutOff?.generation === generation ? cutOff.index : head.size
    for (let tile = 0; tile * tileWidth < size; tile += tilesAtOnce) {
      const ids = await log.leafIds(organizationId, generation, tile, tilesAtOnce)
      const leaves = ids.filter(({ index }) => index < size)
      yield { generation, leaves }
    }
  }
}
