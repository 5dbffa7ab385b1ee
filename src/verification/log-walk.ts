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
import { equalHashes, hashAt, type Hash } from '../transparency-log/hash.js'
import { TileHashReader } from '../transparency-log/tile-reader.js'
import { entryBundlePath, tileAt, tilePath, tileWidth, type TileAddress } from '../transparency-log/tile.js'
import { completeSubtrees } from '../transparency-log/tree.js'
import type { LogReport } from './contract.js'
import { isRetentionRecord } from './expiry-rules.js'
import { Findings } from './findings.js'
import { LeafChecks, textOf, type LeafRules } from './leaf-check.js'
import { tilesOf, type EventLine, type LogSource } from './log-source.js'
import { firstDifference, isWideEnough, UpperTiles, type MadeTile } from './upper-tiles.js'

export interface WalkOptions extends LeafRules {
  /** Trusted, and not larger than the checkpoint. */
  readonly earlier?: Checkpoint | undefined
  /** Proved events of later generations; asked only where something is gone that nothing accounts for so far. */
  readonly later?: (() => AsyncIterable<unknown>) | undefined
  /** Tiles that are read ahead. */
  readonly readAhead?: number
  readonly onProgress?: (leaves: number, size: number) => void
}

const defaultReadAhead = 4

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

class LogWalk {
  readonly #findings = new Findings()
  readonly #upper = new UpperTiles()
  readonly #checks: LeafChecks
  /** Of upper tiles: whether the tile or the leaves below were edited is known at the end, from the root. */
  readonly #differing: { readonly made: MadeTile; readonly position: number }[] = []
  #frontier: Frontier
  #trusted = 0
  #leaves = 0

  constructor(
    private readonly source: LogSource,
    private readonly checkpoint: Checkpoint,
    private readonly options: WalkOptions,
  ) {
    this.#frontier = this.#freshFrontier([], 0)
    this.#checks = new LeafChecks(options, this.#findings, source)
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
    if (this.#checks.waits)
      for await (const event of this.options.later?.() ?? []) await this.#checks.meetLater(event)
    this.#checks.settle()
    this.#judge(rootHolds)
    return {
      origin,
      size,
      root: base64(root),
      trustedLeaves: this.#trusted,
      leaves: this.#leaves,
      records: this.#checks.records,
      events: this.#checks.events,
      expired: this.#checks.expired,
      expiredRecords: this.#checks.expiredRecords,
      fields: this.#checks.fields.all(),
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
      if (size > 0) this.#checks.beginLater()
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
    const evidence = await this.#evidence(address, records)
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
      const met = this.#checks.check({
        index: first + position,
        leaf,
        bytes,
        holds,
        line: events?.[position],
        evidence: evidence?.[position],
      })
      if (met !== undefined) await met
    }
    if (this.source.events !== undefined && events === undefined) {
      const detail = 'the events of these leaves cannot be had'
      const leaf = { generation: this.options.generation, index: first + from }
      this.#findings.add({ code: 'events_unreadable', at: entryBundlePath(address), detail, leaf })
    }
    for (const line of events?.slice(address.width) ?? []) this.#checks.strayLine(address, line)
  }

  /** Where values are not read: the events of a tile in which retention says why something is gone. */
  async #evidence(
    address: TileAddress,
    records: readonly (Uint8Array | undefined)[],
  ): Promise<readonly EventLine[] | undefined> {
    if (this.source.events !== undefined || this.source.evidence === undefined) return undefined
    const says = records.some((bytes) => isRetentionRecord(textOf(bytes) ?? ''))
    return says ? this.source.evidence(address) : undefined
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
      leaf: this.#checks.name(address.index * tileWidth + differing, textOf(records[differing])),
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
