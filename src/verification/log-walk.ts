/**
 * Walks a log from its first leaf to its checkpoint: values → commitments → records → leaves → root. It holds a few
 * tiles and the frontier of the tree, whatever the size of the log, and runs wherever its source and hash function do.
 *
 * Where record and leaf hash of a place disagree, one of them was edited. The tile above says which: it holds the hash
 * of the whole tile, and the root vouches for it; for the partial tile at the end the root itself does.
 *
 * With an earlier checkpoint that is trusted, the walk begins at its size: the tiles of the earlier tree must hash to its
 * root, and the leaves after it must lead from there to the new one. That is the proof of consistency.
 */
import type { Checkpoint } from '../transparency-log/checkpoint.js'
import { base64 } from '../transparency-log/encoding.js'
import { decodeEntryBundle } from '../transparency-log/entry-bundle.js'
import { LogError } from '../transparency-log/errors.js'
import { Frontier } from '../transparency-log/frontier.js'
import { equalHashes, hashAt, type Hash, type Hasher } from '../transparency-log/hash.js'
import { TileHashReader, type TileSource } from '../transparency-log/tile-reader.js'
import {
  entryBundlePath,
  tileAt,
  tilePath,
  tileWidth,
  type BundleAddress,
  type TileAddress,
} from '../transparency-log/tile.js'
import { completeSubtrees } from '../transparency-log/tree.js'
import type { Excuse, Finding, LogReport } from './contract.js'
import { Erasures, isErasure, type GoneField, type Sha256 } from './erasures.js'
import type { CheckEvent, FieldExcuse } from './event-check.js'
import { FieldCounts, Findings } from './findings.js'
import { firstDifference, isWideEnough, UpperTiles, type MadeTile } from './upper-tiles.js'

/** Where a log is read from. What is not there is undefined; a source that cannot be read at all rejects. */
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

export interface WalkOptions {
  readonly generation: number
  readonly hasher: Hasher
  readonly checkEvent: CheckEvent
  readonly sha256: Sha256
  /** Trusted, and not larger than the checkpoint. */
  readonly earlier?: Checkpoint | undefined
  readonly excuse?: Excuse | undefined
  /** Tiles that are read ahead. */
  readonly readAhead?: number
  readonly onProgress?: (leaves: number, size: number) => void
}

const defaultReadAhead = 4
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Checks everything that a checkpoint commits to. @throws whatever the source rejects with */
export async function walkLog(
  source: LogSource,
  checkpoint: Checkpoint,
  options: WalkOptions,
): Promise<LogReport> {
  const walk = new LogWalk(source, checkpoint, options)
  return walk.run()
}

interface TileParts {
  readonly address: TileAddress
  readonly tile: Uint8Array | undefined
  readonly bundle: Uint8Array | undefined
  readonly events: readonly EventLine[] | undefined
}

/** What is known of the leaves under one tile, by position. */
interface TileHashes {
  /** As the tile has them. */
  readonly stored: readonly (Hash | undefined)[]
  /** As the records make them. */
  readonly own: readonly (Hash | undefined)[]
  readonly records: readonly (Uint8Array | undefined)[]
}

interface LeafParts {
  readonly index: number
  readonly leaf: Hash
  readonly bytes: Uint8Array | undefined
  /** The record makes the leaf. */
  readonly holds: boolean
  readonly line: EventLine | undefined
}

class LogWalk {
  readonly #findings = new Findings()
  readonly #fields = new FieldCounts()
  readonly #upper = new UpperTiles()
  readonly #erasures: Erasures
  /** Of upper tiles: whether the tile or the leaves below were edited is known at the end, from the root. */
  readonly #differing: { readonly made: MadeTile; readonly position: number }[] = []
  #frontier: Frontier
  #trusted = 0
  #leaves = 0
  #records = 0
  #events = 0

