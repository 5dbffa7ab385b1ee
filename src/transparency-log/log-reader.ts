/**
 * Reading a log: checkpoints, tiles, records, proofs. What is answered is one state of the log: the head is read
 * once, and everything else is computed for its size, which the tiles never shrink below.
 *
 * What somebody edited in the database proves nothing: tiles are hashed up to the root before they are used, and a proof
 * is checked, record included, before it is given.
 */
import { AnnalsError, notFound } from '../errors.js'
import { utf8 } from './encoding.js'
import { encodeEntryBundle } from './entry-bundle.js'
import { LogError } from './errors.js'
import { equalHashes, hashLength, type Hash } from './hash.js'
import type { LogKeys } from './log-keys.js'
import { nodeHasher } from './node-crypto.js'
import { formatVerifierKey } from './note-key.js'
import { checkRecord, proveRecord, proveTree } from './proof.js'
import type { LeafLocation, LogHeadDocument, LogStore } from './store.js'
import { TileHashReader } from './tile-reader.js'
import type { BundleAddress, TileAddress } from './tile.js'

/** Proves that one event is in its log. */
export interface EventProof {
  readonly generation: number
  readonly index: number
  /** Size and root of the checkpoint, whose tree the proof leads to. */
  readonly size: number
  readonly root: Hash
  readonly leafHash: Hash
  readonly sealedAt: Date
  readonly hashes: readonly Hash[]
  /** The signed note. */
  readonly checkpoint: string
  /** Canonical JSON; undefined where the record is gone. */
  readonly record: string | undefined
}

/** Which log of an organization; no generation = the one that grows. */
export interface LogName {
  readonly organizationId: string
  readonly generation?: number | undefined
}

export interface NamedLog {
  readonly organizationId: string
  readonly generation: number
}

export interface LogReader {
  /** The newest signed checkpoint. @throws AnnalsError `not_sealed` before the first leaf, `not_found` */
  checkpoint(log: LogName): Promise<string>
  /** The hashes of a tile as wide as asked. @throws AnnalsError `not_found` where the log has none there yet */
  tile(log: LogName, tile: TileAddress): Promise<Uint8Array>
  /** An entry bundle, encoded. @throws AnnalsError `not_found` */
  bundle(log: LogName, bundle: BundleAddress): Promise<Uint8Array>
  /** Verifier keys as text, newest first. @throws AnnalsError `not_found` for a generation that never was */
  keys(log: LogName): Promise<string[]>
  /**
   * Hashes that prove the tree of `to` leaves to begin with that of `from`.
   * @throws AnnalsError `invalid` | `log_damaged`
   */
  consistency(log: LogName, from: number, to: number): Promise<readonly Hash[]>
  /** undefined where the event is not sealed (yet). @throws AnnalsError `log_damaged` */
  prove(organizationId: string, eventId: string): Promise<EventProof | undefined>
  /**
   * Proves a leaf in an earlier or later tree of its log than its receipt is for.
   * @throws AnnalsError `log_damaged`, also where the log has no such tree
   */
  proveIn(log: NamedLog, leaf: Pick<EventProof, 'index' | 'leafHash'>, tree: Tree): Promise<readonly Hash[]>
}

export interface Tree {
  readonly size: number
  readonly root: Hash
}

/** After an election a new primary may know of fewer commits for a moment than were read before. */
const maxHeadReads = 5
const headPauseMs = 50

