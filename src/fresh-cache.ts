/**
 * A bounded cache of things that other processes may change: an entry is at most `maxAgeMs` old, counted from
 * before it was loaded, by the monotonic clock. Loads of the same key that overlap are one load.
 */
import { LRUCache } from 'lru-cache'

export interface FreshCacheOptions<Value> {
  readonly max: number
  readonly maxAgeMs: number
  /** `undefined` = there is none; that is not kept. */
  readonly load: (key: string) => Promise<Value | undefined>
}

export class FreshCache<Value extends object> {
  readonly #entries: LRUCache<string, Value>
  readonly #loading = new Map<string, Promise<Value | undefined>>()
  readonly #load: (key: string) => Promise<Value | undefined>

  constructor({ max, maxAgeMs, load }: FreshCacheOptions<Value>) {
    // ttlResolution 0: the clock is asked each time, so that no entry outlives its age by a rounding.
    this.#entries = new LRUCache({ max, ttl: maxAgeMs, ttlResolution: 0 })
    this.#load = load
  }

  /** The entry if it is fresh, without waiting. */
  peek(key: string): Value | undefined {
    return this.#entries.get(key)
  }

  async get(key: string): Promise<Value | undefined> {
    const known = this.#entries.get(key)
    if (known !== undefined) return known
    const running = this.#loading.get(key)
    if (running !== undefined) return running
    const start = performance.now()
    const load = this.#load(key)
      .then((value) => {
        // Forgotten meanwhile: what was loaded may be from before the change.
        if (value !== undefined && this.#loading.get(key) === load) this.#entries.set(key, value, { start })
        return value
      })
      .finally(() => {
        if (this.#loading.get(key) === load) this.#loading.delete(key)
      })
    this.#loading.set(key, load)
    return load
  }

  /** The next `get` loads. Called by a process after its own change. */
  forget(key: string): void {
    this.#entries.delete(key)
    this.#loading.delete(key)
  }

  forgetAll(): void {
    this.#entries.clear()
    this.#loading.clear()
  }
}
