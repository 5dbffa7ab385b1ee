/**
 * A bounded queue with a lane for each sender. Lanes take turns, so what one sends a thousand of does not delay the
 * one of another; and no lane fills the queue for all: beyond half, each has an equal share.
 */
export interface QueueBounds {
  readonly maxItems: number
  readonly maxBytes: number
}

interface Lane<T> {
  readonly name: string
  readonly waiting: { readonly item: T; readonly bytes: number }[]
  /** Index of the next one in `waiting`: shifting an array of thousands each time would cost more than it frees. */
  head: number
  /** Waiting and under way. */
  items: number
  bytes: number
}

const compactAfter = 1_024

export class FairQueue<T> {
  readonly #lanes = new Map<string, Lane<T>>()
  /** Lanes with something waiting, in the order of their turns. */
  #turns: Lane<T>[] = []
  #items = 0
  #bytes = 0
  #waiting = 0

  constructor(private readonly bounds: QueueBounds) {}

  /** Items let in and not yet released. */
  get items(): number {
    return this.#items
  }

  /** Items that wait to be taken. */
  get waiting(): number {
    return this.#waiting
  }

  /** May the lane put this much in? */
  hasRoom(lane: string, items: number, bytes: number): boolean {
    const { maxItems, maxBytes } = this.bounds
    if (this.#items + items > maxItems || this.#bytes + bytes > maxBytes) return false
    if (this.#items + items <= maxItems / 2 && this.#bytes + bytes <= maxBytes / 2) return true
    const own = this.#lanes.get(lane)
    // One share is kept free for a lane that is not here yet.
    const shares = this.#lanes.size + (own === undefined ? 2 : 1)
    return (own?.items ?? 0) + items <= maxItems / shares && (own?.bytes ?? 0) + bytes <= maxBytes / shares
  }

  put(name: string, item: T, bytes: number): void {
    let lane = this.#lanes.get(name)
    if (lane === undefined) {
      lane = { name, waiting: [], head: 0, items: 0, bytes: 0 }
      this.#lanes.set(name, lane)
    }
    if (lane.head === lane.waiting.length) this.#turns.push(lane)
    lane.waiting.push({ item, bytes })
    lane.items += 1
    lane.bytes += bytes
    this.#items += 1
    this.#bytes += bytes
    this.#waiting += 1
  }

  /**
   * Takes the next items, one of each lane in turn, at least one if any waits.
   * @returns the items, each with what gives its place back
   */
  take(maxItems: number, maxBytes: number): { readonly item: T; readonly release: () => void }[] {
    const taken: { item: T; release: () => void }[] = []
    let bytes = 0
    while (taken.length < maxItems) {
      const lane = this.#turns.shift()
      if (lane === undefined) break
      const next = lane.waiting[lane.head]
      if (next === undefined) throw new Error('a lane that had its turn was empty')
      if (taken.length > 0 && bytes + next.bytes > maxBytes) {
        this.#turns.unshift(lane)
        break
      }
      bytes += next.bytes
      lane.head += 1
      this.#waiting -= 1
      if (lane.head < lane.waiting.length) this.#turns.push(lane)
      if (lane.head === lane.waiting.length || lane.head >= compactAfter) {
        lane.waiting.splice(0, lane.head)
        lane.head = 0
      }
      taken.push({ item: next.item, release: () => this.#release(lane, next.bytes) })
    }
    return taken
  }

  #release(lane: Lane<T>, bytes: number): void {
    lane.items -= 1
    lane.bytes -= bytes
    this.#items -= 1
    this.#bytes -= bytes
    if (lane.items === 0) this.#lanes.delete(lane.name)
  }
}