  constructor(
    private readonly source: LogSource,
    private readonly checkpoint: Checkpoint,
    private readonly options: WalkOptions,
  ) {
    this.#frontier = this.#freshFrontier([], 0)
    const { manifest } = source
    this.#erasures = new Erasures(
      this.#fields,
      this.#findings,
      options.sha256,
      manifest === undefined ? undefined : (sha256) => manifest(sha256),
    )
  }

  async run(): Promise<LogReport> {
    const { size, root, origin } = this.checkpoint
    const { earlier } = this.options
    if (earlier !== undefined) await this.#resume(earlier)
    for await (const parts of this.#read()) {
      await this.#tile(parts)
      for (const made of this.#upper.takeFull()) await this.#compare(made)
      this.options.onProgress?.(this.#frontier.size, size)
    }
    const rootHolds = equalHashes(this.#frontier.root(), root)
    for (const made of this.#upper.takeEdge()) await this.#compare(made)
    this.#erasures.settle()
    this.#judge(rootHolds)
    return {
      origin,
      size,
      root: base64(root),
      trustedLeaves: this.#trusted,
      leaves: this.#leaves,
      records: this.#records,
      events: this.#events,
      fields: this.#fields.all(),
      findings: this.#findings.sorted(),
      findingCount: this.#findings.count,
    }
  }

  #freshFrontier(hashes: readonly Hash[], size: number): Frontier {
    return Frontier.resume(size, hashes, this.options.hasher, (level, index, hash) =>
      this.#upper.add(level, index, hash),
    )
  }

  /** Begins at the earlier tree where its tiles are still there and hash to its root; else at the first leaf. */
  async #resume({ size, root }: Checkpoint): Promise<void> {
    const reader = new TileHashReader(size, root, tilesOf(this.source), this.options.hasher)
    try {
      const nodes = size === 0 ? [] : completeSubtrees({ from: 0, to: size })
      this.#frontier = this.#freshFrontier(await reader.readHashes(nodes), size)
      this.#trusted = size
    } catch (error) {
      if (!(error instanceof LogError)) throw error
      this.#findings.add({
        code: 'checkpoint_inconsistent',
        at: error.at ?? 'checkpoint',
        detail: `the log does not begin with the ${String(size)} leaves of the earlier checkpoint`,
      })
    }
  }

  /** The tiles of level 0 with all that belongs to them, a few read ahead. */
  async *#read(): AsyncGenerator<TileParts> {
    const { size } = this.checkpoint
    const ahead: Promise<TileParts>[] = []
    let next = Math.floor(this.#frontier.size / tileWidth)
    for (;;) {
      while (ahead.length < (this.options.readAhead ?? defaultReadAhead)) {
        const address = tileAt(0, next, size)
        if (address === undefined) break
        next += 1
        const parts = this.#readParts(address)
        // A rejection is met when its turn comes, and not before.
        parts.catch(() => undefined)
        ahead.push(parts)
      }
      const first = ahead.shift()
      if (first === undefined) return
      yield await first
    }
  }

  async #readParts(address: TileAddress): Promise<TileParts> {
    const [tile, bundle, events] = await Promise.all([
      this.source.tile(address),
      this.source.bundle(address),
      this.source.events?.(address),
    ])
    return { address, tile, bundle, events }
  }

  async #tile({ address, tile, bundle, events }: TileParts): Promise<void> {
    const first = address.index * tileWidth
    /** Leaves before it are vouched for by the earlier checkpoint. */
    const from = this.#frontier.size - first
    const records = this.#recordsOf(address, bundle)
    const stored = this.#hashesOf(address, tile)
    const own = records.map((record) => (record === undefined ? undefined : this.options.hasher.leaf(record)))
    const leaves = await this.#decide(address, from, { stored, own, records })
    for (let position = from; position < address.width; position += 1) {
      const hash = leaves[position]
      // Neither the tile nor the bundle has it. The tree goes on with a hash of nothing, and its root will differ.
      const leaf = hash ?? this.options.hasher.leaf(new Uint8Array())
      this.#frontier.append(leaf)
      this.#leaves += 1
      if (hash === undefined) continue
      const bytes = records[position]
      const made = own[position]
      const holds = made !== undefined && equalHashes(made, leaf)
      const met = this.#leaf({ index: first + position, leaf, bytes, holds, line: events?.[position] })
      if (met !== undefined) await met
    }
    if (this.source.events !== undefined && events === undefined) {
      const detail = 'the events of these leaves cannot be had'
      const leaf = { generation: this.options.generation, index: first + from }
      this.#findings.add({ code: 'events_unreadable', at: entryBundlePath(address), detail, leaf })
    }
    for (const line of events?.slice(address.width) ?? []) this.#strayLine(address, line)
  }

  /** The records of a bundle; undefined in place of one that is not there. */
  #recordsOf(address: TileAddress, bundle: Uint8Array | undefined): readonly (Uint8Array | undefined)[] {
    const at = entryBundlePath(address)
    const leaf = { generation: this.options.generation, index: address.index * tileWidth }
    const none = Array.from({ length: address.width }, () => undefined)
    if (bundle === undefined) {
      this.#findings.add({ code: 'bundle_missing', at, detail: 'the records are not there', leaf })
      return none
    }
    try {
      return decodeEntryBundle(bundle, address.width).map((entry) => (entry.length === 0 ? undefined : entry))
    } catch (error) {
      if (!(error instanceof LogError)) throw error
      this.#findings.add({ code: 'bundle_malformed', at, detail: error.detail, leaf })
      return none
    }
  }

  #hashesOf(address: TileAddress, tile: Uint8Array | undefined): readonly (Hash | undefined)[] {
    const at = tilePath(address)
    const leaf = { generation: this.options.generation, index: address.index * tileWidth }
    if (tile !== undefined && isWideEnough(tile, address))
      return Array.from({ length: address.width }, (_, position) => hashAt(tile, position))
    const finding =
      tile === undefined
        ? ({ code: 'tile_missing', detail: 'the tile is not there' } as const)
        : ({ code: 'tile_malformed', detail: 'the tile is cut short, or no tile' } as const)
    this.#findings.add({ ...finding, at, leaf })
    return Array.from({ length: address.width }, () => undefined)
  }

  /** The leaf hashes that the tree goes on with: those of the tile, unless it is the tile that was edited. */
  async #decide(
    address: TileAddress,
    from: number,
    { stored, own, records }: TileHashes,
  ): Promise<readonly (Hash | undefined)[]> {
    const fromTile = stored.map((hash, position) => hash ?? own[position])
    const fromRecords = own.map((hash, position) => hash ?? stored[position])
    const differ = (position: number) => {
      const [a, b] = [fromTile[position], fromRecords[position]]
      return position >= from && a !== undefined && b !== undefined && !equalHashes(a, b)
    }
    const differing = fromTile.findIndex((_, position) => differ(position))
    if (differing === -1) return fromTile
    if (await this.#leadsUp(address, fromTile)) return fromTile
    if (!(await this.#leadsUp(address, fromRecords))) return fromTile
    this.#findings.add({
      code: 'tile_differs',
      at: tilePath(address),
      detail: 'the tile has another hash than the record there, which is the one that was signed',
      leaf: this.#name(address.index * tileWidth + differing, textOf(records[differing])),
    })
    return fromRecords
  }

  /** Do these leaves make the hash that the tile above has, or (at the end) the root? */
  async #leadsUp(address: TileAddress, leaves: readonly (Hash | undefined)[]): Promise<boolean> {
    const { size, root } = this.checkpoint
    const { hasher } = this.options
    if (leaves.includes(undefined)) return false
    if (address.width < tileWidth) {
      const tree = Frontier.resume(this.#frontier.size, this.#frontier.hashes(), hasher)
      for (const leaf of leaves.slice(this.#frontier.size - address.index * tileWidth))
        if (leaf !== undefined) tree.append(leaf)
      return equalHashes(tree.root(), root)
    }
    const above = tileAt(1, Math.floor(address.index / tileWidth), size)
    const served = above === undefined ? undefined : await this.source.tile(above)
    if (above === undefined || served === undefined || !isWideEnough(served, above)) return false
    const tree = new Frontier(hasher)
    for (const leaf of leaves) if (leaf !== undefined) tree.append(leaf)
    return equalHashes(tree.root(), hashAt(served, address.index % tileWidth))
  }

  /** One leaf: its record, and its event where the source has values. */
  #leaf({ index, leaf, bytes, holds, line }: LeafParts): Promise<void> | undefined {
    const { hasher, checkEvent, excuse } = this.options
    const record = holds ? textOf(bytes) : undefined
    if (holds) this.#records += 1
    if (bytes !== undefined && !holds) {
      const where = this.#name(index, textOf(bytes))
      const detail = 'the record is not the one that was signed'
      this.#findings.add({ code: 'record_differs', at: leafText(where), detail, leaf: where })
    }
    const say = (finding: Pick<Finding, 'code' | 'detail' | 'slots'>) => {
      const name = this.#name(index, record, line)
      this.#findings.add({ ...finding, at: leafText(name), leaf: name })
    }
    if (line === undefined || line.event === null) {
      if (bytes === undefined) say({ code: 'record_missing', detail: 'the record is not there' })
      else if (line !== undefined) say({ code: 'event_missing', detail: 'the event is not there any more' })
      return undefined
    }
    this.#events += 1
    const gone: GoneField[] = []
    const excused = excuse && this.#excused(excuse, index, line)
    const check = checkEvent(line.event, record, (slot, subject) => {
      const state = excused?.(slot, subject)
      if (state === undefined) gone.push({ slot, subject })
      return state
    })
    let { problem } = check
    if (problem === undefined && line.id !== idOf(line.event))
      problem = { code: 'event_misplaced', detail: 'another event is said to be there' }
    if (record === undefined && problem === undefined && !makesLeaf(check.record, leaf, hasher)) {
      problem = {
        code: 'record_differs',
        detail: 'the event does not make the leaf, and its record is not there',
      }
    }
    if (problem !== undefined) {
      say(problem)
      this.#fields.add('missing', check.fields.length)
      return undefined
    }
    for (const { state } of check.fields) if (state !== 'missing') this.#fields.add(state)
    if (gone.length > 0) this.#erasures.note(this.#name(index, record, line), gone)
    // Nearly no event is one: nothing waits for the others.
    return isErasure(line.event) ? this.#erasures.meet(line.event) : undefined
  }

  #excused(excuse: Excuse, index: number, line: EventLine): FieldExcuse {
    const name = this.#name(index, undefined, line)
    return (slot, subject) => excuse(name, slot, subject)
  }

  #strayLine(address: TileAddress, { id }: EventLine): void {
    const detail = 'there is an event more than there are leaves'
    const leaf = this.#name(address.index * tileWidth + address.width - 1, undefined, { id, event: null })
    this.#findings.add({ code: 'stray_line', at: entryBundlePath(address), detail, leaf })
  }

  #name(index: number, record: string | undefined, line?: EventLine) {
    const { generation } = this.options
    const eventId = (record === undefined ? undefined : recordId(record)) ?? line?.id
    return typeof eventId === 'string' ? { generation, index, eventId } : { generation, index }
  }

  async #compare(made: MadeTile): Promise<void> {
    const at = tilePath(made.tile)
    const served = await this.source.tile(made.tile)
    if (served === undefined) {
      this.#findings.add({ code: 'tile_missing', at, detail: 'the tile is not there' })
    } else if (!isWideEnough(served, made.tile)) {
      this.#findings.add({ code: 'tile_malformed', at, detail: 'the tile is cut short, or no tile' })
    } else {
      const position = firstDifference(made, served)
      if (position !== undefined) this.#differing.push({ made, position })
    }
  }

  /** Where the root holds, an upper tile that differs was edited. Where it does not, it says where leaves were. */
  #judge(rootHolds: boolean): void {
    for (const { made, position } of this.#differing) {
      const { level, index } = made.tile
      if (rootHolds) {
        const detail = `the tile has another hash at its position ${String(position)}`
        this.#findings.add({ code: 'tile_differs', at: tilePath(made.tile), detail })
      } else if (level === 1) {
        const below = { level: 0, index: index * tileWidth + position, width: tileWidth }
        const leaf = { generation: this.options.generation, index: below.index * tileWidth }
        const detail = 'the leaves do not hash to their place in the tile above'
        this.#findings.add({ code: 'tile_differs', at: tilePath(below), detail, leaf })
      }
    }
    if (!rootHolds) {
      const detail = 'the leaves do not hash to the root that was signed'
      this.#findings.add({ code: 'root_differs', at: 'checkpoint', detail })
    }
  }
}

const leafText = ({ generation, index }: { generation: number; index: number }) =>
  `leaf ${String(generation)}.${String(index)}`

const makesLeaf = (record: string | undefined, leaf: Hash, hasher: Hasher) =>
  record !== undefined && equalHashes(hasher.leaf(new TextEncoder().encode(record)), leaf)

function textOf(bytes: Uint8Array | undefined): string | undefined {
  if (bytes === undefined) return undefined
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}

const recordId = (record: string): string | undefined => /"id":"([^"\\]{1,64})"/.exec(record)?.[1]

const idOf = (event: unknown): unknown =>
  typeof event === 'object' && event !== null && 'id' in event ? event.id : undefined