/** @param onDamaged told before an answer is refused for what is stored of this organization's log */
export function createLogReader(
  store: LogStore,
  keys: LogKeys,
  onDamaged: (organizationId: string) => void,
): LogReader {
  async function headOf({ organizationId, generation }: LogName): Promise<LogHeadDocument> {
    const head = await store.head(organizationId, generation)
    if (head !== undefined) return head
    if (generation === undefined || generation === 1) throw notSealed()
    throw notFound()
  }

  /** The generation whose tiles are asked for; without a number that is known only from the head. */
  const generationOf = async (log: LogName) => log.generation ?? (await headOf(log)).generation

  const reader = ({ organizationId, generation }: NamedLog, { size, root }: Tree) =>
    new TileHashReader(size, root, store.tileSource(organizationId, generation), nodeHasher)

  /** @throws AnnalsError `log_damaged` for whatever of the core's errors */
  async function undamaged<Value>({ organizationId }: NamedLog, work: () => Promise<Value>): Promise<Value> {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof LogError)) throw error
      onDamaged(organizationId)
      throw damaged(error)
    }
  }

  /** The proof of a leaf in a tree of its log, checked. @throws LogError */
  async function provedIn(
    log: NamedLog,
    { index, leafHash }: Pick<EventProof, 'index' | 'leafHash'>,
    tree: Tree,
  ): Promise<readonly Hash[]> {
    const hashes = await proveRecord(tree.size, index, reader(log, tree), nodeHasher)
    checkRecord(hashes, { size: tree.size, root: tree.root, index, leaf: leafHash }, nodeHasher)
    return hashes
  }

  async function headWith(organizationId: string, { generation, index }: LeafLocation) {
    for (let read = 0; read < maxHeadReads; read += 1) {
      const head = await store.head(organizationId, generation)
      if (head !== undefined && head.size > index) return head
      await new Promise((resolve) => setTimeout(resolve, headPauseMs))
    }
    return undefined
  }

  return {
    checkpoint: async (log) => (await headOf(log)).checkpoint,
    async tile(log, tile) {
      const source = store.tileSource(log.organizationId, await generationOf(log))
      const [bytes = new Uint8Array()] = await source.readTiles([tile])
      const wanted = tile.width * hashLength
      if (bytes.length < wanted) throw notFound()
      return bytes.subarray(0, wanted)
    },
    async bundle(log, { index, width }) {
      const records = await store.records(log.organizationId, await generationOf(log), index)
      if (records === undefined || records.length < width) throw notFound()
      return encodeEntryBundle(records.slice(0, width).map(utf8))
    },
    async keys({ organizationId, generation }) {
      const head = await store.head(organizationId, generation)
      if (head === undefined && generation !== undefined && generation !== 1) throw notFound()
      const origin = keys.origin(organizationId, head?.generation ?? 1)
      return (await keys.verifierKeys(origin)).map(formatVerifierKey)
    },
    async consistency(log, from, to) {
      const head = await headOf(log)
      if (to > head.size) throw beyondTheLog()
      return undamaged(head, () => proveTree(to, from, reader(head, head), nodeHasher))
    },
    async prove(organizationId, eventId) {
      const located = await store.locate(organizationId, eventId)
      if (located === undefined) return undefined
      const { generation, index, leafHash, sealedAt } = located
      const head = await headWith(organizationId, located)
      if (head === undefined) return undefined
      const { size, root, checkpoint } = head
      const [hashes, record] = await undamaged(head, () => {
        const proof = provedIn(head, located, head)
        const record = recordOf(organizationId, located).catch(async (error: unknown) => {
          // Where both fail it is the proof that says which object is to blame.
          await proof
          throw error
        })
        return Promise.all([proof, record])
      })
      return {
        generation,
        index,
        size,
        root,
        leafHash,
        sealedAt,
        hashes,
        checkpoint,
        record,
      }
    },
    proveIn: (log, leaf, tree) => undamaged(log, () => provedIn(log, leaf, tree)),
  }

  /** The record that makes the leaf; undefined where it is gone. @throws LogError */
  async function recordOf(organizationId: string, { generation, index, leafHash }: LeafLocation) {
    const record = await store.record(organizationId, generation, index)
    if (record === '') return undefined
    if (equalHashes(nodeHasher.leaf(utf8(record)), leafHash)) return record
    throw new LogError('proof_mismatch', 'the record does not make its leaf')
  }
}

const beyondTheLog = () =>
  new AnnalsError('invalid', 'The request does not fit its schema; see errors.', {
    errors: [{ path: 'to', code: 'too_large', message: 'lies beyond the newest checkpoint' }],
  })

/** Says which object is to blame where that is known: a path of the log, or nothing. */
const damaged = ({ at }: LogError) =>
  new AnnalsError(
    'log_damaged',
    `What is stored of the log does not fit its checkpoint${at === undefined ? '' : ` (${at})`}; an alarm was raised.`,
  )

/** It is accepted, and its place in the log is a matter of a second. */
export const notSealed = () =>
  new AnnalsError('not_sealed', 'This is accepted and not sealed into the log yet; try again.', {
    retryAfterSeconds: 1,
  })
