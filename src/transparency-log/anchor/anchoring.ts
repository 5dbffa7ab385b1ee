/** Wires the anchor log together, and the copies of checkpoints beside it: the duties that are done every minute. */
import type { Collection, MongoClient } from 'mongodb'
import type { Alarms } from '../alarms.js'
import { createCopier, type CopyResult } from '../checkpoint-copies/copier.js'
import type { LogTrees } from '../checkpoint-copies/compare.js'
import {
  copyNameOf,
  type CheckpointCopies,
  type CopyName,
  type PublishedTree,
} from '../checkpoint-copies/copies.js'
import type { RollbackGuard } from '../checkpoint-copies/guard.js'
import type { Logger } from '../../logging.js'
import type { LogHeadDocument, LogStore } from '../store.js'
import { createAnchorKeys, type AnchorKeys } from './anchor-keys.js'
import type { AnchorCollections, AnchorStore } from './anchor-store.js'
import { appendAnchor, type AnchorOutcome } from './append.js'
import { createAnchorProver, type AnchorProver } from './prove.js'
import { createAnchorRestarter, type AnchorRestarter } from './restart-anchor.js'
import type { Witness } from './witness-client.js'
import { showToWitnesses, type WitnessReport } from './witnesses.js'
import type { SigningKeys } from '../../keys/signing-keys.js'

export interface Anchoring extends AnchorProver {
  readonly store: AnchorStore
  readonly keys: AnchorKeys
  readonly restarter: AnchorRestarter
  /** Makes an entry where one is due. @throws as `appendAnchor` */
  anchorOnce(): Promise<AnchorOutcome>
  /** Shows the checkpoint to the witnesses that have not cosigned it. @throws as `showToWitnesses` */
  witnessOnce(signal?: AbortSignal): Promise<readonly WitnessReport[]>
  /** Copies the checkpoints that are newer than their copies. */
  copyOnce(): Promise<CopyResult>
}

export interface AnchoringDependencies {
  readonly client: MongoClient
  readonly collections: AnchorCollections
  readonly store: AnchorStore
  readonly logHeads: Collection<LogHeadDocument>
  readonly logStore: LogStore
  readonly trees: LogTrees
  readonly copies: CheckpointCopies
  readonly guard: RollbackGuard
  readonly signingKeys: SigningKeys
  readonly logOrigin: string
  readonly witnesses: readonly Witness[]
  readonly alarms: Alarms
  readonly logger: Logger
  readonly onRefused: (name: CopyName) => void
  readonly now: () => Date
}

/** Where the logs of organizations, and the anchor log, are read from. */
export function createLogTrees(logStore: LogStore, anchorStore: AnchorStore): LogTrees {
  return {
    treeOf: (name) => (name === 'anchor' ? anchorStore.head() : logStore.head(organizationOf(name))),
    tilesOf: (name, generation) =>
      name === 'anchor'
        ? anchorStore.tileSource(generation)
        : logStore.tileSource(organizationOf(name), generation),
  }
}

/** The organization of a copy that is not the anchor log's. */
export const organizationOf = (name: CopyName): string => name.slice('org/'.length)

export function createAnchoring(dependencies: AnchoringDependencies): Anchoring {
  const { client, collections, store, logStore, logHeads, guard, copies, alarms, logger, now } = dependencies
  const keys = createAnchorKeys(dependencies.signingKeys, dependencies.logOrigin)
  const appending = { ...collections, client, store, keys, logHeads, guard, now }

  async function* trees(): AsyncGenerator<{ name: CopyName; tree: PublishedTree }> {
    const head = await store.head()
    if (head !== undefined) yield { name: 'anchor', tree: head }
    for await (const tree of logStore.heads()) yield { name: copyNameOf(tree.organizationId), tree }
  }

  return {
    store,
    keys,
    ...createAnchorProver(store, logStore),
    restarter: createAnchorRestarter({ ...appending, ...dependencies.trees, copies }),
    anchorOnce: () => appendAnchor(appending),
    witnessOnce: (signal) =>
      showToWitnesses(
        {
          ...collections,
          store,
          configured: dependencies.witnesses,
          now,
          onFailed(_witness, state) {
            if (state === 'ahead' || state === 'conflict') alarms.raise('witness_conflict', {})
            logger.warn('anchor.witness_failed', { state })
          },
        },
        signal,
      ),
    copyOnce: createCopier({
      ...dependencies.trees,
      copies,
      trees,
      onRefused(name) {
        guard.doubt(name)
        dependencies.onRefused(name)
      },
      onFailed: (error) => logger.error('log.copy_failed', { error }),
    }),
  }
}
