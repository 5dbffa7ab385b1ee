/** What becomes of an event of a segment that is due: pure, one event after the other, and what they add up to. */
import type { StoredEvent } from '../events/store.js'
import type { Hold } from './contract.js'
import { covers, mayCover, neverExpires } from './policy.js'

export interface ExpiryCounts {
  /** Events that go. */
  readonly expired: number
  /** Events that stay because a hold covers them. */
  readonly held: number
  /** Events that stay because they never expire. */
  readonly kept: number
}

/** Decides over the events of one segment. */
export class ExpiryDecision {
  readonly #holds: readonly Hold[]
  readonly #covering = new Set<string>()
  #expired = 0
  #held = 0
  #kept = 0

  /** @param holds those in force @param segment its times, by which holds that cannot cover anything are passed over */
  constructor(holds: readonly Hold[], segment: { readonly occurredFrom: Date; readonly occurredTo: Date }) {
    this.#holds = holds.filter(({ scope }) => mayCover(scope, segment.occurredFrom, segment.occurredTo))
  }

  /** May any hold cover something here? */
  get mayHold(): boolean {
    return this.#holds.length > 0
  }

  /** Does the event stay? */
  stays(event: StoredEvent): boolean {
    if (event.category === 'system' && neverExpires(event.action)) {
      this.#kept += 1
      return true
    }
    const subjects = event.fields.flatMap((field) => ('subject' in field ? [field.subject] : []))
    const looked = { action: event.action, occurredAt: event.occurredAt, subjects }
    // Each of them: the segment is looked at again when any is released.
    const holding = this.#holds.filter(({ scope }) => covers(scope, looked))
    for (const { id } of holding) this.#covering.add(id)
    if (holding.length > 0) this.#held += 1
    else this.#expired += 1
    return holding.length > 0
  }

  get counts(): ExpiryCounts {
    return { expired: this.#expired, held: this.#held, kept: this.#kept }
  }

  /** The holds that covered an event, sorted. */
  get holds(): readonly string[] {
    return [...this.#covering].sort()
  }
}
