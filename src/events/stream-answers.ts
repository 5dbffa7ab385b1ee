/**
 * The answers of a stream: in the order of the lines, counted, each line of bounded length.
 *
 *     {line, status: 201, id, leafHash, replayed?}              an event that is stored        (answer=all)
 *     {line, status, problem, retryAfterSeconds?}               a line that failed
 *     {through, accepted, replayed, rejected}                   every line up to `through` is answered (progress=true)
 *     {done: true, accepted, replayed, rejected}                the last line
 *     {done: false, accepted, replayed, rejected, line, problem, retryAfterSeconds?}
 *                                                               the last line where the stream was stopped: lines
 *                                                               up to `line` are answered, the rest was not read
 *
 * `accepted` counts events that this stream stored, `replayed` those that had been there under their key or id.
 */
import type { FieldError } from '../errors.js'
import { base64 } from './accept.js'
import type { RecordedEvent } from './contract.js'

/** A failure as the edge writes it. */
export interface StreamProblem {
  readonly document: {
    readonly status: number
    readonly code: string
    readonly errors?: readonly FieldError[]
  }
  readonly retryAfterSeconds: number | undefined
}

export interface StreamCounts {
  readonly accepted: number
  readonly replayed: number
  readonly rejected: number
}

/** One line that is being taken in. */
export interface StreamEntry {
  readonly line: number
  text?: string
  outcome?: 'accepted' | 'replayed' | 'rejected'
}

/** A failure's line is cut to about this many characters: a stream's failures together must fit into memory. */
const maxFailureCharacters = 2_048
const maxPathCharacters = 256

export class StreamAnswers {
  #entries: StreamEntry[] = []
  #first = 0
  #counts = { accepted: 0, replayed: 0, rejected: 0 }
  #through = 0

  /** @param write takes whole lines; called as soon as all lines before are answered */
  constructor(
    private readonly answerAll: boolean,
    private readonly write: (text: string) => void,
  ) {}

  get counts(): StreamCounts {
    return this.#counts
  }

  /** Lines taken in and not answered yet. */
  get waiting(): number {
    return this.#entries.length - this.#first
  }

  /** Every line up to this one is answered. */
  get through(): number {
    return this.#through
  }

  /** Opens the place of a line's answer. Lines are opened in their order and settled in any. */
  open(line: number): StreamEntry {
    const entry: StreamEntry = { line }
    this.#entries.push(entry)
    return entry
  }

  stored(entry: StreamEntry, { id, leafHash, replayed }: RecordedEvent): void {
    entry.outcome = replayed ? 'replayed' : 'accepted'
    if (this.answerAll) {
      // Ids and base64 need no escaping.
      const repeat = replayed ? ',"replayed":true' : ''
      entry.text = `{"line":${entry.line},"status":201,"id":"${id}","leafHash":"${base64(leafHash)}"${repeat}}\n`
    }
    this.#writeReady()
  }

  failed(entry: StreamEntry, problem: StreamProblem): void {
    entry.outcome = 'rejected'
    entry.text = failureLine(entry.line, problem)
    this.#writeReady()
  }

  /** The line that says how far the answers are. */
  progressLine(): string {
    return `${JSON.stringify({ through: this.#through, ...this.#counts })}\n`
  }

  /** The last line. @param stop where the input was not read to its end */
  lastLine(stop: { readonly line: number; readonly problem: StreamProblem } | undefined): string {
    if (stop === undefined) return `${JSON.stringify({ done: true, ...this.#counts })}\n`
    const { document, retryAfterSeconds } = stop.problem
    return `${JSON.stringify({ done: false, ...this.#counts, line: stop.line, problem: document, retryAfterSeconds })}\n`
  }

  #writeReady(): void {
    let text = ''
    for (;;) {
      const entry = this.#entries[this.#first]
      if (entry?.outcome === undefined) break
      this.#first += 1
      this.#counts[entry.outcome] += 1
      this.#through = entry.line
      text += entry.text ?? ''
    }
    if (this.#first > 1_024 || this.#first === this.#entries.length) {
      this.#entries = this.#entries.slice(this.#first)
      this.#first = 0
    }
    if (text !== '') this.write(text)
  }
}

/** The errors of a failure as far as they fit. */
function failureLine(line: number, { document, retryAfterSeconds }: StreamProblem): string {
  const { status, errors } = document
  const whole = JSON.stringify({ line, status, problem: document, retryAfterSeconds })
  if (whole.length <= maxFailureCharacters || errors === undefined) return `${whole}\n`
  const cut = errors.slice(0, 4).map((error) => ({ ...error, path: error.path.slice(0, maxPathCharacters) }))
  return `${JSON.stringify({ line, status, problem: { ...document, errors: cut }, retryAfterSeconds })}\n`
}
