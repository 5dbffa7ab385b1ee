/**
 * Children that run beside each other, at most so many, one for each key. Whoever starts one goes on at once, so that a
 * slow child keeps its own place and nobody else's.
 */
import { condition } from '@temporalio/workflow'

export class ChildWindow {
  readonly #running = new Set<string>()
  #failure: { readonly error: unknown } | undefined

  constructor(private readonly max: number) {}

  get size(): number {
    return this.#running.size
  }

  has(key: string): boolean {
    return this.#running.has(key)
  }

  /** Waits until another one may be started. @throws what a child threw that was not meant to throw */
  async room(): Promise<void> {
    await this.#until(() => this.#running.size < this.max)
  }

  /**
   * Waits until all have ended, or something has happened. @param timeoutMs absent = for as long as it takes
   * @throws as `room`
   */
  async idle(or: () => boolean = () => false, timeoutMs?: number): Promise<void> {
    await this.#until(() => this.#running.size === 0 || or(), timeoutMs)
  }

  /** Starts one where `room` was waited for, and its key does not run. */
  start(key: string, child: () => Promise<void>): void {
    if (this.#running.has(key) || this.#running.size >= this.max) throw new Error('there is no room for it')
    this.#running.add(key)
    child()
      .catch((error: unknown) => {
        this.#failure ??= { error }
      })
      .finally(() => this.#running.delete(key))
  }

  async #until(reached: () => boolean, timeoutMs?: number): Promise<void> {
    const wanted = () => this.#failure !== undefined || reached()
    if (timeoutMs === undefined) await condition(wanted)
    else await condition(wanted, timeoutMs)
    if (this.#failure !== undefined) throw this.#failure.error
  }
}
