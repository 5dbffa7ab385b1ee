/**
 * Members of segments in memory, opened and verified: the newest ones, up to a number of bytes and for a short time.
 * Whoever asks for one that is being read waits for the same read. What failed is not kept.
 */
interface Entry<Value> {
  readonly value: Promise<Value>
  readonly until: number
  bytes: number
}

export interface MemberCacheOptions {
  readonly maxBytes: number
  /** So that what was erased from the archive does not stay here: a member is read again after so long. */
  readonly maxAgeMs: number
  /** Monotonic. For tests. */
  readonly now?: () => number
}

export class MemberCache<Value> {
  /** The least recently used first. */
  readonly #entries = new Map<string, Entry<Value>>()
  readonly #now: () => number
  #bytes = 0

  constructor(private readonly options: MemberCacheOptions) {
    this.#now = options.now ?? (() => performance.now())
  }

  /** Bytes that are held now. */
  get bytes(): number {
    return this.#bytes
  }

  /** @param read reads the member, and says how many bytes it takes */
  get(key: string, read: () => Promise<{ readonly value: Value; readonly bytes: number }>): Promise<Value> {
    const known = this.#entries.get(key)
    if (known !== undefined && known.until > this.#now()) {
      this.#entries.delete(key)
      this.#entries.set(key, known)
      return known.value
    }
    this.#drop(key)
    const reading = read()
    const entry: Entry<Value> = {
      value: reading.then(({ value }) => value),
      until: this.#now() + this.options.maxAgeMs,
      bytes: 0,
    }
    this.#entries.set(key, entry)
    reading.then(
      ({ bytes }) => this.#weigh(key, entry, bytes),
      () => {
        if (this.#entries.get(key) === entry) this.#drop(key)
      },
    )
    return entry.value
  }

  #weigh(key: string, entry: Entry<Value>, bytes: number): void {
    if (this.#entries.get(key) !== entry) return
    entry.bytes = bytes
    this.#bytes += bytes
    for (const [oldest] of this.#entries) {
      if (this.#bytes <= this.options.maxBytes) return
      this.#drop(oldest)
    }
  }

  #drop(key: string): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    this.#entries.delete(key)
    this.#bytes -= entry.bytes
  }
}
