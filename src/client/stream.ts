/**
 * Streams events without end, over as many connections as it takes.
 *
 * Every event carries an id or an idempotency key, so what is not known to be stored is simply sent again: after
 * a broken connection, after a server that stopped, after a refusal that passes. The server says now and then up
 * to which line everything is answered (`progress=true`); what lies behind that is let go of.
 */
import { answerLines, type AnswerLine } from './answer-lines.js'
import { aborted, Backoff, pause } from './backoff.js'
import { AnnalsClientError, errorOfProblem, isTemporaryStatus } from './errors.js'
import { failureOf, type Send } from './transport.js'
import { streamByBatch } from './stream-by-batch.js'
import {
  callBack,
  defaultMaxFailures,
  letGo,
  tooManyFailures,
  type StreamLinesOptions,
} from './stream-options.js'
import type { RetryOptions, StreamCounts } from './types.js'
import { Window, type Entry, type StreamItem } from './window.js'

const maxChunkCharacters = 65_536
/** An event that is refused for a passing reason so often is given up. */
const maxRefusals = 10

/**
 * Sends every item of the source; resolves when all are answered.
 * @param batches the source; the items of a batch are sent together, each batch at once
 * @throws AnnalsClientError: the server's refusal of the whole; `too_many_failures`; `unreachable` or another
 *   passing failure that has not passed in time; `aborted`; whatever the source throws
 */
export async function streamLines<Tag>(
  send: Send,
  batches: AsyncIterable<readonly StreamItem<Tag>[]>,
  options: StreamLinesOptions<Tag> & { readonly retry?: RetryOptions | undefined },
): Promise<StreamCounts> {
  const state = new StreamState(batches, options)
  const backoff = new Backoff(options.retry)
  try {
    while (!state.finished) {
      const before = state.answeredCount
      const failure = await new Session(send, state, options.signal).run()
      // Nothing was taken from the source yet, so that another way can have all of it.
      if (failure === 'refused') return await streamByBatch(send, state.untouched(), options)
      if (failure === undefined) continue
      if (!failure.temporary) throw failure
      if (state.answeredCount > before) backoff.reset()
      const ms = backoff.next(failure.retryAfterMs)
      if (ms === undefined) throw failure
      await pause(ms, options.signal)
    }
    return state.counts
  } finally {
    await state.release()
  }
}

/** What outlives a connection. */
class StreamState<Tag> {
  readonly #source: AsyncIterator<readonly StreamItem<Tag>[]>
  readonly #window = new Window<Tag>()
  readonly #options: StreamLinesOptions<Tag>
  #next: Promise<IteratorResult<readonly StreamItem<Tag>[], unknown>> | undefined
  #leftOver: StreamItem<Tag>[] = []
  #sourceOver = false
  #begun = false
  #stored = { accepted: 0, replayed: 0 }
  #rejected = 0
  answeredCount = 0

  constructor(batches: AsyncIterable<readonly StreamItem<Tag>[]>, options: StreamLinesOptions<Tag>) {
    this.#source = batches[Symbol.asyncIterator]()
    this.#options = options
  }

