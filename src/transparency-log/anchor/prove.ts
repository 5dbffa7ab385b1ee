/** Proofs that an organization's log stands in the anchor log, by its newest entry: that one has all logs in it. */
import { setImmediate as breathe } from 'node:timers/promises'
import { nodeHasher, sha256 } from '../node-crypto.js'
import { proveRecord } from '../proof.js'
import type { LogStore } from '../store.js'
import { TileHashReader } from '../tile-reader.js'
import type { AnchorProof } from './anchor-proof.js'
import { entryPlace, type AnchorHeadDocument, type AnchorStore } from './anchor-store.js'
import type { AnchoredLog } from './entry.js'
import { buildLogsTree, type LogsTree } from './logs-tree.js'
import { cosignedCheckpoint } from './witnesses.js'

export interface AnchorProver {
  /**
   * The proof that the newest anchor entry has a log's tree. A record of that tree is proved beside it, by the log's own
   * inclusion proof at `log.size` of the answer, which may be larger than `size`.
   * @param size the least size that the tree must have, such as a leaf's index and one. Default 1
   * @param generation of the organization's log; absent = as it is now
   * @returns undefined where that much of the log is not anchored yet: in a minute it will be
   * @throws LogError `tile_mismatch`
   */
  anchorProof(organizationId: string, size?: number, generation?: number): Promise<AnchorProof | undefined>
}

interface Newest {
  readonly head: AnchorHeadDocument
  readonly logs: ReadonlyMap<string, AnchoredLog>
  readonly tree: LogsTree
}

/** Times that a new entry may come between while one is read: they are a minute apart. */
const maxReads = 3

export function createAnchorProver(store: AnchorStore, logStore: Pick<LogStore, 'head'>): AnchorProver {
  let kept: { readonly entry: string; readonly newest: Promise<Newest | undefined> } | undefined

  async function read(head: AnchorHeadDocument): Promise<Newest | undefined> {
    const logs = await store.logsOf(head)
    if (logs === undefined) return undefined
    const tree = await buildLogsTree(logs, head.secret, nodeHasher, sha256, () => breathe())
    return { head, logs: new Map(logs.map((log) => [hex(log.logId), log])), tree }
  }

  /** The newest entry, opened once for all who ask for it. */
  async function newestOf(head: AnchorHeadDocument): Promise<Newest | undefined> {
    const entry = `${String(head.generation)}/${head.root.toString('hex')}`
    if (kept?.entry !== entry) {
      const newest = read(head)
      kept = { entry, newest }
      const forget = () => {
        if (kept?.newest === newest) kept = undefined
      }
      newest.then((found) => (found === undefined ? forget() : undefined), forget)
    }
    return kept.newest
  }

  return {
    async anchorProof(organizationId, size = 1, generation) {
      const logHead = await logStore.head(organizationId, generation)
      if (logHead === undefined) return undefined
      for (let reads = 0; reads < maxReads; reads += 1) {
        const head = await store.head()
        if (head === undefined || head.size === 0) return undefined
        const newest = await newestOf(head)
        if (newest === undefined) continue
        const log = newest.logs.get(hex(logHead.logId))
        if (log === undefined || log.size < size) return undefined
        const { salt, hashes } = newest.tree.prove(log)
        return {
          log,
          salt,
          logsProof: hashes,
          ...(await entryProof(head)),
          checkpoint: cosignedCheckpoint(head),
        }
      }
      return undefined
    },
  }

  async function entryProof({ generation, size, root }: AnchorHeadDocument) {
    const index = size - 1
    const { tile, position } = entryPlace(index)
    const entry = (await store.entries(generation, tile))[position]
    if (entry === undefined) throw new Error('an anchor log has an entry for every leaf')
    const reader = new TileHashReader(size, root, store.tileSource(generation), nodeHasher)
    return { entry, index, proof: await proveRecord(size, index, reader, nodeHasher) }
  }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
