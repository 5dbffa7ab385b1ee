/**
 * Group commit: one insert in flight, everything that arrives meanwhile goes into the next one. At load this writes
 * hundreds of events a round trip; when idle an event waits for nobody. Where whole groups wait (batches, streams), a
 * second insert goes out beside the first, so that the database has work while the next group is serialised.
 *
 * The queue is bounded in events and bytes. An event that was let in is written or reported as failed: a
 * connection that breaks in mid-write is retried under the same ids, so the outcome is known in the end, until
 * `giveUpAfterMs`.
 */
import { setTimeout } from 'node:timers/promises'
import { AnnalsError, errorIdentity } from '../errors.js'
import { duplicateKeyCode, insertUnordered, WriteConcernError } from '../mongo/insert.js'
import { isMongoUnavailable } from '../mongo/unavailable.js'
import type { EventCollection, StoredEvent } from './store.js'

/** `duplicate`: an event with this id stood there before (maybe our own, from a try whose answer was lost). */
export type CommitOutcome = 'inserted' | 'duplicate'

export interface GroupCommitLimits {
  readonly maxQueuedEvents: number
  /** Estimated bytes of the queued events. */
  readonly maxQueuedBytes: number
  readonly maxEventsPerWrite: number
  readonly maxBytesPerWrite: number
  readonly maxWrites: number
  /** After this long without a majority, a write is given up and its callers get `unavailable`. */
  readonly giveUpAfterMs: number
}

export const groupCommitLimits: GroupCommitLimits = {
  maxQueuedEvents: 20_000,
  maxQueuedBytes: 128 * 1_048_576,
  maxEventsPerWrite: 1_000,
  maxBytesPerWrite: 8 * 1_048_576,
  maxWrites: 2,
  giveUpAfterMs: 10_000,
}

interface Entry {
  readonly event: StoredEvent
  readonly bytes: number
  resolve(outcome: CommitOutcome): void
  reject(error: AnnalsError): void
}

export class GroupCommitter {
  #queue: Entry[] = []
  #queuedBytes = 0
  #queuedEvents = 0
  /** Writers that will still look at the queue. */
  #active = 0
  readonly #writers = new Set<Promise<void>>()
  #closed = false

  constructor(
    private readonly events: EventCollection,
    private readonly limits: GroupCommitLimits = groupCommitLimits,
    private readonly onFailure: (identity: { name: string; code?: string }) => void = () => undefined,
  ) {}

  /** Events waiting or being written. */
  get depth(): number {
    return this.#queuedEvents
  }

  /** Is there room for this many more events? A caller asks before it does any work for them. */
  hasRoom(count: number, bytes: number): boolean {
    const { maxQueuedEvents, maxQueuedBytes } = this.limits
    return (
      !this.#closed &&
      this.#queuedEvents + count <= maxQueuedEvents &&
      this.#queuedBytes + bytes <= maxQueuedBytes
    )
  }

  /**
   * Resolves once a majority has journaled the event, or an event with its id is known to be there.
   * @param bytes estimated size, for the bounds
   * @throws AnnalsError `overloaded` where the queue is full, `unavailable` where MongoDB is away
   */
  commit(event: StoredEvent, bytes: number): Promise<CommitOutcome> {
    if (!this.hasRoom(1, bytes)) return Promise.reject(overloaded())
    return new Promise((resolve, reject) => {
      this.#queue.push({ event, bytes, resolve, reject })
      this.#queuedEvents += 1
      this.#queuedBytes += bytes
      const full = this.#queue.length >= this.limits.maxEventsPerWrite
      if (this.#active < (full ? this.limits.maxWrites : 1)) this.#startWriter()
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
    while (this.#queue.length > 0) {
      const group = this.#takeGroup()
      await this.#write(group)
      for (const entry of group) {
        this.#queuedEvents -= 1
        this.#queuedBytes -= entry.bytes
      }
    }
    // In the same turn as the last look at the queue: whoever comes after it starts a writer.
    this.#active -= 1
  }

  #takeGroup(): Entry[] {
    let bytes = 0
    let count = 0
    for (const entry of this.#queue) {
      bytes += entry.bytes
      if (count > 0 && (count >= this.limits.maxEventsPerWrite || bytes > this.limits.maxBytesPerWrite)) break
      count += 1
    }
    const group = this.#queue.slice(0, count)
    this.#queue = this.#queue.slice(count)
    return group
  }

  async #write(group: readonly Entry[]): Promise<void> {
    const giveUpAt = performance.now() + this.limits.giveUpAfterMs
    for (let attempt = 0; ; attempt += 1) {
      try {
        const refused = await insertUnordered(
          this.events,
          group.map((entry) => entry.event),
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
