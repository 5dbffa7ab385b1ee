/**
 * `annals log restart`: a log that is not what was published goes on in a new generation.
 *
 * The generation that the database has is closed as it is, and stays readable. The first leaf of the new one is the event
 * `annals.log.restarted`, which names the last tree that was published and the one that is left of it: whoever holds a
 * checkpoint of the lost part learns from the log itself that it was lost. All in one transaction.
 */
import type { ClientSession, MongoClient } from 'mongodb'
import { AnnalsError } from '../../errors.js'
import type { SystemEvent, SystemEventWriter } from '../../events/contract.js'
import { eventDocumentId } from '../../events/store.js'
import type { OrganizationKeyset } from '../../keys/organization-keys.js'
import { inTransaction } from '../../mongo/transaction.js'
import { base64 } from '../encoding.js'
import { LogError } from '../errors.js'
import { newLeafOf, pendingProjection } from '../examine.js'
import { nodeHasher } from '../node-crypto.js'
import { openLog, prepareBatch, StaleBatchError, type SealBatchDependencies } from '../seal-batch.js'
import type { LogHeadDocument, LogStore } from '../store.js'
import { TileAppender } from '../tile-appender.js'
import { mayGrow, readAndCompare, type Comparison, type LogTrees } from './compare.js'
import { copyNameOf, isAhead, parseCopy, type CheckpointCopies, type PublishedTree } from './copies.js'

export interface RestartPlan {
  /** `damaged`: head and tiles do not fit together. */
  readonly reason: Comparison | 'damaged'
  /** The last tree that was published; absent where the copy cannot be read and the database has none. */
  readonly published: PublishedTree | undefined
  /** What the database has; absent where it has nothing. */
  readonly kept: LogHeadDocument | undefined
  /** The generation that will begin. */
  readonly generation: number
}

export interface LogRestarter {
  /**
   * What a restart would do.
   * @throws AnnalsError `wrong_state` where the log needs none
   */
  plan(organizationId: string): Promise<RestartPlan>
  /** @throws AnnalsError as `plan`, `wrong_state` too where the log moves meanwhile, `not_found` for no organization */
  restart(organizationId: string): Promise<RestartPlan>
}

export interface RestartDependencies extends SealBatchDependencies, LogTrees {
  readonly client: MongoClient
  readonly store: LogStore
  readonly copies: CheckpointCopies
  readonly systemEvents: Pick<SystemEventWriter, 'writeInTransaction'>
  /** @throws AnnalsError `not_found` */
  readonly requireKeyset: (organizationId: string) => Promise<OrganizationKeyset>
}

export function createLogRestarter(dependencies: RestartDependencies): LogRestarter {
  const { client, store, copies, heads, events } = dependencies

  async function plan(organizationId: string): Promise<RestartPlan> {
    const kept = await store.head(organizationId)
    const { reason, copy } = await compare(organizationId, kept)
    if (reason !== 'damaged' && mayGrow(reason)) {
      throw new AnnalsError('wrong_state', 'This log is what was published: there is nothing to restart.')
    }
    // What a copy says was published; beyond it, only what fits it can have been.
    const ahead = reason === 'damaged' && kept !== undefined && copy !== undefined && isAhead(kept, copy)
    const published = ahead ? kept : (copy ?? kept)
    const closed = await heads.findOne(
      { organizationId, _id: { $ne: organizationId } },
      { sort: { generation: -1 } },
    )
    const generations = [kept, copy, closed].map((tree) => tree?.generation ?? 0)
    return { reason, published, kept, generation: Math.max(...generations) + 1 }
  }

  async function compare(
    organizationId: string,
    kept: LogHeadDocument | undefined,
  ): Promise<{ reason: RestartPlan['reason']; copy: PublishedTree | undefined }> {
    const name = copyNameOf(organizationId)
    try {
      await openLog(store, organizationId)
      const compared = await readAndCompare(copies, name, kept, dependencies)
      return { reason: compared.comparison, copy: compared.copy }
    } catch (error) {
      if (!(error instanceof LogError)) throw error
      const note = await copies.read(name)
      return { reason: 'damaged', copy: note === undefined ? undefined : parseCopy(name, note) }
    }
  }

  /** Closes the old generation and seals the first leaf of the new one. */
  async function open(
    organizationId: string,
    planned: RestartPlan,
    session: ClientSession,
  ): Promise<LogHeadDocument> {
    const { kept, generation } = planned
    if (kept !== undefined) {
      const { _id, generation: closing, size, root } = kept
      const removed = await heads.deleteOne({ _id, generation: closing, size, root }, { session })
      if (removed.deletedCount !== 1) throw new StaleBatchError('a sealer moved the log')
      await heads.insertOne({ ...kept, _id: `${organizationId}/${String(closing)}` }, { session })
    }
    const { id } = await dependencies.systemEvents.writeInTransaction(
      restartedEvent(organizationId, planned, dependencies.now()),
      session,
    )
    const row = await events.findOne(
      { _id: eventDocumentId(organizationId, id) },
      { session, projection: pendingProjection, useBigInt64: true },
    )
    const keyset = await dependencies.requireKeyset(organizationId)
    const leaf = row === null ? undefined : newLeafOf(row, keyset)
    if (leaf === undefined) throw new Error('an event that was just written can be sealed')
    const log = { organizationId, head: undefined, generation, tree: new TileAppender(nodeHasher) }
    const { head, write } = await prepareBatch(log, [leaf], dependencies)
    await write(session)
    return head
  }

  return {
    plan,
    async restart(organizationId) {
      await dependencies.requireKeyset(organizationId)
      const planned = await plan(organizationId)
      try {
        const head = await inTransaction(client, (session) => open(organizationId, planned, session))
        // If the process dies here, the next copy says the same: a later generation may replace any copy.
        await copies.write(copyNameOf(organizationId), head.checkpoint)
      } catch (error) {
        if (!(error instanceof StaleBatchError)) throw error
        throw new AnnalsError('wrong_state', 'The log moved meanwhile. Nothing was changed; try again.')
      }
      return planned
    },
  }
}

function restartedEvent(
  organizationId: string,
  { reason, published, kept, generation }: RestartPlan,
  occurredAt: Date,
): SystemEvent {
  return {
    organizationId,
    action: 'annals.log.restarted',
    occurredAt,
    actor: { type: 'system', id: 'annals' },
    metadata: {
      reason,
      newGeneration: generation,
      ...(published === undefined ? {} : treeMembers(published)),
      ...(kept === undefined
        ? {}
        : { keptGeneration: kept.generation, keptSize: kept.size, keptRootHash: base64(kept.root) }),
    },
  }
}

const treeMembers = ({ generation, size, root }: PublishedTree) => ({
  generation,
  size,
  rootHash: base64(root),
})