  get counts(): StreamCounts {
    return { ...this.#stored, rejected: this.#rejected }
  }

  get full(): boolean {
    return this.#window.full
  }

  /** Everything the source had has been pulled. */
  get exhausted(): boolean {
    return this.#sourceOver && this.#leftOver.length === 0
  }

  get finished(): boolean {
    return this.exhausted && this.#window.size === 0
  }

  unanswered = () => this.#window.unanswered()

  /** Has anything of the source been taken? */
  get begun(): boolean {
    return this.#begun
  }

  /** The source, as whoever takes it over gets it. */
  untouched(): AsyncIterable<readonly StreamItem<Tag>[]> {
    return { [Symbol.asyncIterator]: () => this.#source }
  }

  /** Waits until the source has something, or is over. Safe to be left and called again. */
  async ready(): Promise<void> {
    if (this.#sourceOver || this.#leftOver.length > 0) return
    this.#begun = true
    const next = (this.#next ??= this.#source.next())
    const result = await next
    // Another session may have taken it while this one waited.
    if (this.#next !== next) return
    this.#next = undefined
    if (result.done === true) this.#sourceOver = true
    else this.#leftOver = [...result.value].reverse()
  }

  /** What is ready, up to about one chunk. */
  take(): Entry<Tag>[] {
    const taken: Entry<Tag>[] = []
    let characters = 0
    while (!this.full && characters < maxChunkCharacters) {
      const item = this.#leftOver.pop()
      if (item === undefined) break
      characters += item.text.length
      taken.push(this.#window.add(item))
    }
    return taken
  }

  /** @throws AnnalsClientError `too_many_failures` */
  failed(entry: Entry<Tag>, line: AnswerLine): void {
    const { problem } = line
    if (problem === undefined) return
    this.answered(entry)
    this.#rejected += 1
    callBack(() => this.#options.onFailure?.({ tag: entry.tag, problem }))
    const { maxFailures = defaultMaxFailures } = this.#options
    if (this.#rejected >= maxFailures) throw tooManyFailures(maxFailures)
  }

  answered(entry: Entry<Tag>): void {
    entry.answered = true
    this.answeredCount += 1
  }

  stored(accepted: number, replayed: number): void {
    this.#stored = {
      accepted: this.#stored.accepted + accepted,
      replayed: this.#stored.replayed + replayed,
    }
  }

  advance(): void {
    const last = this.#window.advance()
    if (last !== undefined) callBack(() => this.#options.onProgress?.({ counts: this.counts, tag: last.tag }))
  }

  release = () => letGo(this.#source, this.#next, this.#options.signal)
}

/** One connection. */
class Session<Tag> {
  #again: Entry<Tag>[]
  /** Not before this time (of `performance.now`) is anything sent: the server asked for it. */
  #notBefore = 0
  #sent: Entry<Tag>[] = []
  /** Lines at the front of `#sent` that were let go of. */
  #dropped = 0
  readonly #held = new Set<Entry<Tag>>()
  #counted = { accepted: 0, replayed: 0 }
  #over = false
  #pulled = false
  #sourceFailure: { readonly error: unknown } | undefined
  #wake: (() => void) | undefined

  constructor(
    private readonly send: Send,
    private readonly state: StreamState<Tag>,
    private readonly signal: AbortSignal | undefined,
  ) {
    this.#again = state.unanswered()
  }

  /**
   * Until the server's last line.
   * @returns the passing failure it ended with, or undefined; `refused` where `fetch` sends no streams
   */
  async run(): Promise<AnnalsClientError | 'refused' | undefined> {
    const controller = new AbortController()
    const onAbort = () => controller.abort(this.signal?.reason)
    if (this.signal?.aborted === true) throw aborted(this.signal)
    this.signal?.addEventListener('abort', onAbort, { once: true })
    try {
      const response = await this.send({
        method: 'POST',
        path: '/v1/events/stream?progress=true',
        headers: { 'content-type': 'application/x-ndjson' },
        body: this.#body(),
        signal: controller.signal,
      })
      if (response.body === null) throw new AnnalsClientError('unreachable', 'The answer has no body.')
      for await (const line of answerLines(response.body)) {
        if (line.done !== undefined) return this.#ended(line)
        this.#answer(line)
      }
      return new AnnalsClientError('unreachable', 'The connection broke before the last line.')
    } catch (error) {
      const failure = this.#sourceFailure
      if (failure !== undefined) throw failure.error
      if (this.#isRefused(error)) return 'refused'
      if (error instanceof AnnalsClientError && !error.temporary) throw error
      return failureOf(error, this.signal)
    } finally {
      this.#over = true
      this.#changed()
      this.signal?.removeEventListener('abort', onAbort)
      controller.abort()
    }
  }

  /**
   * Does `fetch` refuse bodies that are streams, or send something else in their place? Then it fails over its arguments,
   * or the server answers lines that were never sent; and nobody has read the body.
   */
  #isRefused(error: unknown): boolean {
    if (this.#pulled || this.state.begun || !(error instanceof AnnalsClientError)) return false
    // What goes wrong on the network has a cause.
    const { cause } = error
    return error.code === 'unexpected_answer' || (cause instanceof TypeError && cause.cause === undefined)
  }

  #body(): ReadableStream<Uint8Array> {
    const encoder = new TextEncoder()
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          this.#pulled = true
          try {
            const entries = await this.#nextToSend()
            if (this.#over) return
            if (entries === undefined) controller.close()
            else controller.enqueue(encoder.encode(entries.map(({ text }) => `${text}\n`).join('')))
          } catch (error) {
            this.#sourceFailure = { error }
            controller.error(error)
          }
        },
        cancel: () => {
          this.#over = true
          this.#changed()
        },
      },
      { highWaterMark: 0 },
    )
  }

  /** Waits for something to send; undefined = nothing comes any more. */
  async #nextToSend(): Promise<Entry<Tag>[] | undefined> {
    while (!this.#over) {
      const waitMs = this.#notBefore - performance.now()
      if (waitMs > 0) {
        await Promise.race([pause(waitMs), this.#change()])
        continue
      }
      const entries = this.#again.length > 0 ? this.#again.splice(0, 200) : this.state.take()
      if (entries.length > 0) {
        for (const entry of entries) this.#sent.push(entry)
        return entries
      }
      if (this.state.full) await this.#change()
      else if (this.state.exhausted) return undefined
      else await Promise.race([this.state.ready(), this.#change()])
    }
    return undefined
  }

  #answer(line: AnswerLine): void {
    if (line.through !== undefined) this.#through(line.through, line)
    else if (line.line !== undefined && line.problem !== undefined) this.#refused(line.line, line)
  }

  #refused(number: number, line: AnswerLine): void {
    const entry = this.#sent[number - 1 - this.#dropped]
    if (entry === undefined) throw new AnnalsClientError('unexpected_answer', 'An answer to no line.')
    // Not stored by this line; whether for good decides what "through" will mean for it.
    this.#held.add(entry)
    if (isTemporaryStatus(line.problem?.status) && entry.refusals < maxRefusals) {
      entry.refusals += 1
      const seconds = line.retryAfterSeconds ?? 1
      this.#notBefore = performance.now() + seconds * 1_000 * (1 + Math.random() / 2)
      this.#again.push(entry)
      this.#changed()
    } else {
      this.state.failed(entry, line)
    }
  }

  #through(number: number, { accepted = 0, replayed = 0 }: AnswerLine): void {
    const count = number - this.#dropped
    for (const entry of this.#sent.slice(0, count)) {
      if (!this.#held.delete(entry)) this.state.answered(entry)
    }
    this.#sent = this.#sent.slice(count)
    this.#dropped = number
    this.state.stored(accepted - this.#counted.accepted, replayed - this.#counted.replayed)
    this.#counted = { accepted, replayed }
    this.state.advance()
    this.#changed()
  }

  #ended(line: AnswerLine): AnnalsClientError | undefined {
    const { problem, retryAfterSeconds } = line
    this.#through(line.done === true ? this.#dropped + this.#sent.length : (line.line ?? this.#dropped), line)
    if (line.done === true || problem === undefined) return undefined
    // The server's limit for one stream; the caller's own is counted over all of them.
    if (problem.code === 'too_many_failures') return undefined
    return errorOfProblem(problem, retryAfterSeconds)
  }

  #changed(): void {
    this.#wake?.()
    this.#wake = undefined
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }
}
