/**
 * The lifecycle counter of an organization: one number (collection `lifecycles`) that everything moves which decides
 * about the same content: placing and releasing a hold, fencing a person, deleting, expiring, restoring.
 *
 * MongoDB's transactions are snapshots, and snapshots allow write skew. A deletion reads the holds and finds none; a
 * hold is placed and reads that nothing is being deleted; both commit, for they wrote different documents, and held
 * content is gone. With the counter both write one document, so that one of them has to see the other:
 *
 *     const seen = await lifecycle.current(org)       first of all
 *     const holds = await …                           whatever the decision rests on, read after `seen`
 *     …                                               minutes may pass: exporting, verifying
 *     await inTransaction(client, async (session) => {
 *       await lifecycle.advanceFrom(org, seen, session)   throws where anything moved since `seen`
 *       …                                                 the deletion
 *     })
 *
 * A loser keeps its verified bytes, reads the counter and the holds again, and decides again. Inside one transaction
 * that reads what it decides on through its session, `advance` is enough.
 */
import type { ClientSession, Collection, Db } from 'mongodb'
import { collectionNames } from '../mongo/collections.js'

export interface LifecycleDocument {
  /** The organization's id. */
  readonly _id: string
  /** Only ever grows. */
  readonly counter: number
}

/** Holds, erasures or content changed since the caller looked: look again. It aborts the caller's transaction. */
export class LifecycleMovedError extends Error {
  override readonly name = 'LifecycleMovedError'
  constructor() {
    super('the lifecycle of the organization moved on since it was read')
  }
}

/** After so many lost races with holds and deletions it is tried again later. */
const maxMoves = 20

/**
 * Decides by what is seen now, and again where that has moved on meanwhile: a hold was placed, content moved or deleted, or
 * another attempt was quicker.
 * @throws LifecycleMovedError where it moves all the time
 */
export async function whileItMoves<Outcome>(decide: () => Promise<Outcome>): Promise<Outcome> {
  for (let moves = 0; ; moves += 1) {
    try {
      return await decide()
    } catch (error) {
      if (!(error instanceof LifecycleMovedError) || moves === maxMoves) throw error
    }
  }
}

export interface Lifecycle {
  /** The counter as a majority has it, 0 where nothing has moved it yet. Read it before what a decision rests on. */
  current(organizationId: string): Promise<number>
  /** Moves the counter within the caller's transaction, wherever it stands. @returns where it stands then */
  advance(organizationId: string, session: ClientSession): Promise<number>
  /**
   * Moves the counter within the caller's transaction if it still stands where the caller saw it.
   * @returns where it stands then @throws LifecycleMovedError
   */
  advanceFrom(organizationId: string, seen: number, session: ClientSession): Promise<number>
}

export function createLifecycle(db: Db): Lifecycle {
  const lifecycles: Collection<LifecycleDocument> = db.collection(collectionNames.lifecycles)

  // Two transactions that move it at once conflict at this write; the server lets one of them run again.
  async function move(organizationId: string, session: ClientSession): Promise<number> {
    const before = await lifecycles.findOneAndUpdate(
      { _id: organizationId },
      { $inc: { counter: 1 } },
      { session, upsert: true, returnDocument: 'before' },
    )
    return before?.counter ?? 0
  }

  return {
    async current(organizationId) {
      return (await lifecycles.findOne({ _id: organizationId }))?.counter ?? 0
    },
    advance: async (organizationId, session) => (await move(organizationId, session)) + 1,
    async advanceFrom(organizationId, seen, session) {
      if ((await move(organizationId, session)) !== seen) throw new LifecycleMovedError()
      return seen + 1
    },
  }
}

/** Makes the collection: in a transaction it would be made with a lock on the catalog. Safe to repeat. */
export async function ensureLifecycles(db: Db): Promise<void> {
  await db
    .collection<LifecycleDocument>(collectionNames.lifecycles)
    .createIndexes([{ key: { _id: 1 }, name: '_id_' }])
}
