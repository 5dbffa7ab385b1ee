/**
 * A stream of events: NDJSON in, NDJSON out, of any length, in constant memory.
 *
 * What keeps it bounded, and why it cannot lock up:
 *
 * - In. At most `maxInFlightEvents` lines (and `maxInFlightBytes`) are between reading and commit. Beyond that
 *   nothing is read, the socket's window closes, and the client waits: its backpressure is TCP's. Before intake's
 *   queue, which all clients share, the stream waits for room instead of failing.
 * - Out, `answer=failures`. A stream ends at `maxFailures` failures, each of bounded length, so everything it can
 *   ever answer fits into a few megabytes. It is held here, and reading never waits for a reader: a client that
 *   sends all before it reads gets through, whatever the length.
 * - Out, `answer=all`. Answers grow with the input, so they cannot be held without bound. Up to `maxUnread`
 *   characters (some 16,000 answers, and what the sockets hold) are; beyond that reading pauses until the client
 *   reads. One that does not read while it sends would now wait for us, and we for it. After `stalledMs` without
 *   a byte taken the stream stops: what was read is answered, the last line says so and where to go on, and the
 *   rest of the input is read and thrown away, so that the client comes to the end of its sending and finds all
 *   of that when it reads.
 * - A slow reader is no stalled one: a piece taken within `stalledMs` counts.
 * - Stopped streams (too many failures, shutdown, a client that sends nothing) end the same way: last line first,
 *   then input is discarded for a bounded time, since closing on unread input would reset the connection and take
 *   the answers with it.
 *
 * What was accepted stays accepted, whatever happens to the connection: nothing here is undone.
 */
import type { Readable, Writable } from 'node:stream'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { AnnalsError } from '../errors.js'
import type { RecordedEvent } from './contract.js'
import { HeldOutput } from './held-output.js'
import { limits } from './limits.js'
import { LineSplitter, parseLine, type LineFault, type RawLine } from './ndjson.js'
import { StreamAnswers, type StreamCounts, type StreamEntry, type StreamProblem } from './stream-answers.js'

export interface StreamLimits {
  readonly maxInFlightEvents: number
  /** Bytes of the lines in flight. */
  readonly maxInFlightBytes: number
  /** Characters of answers that a client has not read, where answers grow with the input. */
  readonly maxUnread: number
  readonly maxFailures: number
  /** This many lines in a row that fail for a reason that passes (503) stop the stream: the rest would fail too. */
  readonly maxTemporaryFailures: number
  /** So long may answers wait for their reader. */
  readonly stalledMs: number
  /** So long may a client send nothing. */
  readonly idleMs: number
  /** So long is input discarded after a stop. */
  readonly lingerMs: number
  /** The same, where the process is about to stop. */
  readonly drainLingerMs: number
  /** So long does a line wait for room in intake's queue. */
  readonly roomWaitMs: number
}

export const streamLimits: StreamLimits = {
  maxInFlightEvents: 2_000,
  maxInFlightBytes: 8 * 1_048_576,
  maxUnread: 2 * 1_048_576,
  maxFailures: 1_000,
  maxTemporaryFailures: 100,
  stalledMs: 60_000,
  idleMs: 300_000,
  lingerMs: 300_000,
  drainLingerMs: 2_000,
  roomWaitMs: 15_000,
}

const tickMs = 250
const roomPollMs = 20
/** The event loop gets a turn at least so often. */
const sliceMs = 5
/** A progress line at least so often, in lines. */
const progressEvery = 500

export interface StreamOptions {
  /** What the client sends, as it comes: what is discarded after a stop. */
  readonly source: Readable
  /** The same decompressed; `source` itself where it is plain. */
  readonly input: Readable
  readonly output: Writable
  readonly answerAll: boolean
  readonly progress: boolean
  /** Takes one parsed line in. @throws AnnalsError */
  readonly accept: (value: unknown) => Promise<RecordedEvent>
  /** Has intake's queue room for one more? */
  readonly hasRoom: (bytes: number) => boolean
  readonly problemOf: (error: unknown) => StreamProblem
  readonly limits: StreamLimits
}

export interface StreamEnd {
  readonly counts: StreamCounts
  /** Why it was stopped; `aborted` where the client went away. */
  readonly stop: AnnalsError | 'aborted' | undefined
}

/** One stream, from its first line to its last. */
export class EventStream {
  readonly #options: StreamOptions
  readonly #splitter = new LineSplitter(limits.maxLineBytes)
  readonly #answers: StreamAnswers
  readonly #output: HeldOutput
  #stop: AnnalsError | 'aborted' | undefined
  #draining = false
  #lastLine = 0
  #inFlightBytes = 0
  #temporaryFailures = 0
  #inputOver = false
  #sourceOver = false
  #outputOver = false
  #inputAt = performance.now()
  #progressSaid = 0
  #wake: (() => void) | undefined

