/**
 * Leases: how long a process may use what it read about a subject.
 *
 * An erasure fences a subject, waits until every lease that was taken before the fence has run out, and then
 * destroys the key. So a process must not use an open key for longer than `leaseMs` after the read that gave
 * it, and must look again after the commit: a process that slept through the fence notices on waking.
 */

/** The longest use of an open key, in milliseconds, counted from before the read that gave it. */
export const leaseMs = 5_000

/** A lease with less than this left is renewed before it is used, so that an ordinary commit fits into it. */
const renewBelowMs = 1_500

export interface Clock {
  wallMs(): number
  /** Grows whatever happens to the wall clock. */
  monotonicMs(): number
}

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
}

/**
 * The right to use a key until `leaseMs` after `start`. Both clocks are asked: the monotonic one may stand
 * still while a machine is suspended, the wall clock may be set back.
 */
export class Lease {
  readonly #wallMs: number
  readonly #monotonicMs: number

  /** Take it *before* sending the read whose answer it covers. */
  constructor(private readonly clock: Clock) {
    this.#wallMs = clock.wallMs()
    this.#monotonicMs = clock.monotonicMs()
  }

  /** May the key still be used? */
  get valid(): boolean {
    return this.#leftMs() > 0
  }

  /** Is enough left for the key to be used and the result committed? */
  get fresh(): boolean {
    return this.#leftMs() > renewBelowMs
  }

  #leftMs(): number {
    const wallAge = this.clock.wallMs() - this.#wallMs
    const monotonicAge = this.clock.monotonicMs() - this.#monotonicMs
    // A wall clock that went back tells nothing; the monotonic one still counts.
    return leaseMs - Math.max(wallAge, monotonicAge)
  }
}
