/**
 * Group commit: one `insertMany` in flight, everything that arrives meanwhile goes into the next one. At load
 * this writes hundreds of events a round trip; when idle an event waits for nobody.
 *
 * The queue is bounded in events and bytes. An event that was let in is written or reported as failed: a
 * connection that breaks in mid-write is retried under the same ids, so the outcome is known in the end, until
 * `giveUpAfterMs`.
 */
import { setTimeout } from 'node:timers/promises'
import { MongoBulkWriteError } from 'mongodb'
import { AnnalsError, errorIdentity } from '../errors.js'
import { isMongoUnavailable } from '../mongo/unavailable.js'
import { duplicateKeyCode, writeFailures } from '../mongo/write-failures.js'
import type { EventCollection, StoredEvent } from './store.js'

/** `duplicate`: an event with this id stood there before (maybe our own, from a try whose answer was lost). */
export type CommitOutcome = 'inserted' | 'duplicate'

export interface GroupCommitLimits {
  readonly maxQueuedEvents: number
  /** Estimated bytes of the queued events. */
  readonly maxQueuedBytes: number
  readonly maxEventsPerWrite: number
  readonly maxBytesPerWrite: number
  /** After this long without a majority, a write is given up and its callers get `unavailable`. */
  readonly giveUpAfterMs: number
}

export const groupCommitLimits: GroupCommitLimits = {
  maxQueuedEvents: 20_000,
  maxQueuedBytes: 128 * 1_048_576,
  maxEventsPerWrite: 1_000,
  maxBytesPerWrite: 16 * 1_048_576,
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
  #writing: Promise<void> | undefined
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
      this.#writing ??= this.#writeAll()
    })
  }

  /** Lets nothing more in, and resolves when everything that was let in is written or failed. */
  async close(): Promise<void> {
    this.#closed = true
    while (this.#writing !== undefined) await this.#writing
  }

  async #writeAll(): Promise<void> {
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
    this.#writing = undefined
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
        await this.events.insertMany(
          group.map((entry) => entry.event),
          { ordered: false, forceServerObjectId: true },
        )
        for (const entry of group) entry.resolve('inserted')
        return
      } catch (error) {
        const failures = writeFailures(error)
        if (failures !== undefined) {
          if ([...failures.values()].some((code) => code !== duplicateKeyCode))
            this.onFailure(errorIdentity(error))
          group.forEach((entry, index) => {
            const code = failures.get(index)
            if (code === undefined) entry.resolve('inserted')
            else if (code === duplicateKeyCode) entry.resolve('duplicate')
            else
              entry.reject(new AnnalsError('internal', 'The database refused the event.', { cause: error }))
          })
          return
        }
        this.onFailure(errorIdentity(error))
        const mayPass = isMongoUnavailable(error) || error instanceof MongoBulkWriteError
        if (!mayPass || performance.now() > giveUpAt) {
          for (const entry of group) entry.reject(unavailable(error))
          return
        }
        // Whether the group was written is not known: the same ids again find out.
        await setTimeout(Math.min(1_000, 50 * 2 ** attempt))
      }
    }
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
