/** Trees to test with: one kept whole in memory, one of any size whose leaves are all the same. */
import { readFileSync } from 'node:fs'
import { expect } from 'vitest'
import { utf8 } from '../../../src/transparency-log/encoding.js'
import { LogError, type LogErrorCode } from '../../../src/transparency-log/errors.js'
import { emptyRoot, hashAt, type Hash } from '../../../src/transparency-log/hash.js'
import { nodeHasher, nodeNoteCrypto } from '../../../src/transparency-log/node-crypto.js'
import { TileAppender } from '../../../src/transparency-log/tile-appender.js'
import type { TileSource } from '../../../src/transparency-log/tile-reader.js'
import { tileHeight, tilePath, tileWidth, type TileAddress } from '../../../src/transparency-log/tile.js'
import type { HashReader } from '../../../src/transparency-log/tree.js'

/** Record i of the vectors: the text `record <i>`, and nothing for record 0. */
export function vectorRecord(i: number): Uint8Array {
  return i === 0 ? new Uint8Array() : utf8(`record ${i}`)
}

export function vectorLeaf(i: number): Hash {
  return nodeHasher.leaf(vectorRecord(i))
}

/** The Merkle Tree Hash as RFC 6962 section 2.1 defines it, by recursion: the judge of all else here. */
export function merkleTreeHash(leaves: readonly Hash[]): Hash {
  const [first] = leaves
  if (first === undefined) return emptyRoot()
  if (leaves.length === 1) return first
  let middle = 1
  while (middle * 2 < leaves.length) middle *= 2
  return nodeHasher.node(merkleTreeHash(leaves.slice(0, middle)), merkleTreeHash(leaves.slice(middle)))
}

/** A tree of vector records with every complete node in memory. */
export class MemoryTree implements HashReader {
  readonly leaves: readonly Hash[]
  readonly #levels: Hash[][]

  constructor(readonly size: number) {
    this.leaves = Array.from({ length: size }, (_, i) => vectorLeaf(i))
    this.#levels = [[...this.leaves]]
    for (let row = this.#levels[0] ?? []; row.length > 1; row = this.#levels.at(-1) ?? []) {
      const pairs = Math.floor(row.length / 2)
      this.#levels.push(
        Array.from({ length: pairs }, (_, i) => nodeHasher.node(at(row, 2 * i), at(row, 2 * i + 1))),
      )
    }
  }

  readHashes: HashReader['readHashes'] = (nodes) =>
    Promise.resolve(nodes.map((node) => at(at(this.#levels, node.level), node.index)))
}

/** The tiles of a tree of vector records, by path. */
export function tilesOf(size: number): Map<string, Uint8Array> {
  const appender = new TileAppender(nodeHasher)
  for (let i = 0; i < size; i++) appender.append(vectorLeaf(i))
  return new Map(appender.takeTiles().map(({ tile, bytes }) => [tilePath(tile), bytes]))
}

/** Serves tiles from a map and keeps what it was asked for. */
export class MapSource implements TileSource {
  readonly asked: string[][] = []

  constructor(private readonly tiles: ReadonlyMap<string, Uint8Array>) {}

  readTiles(tiles: readonly TileAddress[]): Promise<readonly Uint8Array[]> {
    const paths = tiles.map(tilePath)
    this.asked.push(paths)
    const found = paths.map((path) => this.tiles.get(path))
    if (found.includes(undefined)) return Promise.reject(new Error('no such tile'))
    return Promise.resolve(found.filter((bytes) => bytes !== undefined))
  }
}

/** A tree of any size, up to 2^53 - 1, whose leaves are all vector record 0. */
export class UniformTree implements HashReader, TileSource {
  readonly #levels: Hash[] = [vectorLeaf(0)]

  constructor() {
    for (let level = 0; level < 53; level++) {
      const below = at(this.#levels, level)
      this.#levels.push(nodeHasher.node(below, below))
    }
  }

  get leaf(): Hash {
    return at(this.#levels, 0)
  }

  readHashes: HashReader['readHashes'] = (nodes) =>
    Promise.resolve(nodes.map((node) => at(this.#levels, node.level)))

  readTiles(tiles: readonly TileAddress[]): Promise<readonly Uint8Array[]> {
    return Promise.resolve(
      tiles.map((tile) => {
        const bytes = new Uint8Array(tileWidth * 32)
        for (let i = 0; i < tile.width; i++) bytes.set(at(this.#levels, tile.level * tileHeight), i * 32)
        return bytes.subarray(0, tile.width * 32)
      }),
    )
  }
}

export function at<T>(list: readonly T[], index: number): T {
  const value = list[index]
  if (value === undefined) throw new Error(`the test asked for element ${index} of ${list.length}`)
  return value
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

export function fromHex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'hex'))
}

/** The hash with one bit of it turned over. */
export function flipped(bytes: Uint8Array, bit = 0): Uint8Array {
  const copy = Uint8Array.from(bytes)
  const byte = Math.floor(bit / 8)
  copy[byte] = (copy[byte] ?? 0) ^ (1 << (bit % 8))
  return copy
}

/** The codes of log errors that a call throws, for tables: 'nothing' where it does not throw. */
export function codeOf(call: () => unknown): LogErrorCode | 'nothing' {
  try {
    call()
  } catch (error) {
    if (error instanceof LogError) return error.code
    throw error
  }
  return 'nothing'
}

export async function rejectionOf(promise: Promise<unknown>): Promise<LogError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(LogError)
  if (!(error instanceof LogError)) throw new Error('expected a LogError')
  return error
}

/** The signing key of the vectors, and the name it signs under. */
export const vectorSeed = fromHex('629f052b7544ce4658ff325a59facb19d723e0289933e5e0283a93c1893eb164')
export const vectorOrigin = 'annals.example/org/org_acme'
export const vectorPair = nodeNoteCrypto.importSeed(vectorSeed)

/** The text of a module's opening comment, as it reads without the stars. */
export function moduleComment(file: string): string {
  const source = readFileSync(new URL(`../../../src/transparency-log/${file}`, import.meta.url), 'utf8')
  const [, comment = ''] = /^\/\*\*\n([^]*?)\n \*\//.exec(source) ?? []
  return comment.replace(/^ \* ?/gm, '')
}

/** An example as it stands in a module's comment: indented by two. */
export function indented(text: string): string {
  return text.replace(/^(?=.)/gm, '  ').trimEnd()
}

/** The leaf hashes that a level 0 tile holds. */
export function hashesIn(bytes: Uint8Array): string[] {
  return Array.from({ length: bytes.length / 32 }, (_, i) => hex(hashAt(bytes, i)))
}
