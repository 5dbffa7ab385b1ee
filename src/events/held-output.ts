/**
 * Text on its way to a reader that may be slow: written piece by piece as the reader takes it, held here meanwhile.
 *
 * Only one small piece at a time is handed on, so that each one taken shows as progress: a reader that is slow
 * can be told from one that does not read.
 */
import type { Writable } from 'node:stream'

const pieceCharacters = 65_536

export class HeldOutput {
  #pieces: string[] = []
  #tail = ''
  #held = 0
  #blocked = false
  #scheduled = false
  #ending = false
  #progressAt = performance.now()

  /** @param onProgress called when the reader has taken something */
  constructor(
    private readonly writable: Writable,
    private readonly onProgress: () => void,
  ) {
    writable.on('drain', () => {
      this.#blocked = false
      this.#progressAt = performance.now()
      this.#pump()
      this.onProgress()
    })
  }

  /** Characters that wait for the reader. */
  get held(): number {
    return this.#held
  }

  /** For how long nothing was taken, in milliseconds; 0 where nothing waits. */
  get stalledMs(): number {
    return this.#blocked ? performance.now() - this.#progressAt : 0
  }

  get blocked(): boolean {
    return this.#blocked
  }

  write(text: string): void {
    this.#held += text.length
    this.#tail += text
    if (this.#tail.length >= pieceCharacters) {
      this.#pieces.push(this.#tail)
      this.#tail = ''
    }
    this.#schedule()
  }

  /** Ends the output once everything held is written. */
  end(): void {
    this.#ending = true
    this.#pump()
  }

  /** One turn of the event loop: answers that come together go together. */
  #schedule(): void {
    if (this.#scheduled || this.#blocked) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#pump()
    })
  }

  #pump(): void {
    while (!this.#blocked && this.#held > 0 && !this.writable.destroyed) {
      const piece = this.#pieces.shift() ?? this.#takeTail()
      this.#held -= piece.length
      if (!this.writable.write(piece)) {
        this.#blocked = true
        this.#progressAt = performance.now()
      }
    }
    if (this.#ending && this.#held === 0 && !this.writable.writableEnded) this.writable.end()
  }

  #takeTail(): string {
    const tail = this.#tail
    this.#tail = ''
    return tail
  }
}
