/**
 * Group commit: one insert in flight, everything that arrives meanwhile goes into the next one. At load this writes
 * hundreds of events a round trip; when idle an event waits for nobody. Where many wait, a second insert goes out beside
 * the first, so that the database has work while the next group is serialised, and we have while it flushes its journal.
 *
 * The queue is bounded in events and bytes, and fair: each access key has a lane of its own, lanes take turns, and once
 * the queue is half full a lane that holds more than an equal share is refused while the others go on. So one noisy
 * key waits for itself. An event that was let in is written or reported as failed: a connection that breaks in mid-write
 * is retried under the same ids, so the outcome is known in the end, until `giveUpAfterMs`.
 */
import { setTimeout } from 'node:timers/promises'
import { AnnalsError, errorIdentity } from '../errors.js'
import { duplicateKeyCode, insertSerialized, WriteConcernError } from '../mongo/insert.js'
import { isMongoUnavailable } from '../mongo/unavailable.js'
import { FairQueue } from './fair-queue.js'
import type { EventCollection, StoredEvent } from './store.js'
import { storedBson } from './stored-bson.js'

/** `duplicate`: an event with this id stood there before (maybe our own, from a try whose answer was lost). */
export type CommitOutcome = 'inserted' | 'duplicate'

export interface GroupCommitLimits {
  readonly maxQueuedEvents: number
  /** Bytes of the queued events as stored. */
  readonly maxQueuedBytes: number
  readonly maxEventsPerWrite: number
  /** A write is one command, which the server takes up to 16 MiB of. */
  readonly maxBytesPerWrite: number
  readonly maxWrites: number
  /** So many waiting events are worth a write beside the one in flight. */
  readonly secondWriteFrom: number
  /** After this long without a majority, a write is given up and its callers get `unavailable`. */
  readonly giveUpAfterMs: number
}

export const groupCommitLimits: GroupCommitLimits = {
  maxQueuedEvents: 20_000,
  maxQueuedBytes: 192 * 1_048_576,
  maxEventsPerWrite: 1_000,
  maxBytesPerWrite: 15 * 1_048_576,
  maxWrites: 2,
  secondWriteFrom: 24,
  giveUpAfterMs: 10_000,
}

interface Entry {
  /** The event in BSON. */
  readonly document: Buffer
  resolve(outcome: CommitOutcome): void
  reject(error: AnnalsError): void
}

export class GroupCommitter {
  readonly #queue: FairQueue<Entry>
  /** Writers that will still look at the queue. */
  #active = 0
  readonly #writers = new Set<Promise<void>>()
  #closed = false

  constructor(
    private readonly events: EventCollection,
    private readonly limits: GroupCommitLimits = groupCommitLimits,
    private readonly onFailure: (identity: { name: string; code?: string }) => void = () => undefined,
  ) {
    this.#queue = new FairQueue({ maxItems: limits.maxQueuedEvents, maxBytes: limits.maxQueuedBytes })
  }

  /** Events waiting or being written. */
  get depth(): number {
    return this.#queue.items
  }

  /** Is there room for this many more events of a lane? A caller asks before it does any work for them. */
  hasRoom(lane: string, count: number, bytes: number): boolean {
    return !this.#closed && this.#queue.hasRoom(lane, count, bytes)
  }

  /**
   * Resolves once a majority has journaled the event, or an event with its id is known to be there.
   * @param lane who sends it: the id of an access key
   * @throws AnnalsError `overloaded` where the queue is full, `unavailable` where MongoDB is away
   */
  commit(event: StoredEvent, lane = ''): Promise<CommitOutcome> {
    const document = storedBson(event)
    const bytes = document.length
    if (!this.hasRoom(lane, 1, bytes)) return Promise.reject(overloaded())
    return new Promise((resolve, reject) => {
      this.#queue.put(lane, { document, resolve, reject }, bytes)
      const { maxWrites, secondWriteFrom } = this.limits
      if (this.#active < (this.#queue.waiting >= secondWriteFrom ? maxWrites : 1)) this.#startWriter()
    })
  }

  /** Lets nothing more in, and resolves when everything that was let in is written or failed. */
  async close(): Promise<void> {
    this.#closed = true
    while (this.#active > 0) await Promise.all(this.#writers)
  }

  #startWriter(): void {
    this.#active += 1
    const writer = this.#writeQueue().finally(() => this.#writers.delete(writer))
    this.#writers.add(writer)
  }

  async #writeQueue(): Promise<void> {
    // One turn of the event loop: requests that arrived together are written together.
    await new Promise((resolve) => setImmediate(resolve))
    const { maxEventsPerWrite, maxBytesPerWrite } = this.limits
    while (this.#queue.waiting > 0) {
      const group = this.#queue.take(maxEventsPerWrite, maxBytesPerWrite)
      await this.#write(group.map(({ item }) => item))
      for (const taken of group) taken.release()
    }
    // In the same turn as the last look at the queue: whoever comes after it starts a writer.
    this.#active -= 1
  }

  async #write(group: readonly Entry[]): Promise<void> {
    const giveUpAt = performance.now() + this.limits.giveUpAfterMs
    for (let attempt = 0; ; attempt += 1) {
      try {
        const refused = await insertSerialized(
          this.events,
          group.map((entry) => entry.document),
        )
        group.forEach((entry, index) => {
          const code = refused.get(index)
          if (code === undefined) entry.resolve('inserted')
          else if (code === duplicateKeyCode) entry.resolve('duplicate')
          else entry.reject(this.#refusal(code))
        })
        return
      } catch (error) {
        this.onFailure(errorIdentity(error))
        const mayPass = isMongoUnavailable(error) || error instanceof WriteConcernError
        if (!mayPass || performance.now() > giveUpAt) {
          for (const entry of group) entry.reject(unavailable(error))
          return
        }
        // Whether the group was written is not known: the same ids again find out.
        await setTimeout(Math.min(1_000, 50 * 2 ** attempt))
      }
    }
  }

  /** The server said no to this event, and will again. */
  #refusal(code: number): AnnalsError {
    this.onFailure({ name: 'WriteError', code: String(code) })
    return new AnnalsError('internal', 'The database refused the event.')
  }
}

const overloaded = () =>
  new AnnalsError('overloaded', 'More events arrive than can be written; send again a little later.', {
    retryAfterSeconds: 1,
  })

const unavailable = (cause: unknown) =>
  new AnnalsError(
    'unavailable',
    'The database does not answer; nothing of this request is known to be stored.',
    {
      retryAfterSeconds: 5,
      cause,
    },
  )
