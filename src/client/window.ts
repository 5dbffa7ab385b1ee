/**
 * The events of a stream that are not answered yet, in the order of their source: what has to be sent again after
 * a broken connection, and how far everything is answered. Bounded: while it is full, nothing more is pulled.
 */

/** One line to send: an event as JSON text that carries an id or an idempotency key, and what the caller knows it by. */
export interface StreamItem<Tag> {
  readonly text: string
  readonly tag: Tag
}

export interface Entry<Tag> extends StreamItem<Tag> {
  answered: boolean
  /** How often it was refused for a reason that passes. */
  refusals: number
}

const maxEntries = 5_000
const maxCharacters = 16 * 1_048_576

export class Window<Tag> {
  /** Empty below `#first`: what is answered is let go of at once, not when the list is cut. */
  #entries: (Entry<Tag> | undefined)[] = []
  #first = 0
  #characters = 0

  get full(): boolean {
    return this.size >= maxEntries || this.#characters >= maxCharacters
  }

  get size(): number {
    return this.#entries.length - this.#first
  }

  add({ text, tag }: StreamItem<Tag>): Entry<Tag> {
    const entry: Entry<Tag> = { text, tag, answered: false, refusals: 0 }
    this.#entries.push(entry)
    this.#characters += text.length
    return entry
  }

  unanswered(): Entry<Tag>[] {
    return this.#entries.slice(this.#first).flatMap((entry) => (entry?.answered === false ? [entry] : []))
  }

  /** Lets go of what is answered from the front. @returns the last of it: everything up to it is answered */
  advance(): Entry<Tag> | undefined {
    let last: Entry<Tag> | undefined
    for (
      let entry = this.#entries[this.#first];
      entry?.answered === true;
      entry = this.#entries[this.#first]
    ) {
      last = entry
      this.#characters -= entry.text.length
      this.#entries[this.#first] = undefined
      this.#first += 1
    }
    if (this.#first > 1_024) {
      this.#entries = this.#entries.slice(this.#first)
      this.#first = 0
    }
    return last
  }
}
