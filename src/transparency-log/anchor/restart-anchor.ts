/**
 * `annals log restart --anchor`: an anchor log that is not what was published goes on in a new generation, which is
 * another log to witnesses (its origin says so). The one that the database has is closed, and stays readable.
 */
import { AnnalsError } from '../../errors.js'
import { inTransaction } from '../../mongo/transaction.js'
import { formatCheckpoint } from '../checkpoint.js'
import { mayGrow, readAndCompare, type Comparison, type LogTrees } from '../checkpoint-copies/compare.js'
import type { CheckpointCopies, PublishedTree } from '../checkpoint-copies/copies.js'
import { emptyRoot } from '../hash.js'
import { signNote } from '../note.js'
import { currentHeadId, type AnchorHeadDocument } from './anchor-store.js'
import type { AppendDependencies } from './append.js'
import { secretBytes } from './entry.js'

export interface AnchorRestartPlan {
  readonly reason: Comparison
  readonly published: PublishedTree | undefined
  readonly kept: AnchorHeadDocument | undefined
  /** The generation that will begin. */
  readonly generation: number
}

export interface AnchorRestarter {
  /** @throws AnnalsError `wrong_state` where the log needs no restart */
  plan(): Promise<AnchorRestartPlan>
  /** @throws AnnalsError `wrong_state`, also where the log moves meanwhile */
  restart(): Promise<AnchorRestartPlan>
}

export interface AnchorRestartDependencies extends AppendDependencies, LogTrees {
  readonly copies: CheckpointCopies
}

export function createAnchorRestarter(dependencies: AnchorRestartDependencies): AnchorRestarter {
  const { client, store, keys, copies, heads, now } = dependencies

  async function plan(): Promise<AnchorRestartPlan> {
    const kept = await store.head()
    const { comparison, copy } = await readAndCompare(copies, 'anchor', kept, dependencies)
    if (mayGrow(comparison)) {
      throw new AnnalsError(
        'wrong_state',
        'The anchor log is what was published: there is nothing to restart.',
      )
    }
    const generation = Math.max(kept?.generation ?? 0, copy?.generation ?? 0) + 1
    return { reason: comparison, published: copy, kept, generation }
  }

  return {
    plan,
    async restart() {
      const planned = await plan()
      const { kept, generation } = planned
      const root = Buffer.from(emptyRoot())
      const text = formatCheckpoint({ origin: keys.origin(generation), size: 0, root, extensions: [] })
      const head: AnchorHeadDocument = {
        _id: currentHeadId,
        generation,
        size: 0,
        root,
        checkpoint: signNote(text, await keys.signers(generation)),
        // An entry a minute is for the deployment, whatever the generation.
        at: kept?.at ?? now(),
        secret: Buffer.alloc(secretBytes),
        content: Buffer.alloc(secretBytes),
        cosignatures: [],
      }
      await inTransaction(client, async (session) => {
        if (kept !== undefined) {
          const { _id, size, generation: closing } = kept
          const removed = await heads.deleteOne(
            { _id, generation: closing, size, root: kept.root },
            { session },
          )
          if (removed.deletedCount !== 1) {
            throw new AnnalsError(
              'wrong_state',
              'The anchor log moved meanwhile. Nothing was changed; try again.',
            )
          }
          await heads.insertOne({ ...kept, _id: `closed/${String(closing)}` }, { session })
        }
        await heads.insertOne(head, { session })
      })
      await copies.write('anchor', head.checkpoint)
      return planned
    },
  }
}
