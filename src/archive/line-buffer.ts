/** The lines of one member in UTF-8, written one after the other into memory that the next member takes over. */
export class LineBuffer {
  #bytes: Buffer
  #length = 0

  constructor(capacity = 1_048_576) {
    this.#bytes = Buffer.allocUnsafeSlow(capacity)
  }

  get length(): number {
    return this.#length
  }

  /** What has been written, until it is cleared: a view, no copy. */
  get written(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }

  clear(): void {
    this.#length = 0
  }

  add(text: string): void {
    // A UTF-16 unit is at most three bytes of UTF-8.
    const bytes = this.reserve(text.length * 3)
    this.#length += bytes.write(text, this.#length, 'utf8')
  }

  /** Memory with so many bytes free from `length` on; whoever writes there says with `advanceTo` how far it came. */
  reserve(free: number): Buffer {
    const needed = this.#length + free
    if (needed > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#bytes.length * 2))
      this.#bytes.copy(grown, 0, 0, this.#length)
      this.#bytes = grown
    }
    return this.#bytes
  }

  advanceTo(length: number): void {
    this.#length = length
  }
}
