/**
 * The oracle of the anchor log, as log-oracle.ts is that of organizations' logs: reads all of it, and says everything that
 * is wrong with it. It uses the pure core and the raw collections.
 */
import type { Core } from '../../src/composition.js'
import {
  anchorCollections,
  anchorTileId,
  packLogs,
  type AnchorHeadDocument,
} from '../../src/transparency-log/anchor/anchor-store.js'
import { parseEntry } from '../../src/transparency-log/anchor/entry.js'
import { buildLogsTree } from '../../src/transparency-log/anchor/logs-tree.js'
import { cosignedCheckpoint } from '../../src/transparency-log/anchor/witnesses.js'
import { openCheckpoint } from '../../src/transparency-log/checkpoint.js'
import { cosignatureVerifier } from '../../src/transparency-log/cosignature.js'
import { LogError } from '../../src/transparency-log/errors.js'
import { Frontier } from '../../src/transparency-log/frontier.js'
import { equalHashes } from '../../src/transparency-log/hash.js'
import { nodeHasher, nodeNoteCrypto, sha256 } from '../../src/transparency-log/node-crypto.js'
import { ed25519Verifier, type VerifierKey } from '../../src/transparency-log/note-key.js'
import { logCollections } from '../../src/transparency-log/store.js'
import { tilesForGrowth } from '../../src/transparency-log/tile.js'
import { TileAppender } from '../../src/transparency-log/tile-appender.js'

/** Keep one for a whole test: it remembers every checkpoint it saw. */
export interface AnchorOracle {
  /**
   * Everything that is wrong with the generation that grows; [] where nothing is, or where there is none.
   * @param witnesses every cosignature must be by one of these, and hold
   */
  findings(witnesses?: readonly VerifierKey[]): Promise<string[]>
}

const minuteMs = 60_000

export function createAnchorOracle(core: Core): AnchorOracle {
  const { heads, tiles } = anchorCollections(core.db)
  /** Roots by generation and size. */
  const seen = new Map<string, Buffer>()

  async function checkTree(
    head: AnchorHeadDocument,
    say: (what: string) => void,
  ): Promise<string | undefined> {
    const { generation, size, root } = head
    const tree = new TileAppender(nodeHasher)
    const prefix = new Frontier(nodeHasher)
    let last: Date | undefined
    let newest: string | undefined
    for (let index = 0; index * 256 < size; index += 1) {
      const tile = await tiles.findOne({ _id: anchorTileId(generation, 0, index) })
      for (const entry of tile?.entries ?? []) {
        const leaf = nodeHasher.leaf(Buffer.from(entry))
        tree.append(leaf)
        prefix.append(leaf)
        const { at } = parseEntry(entry)
        if (last !== undefined && at.getTime() - last.getTime() < minuteMs)
          say(`entry ${String(prefix.size - 1)} comes too soon`)
        ;[last, newest] = [at, entry]
        const known = seen.get(`${String(generation)}/${String(prefix.size)}`)
        if (known !== undefined && !equalHashes(known, prefix.root()))
          say(`the checkpoint of ${String(prefix.size)} entries that was seen is of another tree`)
      }
    }
    if (tree.size !== size) say(`the head says ${String(size)} entries, the tiles hold ${String(tree.size)}`)
    if (!equalHashes(tree.root(), root)) say('the root is not that of the entries')
    if (last?.getTime() !== head.at.getTime()) say('the head has not the time of its newest entry')
    const made = new Map(tree.takeTiles().map(({ tile, bytes }) => [`${tile.level}/${tile.index}`, bytes]))
    const expected = [...tilesForGrowth(0, size)]
    const stored = await tiles.find({ generation }).toArray()
    if (stored.length !== expected.length)
      say(`${String(stored.length)} tiles for ${String(expected.length)}`)
    for (const { level, index, width } of expected) {
      const tile = stored.find((one) => one.level === level && one.index === index)
      const bytes = made.get(`${level}/${index}`)
      if (tile?.width !== width || bytes === undefined || !tile.hashes.equals(bytes))
        say(`tile ${level}/${index} is not the tree's`)
    }
    return newest
  }

  /** The newest entry commits to what is kept beside it, and each of that is, or was, a tree of its log. */
  async function checkLogs(
    head: AnchorHeadDocument,
    entry: string,
    say: (what: string) => void,
  ): Promise<void> {
    const logs = await core.sealing.anchoring.store.logsOf(head)
    if (logs === undefined) {
      say('it moved on while it was read')
      return
    }
    const { root } = await buildLogsTree(logs, head.secret, nodeHasher, sha256)
    if (!equalHashes(root, parseEntry(entry).root))
      say('the newest entry commits to other logs than are kept')
    if (!head.content.equals(sha256(Buffer.concat(packLogs(logs))))) say('the digest of its logs is another')
    const known = new Map<string, { size: number; root: Buffer }>()
    for await (const { logId, size, root: own } of logCollections(core.db).heads.find({ size: { $gt: 0 } }))
      known.set(logId.toString('hex'), { size, root: own })
    for (const { logId, size, root: anchored } of logs) {
      const now = known.get(Buffer.from(logId).toString('hex'))
      if (now === undefined || now.size < size) say('it commits to a log that is not there, or was longer')
      else if (now.size === size && !now.root.equals(anchored)) say('it commits to another tree of a log')
    }
  }

  async function checkNote(
    head: AnchorHeadDocument,
    witnesses: readonly VerifierKey[],
    say: (what: string) => void,
  ): Promise<void> {
    const { keys } = core.sealing.anchoring
    const origin = keys.origin(head.generation)
    const logKeys = (await keys.verifierKeys(head.generation)).map((key) =>
      ed25519Verifier(key, nodeNoteCrypto),
    )
    const witnessKeys = witnesses.map((key) => cosignatureVerifier(key, nodeNoteCrypto))
    try {
      const opened = openCheckpoint(cosignedCheckpoint(head), { origin, logKeys, witnessKeys })
      if (opened.size !== head.size || !equalHashes(opened.root, head.root))
        say("the checkpoint is not the head's")
      if (opened.cosignatures.length !== head.cosignatures.length || opened.unverified.length > 0)
        say('a cosignature is by nobody who was asked')
    } catch (error) {
      if (!(error instanceof LogError)) throw error
      say(`the checkpoint does not open: ${error.code}`)
    }
  }

  return {
    async findings(witnesses = []) {
      const head = await heads.findOne({ _id: 'current' })
      if (head === null) return seen.size === 0 ? [] : ['the anchor log is gone']
      const found: string[] = []
      const say = (what: string) => void found.push(`anchor log: ${what}`)
      const sizes = [...seen.keys()].filter((name) => name.startsWith(`${String(head.generation)}/`))
      if (sizes.some((name) => Number(name.split('/')[1]) > head.size)) say('it has shrunk')
      const newest = await checkTree(head, say)
      if (newest !== undefined) await checkLogs(head, newest, say)
      await checkNote(head, witnesses, say)
      seen.set(`${String(head.generation)}/${String(head.size)}`, head.root)
      return found
    },
  }
}
