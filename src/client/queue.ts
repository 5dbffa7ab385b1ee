/**
 * A queue in front of the batch route: events go in one by one and are sent together.
 *
 * A batch leaves when it is full, or its oldest event has waited long enough. The queue is bounded: `add` resolves
 * when the event is in, and waits while it is full, so a caller that awaits it is slowed to what the server takes.
 */
import { postTexts } from './batches.js'
import { AnnalsClientError } from './errors.js'
import { withKey } from './keys.js'
import { onExit } from './surroundings.js'
import type { Send } from './transport.js'
import type { NewEvent, RetryOptions, StoredEvent } from './types.js'

export interface QueueOptions {
  /** An event that could not be delivered: refused for good, or the server stayed away too long. */
  readonly onFailure: (event: NewEvent, error: AnnalsClientError) => void
  readonly onStored?: (event: NewEvent, stored: StoredEvent) => void
  /** Events a batch, at most 1,000. Default 500. */
  readonly maxBatchEvents?: number
  /** Characters of JSON a batch. Default 4 MiB. */
  readonly maxBatchCharacters?: number
  /** The longest an event waits for others. Default 1,000 ms. */
  readonly maxAgeMs?: number
  /** Events in the queue, waiting or being sent. Default 10,000. */
  readonly maxQueuedEvents?: number
}

interface Queued {
  readonly event: NewEvent
  readonly text: string
}

export class EventQueue {
  readonly #limits: Required<Omit<QueueOptions, 'onFailure' | 'onStored'>>
  #waiting: Queued[] = []
  #characters = 0
  #queued = 0
  #timer: ReturnType<typeof setTimeout> | undefined
  #sending: Promise<void> | undefined
  #hurry = false
  #closed = false
  #roomWaiters: (() => void)[] = []
  readonly #removeExitHook: () => void

  constructor(
    private readonly send: Send,
    private readonly options: QueueOptions,
    private readonly retry: RetryOptions | undefined,
  ) {
    this.#limits = {
      maxBatchEvents: Math.min(1_000, options.maxBatchEvents ?? 500),
      maxBatchCharacters: options.maxBatchCharacters ?? 4 * 1_048_576,
      maxAgeMs: options.maxAgeMs ?? 1_000,
      maxQueuedEvents: options.maxQueuedEvents ?? 10_000,
    }
    this.#removeExitHook = onExit(() => void this.flush())
  }

  /** Events waiting or being sent. */
  get size(): number {
    return this.#queued
  }

  /**
   * Resolves when the queue has taken the event, not when it is stored (`onStored`, `flush`).
   * @throws AnnalsClientError `closed`
   */
  async add(event: NewEvent): Promise<void> {
    while (!this.#closed && this.#queued >= this.#limits.maxQueuedEvents) {
      await new Promise<void>((resolve) => this.#roomWaiters.push(resolve))
    }
    if (this.#closed) throw new AnnalsClientError('closed', 'The queue is closed.')
    const text = JSON.stringify(withKey(event))
    this.#waiting.push({ event, text })
    this.#characters += text.length
    this.#queued += 1
    if (this.#batchIsFull()) this.#start()
    else this.#timer ??= unref(setTimeout(() => this.#sendAll(), this.#limits.maxAgeMs))
  }

  /** Sends what is there now; resolves when each of it is stored or was handed to `onFailure`. */
  async flush(): Promise<void> {
    this.#sendAll()
    while (this.#sending !== undefined) await this.#sending
  }

  /** Takes nothing more, and flushes. */
  async close(): Promise<void> {
    this.#closed = true
    this.#wakeRoomWaiters()
    this.#removeExitHook()
    await this.flush()
  }

  #batchIsFull(): boolean {
    return (
      this.#waiting.length >= this.#limits.maxBatchEvents ||
      this.#characters >= this.#limits.maxBatchCharacters
    )
  }

  #sendAll(): void {
    this.#hurry = true
    this.#start()
  }

  #start(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#waiting.length > 0) this.#sending ??= this.#run()
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0 && (this.#hurry || this.#batchIsFull())) await this.#sendBatch()
    this.#hurry = false
    this.#sending = undefined
    if (this.#waiting.length > 0)
      this.#timer ??= unref(setTimeout(() => this.#sendAll(), this.#limits.maxAgeMs))
  }

  async #sendBatch(): Promise<void> {
    const batch = this.#takeBatch()
    let outcomes: (StoredEvent | AnnalsClientError)[]
    try {
      outcomes = await postTexts(
        this.send,
        batch.map(({ text }) => text),
        { retry: this.retry, timeoutMs: 30_000 },
      )
    } catch (error) {
      const failure =
        error instanceof AnnalsClientError
          ? error
          : new AnnalsClientError('unexpected_answer', 'It failed.', { cause: error })
      outcomes = batch.map(() => failure)
    }
    this.#queued -= batch.length
    this.#wakeRoomWaiters()
    batch.forEach(({ event }, index) => {
      const outcome = outcomes[index]
      if (outcome instanceof AnnalsClientError) this.options.onFailure(event, outcome)
      else if (outcome !== undefined) this.options.onStored?.(event, outcome)
    })
  }

  #takeBatch(): Queued[] {
    let characters = 0
    let count = 0
    for (const { text } of this.#waiting) {
      characters += text.length
      if (count > 0 && (count >= this.#limits.maxBatchEvents || characters > this.#limits.maxBatchCharacters))
        break
      this.#characters -= text.length
      count += 1
    }
    return this.#waiting.splice(0, count)
  }

  #wakeRoomWaiters(): void {
    for (const wake of this.#roomWaiters.splice(0)) wake()
  }
}

/** A timer that keeps no process alive: the exit hook sends what waits. */
function unref(timer: ReturnType<typeof setTimeout>): ReturnType<typeof setTimeout> {
  if (typeof timer === 'object') timer.unref()
  return timer
}
