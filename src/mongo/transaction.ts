/**
 * One MongoDB transaction, tried again while the server says that may help, for at most `deadlineMs`.
 *
 * The driver's own `withTransaction` goes on for two minutes; a request has to be answered sooner than that.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { MongoError, MongoErrorLabel, type ClientSession, type MongoClient } from 'mongodb'

const deadlineMs = 10_000
const firstBackoffMs = 5
const maxBackoffMs = 250

const options = {
  readConcern: { level: 'snapshot' },
  writeConcern: { w: 'majority', journal: true },
  maxCommitTimeMS: 5_000,
} as const

const labelled = (error: unknown, label: string) => error instanceof MongoError && error.hasErrorLabel(label)

/**
 * Runs `work` in a transaction and commits it with a majority, journaled. `work` may run several times: what it
 * does outside the session must not matter. Its own errors abort the transaction and pass through.
 */
export async function inTransaction<T>(
  client: MongoClient,
  work: (session: ClientSession) => Promise<T>,
): Promise<T> {
  const until = performance.now() + deadlineMs
  const session = client.startSession()
  try {
    for (let attempt = 0; ; attempt += 1) {
      try {
        session.startTransaction(options)
        const result = await work(session)
        await commit(session, until)
        return result
      } catch (error) {
        if (session.inTransaction()) await session.abortTransaction()
        const again = labelled(error, MongoErrorLabel.TransientTransactionError) && performance.now() < until
        if (!again) throw error
        await sleep(Math.random() * Math.min(firstBackoffMs * 2 ** attempt, maxBackoffMs))
      }
    }
  } finally {
    await session.endSession()
  }
}

/** A commit whose answer was lost may be sent again: it takes effect once. */
async function commit(session: ClientSession, until: number): Promise<void> {
  for (;;) {
    try {
      await session.commitTransaction()
      return
    } catch (error) {
      const unknown = labelled(error, MongoErrorLabel.UnknownTransactionCommitResult)
      if (!unknown || performance.now() >= until) throw error
      await sleep(firstBackoffMs)
    }
  }
}