  constructor(options: StreamOptions) {
    this.#options = options
    this.#output = new HeldOutput(options.output, () => this.#changed())
    this.#answers = new StreamAnswers(options.answerAll, (text) => this.#output.write(text))
  }

  /** Reads no further line, answers what was read, and ends: the process is about to stop. */
  drain(): void {
    this.#draining = true
    this.#end(draining())
  }

  /** Runs the stream to its end. Never rejects: whatever goes wrong is in the last line, or the client is gone. */
  async run(): Promise<StreamEnd> {
    this.#listen()
    const ticks = setInterval(() => this.#tick(), tickMs)
    try {
      await this.#readAll()
      while (this.#answers.waiting > 0) await this.#change()
      await this.#writeLastLine()
    } finally {
      clearInterval(ticks)
    }
    return { counts: { ...this.#answers.counts }, stop: this.#stop }
  }

  #listen(): void {
    const { source, input, output } = this.#options
    input.on('readable', this.#changed)
    input.once('end', () => {
      this.#inputOver = true
      this.#changed()
    })
    input.once('error', () => {
      // Not what its Content-Encoding says, or cut off inside it; a client that went away shows on the source.
      if (input !== source) this.#end(unreadable())
    })
    const over = () => {
      if (!this.#sourceOver) this.#inputAt = performance.now()
      this.#sourceOver = true
      this.#changed()
    }
    source.once('end', over)
    source.once('error', () => this.#end('aborted'))
    source.once('close', () => {
      if (!source.readableEnded) this.#end('aborted')
      over()
    })
    output.once('error', () => this.#end('aborted'))
    output.once('close', () => {
      if (!output.writableFinished) this.#end('aborted')
      this.#outputOver = true
      this.#changed()
    })
    output.once('finish', () => {
      this.#outputOver = true
      this.#changed()
    })
  }

  async #readAll(): Promise<void> {
    const { input } = this.#options
    let sliceStart = performance.now()
    while (this.#stop === undefined) {
      const chunk: unknown = this.#mayTake() ? input.read() : null
      if (Buffer.isBuffer(chunk)) {
        this.#inputAt = performance.now()
        for (const line of this.#splitter.push(chunk)) {
          if (!(await this.#takeWhenReady(line))) return
          if (performance.now() - sliceStart > sliceMs) {
            await setImmediate()
            sliceStart = performance.now()
          }
        }
      } else if (this.#inputOver && this.#mayTake()) {
        const last = this.#splitter.end()
        if (last !== undefined) await this.#takeWhenReady(last)
        return
      } else {
        await this.#change()
        sliceStart = performance.now()
      }
    }
  }

  /** False = the stream was stopped before the line was taken. */
  async #takeWhenReady(line: RawLine): Promise<boolean> {
    while (this.#stop === undefined && !this.#mayTake()) await this.#change()
    if (this.#stop !== undefined) return false
    await this.#waitForRoom(line.length)
    this.#take(line)
    return true
  }

  #mayTake(): boolean {
    const { maxInFlightEvents, maxInFlightBytes, maxUnread } = this.#options.limits
    return (
      this.#answers.waiting < maxInFlightEvents &&
      this.#inFlightBytes < maxInFlightBytes &&
      (!this.#options.answerAll || this.#output.held < maxUnread)
    )
  }

  /** Waits while intake's queue is full; in the end the line is tried, and fails as overloaded. */
  async #waitForRoom(bytes: number): Promise<void> {
    const giveUpAt = performance.now() + this.#options.limits.roomWaitMs
    while (!this.#options.hasRoom(bytes) && this.#stop === undefined && performance.now() < giveUpAt)
      await setTimeout(roomPollMs)
  }

  #take(line: RawLine): void {
    this.#lastLine = line.number
    const entry = this.#answers.open(line.number)
    this.#inFlightBytes += line.length
    const parsed = parseLine(line)
    const taken = parsed.ok ? this.#options.accept(parsed.value) : Promise.reject(faultOf(parsed.fault))
    taken
      .then(
        (recorded) => {
          this.#temporaryFailures = 0
          this.#answers.stored(entry, recorded)
        },
        (error: unknown) => this.#failed(entry, error),
      )
      .finally(() => {
        this.#inFlightBytes -= line.length
        this.#changed()
      })
      // What stands above cannot fail but by a mistake of ours; the connection is then the thing to give up.
      .catch((error: unknown) => this.#options.output.destroy(error instanceof Error ? error : undefined))
  }

  #failed(entry: StreamEntry, error: unknown): void {
    const problem = this.#options.problemOf(error)
    const { maxFailures, maxTemporaryFailures } = this.#options.limits
    this.#temporaryFailures = problem.document.status === 503 ? this.#temporaryFailures + 1 : 0
    this.#answers.failed(entry, problem)
    if (this.#temporaryFailures >= maxTemporaryFailures) this.#end(unavailable())
    else if (this.#answers.counts.rejected >= maxFailures) this.#end(tooManyFailures(maxFailures))
  }

  /** The first reason counts, but for a client that is gone: then there is nobody to tell. */
  #end(reason: AnnalsError | 'aborted'): void {
    if (this.#stop === undefined || reason === 'aborted') this.#stop = reason
    this.#changed()
  }

  #tick(): void {
    const { stalledMs, idleMs } = this.#options.limits
    const waitsForReader = this.#options.answerAll && this.#output.held >= this.#options.limits.maxUnread
    if (waitsForReader && this.#output.stalledMs > stalledMs) this.#end(answersUnread())
    const idle = this.#answers.waiting === 0 && !this.#inputOver && this.#mayTake()
    if (idle && performance.now() - this.#inputAt > idleMs) this.#end(nothingSent())
    this.#sayProgress(1)
    this.#changed()
  }

  #sayProgress(every: number): void {
    if (!this.#options.progress || this.#output.blocked || this.#stop === 'aborted') return
    const { through } = this.#answers
    if (through - this.#progressSaid < every || this.#options.output.writableEnded) return
    this.#progressSaid = through
    this.#output.write(this.#answers.progressLine())
  }

  async #writeLastLine(): Promise<void> {
    const { source, input, output } = this.#options
    if (this.#stop !== 'aborted') {
      const problem = this.#stop === undefined ? undefined : this.#options.problemOf(this.#stop)
      this.#progressSaid = Number.POSITIVE_INFINITY
      this.#output.write(
        this.#answers.lastLine(problem === undefined ? undefined : { line: this.#lastLine, problem }),
      )
      this.#output.end()
    }
    // A stream with this listener does not flow.
    input.off('readable', this.#changed)
    if (source !== input) source.unpipe()
    source.on('data', () => {
      this.#inputAt = performance.now()
    })
    source.resume()
    await this.#linger()
    if (input !== source) input.destroy()
    if (!this.#outputOver || !this.#sourceOver) output.destroy()
  }

  /** Until both directions are over, or there is no sense in waiting on. */
  async #linger(): Promise<void> {
    const { lingerMs, drainLingerMs, stalledMs } = this.#options.limits
    const startedAt = performance.now()
    this.#inputAt = startedAt
    while (this.#stop !== 'aborted' && !(this.#outputOver && this.#sourceOver)) {
      const now = performance.now()
      if (now - startedAt > (this.#draining ? drainLingerMs : lingerMs)) return
      // A reader has its time from the end of its sending on, however long its answers have been waiting.
      const quietMs = now - this.#inputAt
      if ((this.#outputOver ? quietMs : Math.min(quietMs, this.#output.stalledMs)) > stalledMs) return
      await this.#change()
    }
  }

  readonly #changed = (): void => {
    if (this.#answers.through - this.#progressSaid >= progressEvery) this.#sayProgress(progressEvery)
    this.#wake?.()
    this.#wake = undefined
  }

  /** Resolves at the next change: something was settled, read, sent, or a tick passed. One waiter at a time. */
  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }
}

function faultOf(fault: LineFault): AnnalsError {
  switch (fault) {
    case 'too_large':
      return new AnnalsError('too_large', `The line is over the limit of ${limits.maxLineBytes} bytes.`)
    case 'not_utf8':
      return new AnnalsError('malformed', 'The line is not valid UTF-8.')
    case 'not_json':
      return new AnnalsError('malformed', 'The line is not valid JSON.')
  }
}

const draining = () =>
  new AnnalsError('unavailable', 'The server is stopping; go on after `line`, with the next one.', {
    retryAfterSeconds: 1,
  })
const unavailable = () =>
  new AnnalsError(
    'unavailable',
    'Events cannot be stored at the moment; send the failed lines and the rest later.',
    {
      retryAfterSeconds: 5,
    },
  )
const unreadable = () =>
  new AnnalsError('malformed', 'The body is not what its Content-Encoding says, or is cut off.')
const tooManyFailures = (count: number) =>
  new AnnalsError('too_many_failures', `${count} lines failed; the rest was not read.`)
const answersUnread = () =>
  new AnnalsError('stream_stalled', 'The answers were not read; the rest of the input was not looked at.')
const nothingSent = () =>
  new AnnalsError('stream_stalled', 'Nothing was sent for too long; go on with a new stream.')
