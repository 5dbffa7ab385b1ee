/**
 * The one oracle of sealing: reads the whole world of some organizations and says everything that is wrong with it.
 * It uses the pure core and the raw collections, never the sealer's own reading.
 */
import type { Core } from '../../src/composition.js'
import { rebuildLeaf } from '../../src/events/rebuild.js'
import { eventIdOf } from '../../src/events/store.js'
import { openCheckpoint } from '../../src/transparency-log/checkpoint.js'
import { LogError } from '../../src/transparency-log/errors.js'
import { Frontier } from '../../src/transparency-log/frontier.js'
import { equalHashes } from '../../src/transparency-log/hash.js'
import { nodeHasher, nodeNoteCrypto } from '../../src/transparency-log/node-crypto.js'
import { ed25519Verifier } from '../../src/transparency-log/note-key.js'
import {
  entriesDocumentId,
  logCollections,
  tileDocumentId,
  type LogHeadDocument,
} from '../../src/transparency-log/store.js'
import { tilesForGrowth } from '../../src/transparency-log/tile.js'
import { TileAppender } from '../../src/transparency-log/tile-appender.js'

export interface Acknowledged {
  readonly organizationId: string
  readonly id: string
  readonly leafHash: Uint8Array
}

/** Keep one for a whole test: it remembers every checkpoint it saw. */
export interface LogOracle {
  /**
   * Everything that is wrong; [] where nothing is.
   * @param acknowledged every event that was answered 201: all of them must be sealed, once
   * @param damaged ids of events whose records must be gone
   */
  findings(acknowledged: readonly Acknowledged[], damaged?: ReadonlySet<string>): Promise<string[]>
  /** Remembers a head that was published meanwhile: the log must go on from it. */
  saw(head: Pick<LogHeadDocument, '_id' | 'size' | 'root'>): void
}

/** @param organizations only the logs of these; absent = of all */
export function createLogOracle(core: Core, organizations?: readonly string[]): LogOracle {
  const scope = organizations === undefined ? {} : { organizationId: { $in: [...organizations] } }
  const seen = new Map<string, Map<number, Uint8Array>>()
  const forks: string[] = []
  const remember = ({ _id, size, root }: Pick<LogHeadDocument, '_id' | 'size' | 'root'>) => {
    const known = seen.get(_id) ?? new Map<number, Uint8Array>()
    const before = known.get(size)
    if (before !== undefined && !equalHashes(before, root))
      forks.push(`${_id}: two trees of ${String(size)} leaves were published`)
    seen.set(_id, known.set(size, root))
    return known
  }
  return {
    saw: (head) => void remember(head),
    async findings(acknowledged, damaged = new Set()) {
      const { heads } = logCollections(core.db)
      const sealed = new Map<string, number>()
      const found: string[] = []
      for (const head of await heads.find(scope).toArray()) {
        const known = remember(head)
        found.push(...(await checkLog(core, head, known, sealed, damaged)))
      }
      for (const { organizationId, id, leafHash } of acknowledged) {
        const key = `${organizationId}/${id}/${Buffer.from(leafHash).toString('hex')}`
        const times = sealed.get(key) ?? 0
        if (times !== 1)
          found.push(`${id} of ${organizationId} was acknowledged and sealed ${String(times)} times`)
      }
      found.push(...forks)
      const pending = await core.events.countDocuments({ ...scope, pending: true })
      if (pending > 0) found.push(`${String(pending)} events are still pending`)
      return found
    },
  }
}

