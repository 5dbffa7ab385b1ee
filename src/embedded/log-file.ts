/** A log file with a ceiling: what the processes under `annals up` print, kept in two files of a bounded size. */
import { mkdirSync } from 'node:fs'
import { open, rename, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Readable } from 'node:stream'

const defaultMaxBytes = 20 * 1024 * 1024
const tailLines = 20

/** Where a process goes on printing without a line break, the line is cut here: nothing is held without bound. */
const maxLineBytes = 64 * 1024

export interface LogFileOptions {
  readonly path: string
  /** Above this size the file becomes `<path>.1`, in place of an older one. */
  readonly maxBytes?: number
  /** Applied to each line before it is kept anywhere; undefined drops the line. */
  readonly filter?: (line: string) => string | undefined
}

export class LogFile {
  readonly path: string
  readonly #maxBytes: number
  readonly #filter: (line: string) => string | undefined
  #file: FileHandle | undefined
  #bytes = 0
  #queue: Promise<void> = Promise.resolve()
  #tail: string[] = []

  constructor(options: LogFileOptions) {
    this.path = options.path
    this.#maxBytes = options.maxBytes ?? defaultMaxBytes
    this.#filter = options.filter ?? ((line) => line)
    mkdirSync(dirname(this.path), { recursive: true, mode: 0o700 })
  }

  /** The last lines written, for an error message. */
  tail(): readonly string[] {
    return this.#tail
  }

  /** Copies a stream into the file, line by line. Resolves at its end; a stream that fails counts as ended. */
  async follow(stream: Readable): Promise<void> {
    let rest = ''
    stream.setEncoding('utf8')
    try {
      for await (const chunk of stream) {
        const lines = (rest + String(chunk)).split('\n')
        rest = lines.pop() ?? ''
        if (rest.length > maxLineBytes) {
          lines.push(rest)
          rest = ''
        }
        // Awaiting the write here is the backpressure: the process waits for the disk, not we for memory.
        await this.append(lines)
      }
    } catch {
      // The process is gone, and with it the other end.
    }
    if (rest !== '') await this.append([rest])
  }

  /** Appends lines (without line breaks). A disk that refuses loses the lines and stops nothing. */
  append(lines: readonly string[]): Promise<void> {
    const kept = lines.map(this.#filter).filter((line) => line !== undefined)
    if (kept.length === 0) return this.#queue
    this.#tail = [...this.#tail, ...kept].slice(-tailLines)
    this.#queue = this.#queue.then(() => this.#write(`${kept.join('\n')}\n`)).catch(() => undefined)
    return this.#queue
  }

  async close(): Promise<void> {
    await this.#queue
    await this.#file?.close()
    this.#file = undefined
  }

  async #write(text: string): Promise<void> {
    this.#file ??= await this.#open()
    await this.#file.write(text)
    this.#bytes += Buffer.byteLength(text)
    if (this.#bytes < this.#maxBytes) return
    await this.#file.close()
    this.#file = undefined
    await rename(this.path, `${this.path}.1`)
  }

  async #open(): Promise<FileHandle> {
    const file = await open(this.path, 'a', 0o600)
    this.#bytes = (await file.stat()).size
    return file
  }
}