async function checkLog(
  core: Core,
  head: LogHeadDocument,
  known: ReadonlyMap<number, Uint8Array>,
  sealed: Map<string, number>,
  damaged: ReadonlySet<string>,
): Promise<string[]> {
  const { organizationId, generation, size } = head
  const { tiles, entries } = logCollections(core.db)
  const found: string[] = []
  const say = (what: string) => found.push(`${organizationId}: ${what}`)
  const tree = new TileAppender(nodeHasher)
  const prefix = new Frontier(nodeHasher)
  let lastSealedAt = 0
  let leaves = 0

  for (let index = 0; leaves < size; index += 1) {
    const tile = await tiles.findOne({ _id: tileDocumentId(organizationId, generation, 0, index) })
    const records = (await entries.findOne({ _id: entriesDocumentId(organizationId, generation, index) }))
      ?.records
    if (tile === null || records === undefined) {
      say(`tile or records ${String(index)} are not there`)
      return found
    }
    const times = (tile.sealings ?? []).flatMap(({ at, count }) => Array<Date>(count).fill(at))
    const widths = [tile.width, tile.hashes.length / 32, tile.eventIds?.length, records.length, times.length]
    if (new Set(widths).size !== 1) say(`tile ${String(index)} disagrees with itself: ${widths.join()}`)
    for (let position = 0; position < tile.width; position += 1) {
      const leaf = Buffer.from(tile.hashes.subarray(position * 32, position * 32 + 32))
      const eventId = tile.eventIds?.[position] ?? ''
      const record = records[position] ?? ''
      const leafKey = `${organizationId}/${eventId}/${leaf.toString('hex')}`
      sealed.set(leafKey, (sealed.get(leafKey) ?? 0) + 1)
      if (record === '' ? !damaged.has(eventId) : !equalHashes(nodeHasher.leaf(Buffer.from(record)), leaf)) {
        say(`leaf ${String(leaves)} has not the record of its hash`)
      }
      const at = times[position]?.getTime() ?? 0
      if (at < lastSealedAt) say(`leaf ${String(leaves)} was sealed before the one before it`)
      lastSealedAt = at
      tree.append(leaf)
      prefix.append(leaf)
      leaves += 1
      const root = known.get(leaves)
      if (root !== undefined && !equalHashes(root, prefix.root())) {
        say(`the checkpoint of size ${String(leaves)} that was seen is of another tree`)
      }
    }
    found.push(...(await checkEvents(core, organizationId, tile.eventIds ?? [], tile.hashes, damaged)))
  }
  if (leaves !== size) say(`the head says ${String(size)} leaves, the tiles hold ${String(leaves)}`)
  if (Math.max(...known.keys()) > size) say('the log has shrunk')
  if (!equalHashes(tree.root(), head.root)) say('the root is not that of the leaves')
  if (head.sealedAt.getTime() !== lastSealedAt) say('the head has not the time of the last leaf')
  found.push(...(await checkTiles(core, head, tree)), ...(await checkCheckpoint(core, head)))
  return found
}

/** Every tile that the tree has is stored, with its bytes, and no other. */
async function checkTiles(core: Core, head: LogHeadDocument, tree: TileAppender): Promise<string[]> {
  const { organizationId, generation, size } = head
  const found: string[] = []
  const made = new Map(tree.takeTiles().map(({ tile, bytes }) => [`${tile.level}/${tile.index}`, bytes]))
  const expected = [...tilesForGrowth(0, size)]
  const stored = await logCollections(core.db).tiles.find({ organizationId, generation }).toArray()
  if (stored.length !== expected.length) {
    found.push(`${organizationId}: ${String(stored.length)} tiles are stored for ${String(expected.length)}`)
  }
  for (const { level, index, width } of expected) {
    const tile = stored.find((one) => one.level === level && one.index === index)
    const bytes = made.get(`${level}/${index}`)
    if (tile?.width !== width || bytes === undefined || !tile.hashes.equals(bytes)) {
      found.push(`${organizationId}: tile ${level}/${index} is not the tree's`)
    }
  }
  return found
}

async function checkCheckpoint(core: Core, head: LogHeadDocument): Promise<string[]> {
  const { keys } = core.sealing
  const origin = keys.origin(head.organizationId, head.generation)
  const logKeys = (await keys.verifierKeys(origin)).map((key) => ed25519Verifier(key, nodeNoteCrypto))
  try {
    const { size, root } = openCheckpoint(head.checkpoint, { origin, logKeys })
    return size === head.size && equalHashes(root, head.root)
      ? []
      : [`${head.organizationId}: the checkpoint is not the head's`]
  } catch (error) {
    if (!(error instanceof LogError)) throw error
    return [`${head.organizationId}: the checkpoint does not open: ${error.code}`]
  }
}

/** The events that are still hot make the leaves under which they are sealed, and wait for nothing. */
async function checkEvents(
  core: Core,
  organizationId: string,
  eventIds: readonly string[],
  hashes: Buffer,
  damaged: ReadonlySet<string>,
): Promise<string[]> {
  const found: string[] = []
  const ids = eventIds.map((id) => `${organizationId}/${id}`)
  for (const event of await core.events.find({ _id: { $in: ids } }).toArray()) {
    const id = eventIdOf(event._id)
    const position = eventIds.indexOf(id)
    const leaf = hashes.subarray(position * 32, position * 32 + 32)
    if (event.pending !== undefined || event.answered !== undefined)
      found.push(`${id} is sealed and still waits`)
    if (!event.leafHash.equals(leaf)) found.push(`${id} is sealed under another leaf`)
    if (!damaged.has(id) && rebuildLeaf(event)?.leafHash.equals(leaf) !== true)
      found.push(`${id} has changed`)
  }
  return found
}
